"""The edge on the whole platform: what is set in Route 53 and CloudWatch decides, and `ops edge explain` says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ops.local.cities import CITIES
from ops.local.edge import asking
from tests.local.conftest import Atoll
from tests.local.platform import wait_until

US, INDIA = "us-east-1", "ap-south-1"


def explain(atoll: Atoll) -> dict[str, Any]:
    """What `ops edge explain --from Mumbai --json` prints, without the start of a process: it is asked often."""
    return asking.explain(atoll.cloud["edge_url"], "Mumbai")[0]


def candidate(found: dict[str, Any], region: str) -> dict[str, Any]:
    return next(one for one in found["candidates"] if one["region"] == region)


@pytest.fixture
def record(atoll: Atoll) -> Iterator[dict[str, Any]]:
    """India's latency record; what a test makes of it is put back."""
    route53 = atoll.client("route53", US)
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    listed = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    found = next(one for one in listed if one.get("Region") == INDIA)
    yield found
    upsert(atoll, found)
    wait_until(lambda: explain(atoll)["region"] == INDIA, "the record as it was")


def upsert(atoll: Atoll, record: dict[str, Any]) -> None:
    route53 = atoll.client("route53", US)
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    )


def test_explain_names_the_region_the_latency_and_the_probes(atoll: Atoll) -> None:
    wait_until(lambda: candidate(explain(atoll), INDIA)["healthy"], "enough probes", 60)
    found = atoll.ops("edge", "explain", "--from", "Mumbai", "--json").json
    near, far = found["candidates"]

    assert (found["city"], found["region"], found["reason"]) == ("Mumbai", INDIA, "the nearest region, and healthy")
    assert (near["rtt_ms"], near["rtt_source"], far["rtt_ms"]) == (3.0, "cloudping", 189.7)
    assert near["health"] == "2 of 2 child checks healthy, 2 needed"
    evacuation, own = sorted(near["check"]["children"], key=lambda child: not child["inverted"])
    assert (own["interval_s"], own["failure_threshold"], own["last_probe"]) == (10, 2, "/status answered 200")
    assert own["last_probe_age_s"] < 30
    assert evacuation["inverted"] is evacuation["healthy"] is True
    assert evacuation["last_probe"].startswith(f"/evacuated/{INDIA} answered ")
    assert far["left_out"] == "farther"


def test_explain_from_all_has_every_city_and_a_table_a_row_for_each(atoll: Atoll) -> None:
    found = atoll.ops("edge", "explain", "--from", "all", "--json").json

    assert [one["city"] for one in found] == list(CITIES)
    shown = atoll.ops("edge", "explain", "--from", "all").out
    assert all(city in shown for city in CITIES)


def test_explain_without_a_caller_is_from_the_city_nearest_to_home(atoll: Atoll) -> None:
    assert "New York -> us-east-1" in atoll.ops("edge", "explain").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "Atlantis"), "'Atlantis' is not a known city"),
        (("--stage", "dev", "--from", "Mumbai"), "'Mumbai' is not an IP address"),
        (("--stage", "staging"), "'staging' has no file"),
    ],
)
def test_explain_with_bad_input_exits_2(atoll: Atoll, arguments: tuple[str, ...], message: str) -> None:
    refused = atoll.ops("edge", "explain", *arguments, expect=2)

    assert message in " ".join(refused.err.split())


def test_inverted_health_check_sends_traffic_away_and_every_sdk_sees_it_inverted(atoll: Atoll) -> None:
    route53, check = atoll.client("route53", US), candidate(explain(atoll), INDIA)["check"]["id"]
    route53.update_health_check(HealthCheckId=check, Inverted=True)
    try:
        wait_until(lambda: explain(atoll)["region"] == US, "traffic to leave India")
        seen = candidate(explain(atoll), INDIA)
        assert (seen["healthy"], seen["left_out"], seen["check"]["inverted"]) == (False, "unhealthy", True)
        assert seen["health"].startswith("inverted: ")
        assert route53.get_health_check(HealthCheckId=check)["HealthCheck"]["HealthCheckConfig"]["Inverted"] is True

        route53.update_health_check(HealthCheckId=check, Inverted=True, Disabled=True)
        wait_until(lambda: candidate(explain(atoll), INDIA)["health"] == "inverted: disabled", "the disabled check")
    finally:
        route53.update_health_check(HealthCheckId=check, Inverted=False, Disabled=False)
    wait_until(lambda: explain(atoll)["region"] == INDIA, "traffic to come back")
    assert candidate(explain(atoll), INDIA)["check"]["disabled"] is False


def test_alarm_takes_its_region_away_and_gives_it_back(atoll: Atoll, record: dict[str, Any]) -> None:
    cloudwatch, route53 = atoll.client("cloudwatch", INDIA), atoll.client("route53", US)
    cloudwatch.put_metric_alarm(
        AlarmName="edge-test",
        Namespace="Test",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    check = route53.create_health_check(
        CallerReference="edge-test",
        HealthCheckConfig={
            "Type": "CLOUDWATCH_METRIC",
            "AlarmIdentifier": {"Region": INDIA, "Name": "edge-test"},
            "InsufficientDataHealthStatus": "Healthy",
        },
    )["HealthCheck"]["Id"]
    upsert(atoll, {**record, "HealthCheckId": check})
    for state, region in (("OK", INDIA), ("ALARM", US), ("OK", INDIA)):
        cloudwatch.set_alarm_state(AlarmName="edge-test", StateValue=state, StateReason="test")
        wait_until(lambda region=region: explain(atoll)["region"] == region, f"{region} with the alarm {state}")
    assert candidate(explain(atoll), INDIA)["health"] == "alarm edge-test in ap-south-1 is OK"


def test_routing_that_is_not_played_is_refused_by_name(atoll: Atoll, record: dict[str, Any]) -> None:
    geolocation = {key: value for key, value in record.items() if key not in ("Region", "HealthCheckId")}
    upsert(atoll, {**geolocation, "GeoLocation": {"CountryCode": "IN"}})
    refused = atoll.ops("edge", "explain", expect=3)

    assert "geolocation routing is not played" in " ".join(refused.err.split())
