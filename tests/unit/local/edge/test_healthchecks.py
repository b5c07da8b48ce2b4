"""A health check counts as Route 53 documents it: thresholds, inversion, disabling, children, alarms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.local.edge.healthchecks import Health, HealthCheck, ProbeHistory, parse_health_checks
from tests.unit.local.edge.support import Clock

ALARM = HealthCheck("c", "CLOUDWATCH_METRIC", alarm_region="us-east-1", alarm_name="errors")


def with_checks(*checks: HealthCheck, alarms: dict[tuple[str, str], str] | None = None) -> Health:
    health = Health()
    health.update(checks, alarms)
    return health


# --- thresholds --------------------------------------------------------------------------------------------------


def test_status_turns_after_as_many_consecutive_probes_as_the_threshold() -> None:
    history = ProbeHistory()
    assert [history.add(ok, 2) for ok in (True, True)] == [False, False]
    assert history.healthy is True
    assert [history.add(ok, 2) for ok in (False, True, False, False)] == [False, False, False, True]
    assert history.healthy is False
    assert [history.add(ok, 2) for ok in (True, True)] == [False, True]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 10))
def test_status_is_that_of_the_last_run_of_probes_as_long_as_the_threshold(probes: list[bool], threshold: int) -> None:
    """The law of hysteresis, spelled in another way than the code: look back for the last run that was long enough."""
    history = ProbeHistory()
    for ok in probes:
        history.add(ok, threshold)

    runs = [probes[at : at + threshold] for at in range(len(probes) - threshold + 1)]
    decisive = [run[0] for run in runs if len(set(run)) == 1]
    assert history.healthy is (decisive[-1] if decisive else None)


def test_status_says_what_was_probed_when_and_since_when_it_holds() -> None:
    clock = Clock()
    health = Health(clock=clock)
    health.update([HealthCheck("c", "HTTPS", failure_threshold=2)])
    for now_s, ok in ((10.0, True), (20.0, True), (30.0, True), (40.0, False)):
        clock.now_s = now_s
        health.add("c", ok, f"at {now_s:.0f}")
    clock.now_s = 45.0
    status = health.status("c")

    assert (status.healthy, status.last_probe, status.last_probe_age_s) == (True, "at 40", 5.0)
    assert (status.streak, status.for_s) == (1, 25.0)


@pytest.mark.parametrize(("inverted", "healthy"), [(False, True), (True, False)])
def test_new_check_is_healthy_until_there_is_enough_data_and_unhealthy_if_inverted(
    inverted: bool, healthy: bool
) -> None:
    health = with_checks(HealthCheck("c", "HTTPS", failure_threshold=2, inverted=inverted))
    health.add("c", False, "did not answer")

    assert health.status("c").healthy is healthy
    assert health.status("c").why.endswith("not enough data yet: did not answer")


# --- inverted and disabled ---------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=10), st.booleans(), st.integers(1, 3))
def test_inversion_turns_the_status_round_and_twice_is_none(probes: list[bool], disabled: bool, threshold: int) -> None:
    check = HealthCheck("c", "HTTPS", disabled=disabled, failure_threshold=threshold)

    def status(made: HealthCheck) -> bool:
        health = with_checks(made)
        for ok in probes:
            health.add("c", ok)
        return health.status("c").healthy

    once = replace(check, inverted=not check.inverted)
    assert status(once) is not status(check)
    assert status(replace(once, inverted=not once.inverted)) is status(check)


@given(st.lists(st.booleans(), max_size=20))
def test_disabled_check_is_healthy_whatever_was_probed(probes: list[bool]) -> None:
    health = with_checks(HealthCheck("c", "HTTPS", disabled=True, failure_threshold=1))
    for ok in probes:
        health.add("c", ok)

    assert health.status("c").healthy
    assert health.status("c").why == "disabled"


def test_disabled_and_inverted_check_is_unhealthy_which_stops_traffic_by_hand() -> None:
    status = with_checks(HealthCheck("c", "HTTPS", disabled=True, inverted=True)).status("c")

    assert (status.healthy, status.why) == (False, "inverted: disabled")


# --- calculated --------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=8), st.integers(0, 9), st.booleans())
def test_calculated_check_is_healthy_when_enough_children_are(up: list[bool], threshold: int, inverted: bool) -> None:
    children = tuple(str(number) for number in range(len(up)))
    health = with_checks(
        HealthCheck("c", "CALCULATED", children=children, healthy_children=threshold, inverted=inverted),
        *(HealthCheck(child, "HTTPS", failure_threshold=1) for child in children),
    )
    for child, ok in zip(children, up, strict=True):
        health.add(child, ok)

    assert health.status("c").healthy is ((len([ok for ok in up if ok]) >= threshold) is not inverted)


def test_calculated_check_counts_children_with_their_own_inversion() -> None:
    health = with_checks(
        HealthCheck("c", "CALCULATED", children=("down",), healthy_children=1),
        HealthCheck("down", "HTTPS", failure_threshold=1, inverted=True),
    )
    health.add("down", False)

    assert health.status("c").healthy
    assert [child.check.id for child in health.status("c").children if child.check] == ["down"]


def test_calculated_check_that_contains_itself_ends_and_says_so() -> None:
    status = with_checks(HealthCheck("c", "CALCULATED", children=("c",), healthy_children=1)).status("c")

    assert status.healthy
    assert status.children[0].why == "health check c has itself as a child"


def test_check_that_was_deleted_counts_as_healthy_and_is_named() -> None:
    assert with_checks().status("gone").why == "health check gone does not exist"


# --- alarms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "without_data", "healthy"),
    [
        ("OK", "Unhealthy", True),
        ("ALARM", "Healthy", False),
        ("INSUFFICIENT_DATA", "Healthy", True),
        ("INSUFFICIENT_DATA", "Unhealthy", False),
        ("INSUFFICIENT_DATA", "LastKnownStatus", True),
        (None, "Unhealthy", False),
    ],
)
def test_alarm_check_is_what_the_alarm_says(state: str | None, without_data: str, healthy: bool) -> None:
    alarms = {("us-east-1", "errors"): state} if state else {}
    status = with_checks(replace(ALARM, without_data=without_data), alarms=alarms).status("c")

    assert status.healthy is healthy
    assert "errors" in status.why


@pytest.mark.parametrize("before", ["OK", "ALARM"])
def test_alarm_check_without_data_keeps_its_last_known_status(before: str) -> None:
    check, key = replace(ALARM, without_data="LastKnownStatus"), ("us-east-1", "errors")
    health = with_checks(check, alarms={key: before})
    health.update([check], {key: "INSUFFICIENT_DATA"})

    assert health.status("c").healthy is (before == "OK")


# --- what is read ------------------------------------------------------------------------------------------------


def test_history_of_a_check_that_is_gone_or_looks_elsewhere_now_is_dropped() -> None:
    health = with_checks(HealthCheck("gone", "HTTPS"), HealthCheck("moved", "HTTPS"), HealthCheck("kept", "HTTPS"))
    for check_id in ("gone", "moved", "kept"):
        health.add(check_id, False)
    health.update([HealthCheck("moved", "HTTPS", path="/other"), HealthCheck("kept", "HTTPS", failure_threshold=9)])

    assert set(health.probes) == {"kept"}


def test_parse_fills_in_route_53_defaults() -> None:
    (check,) = parse_health_checks([{"Id": "h", "HealthCheckConfig": {"Type": "HTTP", "IPAddress": "192.0.2.1"}}])

    assert (check.address, check.port, check.path, check.interval_s) == ("192.0.2.1", 80, "/", 30)
    assert (check.failure_threshold, check.inverted, check.disabled) == (3, False, False)


def test_parse_takes_children_and_alarms() -> None:
    calculated, alarmed = parse_health_checks(
        [
            {"Id": "a", "HealthCheckConfig": {"Type": "CALCULATED", "ChildHealthChecks": ["x"], "HealthThreshold": 1}},
            {
                "Id": "b",
                "HealthCheckConfig": {
                    "Type": "CLOUDWATCH_METRIC",
                    "AlarmIdentifier": {"Region": "us-east-1", "Name": "errors"},
                    "InsufficientDataHealthStatus": "LastKnownStatus",
                    "Inverted": True,
                },
            },
        ]
    )

    assert (calculated.children, calculated.healthy_children) == (("x",), 1)
    assert (alarmed.alarm_region, alarmed.alarm_name, alarmed.without_data) == (
        "us-east-1",
        "errors",
        "LastKnownStatus",
    )
    assert alarmed.inverted
