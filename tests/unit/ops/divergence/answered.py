"""Scan pages from the tests' own DynamoDB (moto), which answers boto3 only: for tests of what stands on a scan."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.divergence.sources import Source


def by_boto3(monkeypatch: pytest.MonkeyPatch, client: Callable[[str], Any]) -> None:
    """Let pages be read through the boto3 client of their region, so that the call is seen as any other is."""
    monkeypatch.setattr("ops.divergence.wire.connect", lambda source: _Connection(source, client))


class _Connection:
    def __init__(self, source: Source, client: Callable[[str], Any]) -> None:
        self._client = client(source.region)
        self._answer = _Answer(HTTPStatus.OK, {})

    def request(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        asked = json.loads(body)
        if "ExclusiveStartKey" in asked:
            asked["ExclusiveStartKey"] = {
                name: {kind: base64.b64decode(value) if kind == "B" else value}
                for name, typed in asked["ExclusiveStartKey"].items()
                for kind, value in typed.items()
            }
        try:
            found = self._client.scan(**asked)
        except ClientError as error:
            self._answer = _Answer(HTTPStatus.BAD_REQUEST, {"__type": error.response["Error"]["Code"]})
            return
        found.pop("ResponseMetadata", None)
        self._answer = _Answer(HTTPStatus.OK, found)

    def getresponse(self) -> _Answer:
        return self._answer

    def close(self) -> None:
        pass


class _Answer(io.BytesIO):
    def __init__(self, status: HTTPStatus, body: Mapping[str, Any]) -> None:
        raw = json.dumps(body, default=lambda value: base64.b64encode(value).decode()).encode()
        super().__init__(raw)
        self.status, self.length = status, len(raw)

    def getheader(self, name: str) -> None:
        return None
