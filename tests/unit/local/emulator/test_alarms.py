"""The rules for missing data, as the tables of the CloudWatch user guide state them."""

from __future__ import annotations

from typing import Any

import pytest

from ops.local.emulator.alarms import Rule, State

B, G = 9.0, 1.0  # a breaching and a good data point, the threshold between them
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def decide(observed: str, *, needed: int, treat: Any, before: State) -> State:
    """``observed``: X breaching, 0 not, - missing; oldest first. Of three evaluated periods ``needed`` must breach."""
    rule = Rule(5, "GreaterThanOrEqualToThreshold", 3, needed, treat)
    return rule.decide([{"X": B, "0": G, "-": None}[sign] for sign in observed], before)


@pytest.mark.parametrize(
    ("observed", "needed", "expected"),
    [
        ("0-X-X", 3, ("OK", "OK", "OK", "OK")),
        ("0----", 3, ("OK", "OK", "OK", "OK")),
        ("-----", 3, ("INSUFFICIENT_DATA", "kept", "ALARM", "OK")),
        ("0XX-X", 3, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("--X--", 3, ("ALARM", "kept", "ALARM", "OK")),
        ("0-X-X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("00X0X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0-X--", 2, ("OK", "OK", "ALARM", "OK")),
        ("----0", 2, ("OK", "OK", "ALARM", "OK")),
        ("---X-", 2, ("ALARM", "kept", "ALARM", "OK")),
    ],
)
def test_decide_with_missing_data_follows_the_user_guide(observed: str, needed: int, expected: tuple[str, ...]) -> None:
    for treat, state in zip(TREATMENTS, expected, strict=True):
        for before in ("OK", "ALARM"):
            wanted = before if state == "kept" else state
            assert decide(observed, needed=needed, treat=treat, before=before) == wanted, (treat, before)


def test_decide_looks_at_the_last_periods_only() -> None:
    rule = Rule(5, "GreaterThanThreshold", 1, 1, "ignore")
    assert rule.decide([B, B, B, G], "ALARM") == "OK"
    assert rule.decide([B, None, None, None], "OK") == "OK"  # older than what is looked at
    assert rule.decide([B, None, None], "OK") == "ALARM"


@pytest.mark.parametrize(
    ("comparison", "states"),
    [
        ("GreaterThanOrEqualToThreshold", ("OK", "ALARM", "ALARM")),
        ("GreaterThanThreshold", ("OK", "OK", "ALARM")),
        ("LessThanOrEqualToThreshold", ("ALARM", "ALARM", "OK")),
        ("LessThanThreshold", ("ALARM", "OK", "OK")),
    ],
)
def test_decide_compares_as_named(comparison: str, states: tuple[str, ...]) -> None:
    assert tuple(Rule(5, comparison, 1, 1).decide([value], "OK") for value in (4, 5, 6)) == states
