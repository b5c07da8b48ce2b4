"""Findings: kept and found again as they were, and refused with the field that is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops import bucket, record
from ops.aws import Cloud
from ops.divergence import findings as kept
from ops.divergence.findings import Finding, Findings
from ops.divergence.replicas import Replica, Schema
from ops.errors import OpsError, RefusedError, UsageError

US, AP = "us-east-1", "ap-south-1"
RUN = "20260301T120000Z-divergence"
FOUND = Findings(
    run=RUN,
    stage="unit",
    account="123456789012",
    table="pair",
    replicas=(Replica(US, US, "pair"), Replica(AP, AP, "pair", "audit")),
    schema=Schema(("pk", "n"), ("B", "N")),
    ignore=("seen",),
    only=None,
    made=datetime(2026, 3, 1, 12, tzinfo=UTC),
    findings=(
        Finding({"pk": {"B": "AP8="}, "n": {"N": "-1.5"}}, "missing", {US: "0" * 32, AP: None}),
        Finding({"pk": {"B": "AQ=="}, "n": {"N": "7"}}, "stale", {US: "1" * 32, AP: "2" * 32}),
    ),
)


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the run, among the reports."""
    monkeypatch.setattr(record, "REPORTS", tmp_path / "reports")
    directory = tmp_path / "reports" / "unit" / RUN
    directory.mkdir(parents=True)
    return directory


def make_bucket(cloud: Cloud, name: str = "") -> str:
    name = name or bucket.place(cloud, US).bucket
    cloud.client("s3", US).create_bucket(Bucket=name)
    return name


def test_findings_when_saved_in_the_run_are_loaded_by_name_path_and_directory(account: Cloud, reports: Path) -> None:
    said: list[str] = []
    reference = kept.save(account, FOUND, reports, progress=said.append)
    assert reference == RUN
    assert "in the run's directory only" in said[0]
    for one in (reference, str(reports), str(reports / "findings.json")):
        assert kept.load(account, one) == FOUND


def test_findings_when_the_bucket_is_there_are_loaded_where_the_run_is_not(account: Cloud, tmp_path: Path) -> None:
    make_bucket(account)
    assert kept.save(account, FOUND, tmp_path) == RUN
    (tmp_path / "findings.json").unlink()
    assert kept.load(account, RUN) == FOUND


def test_findings_when_the_home_regions_bucket_is_away_are_kept_in_another(account: Cloud, tmp_path: Path) -> None:
    name = bucket.place(account, AP).bucket
    account.client("s3", AP).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": AP})
    assert kept.save(account, FOUND, tmp_path) == RUN
    assert kept.load(account, RUN) == FOUND


def test_findings_when_a_place_is_named_are_kept_there(account: Cloud, tmp_path: Path) -> None:
    make_bucket(account, "audits")
    reference = kept.save(account, FOUND, tmp_path, "s3://audits/atoll")
    assert reference == f"s3://audits/atoll/findings/{RUN}.json"
    assert kept.load(account, reference) == FOUND
    assert kept.load(account, RUN, "s3://audits/atoll") == FOUND


def test_save_when_the_named_place_is_not_there_says_so(account: Cloud, tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="there is no such bucket"):
        kept.save(account, FOUND, tmp_path, "s3://audits/atoll")


def test_findings_of_several_tables_are_files_of_their_own(account: Cloud, reports: Path) -> None:
    make_bucket(account)
    both = [replace(FOUND, run=f"{RUN}/{table}", table=table) for table in ("pair", "other.one")]
    references = [kept.save(account, one, reports) for one in both]
    assert [kept.load(account, reference) for reference in references] == both
    assert {path.name for path in reports.iterdir()} == {"findings-pair.json", "findings-other.one.json"}


def test_key_when_brought_to_the_wire_and_back_is_what_it_was() -> None:
    key: dict[str, dict[str, Any]] = {"pk": {"B": b"\x00\xff"}, "n": {"N": "-1.5"}}
    assert kept.client_key(Finding(kept.wire(key), "missing", {})) == key


def changed(**values: Any) -> bytes:
    file = {"version": 1, "findings": json.loads(kept._FILE.dump_json(kept._File(1, FOUND)))["findings"]}
    for path, value in values.items():
        inner: Any = file
        *parts, last = path.split("__")
        for part in parts:
            inner = inner[int(part) if part.isdigit() else part]
        inner[int(last) if last.isdigit() else last] = value
    return json.dumps(file).encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "x: the file: Invalid JSON"),
        (changed(version=2), "x: version: is 2, this release reads 1"),
        (changed(findings__table=None), "x: findings.table: Input should be a valid string"),
        (changed(findings__made="2026-03-01T12:00:00"), "x: findings.made: Input should have timezone info"),
        (changed(findings__replicas=[]), "x: replicas: two or more"),
        (changed(findings__schema__types=["B", "X"]), "x: schema: one or two key attributes"),
        (
            changed(findings__findings__1__kind="in flight"),
            "findings.1.kind: 'in flight' is not one of: missing, stale",
        ),
        (changed(findings__findings__0__key={"pk": {"B": "AP8="}}), "findings.0.key: has not the table's key"),
        (changed(findings__findings__0__key__pk={"B": "A"}), "findings.0.key: a binary value is not base64"),
        (changed(findings__findings__0__key__n={"S": "1"}), "findings.0.key: has not the table's key attributes"),
        (changed(findings__findings__0__digests={US: None}), "findings.0.digests: one for each replica"),
        (changed(findings__findings__0__digests={US: "f", AP: None}), "findings.0.digests: each is 32 hexadecimal"),
    ],
)
def test_parse_when_a_field_is_wrong_names_it(body: bytes, said: str) -> None:
    with pytest.raises(UsageError) as error:
        kept.parse(body, "x")
    assert str(error.value).startswith("findings: x: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("", "is empty"),
        ("nowhere.json", "there is no file nowhere.json; accepted: a run's name"),
        ("s3://audits", "names a bucket, not an object"),
        ("s3://audits/x.json", "there is nothing at s3://audits/x.json"),
        ("20260301T120000Z-divergence", "there are none of 20260301T120000Z-divergence; looked at "),
    ],
)
def test_load_when_there_is_nothing_says_where_it_looked(account: Cloud, reference: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"^findings: ") as error:
        kept.load(account, reference)
    assert said in str(error.value)


def test_load_when_findings_are_of_another_account_is_refused(account: Cloud, reports: Path) -> None:
    kept.save(account, replace(FOUND, account="999999999999"), reports)
    with pytest.raises(RefusedError, match="are of stage unit in account 999999999999, and this is stage unit"):
        kept.load(account, RUN)


def test_saved_findings_hold_keys_classes_and_digests_only(account: Cloud, reports: Path) -> None:
    kept.save(account, FOUND, reports)
    written = json.loads((reports / "findings.json").read_text())["findings"]["findings"]
    assert {name for one in written for name in one} == {"key", "kind", "digests"}
