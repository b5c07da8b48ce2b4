"""Record sets are read as ListResourceRecordSets answers them."""

from __future__ import annotations

import pytest

from ops.local.edge.records import Record
from tests.unit.local.edge.support import NAME, listed, parsed

ALIAS = {"DNSName": "abc.execute-api.us-east-1.amazonaws.com.", "HostedZoneId": "Z", "EvaluateTargetHealth": True}


def test_latency_record_of_the_provision_runbook() -> None:
    zone = parsed(listed(SetIdentifier="us", Region="us-east-1", HealthCheckId="h"))

    assert zone.group("API.atoll.example.") == (
        Record(NAME, "CNAME", "x", "us", "latency", region="us-east-1", ttl_s=10, health_check_id="h"),
    )


@pytest.mark.parametrize(
    ("fields", "policy"),
    [
        ({}, "simple"),
        ({"SetIdentifier": "a", "Region": "us-east-1"}, "latency"),
        ({"SetIdentifier": "a", "Weight": 0}, "weighted"),
        ({"SetIdentifier": "a", "Failover": "PRIMARY"}, "failover"),
        ({"SetIdentifier": "a", "MultiValueAnswer": True}, "multivalue"),
    ],
)
def test_policy_of_a_record_set(fields: dict[str, object], policy: str) -> None:
    (record,) = parsed(listed(**fields)).group(NAME)

    assert record.policy == policy
    assert record.not_played == ""


def test_alias_has_the_time_to_live_of_an_aws_resource() -> None:
    alias = {key: value for key, value in listed(Type="A", AliasTarget=ALIAS).items() if key not in ("TTL",)}
    (record,) = parsed(alias).group(NAME)

    assert (record.alias, record.evaluate_target_health, record.ttl_s) == (True, True, 60)
    assert record.target == "abc.execute-api.us-east-1.amazonaws.com"


def test_a_records_answer_before_aaaa_and_other_types_do_not() -> None:
    zone = parsed(
        listed(Type="AAAA", AliasTarget=ALIAS),
        listed(Type="A", AliasTarget=ALIAS),
        listed(Type="TXT"),
        listed(Type="NS"),
    )

    assert [record.kind for record in zone.group(NAME)] == ["A"]


@pytest.mark.parametrize(
    ("key", "named"),
    [("GeoLocation", "geolocation"), ("GeoProximityLocation", "geoproximity"), ("CidrRoutingConfig", "IP-based")],
)
def test_policy_that_is_not_played_is_named(key: str, named: str) -> None:
    (record,) = parsed(listed(SetIdentifier="a", **{key: {}})).group(NAME)

    assert record.not_played == f"{named} routing is not played"


def test_name_without_record_sets_has_an_empty_group() -> None:
    assert parsed().group(NAME) == ()
