"""Every reason is named, none stops the next, and of the region that is left nothing is demanded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from ops import metrics, status, token
from ops.aws import Cloud
from ops.errors import OpsError
from ops.failover import capacity, experiments, flag, planning, preflight
from ops.failover.experiments import Found
from ops.failover.request import request
from ops.failover.watching import Answer
from ops.provision.alarms import composite_name, region_alarm_name
from ops.stage import Stage
from ops.status import QueueDepth, RegionStatus
from tests.unit.ops.failover.leaving.conftest import AP, EU, US, Silence

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
CITIES = {"New York": Answer(US, 200), "Mumbai": Answer(AP, 200)}


def seen(region: str, *, problems: tuple[str, ...] = (), code: int = 200, dlq: int = 0) -> RegionStatus:
    dlqs = [QueueDepth("atoll-unit-store-dlq", dlq)]
    url = f"https://{region}.invalid"
    return RegionStatus(
        region, not problems, "CREATE_COMPLETE", url, code, False, "b", "a", "j", "ACTIVE", [], dlqs, [*problems]
    )


@pytest.fixture
def world(replicas: Cloud, silence: Silence, monkeypatch: pytest.MonkeyPatch) -> dict[str, RegionStatus]:
    """What each region says of itself; the rest is quiet and well."""
    regions = {region: seen(region) for region in (US, AP, EU)}
    points = pd.DataFrame(columns=metrics.COLUMNS).astype({"value": "float64"})
    points["time"] = pd.to_datetime(points["time"], utc=True)
    monkeypatch.setattr(status, "region_status", lambda cloud, region: regions[region])
    monkeypatch.setattr(preflight, "alarms_on", lambda cloud, region: [])
    monkeypatch.setattr(experiments, "look", lambda cloud, found: Found())
    monkeypatch.setattr(preflight._Look, "_read_points", lambda look, region: points)
    monkeypatch.setattr(preflight._Look, "replicas_active", lambda look: [])
    return regions


def reasons(found: preflight.Preflight) -> dict[tuple[str, str], str]:
    return {(one.name, one.region): one.seen for one in found.reasons}


def test_well_stage_has_no_reason(replicas: Cloud, world: Any) -> None:
    found = preflight.preflight(replicas, request(replicas.stage, "evacuate", US))
    assert reasons(found) == {}
    assert (found.healthy, found.silent) == ((AP, EU), ())


def test_sick_region_is_left_all_the_same_and_is_not_drilled(replicas: Cloud, world: dict[str, RegionStatus]) -> None:
    world[US] = seen(US, problems=("/status answers 503 degraded",), code=503, dlq=7)
    assert reasons(preflight.preflight(replicas, request(replicas.stage, "evacuate", US))) == {}
    drill = preflight.preflight(replicas, request(replicas.stage, "drill", US), tokens=lambda: 3600.0)
    assert set(reasons(drill)) == {("region", US), ("DLQs", US)}


def test_silent_region_is_not_asked_further_and_is_no_reason(
    replicas: Cloud, world: dict[str, RegionStatus], silence: Silence
) -> None:
    silence.regions = {US}
    del world[US]
    found = preflight.preflight(replicas, request(replicas.stage, "evacuate", US))
    assert (reasons(found), found.silent) == ({}, (US,))
    assert {one.name for one in found.findings if one.verdict == "unknown"} >= {"region"}


@pytest.mark.parametrize("mode", ["evacuate", "failback", "drill"])
def test_alarm_that_says_that_traffic_is_kept_away_from_the_region_is_no_reason_and_others_are(
    replicas: Cloud, world: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Those of Route 53's metrics are in us-east-1, whichever region they are about."""
    on = [composite_name(replicas.stage), region_alarm_name(replicas.stage, AP)]
    monkeypatch.setattr(preflight, "alarms_on", lambda cloud, region: on if region == US else [])
    monkeypatch.setattr(preflight, "ALARM_PATIENCE_S", 0.0)
    asked = request(replicas.stage, mode, AP)
    about = {one: seen for one, seen in reasons(preflight.preflight(replicas, asked)).items() if one[0] == "alarms"}
    assert about == {}
    on.append(region_alarm_name(replicas.stage, EU))
    about = {one: seen for one, seen in reasons(preflight.preflight(replicas, asked)).items() if one[0] == "alarms"}
    assert about == {("alarms", US): "atoll-unit-global-eu-west-1"}


def test_all_reasons_are_named_and_force_goes_past_them(replicas: Cloud, world: dict[str, RegionStatus]) -> None:
    world[AP] = seen(AP, problems=("stack is UPDATE_FAILED",), dlq=2)
    flag.set_flag(replicas, EU, reason="", by="bob", run="r")
    asked = request(replicas.stage, "evacuate", US, force=True)
    found = preflight.preflight(replicas, asked)
    assert set(reasons(found)) == {("region", AP), ("DLQs", AP), ("evacuation", EU)}
    assert found.refusals == []
    plan = planning.plan(replicas, asked, found, CITIES)
    assert sum(line.startswith("gone past, because force is true") for line in plan.warnings) == 3


def test_force_does_not_go_past_no_healthy_survivor(replicas: Cloud, world: dict[str, RegionStatus]) -> None:
    for region in (AP, EU):
        world[region] = seen(region, problems=("/status gives no answer",), code=503)
    found = preflight.preflight(replicas, request(replicas.stage, "evacuate", US, force=True))
    assert [step.resource for step in found.refusals] == ["healthy survivors"]


@pytest.mark.parametrize(("life_s", "ok"), [(3600.0, True), (200.0, False)])
def test_token_of_a_drill_has_to_outlive_it(replicas: Cloud, world: Any, life_s: float, ok: bool) -> None:
    found = preflight.preflight(replicas, request(replicas.stage, "drill", US, minutes=1), tokens=lambda: life_s)
    assert (("access token", "") not in reasons(found)) is ok


def test_issuer_that_fails_is_a_reason(replicas: Cloud, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cloud: Cloud, name: str) -> Any:
        raise OpsError("no issuer")

    monkeypatch.setattr(token, "read_client", fail)
    found = preflight.preflight(replicas, request(replicas.stage, "drill", US))
    assert reasons(found)["access token", ""] == "no issuer"


def frame(resource: str, *values: float) -> pd.DataFrame:
    times = pd.date_range(NOW, periods=len(values), freq="min")
    return pd.DataFrame({"time": times, "resource": resource, "value": values})


def test_capacity_shows_its_arithmetic(stage: Stage) -> None:
    made = capacity.capacity(stage, {US: frame("api", 600, 6000), AP: frame("api", 600, 6000)}, [AP, EU], 5)
    assert (made.wanted_per_s, made.offered_per_s, made.enough) == (205, 200, False)
    assert "busiest minute at 03:01Z: 200.0/s" in made.arithmetic
    assert "throttle 100/s * 2 = 200/s" in made.arithmetic
    assert capacity.capacity(stage, {US: frame("api", 600)}, [AP], 0).enough


# --- the plan --------------------------------------------------------------------------------------------------------


def test_no_step_of_an_evacuation_needs_a_control_plane_of_the_region_that_is_left(replicas: Cloud, world: Any) -> None:
    asked = request(replicas.stage, "evacuate", US)
    needs = planning.needs(replicas.stage, asked)
    assert [need for need in needs if need.plane == "control" and US in need.region] == []
    flagged = next(need for need in needs if need.step == "set the flag")
    assert (flagged.service, flagged.plane, flagged.region) == ("DynamoDB", "data", AP)


def test_second_way_warns_when_route_53_is_changed_where_one_leaves(replicas: Cloud, world: Any) -> None:
    for region, warned in ((US, True), (AP, False)):
        lines = planning.second_way(replicas, request(replicas.stage, "evacuate", region))
        depends = next(line["command or warning"] for line in lines if line["what"] == "depends on")
        assert ("do not count on it" in depends) is warned


def test_plan_of_an_evacuation_is_the_same_twice_and_another_once_it_is_left(replicas: Cloud, world: Any) -> None:
    asked = request(replicas.stage, "evacuate", US, reason="gray")

    def token_now() -> str:
        return planning.plan(replicas, asked, preflight.preflight(replicas, asked), CITIES).token

    first = token_now()
    assert first == token_now()
    flag.set_flag(replicas, US, reason="gray", by="ada", run="r")
    assert token_now() != first


def test_only_a_drill_is_approved_by_the_stage_file(stage: Stage) -> None:
    approving = stage.model_copy(update={"failover": stage.failover.model_copy(update={"approve_drills": True})})
    assert planning.approval(approving, request(approving, "drill", US))
    assert not planning.approval(stage, request(stage, "drill", US))
    assert not planning.approval(approving, request(approving, "evacuate", US))
