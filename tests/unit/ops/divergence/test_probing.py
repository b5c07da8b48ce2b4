"""The probe: what is not well is a failing check that says what to do, what is well passes, and nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from ops import charts
from ops.aws import Cloud
from ops.divergence import describe, groups, resolve
from ops.divergence.probing import Probe, probe
from ops.divergence.replicas import Described, Replica, Schema
from ops.divergence.settings import denial_of
from ops.record import Check
from tests.unit.ops.divergence.fakes import AP, EU, US, described

AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
TABLES = {one: described(one) for one in (US, AP, EU)}
MEMBER = {"RegionName": "eu-west-1", "ReplicaStatus": "ACTIVE"}


def look(cloud: Cloud, tables: dict[Replica, Described] | None = None) -> Probe:
    return probe(cloud, tables or TABLES, now=AT)


def failing(found: Probe) -> dict[str, str]:
    return {check.name: check.detail for check in found.checks() if not check.ok}


def one_of(found: Probe, name: str) -> Check:
    return next(check for check in found.checks() if check.name == name)


def with_member(**changes: Any) -> dict[Replica, Described]:
    """As a replica sees eu-west-1, which is otherwise well."""
    seen = [{"RegionName": one.region, "ReplicaStatus": "ACTIVE"} for one in (US, AP)]
    return {one: described(one, Replicas=[*seen, MEMBER | changes]) for one in (US, AP, EU)}


def test_probe_of_sound_replicas_passes_and_writes_nothing(account: Cloud, calls: Any) -> None:
    calls.clear()
    found = look(account)
    assert failing(found) == {}
    assert calls.mutating == []
    assert len(found.members_frame()) == 9
    assert list(found.frame()["replica"]) == [one.label for one in (US, AP, EU)]
    assert len(found.latency_frame()) == 6
    names = {check.name for check in found.checks()}
    assert {"us-east-1: table", "replica eu-west-1 seen by us-east-1", "same time to live"} <= names


def test_probe_when_a_replica_is_inaccessible_says_since_when_and_how_long_it_stays(account: Cloud) -> None:
    since = AT - timedelta(hours=13, minutes=30)
    state = "INACCESSIBLE_ENCRYPTION_CREDENTIALS"
    found = look(account, with_member(ReplicaStatus=state, ReplicaInaccessibleDateTime=since))
    said = failing(found)["replica eu-west-1 seen by us-east-1"]
    assert "inaccessible since 2026-10-31 22:30Z, 6 h 30 min of 20 h left before it leaves the group" in said
    assert "enable its KMS key" in said
    assert len(failing(found)) == 3
    late = look(account, with_member(ReplicaStatus=state, ReplicaInaccessibleDateTime=AT - timedelta(hours=21)))
    assert "the 20 h are over" in failing(late)["replica eu-west-1 seen by us-east-1"]
    frame = found.members_frame()
    assert set(frame[frame["member"] == "eu-west-1"]["left before it leaves the group"]) == {
        "6 h 30 min of 20 h left before it leaves the group"
    }


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("REGION_DISABLED", "enable the region"),
        ("REPLICATION_NOT_AUTHORIZED", "take the denial out"),
        ("CREATING", "wait"),
        ("SOMETHING_NEW", "look at the table"),
    ],
)
def test_probe_of_each_status_says_what_to_do(account: Cloud, status: str, advice: str) -> None:
    found = failing(look(account, with_member(ReplicaStatus=status)))
    assert advice in found["replica eu-west-1 seen by ap-south-1"]


def test_probe_when_settings_differ_names_them(account: Cloud) -> None:
    index = {"IndexName": "by_time", "IndexStatus": "CREATING", "Backfilling": True}
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 9}
    tables = {
        US: described(US, ttl="expires_at", ProvisionedThroughput=units, BillingModeSummary=None),
        AP: described(
            AP,
            ttl="expires_at",
            BillingModeSummary={"BillingMode": "PROVISIONED"},
            ProvisionedThroughput=units | {"WriteCapacityUnits": 5},
            GlobalSecondaryIndexes=[index],
            DeletionProtectionEnabled=True,
        ),
    }
    found = failing(look(account, tables))
    assert set(found) == {"ap-south-1: indexes", "same indexes", "same write capacity"}
    assert "by_time is CREATING, backfilling: wait" in found["ap-south-1: indexes"]
    assert "us-east-1: 9 write units; ap-south-1: 5 write units" in found["same write capacity"]
    both = look(account, tables)
    assert "differs: us-east-1: off; ap-south-1: on" in one_of(both, "same deletion protection").detail
    assert one_of(both, "same deletion protection").ok
    ttl = look(account, TABLES | {US: described(US, ttl="expires_at")})
    assert "set the same attribute in all" in failing(ttl)["same time to live"]


def test_probe_of_tables_that_are_no_global_table_says_so_and_skips_what_does_not_apply(account: Cloud) -> None:
    other = Replica("us-east-1/u", "us-east-1", "u")
    found = look(account, {US: described(US, ttl="expires_at"), other: described(other)})
    assert failing(found) == {}
    assert one_of(found, "one global table").detail.startswith("no: they are two tables, t and u")
    assert found.latencies == ()
    assert isinstance(found.chart(), charts.NoData)
    # What two tables may have otherwise is named all the same.
    assert one_of(found, "same time to live").detail.startswith("differs: ")


def test_probe_when_a_replica_left_the_group_says_that_they_are_not_one(account: Cloud) -> None:
    alone = {one: described(one, Replicas=[{"RegionName": r.region} for r in (US, AP)]) for one in (US, AP)}
    found = look(account, alone | {EU: described(EU, Replicas=[])})
    assert "neither table names the other among its replicas" in failing(found)["one global table"]
    assert len(found.latencies) == 2


def test_probe_of_the_legacy_version_and_of_a_table_that_is_not_active(account: Cloud) -> None:
    tables = TABLES | {US: described(US, GlobalTableVersion="2017.11.29", TableStatus="ARCHIVED")}
    found = failing(look(account, tables))
    assert "legacy" in found["us-east-1: version"]
    assert "restore the table from the backup" in found["us-east-1: table"]


# --- latency -----------------------------------------------------------------------------------------------------


def put_points(cloud: Cloud, source: str, target: str, *points: tuple[int, float]) -> None:
    for minutes, value in points:
        cloud.client("cloudwatch", source).put_metric_data(
            Namespace="AWS/DynamoDB",
            MetricData=[
                {
                    "MetricName": "ReplicationLatency",
                    "Dimensions": [
                        {"Name": "TableName", "Value": "t"},
                        {"Name": "ReceivingRegion", "Value": target},
                    ],
                    "Timestamp": datetime.now(UTC) - timedelta(minutes=minutes),
                    "Value": value,
                }
            ],
        )


def test_latency_is_read_where_the_writes_were_made_and_no_data_is_not_zero(account: Cloud) -> None:
    put_points(account, "us-east-1", "ap-south-1", (20, 900.0), (10, 700.0))
    put_points(account, "ap-south-1", "us-east-1", (15, 0.0))
    tables = {one: TABLES[one] for one in (US, AP, EU)}
    found = probe(account, tables, now=datetime.now(UTC))
    seen = {(one.source, one.target): one for one in found.latencies}
    there = seen[US.label, AP.label]
    assert (there.newest_ms, there.mean_ms, there.max_ms, there.points) == (700.0, 800.0, 900.0, 2)
    assert seen[AP.label, US.label].newest_ms == 0.0
    assert seen[EU.label, US.label].newest_ms is None
    assert "no data" in one_of(found, "replication latency eu-west-1 to us-east-1").detail
    assert "700 ms 1" in one_of(found, "replication latency us-east-1 to ap-south-1").detail
    assert found.latency_ms() == {(US.label, AP.label): 700.0, (AP.label, US.label): 0.0}
    chart = found.chart()
    assert isinstance(chart, charts.Chart)
    assert "ap-south-1 to us-east-1: 0 ms" in chart.summary
    assert "no data" in chart.summary


def test_latency_of_a_strongly_consistent_table_is_none(account: Cloud, calls: Any) -> None:
    tables = {one: described(one, MultiRegionConsistency="STRONG") for one in (US, AP, EU)}
    calls.clear()
    found = look(account, tables)
    assert {one.said for one in found.latencies} == {"none: it is strongly consistent (MRSC)"}
    assert not [call for call in calls.made if "GetMetricData" in call]
    assert failing(found) == {}


def test_latency_when_cloudwatch_does_not_answer_is_not_known(account: Cloud, calls: Any) -> None:
    def down() -> None:
        raise EndpointConnectionError(endpoint_url="https://monitoring.example")

    calls.on("before", "GetMetricData", down)
    found = look(account)
    assert all(one.said.startswith("not known: ") for one in found.latencies)
    assert failing(found) == {}


# --- key and policy, as moto keeps them --------------------------------------------------------------------------


def make(cloud: Cloud, region: str, **more: Any) -> str:
    made = cloud.client("dynamodb", region).create_table(
        TableName="t",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )
    return str(made["TableDescription"]["TableArn"])


def test_probe_reads_the_key_the_backups_and_the_policy_of_each_table(account: Cloud) -> None:
    kms = account.client("kms", "us-east-1")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    arn = make(account, "us-east-1", SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key})
    make(account, "ap-south-1")
    kms.schedule_key_deletion(KeyId=key.rpartition("/")[2], PendingWindowInDays=7)
    account.client("dynamodb", "ap-south-1").update_continuous_backups(
        TableName="t", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    account.client("dynamodb", "us-east-1").put_resource_policy(ResourceArn=arn, Policy=DENIED)
    found_tables = {one: table for one, table in describe(account, resolve(account, "t")).items() if table}
    found = probe(account, found_tables, now=AT)
    us, ap = (found.settings[region] for region in ("us-east-1", "ap-south-1"))
    assert us.key == key
    assert us.key_state.startswith("PendingDeletion, deleted on ")
    assert (us.recovery, ap.recovery.split(",")[0]) == ("off", "on")
    assert (us.denial, ap.denial) == ("StopReplication", "")
    said = failing(found)
    assert set(said) == {"us-east-1: encryption key", "us-east-1: replication is allowed"}
    assert "cancel its deletion" in said["us-east-1: encryption key"]
    assert "the table's resource policy denies it (StopReplication)" in said["us-east-1: replication is allowed"]


def test_probe_when_the_key_is_out_of_reach_says_since_when(account: Cloud) -> None:
    sse = {"Status": "ENABLED", "KMSMasterKeyArn": "arn:aws:kms:us-east-1:1:key/1", "SSEType": "KMS"}
    tables = TABLES | {US: described(US, SSEDescription=sse | {"InaccessibleEncryptionDateTime": AT})}
    said = failing(look(account, tables))["us-east-1: encryption key"]
    assert "DynamoDB cannot use arn:aws:kms:us-east-1:1:key/1 since 2026-11-01 12:00Z" in said


def statement(**changes: Any) -> str:
    role = "role/aws-service-role/replication.dynamodb.amazonaws.com/AWSServiceRoleForDynamoDBReplication"
    made = {
        "Sid": "StopReplication",
        "Effect": "Deny",
        "Principal": {"AWS": f"arn:aws:iam::123456789012:{role}"},
        "Action": ["dynamodb:PutItem", "dynamodb:Scan"],
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [made | changes]})


DENIED = statement()


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (DENIED, "StopReplication"),
        (statement(Sid=""), "statement 1"),
        (statement(Action="dynamodb:*"), "StopReplication"),
        (statement(Action="*", Principal="*"), "StopReplication"),
        (
            statement(
                Principal="*",
                Condition={"ArnLike": {"aws:PrincipalArn": "*/AWSServiceRoleForDynamoDBReplication"}},
            ),
            "StopReplication",
        ),
        (statement(Effect="Allow"), ""),
        (statement(Principal={"AWS": "arn:aws:iam::123456789012:role/reader"}), ""),
        (statement(Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}}), ""),
        (statement(Action="s3:GetObject"), ""),
        ("no policy", ""),
        ("{}", ""),
    ],
)
def test_denial_is_known_by_whom_and_what_it_denies(policy: str, named: str) -> None:
    assert denial_of(policy) == named


def test_pairs_of_tables_in_two_accounts_are_of_one_global_table_only_if_it_says_so() -> None:
    other = described(AP, TableArn="arn:aws:dynamodb:ap-south-1:999999999999:table/t")
    told = [{"RegionName": "ap-south-1", "ReplicaArn": other.raw["TableArn"]}]
    linked, apart = groups.pairs(
        {US: described(US, Replicas=told), AP: replace(other, raw={**other.raw, "Replicas": []})}
    )
    assert len(linked) == 2
    wrong = [{"RegionName": "ap-south-1", "ReplicaArn": "arn:aws:dynamodb:ap-south-1:123456789012:table/t"}]
    linked, apart = groups.pairs(
        {US: described(US, Replicas=wrong), AP: replace(other, raw={**other.raw, "Replicas": []})}
    )
    assert linked == []
    assert set(apart.values()) == {"neither table names the other among its replicas"}


def test_schema_is_shown_with_types() -> None:
    assert str(Schema(("pk",), ("B",))) == "pk (B)"
