"""A template that FIS would refuse, or that cannot be played, is refused with the name of the field."""

from __future__ import annotations

from typing import Any

import pytest

from ops.local.emulator.fis.actions import duration_s
from ops.local.emulator.fis.errors import ValidationException
from ops.local.emulator.fis.resources import FUNCTION
from ops.local.emulator.fis.templates import check_shape, check_template, selected
from tests.unit.local.emulator.fis.conftest import ALARM, TABLE, action, function_arn, template


def actions(**changes: Any) -> dict[str, Any]:
    return {"actions": {"one": changes}}


def target(**changes: Any) -> dict[str, Any]:
    one = {"resourceType": FUNCTION, "resourceArns": [function_arn("query")], "selectionMode": "ALL"} | changes
    return {"targets": {"api": {name: value for name, value in one.items() if value is not None}}} | actions(
        **action("aws:lambda:invocation-add-delay", "Functions=api")
    )


DELAY = "aws:lambda:invocation-add-delay"
ERROR = "aws:lambda:invocation-error"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stopConditions": []}, "stopConditions: at least one"),
        ({"stopConditions": [{"source": "moon"}]}, r"stopConditions\[0\].source: 'moon'; accepted: none"),
        ({"stopConditions": [{"source": "aws:cloudwatch:alarm"}]}, "is not the ARN of an alarm"),
        ({"stopConditions": [{"source": "none"}, {"source": "aws:cloudwatch:alarm", "value": ALARM}]}, "stands alone"),
        ({"actions": {}}, "actions: at least one"),
        (actions(**action("aws:ec2:stop-instances")), "actionId: 'aws:ec2:stop-instances'; accepted: atoll:reset"),
        (actions(**action("atoll:reset-calls", region="x")), "parameters.region: unknown; accepted: duration"),
        (actions(**action("atoll:reset-calls", duration="PT59S")), "accepted: PT1M to PT12H"),
        (actions(**action("atoll:reset-calls", duration="1M")), "is not an ISO 8601 duration"),
        (actions(actionId="atoll:reset-calls"), "parameters.duration: missing"),
        (actions(**action("atoll:reset-calls", "Functions=api")), "targets: accepted: none"),
        (actions(**action(DELAY)), "targets: accepted: exactly 'Functions'"),
        (actions(**action(DELAY, "Functions=moon")), "there is no target 'moon'"),
        (actions(**action(DELAY, "Functions=table")), "'table' is no aws:lambda:function"),
        (actions(**action(DELAY, "Functions=api", startupDelayMilliseconds="900001")), "accepted: 0 to 900000"),
        (actions(**action(DELAY, "Functions=api", invocationPercentage="half")), "accepted: 0 to 100"),
        (actions(**action(ERROR, "Functions=api")), "preventExecution: missing"),
        (actions(**action(ERROR, "Functions=api", preventExecution="yes")), "accepted: true, false"),
        (actions(**action("atoll:reset-calls"), startAfter=["moon"]), "there is no action 'moon'"),
        (actions(**action("atoll:reset-calls"), startAfter=["one"]), "startAfter: waits for itself"),
        (target(resourceType="aws:ec2:instance"), "resourceType: 'aws:ec2:instance'; accepted: aws:dynamodb"),
        (target(resourceTags={"a": "b"}), "either resourceArns or resourceTags"),
        (target(resourceArns=None), "either resourceArns or resourceTags"),
        (target(resourceArns=[function_arn(str(n)) for n in range(6)]), "accepted: up to 5"),
        (target(filters=[{"path": "a", "values": ["b"]}]), "filters and parameters are not played"),
        (target(selectionMode="SOME"), "selectionMode: accepted: ALL, COUNT"),
        ({"experimentReportConfiguration": {"preExperimentDuration": "PT1M"}}, "not played by the local cloud"),
    ],
)
def test_template_that_breaks_a_rule_is_refused_by_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationException, match=words):
        check_template(template(**changes))


def test_valid_templates_are_taken() -> None:
    check_template(template())
    check_template(template(stopConditions=[{"source": "aws:cloudwatch:alarm", "value": ALARM}]))
    late = action("atoll:reset-calls", duration="PT12H") | {"startAfter": ["first"]}
    check_template(template(actions={"late": late, "first": action("atoll:reset-calls", duration="PT1M30S")}))
    check_template(template(**target(resourceArns=None, resourceTags={"a": "b"}, selectionMode="PERCENT(50)")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"roleArn": None}, "roleArn"),
        ({"description": 5}, "description"),
        ({"moon": "x"}, "moon: unknown"),
        ({"targets": {"t": {"resourceType": TABLE}}}, "selectionMode"),
        ({"tags": {str(n): "x" for n in range(51)}}, "accepted: up to 50"),
    ],
)
def test_request_of_another_shape_is_refused_as_the_service_model_says(changes: dict[str, Any], words: str) -> None:
    asked = {name: value for name, value in (template() | changes).items() if value is not None}
    with pytest.raises(ValidationException, match=words):
        check_shape("CreateExperimentTemplate", {"clientToken": "t", **asked})


@pytest.mark.parametrize(("text", "seconds"), [("PT1M", 60), ("PT90S", 90), ("PT1H30M", 5400), ("PT12H", 43200)])
def test_durations_are_read(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["PT", "P1D", "PT0M", "PT13H", "PT1M1H", "pt1m", ""])
def test_durations_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValidationException):
        duration_s(text)


@pytest.mark.parametrize(
    ("mode", "count", "taken"),
    [("ALL", 3, 3), ("COUNT(2)", 3, 2), ("COUNT(9)", 3, 3), ("PERCENT(50)", 4, 2), ("PERCENT(1)", 4, 1), ("ALL", 0, 0)],
)
def test_selection_takes_so_many(mode: str, count: int, taken: int) -> None:
    assert selected(mode, count) == taken
