"""Records: kept in S3 too, got from there by a machine that has none, and deleted when they are old and ours."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops import bucket
from ops.aws import Cloud
from ops.errors import UsageError
from ops.report import records
from ops.stage import ReportSettings, Stage, load_stage
from tests.unit.ops.report.made import record, run

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)
NAME = "20261123T060000Z"


def folder(root: Path, *names: str) -> list[Path]:
    made = []
    for name in names:
        path = root / name
        path.mkdir(parents=True)
        if "suites" in name:
            (path / "suite.json").write_text(json.dumps(record(run("metrics"))))
            (path / "index.html").write_text("<p>page</p>")
        else:
            (path / "result.json").write_text("{}")
            (path / "run.html").write_text("<p>page</p>")
        made.append(path)
    return made


def of(cloud: Cloud, keep_days: int = 30) -> bucket.Place:
    settings = ReportSettings(records="s3://kept/of/atoll", keep_days=keep_days)
    cloud.stage = cloud.stage.model_copy(update={"reports": settings})
    cloud.client("s3", cloud.stage.home_region).create_bucket(Bucket="kept")
    place = records.remote(cloud, cloud.stage)
    assert place is not None
    return place


def test_records_come_back_on_a_machine_that_has_none(account: Cloud, tmp_path: Path) -> None:
    place, here, there = of(account), tmp_path / "here", tmp_path / "there"
    made = folder(here, f"unit/suites/{NAME}-daily", f"unit/{NAME}-metrics", f"unit/suites/{NAME}-weekly")
    (made[1] / "half.json.part").touch()
    assert records.send(account, place, here, made) == 7
    keys = [key for key, _, _ in bucket.keys(account, place, "unit/")]
    assert len(keys) == 6
    assert not any(".part" in key for key in keys)
    found = account.client("s3", account.stage.home_region).get_object(
        Bucket="kept", Key=f"of/atoll/unit/{NAME}-metrics/run.html"
    )
    assert found["ContentType"] == "text/html"
    assert records.fetch(account, place, "unit", "daily", there) == 1
    assert (there / f"unit/suites/{NAME}-daily/suite.json").read_text() == (made[0] / "suite.json").read_text()
    assert not (there / f"unit/suites/{NAME}-weekly").exists()
    assert records.fetch(account, place, "unit", "daily", there) == 0


def test_send_puts_up_the_record_after_what_it_tells_of(
    account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = of(account)
    order: list[str] = []
    monkeypatch.setattr(records.bucket, "put", lambda account, place, key, body, kind: order.append(key))
    records.send(account, place, tmp_path, folder(tmp_path, f"unit/suites/{NAME}-daily", f"unit/{NAME}-metrics"))
    assert order[-1] == f"unit/suites/{NAME}-daily/suite.json"
    assert order[-2] == f"unit/{NAME}-metrics/result.json"


def test_expire_deletes_what_is_old_and_a_run_and_nothing_else(stage: Stage, tmp_path: Path) -> None:
    stage = stage.model_copy(update={"reports": ReportSettings(keep_days=30)})
    old = folder(tmp_path, "unit/20261020T060000Z-metrics", "unit/suites/20261020T060000Z-daily-2")
    kept = folder(
        tmp_path, "unit/20261025T060000Z-metrics", "unit/notes", "unit/20261020-notes", "other/20261020T060000Z-metrics"
    )
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "unit" / "20261001T060000Z-linked").symlink_to(outside)
    assert records.expire(tmp_path, stage, NOW) == 2
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in [*kept, outside])
    assert records.expire(tmp_path, stage, NOW) == 0
    assert records.expire(tmp_path / "none", stage, NOW) == 0


def test_expire_remote_deletes_old_runs_of_this_stage_only(account: Cloud, tmp_path: Path) -> None:
    place = of(account)
    made = folder(
        tmp_path,
        "unit/20261020T060000Z-metrics",
        "unit/suites/20261020T060000Z-daily",
        f"unit/{NAME}-metrics",
        "other/20261020T060000Z-metrics",
        "unit/notes",
    )
    records.send(account, place, tmp_path, made)
    assert records.expire_remote(account, place, account.stage, NOW) == 4
    left = {key.rpartition("/")[0] for key, _, _ in bucket.keys(account, place, "")}
    assert left == {f"unit/{NAME}-metrics", "other/20261020T060000Z-metrics", "unit/notes"}


def test_remote_is_none_where_the_folder_is_all_there_is(account: Cloud) -> None:
    assert records.remote(account, account.stage) is None
    assert records.remote(None, load_stage("prod")) is None
    stage = account.stage.model_copy(update={"reports": ReportSettings(records="operations")})
    place = records.remote(account, stage)
    assert place is not None
    assert (place.bucket, place.prefix) == (stage.operations_bucket(account.account, stage.home_region), "reports")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("records", "/a/folder"),
        ("records", "https://bucket/prefix"),
        ("keep_days", 0),
        ("topic_arn", "arn:aws:sqs:us-east-1:123456789012:queue"),
        ("webhook_secret", "https://hooks.example/T0/secret token"),
    ],
)
def test_stage_when_a_setting_of_reports_is_wrong_names_it(tmp_path: Path, key: str, value: object) -> None:
    import yaml

    raw = yaml.safe_load((Path("deploy/stages/local.yml")).read_text())
    raw["reports"] = {key: value}
    (tmp_path / "local.yml").write_text(yaml.safe_dump(raw))
    with pytest.raises(UsageError, match=rf"reports\.{key}"):
        load_stage("local", tmp_path)
