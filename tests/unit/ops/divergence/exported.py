"""Exports in a bucket that is a dictionary, and a cloud that has them: what reading is tested against."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from botocore.exceptions import ClientError
from urllib3.exceptions import ProtocolError

from ops.aws import Cloud
from ops.divergence.replicas import Described, Replica, Schema
from ops.local.emulator.exportfiles import line
from tests.planted import wire

BUCKET, SECOND = "exports", "2026-11-20T10:00:00.000Z"
SCHEMA = Schema(("pk", "sk"), ("S", "S"))


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


class Body(io.BytesIO):
    """Breaks off after ``until`` bytes, once, where that is asked for."""

    until = -1

    def read(self, size: int | None = -1, /) -> bytes:
        if 0 <= self.until <= self.tell():
            raise ProtocolError("Connection broken")
        return super().read(size if self.until < 0 else min(size or 0, self.until - self.tell()))


@dataclass
class Bucket:
    """Objects by key; stands in for the client of S3."""

    objects: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def get_object(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if asked["Key"] not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        start = int(asked.get("Range", "bytes=0-")[6:-1])
        body = Body(self.objects[asked["Key"]][start:])
        if self.breaks and "/data/" in asked["Key"]:
            body.until = self.breaks.pop()
        return {"Body": body, "ETag": '"tag"'}


@dataclass
class World:
    """Two replicas and their exports."""

    regions: Sequence[str] = ("us-east-1", "ap-south-1")
    table: str = "table"
    prefix: str = "some"
    bucket: Bucket = field(default_factory=Bucket)
    exports: list[str] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        stage = SimpleNamespace(home_region=self.regions[0])
        return cast("Cloud", SimpleNamespace(stage=stage, client=lambda service, region: self.bucket))

    @property
    def replicas(self) -> tuple[Replica, ...]:
        return tuple(Replica(region, region, self.table) for region in self.regions)

    @property
    def described(self) -> dict[Replica, Described | None]:
        return {
            one: Described(one, SCHEMA, 0, 0, "", frozenset(), {"TableArn": self.arn(one.region)})
            for one in self.replicas
        }

    def arn(self, region: str) -> str:
        return f"arn:aws:dynamodb:{region}:123456789012:table/{self.table}"

    def folder(self, region: str) -> str:
        return f"{self.prefix}/AWSDynamoDB/{region}"

    def write(self, region: str, files: Sequence[Sequence[str]], **changes: Any) -> None:
        """One export, of these lines a file, whose manifests say what is true but for ``changes``."""
        form = changes.get("outputFormat", "DYNAMODB_JSON")
        suffix, folder, entries = ("ion" if form == "ION" else "json"), self.folder(region), []
        for number, lines in enumerate(files):
            key, body = f"{folder}/data/file{number}.{suffix}.gz", gzip.compress("".join(lines).encode(), 1)
            self.bucket.objects[key] = body
            entries.append({"itemCount": len(lines), "md5Checksum": md5(body), "dataFileS3Key": key})
        self.manifest(region, entries, changes)
        self.exports.append(f"s3://{BUCKET}/{folder}/manifest-summary.json")

    def manifest(self, region: str, entries: Sequence[Mapping[str, Any]], changes: Mapping[str, Any]) -> None:
        folder = self.folder(region)
        self.put(f"{folder}/manifest-files", "".join(json.dumps(one) + "\n" for one in entries).encode())
        summary = {
            "version": "2020-06-30",
            "tableArn": self.arn(region),
            "exportTime": SECOND,
            "manifestFilesS3Key": f"{folder}/manifest-files.json",
            "itemCount": sum(one["itemCount"] for one in entries),
            "outputFormat": "DYNAMODB_JSON",
            "exportType": "FULL_EXPORT",
        }
        self.put(f"{folder}/manifest-summary", json.dumps(summary | dict(changes)).encode())

    def put(self, stem: str, body: bytes) -> None:
        self.bucket.objects[f"{stem}.json"] = body
        self.bucket.objects[f"{stem}.md5"] = md5(body).encode()


def files(items: Sequence[Mapping[str, Any]], form: str = "DYNAMODB_JSON", count: int = 3) -> list[list[str]]:
    """The lines of some items, in files."""
    lines = [line(wire(item), form) for item in items]
    return [lines[number::count] for number in range(count)]
