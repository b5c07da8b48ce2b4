"""The edge answers as Route 53 documents it: nearest healthy record, thresholds, inversion, TTL."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from ops.local.cities import CITIES, REGIONS, great_circle_km, nearest_city, round_trip_ms
from ops.local.routing import (
    Health,
    HealthCheck,
    LatencyRecord,
    ProbeHistory,
    ResolverCache,
    choose,
    parse_health_checks,
    parse_records,
)

THREE = ("us-east-1", "eu-west-1", "ap-south-1")


def record(region: str) -> LatencyRecord:
    return LatencyRecord(region, region, f"api.execute-api.{region}.amazonaws.com", 10, f"check-{region}")


def health(**states: bool) -> Health:
    made = Health()
    made.update(HealthCheck(f"check-{region}", "HTTPS", failure_threshold=1) for region in THREE)
    for region, ok in states.items():
        made.probe(f"check-{region.replace('_', '-')}").add(ok, 1)
    return made


def test_great_circle_between_new_york_and_london_is_5570_km() -> None:
    assert great_circle_km(CITIES["New York"], CITIES["London"]) == pytest.approx(5570, rel=0.01)


def test_round_trip_is_the_documented_formula() -> None:
    distance_km = great_circle_km(CITIES["Mumbai"], REGIONS["us-east-1"])
    assert round_trip_ms("Mumbai", "us-east-1") == pytest.approx(4 + 2 * 1.4 * distance_km / 200)


def test_nearest_city_to_virginia_is_on_its_coast() -> None:
    assert nearest_city("us-east-1") == "New York"


SUBSETS = list(chain.from_iterable(combinations(THREE, count) for count in range(4)))


@pytest.mark.parametrize("city", CITIES)
@pytest.mark.parametrize("up", SUBSETS, ids="+".join)
def test_choose_for_every_city_and_every_subset_of_healthy_regions(city: str, up: tuple[str, ...]) -> None:
    states = health(**{region.replace("-", "_"): region in up for region in THREE})
    choice = choose([record(region) for region in THREE], states, lambda region: round_trip_ms(city, region))
    expected = min(up or THREE, key=lambda region: great_circle_km(CITIES[city], REGIONS[region]))
    assert choice.chosen is not None
    assert choice.chosen.record.region == expected
    assert [one.healthy for one in choice.candidates] == [one.record.region in up for one in choice.candidates]


def test_choose_without_records_has_no_answer_and_says_why() -> None:
    choice = choose([], Health(), lambda _: 1.0)
    assert choice.chosen is None
    assert "no latency records" in choice.reason


def test_choose_names_the_nearer_region_that_is_unhealthy() -> None:
    choice = choose(
        [record("us-east-1"), record("ap-south-1")],
        health(ap_south_1=False),
        lambda region: round_trip_ms("Mumbai", region),
    )
    assert choice.reason == "the nearest healthy region; ap-south-1 is unhealthy"


def test_probe_history_turns_after_as_many_consecutive_probes_as_the_threshold() -> None:
    history = ProbeHistory()
    assert [history.add(ok, 2) for ok in (True, True)] == [False, False]
    assert history.healthy is True
    assert [history.add(ok, 2) for ok in (False, True, False, False)] == [False, False, False, True]
    assert history.healthy is False
    assert [history.add(ok, 2) for ok in (True, True)] == [False, True]


def test_new_health_check_is_healthy_until_there_is_enough_data() -> None:
    states = Health()
    states.update([HealthCheck("c", "HTTPS", failure_threshold=2)])
    states.probe("c").add(False, 2)
    assert states.status("c") == (True, "not enough data yet")


@pytest.mark.parametrize(
    ("check", "healthy"),
    [
        (HealthCheck("c", "HTTPS", disabled=True), True),
        (HealthCheck("c", "HTTPS", disabled=True, inverted=True), False),
        (HealthCheck("c", "HTTPS", inverted=True), False),
        (HealthCheck("c", "CLOUDWATCH_METRIC"), True),
        (HealthCheck("c", "CALCULATED", children=("up", "down"), healthy_children=1), True),
        (HealthCheck("c", "CALCULATED", children=("up", "down"), healthy_children=2), False),
        (HealthCheck("c", "CALCULATED", children=("up", "down"), healthy_children=2, inverted=True), True),
    ],
)
def test_status_of_a_check_that_is_not_simply_probed(check: HealthCheck, healthy: bool) -> None:
    states = Health()
    states.update([check, HealthCheck("up", "HTTPS"), HealthCheck("down", "HTTPS")])
    states.probe("up").add(True, 1)
    states.probe("down").add(False, 1)
    assert states.status("c")[0] is healthy


def test_calculated_check_that_contains_itself_ends() -> None:
    states = Health()
    states.update([HealthCheck("c", "CALCULATED", children=("c",), healthy_children=1)])
    assert states.status("c")[0] is True


def test_history_of_a_check_that_is_gone_is_dropped() -> None:
    states = health(us_east_1=False)
    states.update([])
    assert states.probes == {}


def test_resolver_keeps_an_answer_for_its_ttl_whatever_happens() -> None:
    now = [0.0]
    cache = ResolverCache(lambda: now[0])
    cache.put("Mumbai", record("ap-south-1"))
    now[0] = 9.9
    cached = cache.get("Mumbai")
    assert cached is not None
    assert cached[0].region == "ap-south-1"
    now[0] = 10.0
    assert cache.get("Mumbai") is None


def test_parse_records_takes_latency_records_of_the_name_only() -> None:
    sets = [
        {"Name": "atoll.example.", "Type": "NS", "TTL": 1, "ResourceRecords": [{"Value": "ns."}]},
        {
            "Name": "api.atoll.example.",
            "Type": "CNAME",
            "SetIdentifier": "us",
            "Region": "us-east-1",
            "TTL": 10,
            "ResourceRecords": [{"Value": "a.execute-api.us-east-1.amazonaws.com"}],
            "HealthCheckId": "h",
        },
        *(
            {
                "Name": "api.atoll.example.",
                "Type": kind,
                "SetIdentifier": "in",
                "Region": "ap-south-1",
                "AliasTarget": {"DNSName": "d-1.execute-api.ap-south-1.amazonaws.com.", "HostedZoneId": "Z"},
            }
            for kind in ("A", "AAAA")
        ),
        {"Name": "other.atoll.example.", "Type": "CNAME", "SetIdentifier": "x", "Region": "us-east-1", "TTL": 1},
        {"Name": "api.atoll.example.", "Type": "CNAME", "SetIdentifier": "w", "Weight": 1, "TTL": 1},
    ]
    assert parse_records(sets, "api.atoll.example") == [
        LatencyRecord("us", "us-east-1", "a.execute-api.us-east-1.amazonaws.com", 10, "h"),
        LatencyRecord("in", "ap-south-1", "d-1.execute-api.ap-south-1.amazonaws.com", 60, None),
    ]


def test_parse_health_checks_fills_in_route_53_defaults() -> None:
    config = {"Type": "HTTP", "FullyQualifiedDomainName": "a.example"}
    (check,) = parse_health_checks([{"Id": "h", "HealthCheckConfig": config}])
    assert (check.port, check.path, check.interval_s, check.failure_threshold) == (80, "/", 30, 3)
