"""What an export says of itself: its summary and its list of data files, each held against its checksum.

What always holds: a manifest is believed only when its own checksum is right, it names each file once, and the items of
its files add up to what the summary says. A message names the object, what was expected and what was found.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from ops.errors import OpsError

FORMATS = ("DYNAMODB_JSON", "ION")
FULL, INCREMENTAL = "FULL_EXPORT", "INCREMENTAL_EXPORT"
SUMMARY = "manifest-summary.json"
# The page above has the second; exports have the first.
CHECKSUMS = (".md5", ".checksum")
AGAIN = "Export that replica again, or copy the export again from where it was made."

# An object's content, or None where there is none.
Fetch = Callable[[str], bytes | None]


@dataclass(frozen=True)
class DataFile:
    """One data file: its key in the bucket, the items in it, and the base64 of its MD5."""

    key: str
    items: int
    md5: str


@dataclass(frozen=True)
class Manifest:
    """One export.

    Attributes
    ----------
    form
        ``DYNAMODB_JSON`` or ``ION``.
    at, since
        Epoch seconds: what the data is as of, and, of an incremental export, from when on changes are in it.
    digest
        The base64 of the MD5 of the list of files.
    """

    uri: str
    bucket: str
    table_arn: str
    form: str
    at: float
    since: float | None
    items: int
    files: tuple[DataFile, ...]
    digest: str

    @property
    def incremental(self) -> bool:
        return self.since is not None

    def name(self, file: DataFile) -> str:
        return f"s3://{self.bucket}/{file.key}"


def md5_text(digest: bytes) -> str:
    """A digest as manifests write it."""
    return base64.b64encode(digest).decode("ascii")


def _md5(raw: bytes) -> str:
    return md5_text(hashlib.md5(raw, usedforsecurity=False).digest())


def load(fetch: Fetch, bucket: str, key: str) -> Manifest:
    """The manifest of an export, from the key of its ``manifest-summary.json``.

    Raises:
        OpsError: something is missing, damaged, or contradicts itself.
    """
    uri = f"s3://{bucket}/{key}"
    summary = _object(uri, _checked(fetch, bucket, key))
    form, kind = summary.get("outputFormat"), summary.get("exportType", FULL)
    if form not in FORMATS:
        raise OpsError(f"{uri}: outputFormat is {form!r}; expected {' or '.join(FORMATS)}", hint=AGAIN)
    if kind not in (FULL, INCREMENTAL):
        raise OpsError(f"{uri}: exportType is {kind!r}; expected {FULL} or {INCREMENTAL}", hint=AGAIN)
    incremental = kind == INCREMENTAL
    files_key = _field(uri, summary, "manifestFilesS3Key", str)
    listing = _checked(fetch, bucket, files_key)
    files = _files(f"s3://{bucket}/{files_key}", listing)
    items, listed = _field(uri, summary, "itemCount", int), sum(one.items for one in files)
    if listed != items:
        raise OpsError(
            f"{uri}: itemCount is {items:,}, and the {len(files):,} files of s3://{bucket}/{files_key} have {listed:,}",
            hint=AGAIN,
        )
    return Manifest(
        uri=uri,
        bucket=bucket,
        table_arn=_field(uri, summary, "tableArn", str),
        form=str(form),
        at=_time(uri, summary, "exportToTime" if incremental else "exportTime"),
        since=_time(uri, summary, "exportFromTime") if incremental else None,
        items=items,
        files=files,
        digest=_md5(listing),
    )


def _files(uri: str, raw: bytes) -> tuple[DataFile, ...]:
    found: dict[str, DataFile] = {}
    for number, line in enumerate(raw.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{uri}, line {number}"
        entry = _object(where, line)
        one = DataFile(
            key=_field(where, entry, "dataFileS3Key", str),
            items=_field(where, entry, "itemCount", int),
            md5=_field(where, entry, "md5Checksum", str),
        )
        if one.key in found:
            raise OpsError(f"{where}: {one.key} is listed a second time; expected each file once", hint=AGAIN)
        found[one.key] = one
    return tuple(found.values())


def _checked(fetch: Fetch, bucket: str, key: str) -> bytes:
    """An object that has its checksum beside it."""
    uri, stem = f"s3://{bucket}/{key}", key.removesuffix(".json")
    raw = fetch(key)
    if raw is None:
        raise OpsError(f"{uri} is missing", hint="The export is not complete, or was deleted: make it again.")
    expected = next((text for end in CHECKSUMS if (text := fetch(stem + end)) is not None), None)
    if expected is None:
        raise OpsError(f"s3://{bucket}/{stem}{CHECKSUMS[0]} is missing, so {uri} cannot be verified", hint=AGAIN)
    found = _md5(raw)
    if (wanted := expected.strip().decode("ascii", "replace")) != found:
        raise OpsError(f"{uri} is damaged: its MD5 is {found}, expected {wanted}", hint=AGAIN)
    return raw


def _object(where: str, raw: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(raw)
    except ValueError as error:
        raise OpsError(f"{where}: is no JSON: {error}", hint=AGAIN) from error
    if not isinstance(found, dict):
        raise OpsError(f"{where}: expected a JSON object, found {type(found).__name__}", hint=AGAIN)
    return found


def _field(where: str, found: Mapping[str, Any], name: str, kind: type) -> Any:
    value: Any = found.get(name)
    good = isinstance(value, kind) and not isinstance(value, bool)
    if not good or value == "" or (kind is int and value < 0):
        wanted = "a number of 0 or more" if kind is int else "a text"
        raise OpsError(f"{where}: {name} is {value!r}; expected {wanted}", hint=AGAIN)
    return value


def _time(where: str, found: Mapping[str, Any], name: str) -> float:
    text = _field(where, found, name, str)
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("it has no zone")
    except ValueError as error:
        raise OpsError(f"{where}: {name} is {text!r}; expected a time: {error}", hint=AGAIN) from error
    return at.timestamp()
