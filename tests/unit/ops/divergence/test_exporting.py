"""Exports that are planned, asked for and waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ops.aws import Cloud
from ops.divergence.exports import make, plan
from ops.errors import InterruptedRunError, OpsError, RefusedError, UsageError
from ops.plan import Outcome, Plan
from tests.unit.ops.divergence.exported import World

US, AP = "us-east-1", "ap-south-1"
EARLIEST, LATEST = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 20, 10, 0, 5, 700_000, tzinfo=UTC)
WORLD = World()


@dataclass
class Tables:
    """DynamoDB and S3 of all regions; ``looks`` are the states that an export goes through, the last one stays."""

    recovery: dict[str, str] = field(default_factory=dict)
    buckets: bool = True
    looks: list[str] = field(default_factory=lambda: ["IN_PROGRESS", "COMPLETED"])
    asked: list[dict[str, Any]] = field(default_factory=list)
    looked: dict[str, int] = field(default_factory=dict)

    @property
    def cloud(self) -> Cloud:
        stage = SimpleNamespace(stage="unit", operations_bucket=lambda account, region: f"ops-{region}")
        client = {region: _Client(self, region) for region in (US, AP)}
        found = SimpleNamespace(stage=stage, account="123456789012", client=lambda service, region: client[region])
        return cast("Cloud", found)


@dataclass
class _Client:
    tables: Tables
    region: str

    def describe_continuous_backups(self, TableName: str) -> Any:  # noqa: N803
        status = self.tables.recovery.get(self.region, "ENABLED")
        window = {"EarliestRestorableDateTime": EARLIEST, "LatestRestorableDateTime": LATEST}
        found = {"PointInTimeRecoveryStatus": status, **(window if status == "ENABLED" else {})}
        return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": found}}

    def head_bucket(self, **_: Any) -> None:
        if not self.tables.buckets:
            raise ClientError({"Error": {"Code": "404"}}, "HeadBucket")

    def export_table_to_point_in_time(self, **asked: Any) -> Any:
        self.tables.asked.append(asked)
        return {"ExportDescription": {"ExportArn": f"{asked['TableArn']}/export/{asked['ClientToken']}"}}

    def describe_export(self, ExportArn: str) -> Any:  # noqa: N803
        number = self.tables.looked.get(ExportArn, 0)
        self.tables.looked[ExportArn] = number + 1
        status = self.tables.looks[min(number, len(self.tables.looks) - 1)]
        failure = {"FailureCode": "S3AccessDenied", "FailureMessage": "no"} if status == "FAILED" else {}
        return {"ExportDescription": {"ExportStatus": status, "ItemCount": 7, **failure}}


def planned(tables: Tables, **options: Any) -> Plan:
    return plan(tables.cloud, WORLD.replicas, WORLD.described, **options)


def made(tables: Tables, found: Plan, **options: Any) -> list[str]:
    quick: dict[str, Any] = {"clock": lambda: 0.0, "sleep": lambda seconds: None}
    return make(tables.cloud, found, found.token, **quick | options)


def test_plan_is_of_the_latest_whole_second_and_the_same_when_it_is_given() -> None:
    first = planned(Tables())
    assert first.parameters["at"] == "2026-11-20T10:00:05Z"
    assert planned(Tables(), at=first.parameters["at"]).token == first.token
    assert planned(Tables(), at="2026-11-20T10:00:04Z").token != first.token
    assert [step.after["bucket"] for step in first.changes] == [f"ops-{US}", f"ops-{AP}"]


@pytest.mark.parametrize(
    ("tables", "options", "detail"),
    [
        (Tables(recovery={AP: "DISABLED"}), {}, "point-in-time recovery is off: turn it on"),
        (Tables(buckets=False), {}, "there is no bucket ops-us-east-1: ops run provision"),
        (
            Tables(),
            {"at": "2026-10-01T00:00:00Z"},
            "2026-10-01T00:00:00Z is outside of what can be exported: 2026-11-01",
        ),
        (Tables(), {"at": "2026-12-01T00:00:00Z"}, "2026-12-01T00:00:00Z is outside of what can be exported"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_what_to_do(tables: Tables, options: Any, detail: str) -> None:
    found = planned(tables, **options)
    assert found.refusals[0].detail.startswith(detail)
    with pytest.raises(RefusedError, match="cannot be applied"):
        made(tables, found)
    assert tables.asked == []


def test_exports_are_of_one_second_and_are_waited_for() -> None:
    tables, outcomes, pauses = Tables(), list[Outcome](), list[float]()
    found = planned(tables, export_format="ION")
    arns = made(tables, found, report=outcomes.append, sleep=pauses.append)
    assert arns == [f"{WORLD.arn(region)}/export/{found.token}-{number}" for number, region in enumerate((US, AP))]
    assert {one["ExportTime"] for one in tables.asked} == {datetime(2026, 11, 20, 10, 0, 5, tzinfo=UTC)}
    assert {one["ExportFormat"] for one in tables.asked} == {"ION"}
    assert len(outcomes) == 2
    assert len(pauses) == 1


def test_incremental_exports_are_of_a_window() -> None:
    tables = Tables()
    made(tables, planned(tables, at="2026-11-20T10:00:00Z", since="2026-11-20T09:00:00Z"))
    assert tables.asked[0]["ExportType"] == "INCREMENTAL_EXPORT"
    assert tables.asked[0]["IncrementalExportSpecification"]["ExportFromTime"] == datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert "ExportTime" not in tables.asked[0]
    with pytest.raises(UsageError, match="15 minutes to 24 hours"):
        planned(tables, at="2026-11-20T10:00:00Z", since="2026-11-18T09:00:00Z")


def test_failed_export_is_told_with_its_reason() -> None:
    tables = Tables(looks=["FAILED"])
    with pytest.raises(OpsError, match=r"export/\S+ failed: S3AccessDenied: no"):
        made(tables, planned(tables))


def test_export_that_takes_too_long_or_is_interrupted_can_be_taken_up() -> None:
    tables = Tables(looks=["IN_PROGRESS"])
    found = planned(tables)
    with pytest.raises(OpsError, match="2 exports are not complete within 0 s") as late:
        made(tables, found, deadline_s=0)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match="the exports go on") as stopped:
        made(tables, found, sleep=interrupt)
    for raised in (late, stopped):
        assert f"-p exports={WORLD.arn(US)}/export/{found.token}-0,{WORLD.arn(AP)}" in raised.value.hint


def test_table_of_another_account_is_refused() -> None:
    tables = Tables()
    cloud = tables.cloud
    cloud.account = "999999999999"
    found = plan(cloud, WORLD.replicas, WORLD.described)
    assert "only this account's tables" in found.refusals[0].detail
