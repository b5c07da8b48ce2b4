"""Exports of the emulator: what AWS writes, where it writes it, and what it refuses."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ops.local.emulator.exportfiles import ion
from ops.local.emulator.exports import Exports
from ops.local.emulator.scopes import Scope, entered
from sketch import Layout, Sketch
from tests.planted import plant, wire

SCOPE = Scope("000000000000", "eu-north-1")
ARN = f"arn:aws:dynamodb:{SCOPE.region}:{SCOPE.account}:table/exported"
PLANTED = plant(200)


class Bench:
    def __init__(self) -> None:
        self.dynamodb = importlib.import_module("ministack.services.dynamodb")
        self.s3 = importlib.import_module("ministack.services.s3")
        self.exports = Exports()

    def ask(self, **changes: Any) -> dict[str, Any]:
        answer = self.exports.start({"TableArn": ARN, "S3Bucket": "exports", **changes})
        return {"status": answer[0], **json.loads(answer[2])}

    def done(self, **changes: Any) -> dict[str, Any]:
        arn = self.ask(**changes)["ExportDescription"]["ExportArn"]
        for thread in threading.enumerate():
            if thread.name == "export":
                thread.join(20)
        found: dict[str, Any] = json.loads(self.exports.describe({"ExportArn": arn})[2])["ExportDescription"]
        return found

    def body(self, key: str) -> bytes:
        found = self.s3._get_object_data("exports", key)
        assert found is not None, key
        return bytes(found)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with entered(SCOPE):
        one = Bench()
        items: dict[Any, dict[Any, Any]] = {}
        for item in PLANTED.items["us-east-1"]:
            items.setdefault(item["pk"]["S"], {})[item["sk"]["S"]] = wire(item)
        one.dynamodb._tables["exported"] = {"items": items, "CreationDateTime": time.time() - 60, "TableId": "id"}
        one.dynamodb._pitr_settings["exported"] = True
        one.s3._create_bucket("exports", b"", {})
        yield one
        for key in list(one.s3._buckets["exports"]["objects"]):
            del one.s3._buckets["exports"]["objects"][key]
        del one.s3._buckets["exports"]
        del one.dynamodb._tables["exported"]
        for arn in list(one.dynamodb._exports):
            del one.dynamodb._exports[arn]


@pytest.mark.parametrize(("form", "suffix"), [("DYNAMODB_JSON", ".json.gz"), ("ION", ".ion.gz")])
def test_export_holds_each_item_once_in_files_that_its_manifests_name(bench: Bench, form: str, suffix: str) -> None:
    found = bench.done(ExportFormat=form, S3Prefix="atoll/")
    assert found["ExportStatus"] == "COMPLETED"
    summary = json.loads(bench.body(found["ExportManifest"]))
    assert summary["exportArn"] == found["ExportArn"]
    assert found["ExportManifest"].startswith("atoll/AWSDynamoDB/")
    files = bench.body(summary["manifestFilesS3Key"])
    checksum = bench.body(summary["manifestFilesS3Key"].removesuffix("json") + "md5")
    assert checksum == base64.b64encode(hashlib.md5(files, usedforsecurity=False).digest())
    whole, truth = Sketch(Layout(PLANTED.names)), Sketch(Layout(PLANTED.names))
    for line in files.splitlines():
        entry = json.loads(line)
        assert entry["dataFileS3Key"].endswith(suffix)
        add = whole.add_ion if form == "ION" else whole.add_lines
        assert add(gzip.decompress(bench.body(entry["dataFileS3Key"])), last=True) == entry["itemCount"]
    for item in PLANTED.items["us-east-1"]:
        truth.add_item(item)
    assert whole.checksum == truth.checksum
    assert summary["itemCount"] == truth.items


def test_two_exports_hold_the_items_in_other_orders(bench: Bench) -> None:
    def files() -> set[str]:
        summary = json.loads(bench.body(bench.done()["ExportManifest"]))
        entries = bench.body(summary["manifestFilesS3Key"]).splitlines()
        return {json.loads(entry)["md5Checksum"] for entry in entries}

    assert not files() & files()


def test_export_into_no_bucket_fails_and_says_so(bench: Bench) -> None:
    found = bench.done(S3Bucket="nowhere")
    assert (found["ExportStatus"], found["FailureCode"]) == ("FAILED", "S3NoSuchBucket")
    assert "ExportManifest" not in found


def test_same_client_token_makes_one_export_and_another_request_with_it_is_a_conflict(bench: Bench) -> None:
    first, again = bench.done(ClientToken="one"), bench.done(ClientToken="one")
    assert first["ExportArn"] == again["ExportArn"]
    assert bench.ask(ClientToken="one", ExportFormat="ION")["__type"].endswith("ExportConflictException")


def test_export_of_a_second_outside_of_the_window_is_refused(bench: Bench) -> None:
    window = json.loads(bench.exports.backups({"TableName": "exported"})[2])["ContinuousBackupsDescription"]
    earliest = window["PointInTimeRecoveryDescription"]["EarliestRestorableDateTime"]
    assert bench.ask(ExportTime=earliest - 1)["__type"].endswith("InvalidExportTimeException")
    assert bench.ask(ExportTime=earliest)["status"] == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"TableArn": ARN + "x"}, "TableNotFoundException"),
        ({"ExportFormat": "CSV"}, "ValidationException"),
        ({"ExportType": "INCREMENTAL_EXPORT"}, "ValidationException"),
        ({"S3Bucket": ""}, "ValidationException"),
    ],
)
def test_request_that_aws_refuses_is_refused(bench: Bench, changes: dict[str, Any], code: str) -> None:
    assert bench.ask(**changes)["__type"].endswith(code)


def test_table_without_point_in_time_recovery_is_not_exported(bench: Bench) -> None:
    bench.dynamodb._pitr_settings["exported"] = False
    assert bench.ask()["__type"].endswith("PointInTimeRecoveryUnavailableException")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"N": "103"}, "103."),
        ({"N": "8.5"}, "8.5"),
        ({"N": "1E+5"}, "1d5"),
        ({"N": "00.50"}, "0.5"),
        ({"NS": ["1"]}, "$dynamodb_NS::[1.]"),
        ({"B": "AA=="}, "{{AA==}}"),
        ({"M": {"a b": {"NULL": True}, "null": {"S": 'é"'}}}, '{"a b":null,"null":"é\\""}'),
    ],
)
def test_ion_is_written_as_dynamodb_writes_it(value: dict[str, Any], text: str) -> None:
    assert ion(value) == text
