"""Mode export on the local cloud: exports made by plan and token, in both formats, name exactly what was planted."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.divergence.survey import Survey
from sketch import keys
from tests.bench.divergence import EndpointCloud
from tests.local.conftest import Atoll
from tests.local.mortal import Point, export_survey, killed
from tests.local.test_divergence_scan import create, direct, write
from tests.planted import REGIONS, TTL_ATTRIBUTE, Planted, plant, text

ITEMS, TABLE = 20_000, "exported"
MODE = ("run", "divergence", "-p", "mode=export", "-p", f"tables={TABLE}", "-p", "settle_s=0.5", "--json")


@pytest.fixture(scope="module")
def planted(atoll: Atoll) -> Iterator[Planted]:
    """Two tables that nothing replicates, with every planted case among their items."""
    made = plant(ITEMS, seed=9)
    for region, items in made.items.items():
        client = direct(atoll, region)
        create(client, TABLE, made)
        write(client, TABLE, items)
        enabled = {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
        client.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=enabled)
        recovery(atoll, region, on=True)
    yield made
    for region in REGIONS:
        direct(atoll, region).delete_table(TableName=TABLE)


def recovery(atoll: Atoll, region: str, *, on: bool) -> None:
    direct(atoll, region).update_continuous_backups(
        TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
    )


def token(said: dict[str, Any]) -> tuple[str, str]:
    """Of a dry run's plan, and the second that it would export."""
    return said["plan"]["token"], said["plan"]["parameters"]["at"]


def confirmed(told: dict[str, Any], planted: Planted) -> dict[str, str]:
    kept = json.loads((Path(told["directory"]) / "findings.json").read_text())["findings"]["findings"]
    return {text(one["key"], planted.names): one["kind"] for one in kept}


@pytest.mark.parametrize("form", ["DYNAMODB_JSON", "ION"])
def test_exports_name_exactly_the_planted_differences(atoll: Atoll, planted: Planted, form: str) -> None:
    asked = (*MODE, "-p", f"export_format={form}")
    named, at = token(atoll.ops(*asked).json)
    told = atoll.ops(*asked, "-p", f"at={at}", "--apply", named, expect=1).json

    assert told["verdict"] == "fail"
    assert confirmed(told, planted) == planted.differing
    figures = told["figures"]
    assert figures["differences"] == len(planted.differing)
    assert figures["read_units"] == 0
    # What expired, and what had not been replicated yet at the moment of the export, is equal since.
    counted = {kind: count for kind, count in figures["classes"].items() if kind not in ("expired", "in flight")}
    assert counted == Counter(planted.differing.values())


def test_exports_that_are_there_are_read_without_a_token(atoll: Atoll, planted: Planted) -> None:
    named, at = token(atoll.ops(*MODE).json)
    atoll.ops(*MODE, "-p", f"at={at}", "--apply", named, expect=1)
    # The same plan again finds the same exports.
    atoll.ops(*MODE, "-p", f"at={at}", "--apply", named, expect=1)
    arns, folders = [], []
    for region in REGIONS:
        client = direct(atoll, region)
        arn = client.describe_table(TableName=TABLE)["Table"]["TableArn"]
        made = [
            client.describe_export(ExportArn=one["ExportArn"])["ExportDescription"]
            for one in client.list_exports(TableArn=arn)["ExportSummaries"]
        ]
        (ours,) = [one for one in made if one.get("ClientToken", "").startswith(named)]
        arns.append(ours["ExportArn"])
        folders.append(f"s3://{ours['S3Bucket']}/{ours['ExportManifest']}")

    for exports in (arns, folders):
        told = atoll.ops(*MODE, "-p", f"exports={','.join(exports)}", expect=1).json
        assert confirmed(told, planted) == planted.differing


def test_exports_killed_again_and_again_go_on_to_the_answer_of_an_undisturbed_run(
    atoll: Atoll, planted: Planted, tmp_path: Path
) -> None:
    """When one export was asked for, while they are waited for, and twice among their files."""
    rng = random.Random(11)
    cloud = EndpointCloud(atoll.cloud["endpoint_url"])
    _, at = token(atoll.ops(*MODE).json)
    options = {"table": TABLE, "at": at, "checkpoint": str(tmp_path / "killed")}
    # Of each of the two exports, summary and list are read with their checksums; then come four files of each.
    for point in (
        Point("ExportTableToPointInTime", 1, "after-call"),
        Point.anywhere(rng, "DescribeExport", 1, 2),
        Point.anywhere(rng, "GetObject", 9, 12),
        Point.anywhere(rng, "GetObject", 9, 12),
    ):
        killed(atoll.cloud["endpoint_url"], "export", point, **options)
    assert Path(options["checkpoint"]).exists()
    lines: list[str] = []
    resumed = export_survey(cloud, progress=lines.append, **options)
    undisturbed = export_survey(cloud, **options | {"checkpoint": str(tmp_path / "undisturbed")})

    assert any(line.startswith("going on from") for line in lines)
    assert told(resumed) == told(undisturbed)
    named = {keys.text(one.key, planted.names) for one in resumed.suspects}
    assert named - planted.deletable == set(planted.differing)
    arns = {region: direct(atoll, region).describe_table(TableName=TABLE)["Table"]["TableArn"] for region in REGIONS}
    for region, arn in arns.items():
        made = direct(atoll, region).list_exports(TableArn=arn)["ExportSummaries"]
        times = [
            direct(atoll, region).describe_export(ExportArn=one["ExportArn"])["ExportDescription"]["ExportTime"]
            for one in made
        ]
        assert [f"{one:%Y-%m-%dT%H:%M:%SZ}" for one in times].count(at) == 1, "an export was made twice"


def told(survey: Survey) -> tuple[object, ...]:
    """What a survey says, but for how long it took."""
    sides = [(one.label, one.items, one.size_bytes, one.pages, one.checksum) for one in survey.sides]
    return sides, survey.suspects, survey.figures


def test_replica_without_point_in_time_recovery_is_refused_with_what_to_do(atoll: Atoll, planted: Planted) -> None:
    recovery(atoll, REGIONS[1], on=False)
    try:
        told = atoll.ops(*MODE, expect=1).json
    finally:
        recovery(atoll, REGIONS[1], on=True)

    (failing,) = [one for one in told["checks"] if not one["ok"]]
    assert REGIONS[1] in failing["name"]
    assert "point-in-time recovery is off: turn it on" in failing["detail"]
