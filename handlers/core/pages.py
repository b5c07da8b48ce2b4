"""Scan pages as the bytes that came off the wire, through botocore's own client.

Parsing a page into Python objects costs a hundred times what digesting its bytes does (docs/divergence-fleet.md), and
signing, credentials, retries and endpoints are botocore's business. So the client is kept, and the body of an answer is
taken from it just before it would be parsed, at the event ``before-parse``. The event is no documented part of
botocore, and the runtime brings its own version: where it does not come, botocore has parsed the page as ever, and that
is handed over instead. Slower, never wrong.

The toolkit's ``scan`` mode has a transport of its own (ops/divergence/wire.py), because there one process reads all
segments and each millisecond of a page counts; here a function reads one segment and waits for DynamoDB.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_EVENT, _ID = "before-parse.dynamodb.Scan", "atoll-pages"
_NOTHING = b"{}"


class CorruptPageError(Exception):
    """The page is not what DynamoDB sent: its CRC-32 differs."""


@dataclass(frozen=True)
class Fetched:
    """One page: its ``body``, or, where that could not be had, the ``answer`` as botocore's client gives it."""

    body: bytes
    answer: Mapping[str, Any]


class Pages:
    """Fetches the pages of one table. Made by :func:`open_pages`; of one thread."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client
        self._body = b""

    def fetch(self, **parameters: Any) -> Fetched:
        """One call of Scan, with botocore's retries.

        Raises:
            CorruptPageError: what arrived is not what was sent.
            ClientError, BotoCoreError: as botocore raises them.
        """
        self._body = b""
        answer = self._client.scan(**parameters)
        return Fetched(self._body, answer)

    def take(self, response_dict: dict[str, Any], **_: Any) -> None:
        """Keep the body of a good answer, and leave nothing to parse."""
        if response_dict["status_code"] != 200:
            return
        body, headers = response_dict["body"], response_dict["headers"]
        sent = headers.get("x-amz-crc32")
        if sent is not None and zlib.crc32(body) != int(sent):
            raise CorruptPageError(f"a page of {len(body)} bytes has another CRC-32 than DynamoDB sent")
        self._body, response_dict["body"] = bytes(body), _NOTHING


@contextmanager
def open_pages(client: DynamoDBClient) -> Iterator[Pages]:
    """Take part in the client's answers to Scan; they cannot be had otherwise meanwhile."""
    pages = Pages(client)
    client.meta.events.register(_EVENT, pages.take, unique_id=_ID)
    try:
        yield pages
    finally:
        client.meta.events.unregister(_EVENT, unique_id=_ID)


def start_key(position: bytes) -> dict[str, Any]:
    """A LastEvaluatedKey off the wire as the client takes an ExclusiveStartKey: binary as bytes."""
    return {
        name: {kind: base64.b64decode(value) if kind == "B" else value for kind, value in typed.items()}
        for name, typed in json.loads(position).items()
    }


def position(key: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The reverse of :func:`start_key`."""
    wire = {
        name: {kind: base64.b64encode(value).decode("ascii") if kind == "B" else value for kind, value in typed.items()}
        for name, typed in key.items()
    }
    return json.dumps(wire, separators=(",", ":")).encode("ascii")
