"""One client's connection to the stub: HTTP/1.1, keep-alive, and pages sent from where they were patched."""

from __future__ import annotations

import socket
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from tests.bench.scan.pages import Buffer, Template, key_of, place_of
from tests.bench.scan.service import RefusedError, Service
from tests.bench.scan.tables import NAMES, Table

CONTROL = "/_stub"
CHUNK = 1 << 16


class ClosedError(Exception):
    """The connection ends here."""


@dataclass
class Request:
    path: str
    region: str
    operation: str
    body: bytes


class Connection:
    """One client's requests, one after the other."""

    def __init__(self, service: Service, sock: socket.socket) -> None:
        self._service, self._sock = service, sock
        self._read = b""
        self._buffers: dict[Template, Buffer] = {}

    def serve(self) -> None:
        with suppress(ClosedError, OSError), self._sock:
            while True:
                self._answer(self._request())

    def _more(self) -> None:
        found = self._sock.recv(CHUNK)
        if not found:
            raise ClosedError
        self._read += found

    def _request(self) -> Request:
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            self._more()
        first, *lines = self._read[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(self._read) < end + 4 + length:
            self._more()
        body, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
        scope = headers.get("authorization", "").partition("Credential=")[2].split("/")
        return Request(
            first.split(" ")[1],
            scope[2] if len(scope) > 2 else "",
            headers.get("x-amz-target", "").rpartition(".")[2],
            body,
        )

    def _answer(self, request: Request) -> None:
        service = self._service
        asked = orjson.loads(request.body or b"{}")
        if request.path == CONTROL:
            self._send(orjson.dumps(service.control(asked)))
            return
        number = service.count(request.operation)
        try:
            if 0 < service.faults.expired_from <= service.counts["Scan"]:
                raise RefusedError(
                    "com.amazon.coral.service#ExpiredTokenException",
                    "The security token included in the request is expired",
                )
            if request.operation == "Scan":
                self._scan(service.table(request.region, asked["TableName"]), asked, number)
            elif request.operation == "DescribeTable":
                self._send(service.describe(request.region, asked))
            elif request.operation == "DescribeTimeToLive":
                ttl = {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
                self._send(orjson.dumps({"TimeToLiveDescription": ttl}))
            elif request.operation == "GetItem":
                self._send(service.get(request.region, asked))
            elif request.operation == "BatchGetItem":
                self._send(service.batch_get(request.region, asked))
            else:
                raise RefusedError("com.amazon.coral.service#UnknownOperationException", f"no {request.operation} here")
        except RefusedError as refused:
            self._send(orjson.dumps({"__type": refused.kind, "message": str(refused)}), refused.status)

    def _scan(self, table: Table, asked: dict[str, Any], number: int) -> None:
        service = self._service
        if service.faults.latency_ms:
            time.sleep(service.faults.latency_ms / 1000)
        if 0 < service.faults.hold_from <= number:
            threading.Event().wait()  # until the client is killed
        if service.due("throttle", number):
            raise RefusedError(
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded. Consider increasing your "
                "provisioning level with the UpdateTable API.",
            )
        if service.due("fail", number):
            raise RefusedError("com.amazonaws.dynamodb.v20120810#InternalServerError", "Internal server error", 500)
        if service.due("reset", number):
            raise ClosedError
        first, end = table.segment(asked.get("Segment", 0), asked.get("TotalSegments", 1))
        if "ExclusiveStartKey" in asked:
            place = place_of(asked["ExclusiveStartKey"])
            if place is None:
                raise RefusedError(
                    "com.amazon.coral.validate#ValidationException", "The provided starting key is invalid"
                )
            first = place[0] + 1
        self._send_page(table, asked, first, end, number)

    def _send_page(self, table: Table, asked: dict[str, Any], page: int, end: int, number: int) -> None:
        rows, whole, count = b"", False, 0
        template = _template(table, asked)
        if template is not table.template:
            self._service.count("projected")
        if page < end:
            if template not in self._buffers:
                self._buffers[template] = template.buffer()
            count, rows, whole = table.body(template, self._buffers[template], page)
        prefix = b'{"Count":%d,"Items":[' % count
        if asked.get("ReturnConsumedCapacity", "NONE") != "NONE":
            units = (128 if page < end else 1) * (1 if asked.get("ConsistentRead") else 0.5)
            used = {"CapacityUnits": units, "TableName": asked["TableName"]}
            prefix = b'{"ConsumedCapacity":' + orjson.dumps(used) + b"," + prefix[1:]
        suffix = b'],"ScannedCount":%d}' % count
        if page + 1 < end:
            last = orjson.dumps(key_of(page, table.shape.per_page - 1))
            suffix = b'],"LastEvaluatedKey":' + last + b',"ScannedCount":%d}' % count
        crc = template.crc(prefix, page) if whole else zlib.crc32(rows, zlib.crc32(prefix))
        crc = zlib.crc32(suffix, crc)
        if self._service.due("crc", number):
            crc ^= 1
        truncated = self._service.due("truncate", number)
        length = len(prefix) + len(rows) + len(suffix)
        self._write(_head(200, length, crc) + prefix, rows[: len(rows) // 2] if truncated else rows)
        if truncated:
            raise ClosedError
        self._write(suffix)

    def _send(self, body: bytes, status: int = 200) -> None:
        self._write(_head(status, len(body), zlib.crc32(body)) + body)

    def _write(self, *parts: bytes | memoryview) -> None:
        for part in parts:
            self._sock.sendall(part)


def _template(table: Table, asked: dict[str, Any]) -> Template:
    """What a Scan is to show of the items: all, or their keys."""
    expression = asked.get("ProjectionExpression")
    if expression is None:
        return table.template
    names = {asked.get("ExpressionAttributeNames", {}).get(one.strip(), one.strip()) for one in expression.split(",")}
    if names != set(NAMES):
        raise RefusedError("com.amazon.coral.validate#ValidationException", f"only the keys are projected, not {names}")
    return table.keys_template


def _head(status: int, length: int, crc: int) -> bytes:
    return (
        b"HTTP/1.1 %d %s\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: keep-alive\r\n"
        b"x-amzn-RequestId: 0\r\nx-amz-crc32: %d\r\nContent-Length: %d\r\n\r\n"
        % (status, b"OK" if status == 200 else b"Refused", crc, length)
    )
