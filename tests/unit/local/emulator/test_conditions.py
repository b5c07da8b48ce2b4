"""Conditions on the region and on mappings are resolved as CloudFormation does, and everything else stays."""

from __future__ import annotations

from typing import Any

import pytest

from ops.local.emulator.conditions import Conditions, with_values
from ops.local.emulator.scopes import Scope, entered

TEMPLATE: dict[str, Any] = {
    "Mappings": {"Next": {"us-east-1": {"Region": "ap-south-1"}, "ap-south-1": {"Region": "us-east-1"}}},
    "Conditions": {
        "IsPeer": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}]},
        "NextIsHome": {"Fn::Equals": [{"Fn::FindInMap": ["Next", {"Ref": "AWS::Region"}, "Region"]}, "us-east-1"]},
        "Asked": {"Fn::Equals": [{"Ref": "Wanted"}, "yes"]},
        "Both": {"Fn::And": [{"Condition": "IsPeer"}, {"Condition": "Asked"}]},
    },
    "Resources": {"A": {"Properties": {"Name": {"Ref": "AWS::Region"}}}},
}


@pytest.mark.parametrize(("region", "is_peer", "both"), [("us-east-1", False, False), ("ap-south-1", True, True)])
def test_conditions_of_the_emulator_with_values_follow_the_region(region: str, is_peer: bool, both: bool) -> None:
    with entered(Scope("000000000000", region)):
        found = Conditions().evaluate(TEMPLATE, {"Wanted": {"Value": "yes"}})
    assert found == {"IsPeer": is_peer, "NextIsHome": is_peer, "Asked": True, "Both": both}


def test_with_values_changes_nothing_but_conditions() -> None:
    made = with_values(TEMPLATE, {"AWS::Region": "us-east-1"})
    assert made["Resources"] == TEMPLATE["Resources"]
    assert made["Conditions"]["Asked"] == TEMPLATE["Conditions"]["Asked"]
    assert with_values({"Resources": {}}, {})["Conditions"] == {}
