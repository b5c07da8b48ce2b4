"""Exports of tables to S3, as DynamoDB plays them: IN_PROGRESS, then COMPLETED with its files, or FAILED with why.

What always holds: an export holds the items of its own region's table, each once; it is complete when its manifest is
there, which is written last; the same ClientToken makes no second one.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ExportTableToPointInTime.html

The emulator keeps no history of a table: an export has what the table held when it was asked for, whatever its
ExportTime. Incremental exports need that history, and are refused.
"""

from __future__ import annotations

import importlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ops.local.emulator.exportfiles import dealt, md5, written
from ops.local.emulator.scopes import Scope, entered, here

FORMATS = ("DYNAMODB_JSON", "ION")
WINDOW_S = 35 * 24 * 3600
# What two requests with one ClientToken have to agree on.
ASKED = ("TableArn", "ExportTime", "S3Bucket", "S3Prefix", "ExportFormat", "ExportType")

logger = logging.getLogger("atoll")


class RefusedError(Exception):
    """A request that DynamoDB answers with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Exports:
    """The exports of every account and region. Their records are in the emulator's state, with the rest."""

    def __init__(self) -> None:
        self._dynamodb = importlib.import_module("ministack.services.dynamodb")
        self._s3 = importlib.import_module("ministack.services.s3")
        self._lock = threading.Lock()

    def start(self, data: Any) -> Any:
        """Stands in for ``_export_table_to_point_in_time``."""
        try:
            with self._lock:
                export, lines = self._started(data)
        except RefusedError as refused:
            return self._dynamodb.error_response_json(refused.code, str(refused), 400)
        answer = dict(export)
        if lines is not None:
            arguments = (here(), export, lines)
            threading.Thread(target=self._run, args=arguments, name="export", daemon=True).start()
        return self._dynamodb.json_response({"ExportDescription": answer})

    def describe(self, data: Any) -> Any:
        """Stands in for ``_describe_export``."""
        with self._lock:
            export = self._dynamodb._exports.get(data.get("ExportArn"))
            found = None if export is None else dict(export)
        if found is None:
            message = f"Export not found: {data.get('ExportArn')}"
            return self._dynamodb.error_response_json("ExportNotFoundException", message, 400)
        return self._dynamodb.json_response({"ExportDescription": found})

    def backups(self, data: Any) -> Any:
        """Stands in for ``_describe_continuous_backups``: the window that exports can be of."""
        name = self._dynamodb._normalize_table_name(data.get("TableName"))
        table = self._dynamodb._tables.get(name)
        if table is None:
            return self._dynamodb.error_response_json("TableNotFoundException", f"Table not found: {name}", 400)
        found: dict[str, Any] = {"PointInTimeRecoveryStatus": "DISABLED"}
        if self._dynamodb._pitr_settings.get(name, False):
            earliest_s, latest_s = self._window(table)
            found = {
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": 35,
                "EarliestRestorableDateTime": earliest_s,
                "LatestRestorableDateTime": latest_s,
            }
        answer = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": found}
        return self._dynamodb.json_response({"ContinuousBackupsDescription": answer})

    def _window(self, table: Mapping[str, Any]) -> tuple[int, int]:
        now_s = int(time.time())
        return max(int(table.get("CreationDateTime", 0)), now_s - WINDOW_S), now_s

    def _started(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[list[str]] | None]:
        """The record of an export and the lines of its files; None for one that was asked for before.

        Raises:
            RefusedError: as AWS refuses.
        """
        arn = str(data.get("TableArn") or "")
        name = self._dynamodb._table_name_from_arn(arn)
        table = self._dynamodb._tables.get(name) if name else None
        if table is None:
            raise RefusedError("TableNotFoundException", f"Table not found: {arn}")
        asked = {name: data.get(name) for name in ASKED}
        asked["ExportFormat"] = asked["ExportFormat"] or FORMATS[0]
        asked["ExportType"] = asked["ExportType"] or "FULL_EXPORT"
        token = data.get("ClientToken")
        for export in self._dynamodb._exports.values() if token else ():
            if export.get("ClientToken") == token:
                if any(asked[name] is not None and export.get(name) != asked[name] for name in ASKED):
                    raise RefusedError("ExportConflictException", "Export with the same ClientToken is different.")
                return export, None
        if not asked["S3Bucket"]:
            raise RefusedError("ValidationException", "Value null at 's3Bucket' failed to satisfy constraint")
        if asked["ExportFormat"] not in FORMATS:
            raise RefusedError("ValidationException", f"exportFormat must be one of {', '.join(FORMATS)}")
        if asked["ExportType"] != "FULL_EXPORT":
            raise RefusedError(
                "ValidationException", "The local cloud keeps no history of a table, so it has no incremental exports."
            )
        if not self._dynamodb._pitr_settings.get(name, False):
            message = f"Point in time recovery is not enabled for table '{name}'"
            raise RefusedError("PointInTimeRecoveryUnavailableException", message)
        earliest_s, latest_s = self._window(table)
        at_s = float(asked["ExportTime"] or latest_s)
        if not earliest_s <= at_s <= latest_s:
            message = "The specified ExportTime is outside of the point in time recovery window."
            raise RefusedError("InvalidExportTimeException", message)
        export = {name: value for name, value in asked.items() if value is not None} | {
            "ExportArn": self._dynamodb._export_arn(arn),
            "ExportStatus": "IN_PROGRESS",
            "StartTime": time.time(),
            "ExportTime": at_s,
            "TableId": str(table.get("TableId", "")),
            "S3SseAlgorithm": data.get("S3SseAlgorithm") or "AES256",
        }
        if token:
            export["ClientToken"] = token
        # At once: the emulator changes items in place.
        lines = dealt(table["items"], str(asked["ExportFormat"]), export["ExportArn"])
        self._dynamodb._exports[export["ExportArn"]] = export
        return export, lines

    def _run(self, scope: Scope, export: dict[str, Any], lines: list[list[str]]) -> None:
        found: dict[str, Any] = {"ExportStatus": "COMPLETED"}
        try:
            with entered(scope):
                found |= self._write(export, lines)
        except RefusedError as refused:
            found = {"ExportStatus": "FAILED", "FailureCode": refused.code, "FailureMessage": str(refused)}
        except Exception as error:  # the record must say that it ended, whatever it was
            logger.exception("%s failed", export["ExportArn"])
            found = {"ExportStatus": "FAILED", "FailureCode": "InternalServerError", "FailureMessage": str(error)}
        with self._lock:
            export |= found | {"EndTime": time.time()}

    def _write(self, export: Mapping[str, Any], lines: list[list[str]]) -> dict[str, Any]:
        identity, prefix = export["ExportArn"].rpartition("/")[2], export.get("S3Prefix")
        folder = f"{prefix.rstrip('/')}/AWSDynamoDB/{identity}" if prefix else f"AWSDynamoDB/{identity}"
        bucket, form = export["S3Bucket"], export["ExportFormat"]
        self._put(bucket, f"{folder}/_started", b"")
        size, entries = 0, []
        for file in written(lines, form, identity):
            self._put(bucket, f"{folder}/{file.name}", file.body)
            entries.append(file.entry(folder))
            size += len(file.body)
        count = sum(entry["itemCount"] for entry in entries)
        files = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries).encode()
        self._put_checked(bucket, folder, "manifest-files", files)
        summary = {
            "version": "2020-06-30",
            "exportArn": export["ExportArn"],
            "startTime": _text(export["StartTime"]),
            "endTime": _text(time.time()),
            "tableArn": export["TableArn"],
            "tableId": export["TableId"],
            "exportTime": _text(export["ExportTime"]),
            "s3Bucket": bucket,
            "s3Prefix": prefix,
            "s3SseAlgorithm": export["S3SseAlgorithm"],
            "s3SseKmsKeyId": None,
            "manifestFilesS3Key": f"{folder}/manifest-files.json",
            "billedSizeBytes": size,
            "itemCount": count,
            "outputFormat": form,
            "exportType": "FULL_EXPORT",
        }
        self._put_checked(bucket, folder, "manifest-summary", json.dumps(summary, separators=(",", ":")).encode())
        manifest = f"{folder}/manifest-summary.json"
        return {"ExportManifest": manifest, "ItemCount": count, "BilledSizeBytes": size}

    def _put_checked(self, bucket: str, folder: str, name: str, body: bytes) -> None:
        self._put(bucket, f"{folder}/{name}.md5", md5(body).encode())
        self._put(bucket, f"{folder}/{name}.json", body)

    def _put(self, bucket: str, key: str, body: bytes) -> None:
        if self._s3._ensure_bucket(bucket) is None:
            raise RefusedError("S3NoSuchBucket", "The specified bucket does not exist")
        status, _, answer = self._s3._put_object(bucket, key, body, {})
        if status >= 300:
            raise RefusedError("S3AccessDenied", f"{bucket}/{key}: {answer!r}")


def _text(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
