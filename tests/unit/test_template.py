from __future__ import annotations

from typing import Any

import pytest

from tests.template import resolved


def with_condition(condition: Any, **sections: Any) -> dict[str, Any]:
    return {"Conditions": {"Asked": condition}, "Resources": {"R": {"Type": "T", "Condition": "Asked"}}, **sections}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"Fn::Equals": [3, "3"]}, True),
        ({"Fn::Equals": [True, "true"]}, True),
        ({"Fn::Equals": [False, "true"]}, False),
        ({"Fn::Not": [{"Fn::Equals": ["a", "a"]}]}, False),
        ({"Fn::And": [{"Fn::Equals": [1, 1]}, {"Fn::Equals": [1, 2]}]}, False),
        ({"Fn::Or": [{"Fn::Equals": [1, 1]}, {"Fn::Equals": [1, 2]}]}, True),
        ({"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-west-1"]}, True),
        ({"Fn::Equals": [{"Fn::FindInMap": ["Map", {"Ref": "AWS::Region"}, "Key"]}, "yes"]}, True),
    ],
)
def test_resolved_keeps_a_resource_only_when_its_condition_holds(condition: Any, holds: bool) -> None:
    template = with_condition(condition, Mappings={"Map": {"eu-west-1": {"Key": "yes"}}})

    assert resolved(template, "eu-west-1")["Resources"] == ({"R": {"Type": "T"}} if holds else {})


def test_resolved_takes_the_branch_of_an_if_and_drops_no_value() -> None:
    template = {
        "Conditions": {"No": {"Fn::Equals": [1, 2]}},
        "Resources": {
            "R": {
                "Type": "T",
                "Properties": {
                    "List": ["a", {"Fn::If": ["No", "b", {"Ref": "AWS::NoValue"}]}],
                    "Gone": {"Fn::If": ["No", "x", {"Ref": "AWS::NoValue"}]},
                    "Kept": {"Fn::If": ["No", "x", {"Ref": "R"}]},
                },
            }
        },
    }

    assert resolved(template, "eu-west-1")["Resources"]["R"]["Properties"] == {"List": ["a"], "Kept": {"Ref": "R"}}


def test_resolved_when_a_condition_needs_a_deployment_refuses() -> None:
    with pytest.raises(ValueError, match="before a deployment"):
        resolved(with_condition({"Fn::Equals": [{"Ref": "AWS::AccountId"}, "1"]}), "eu-west-1")
