"""Tables served on the loopback interface as DynamoDB's Scan serves them, with faults on demand."""

from __future__ import annotations

import json
import re
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Item = dict[str, Any]
REGION = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/dynamodb/aws4_request")
# What a fault may be: a status and body, or one of "reset", "truncate", "corrupt"; None: no fault.
Fault = tuple[int, dict[str, str]] | str | None
THROTTLE: Fault = (400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"})
BROKEN: Fault = (500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "oops"})
EXPIRED: Fault = (400, {"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "it has expired"})


@dataclass
class Table:
    """One replica. ``salt`` makes another cut into segments; ``description`` is added to DescribeTable's answer.

    ``empty``: each page is preceded by one without items, as Scan may give; ``emptied`` are those given so far.
    """

    items: list[Item]
    names: tuple[str, ...] = ("pk", "sk")
    types: tuple[str, ...] = ("S", "S")
    page: int = 25
    salt: str = ""
    count: int | None = None
    empty: bool = False
    emptied: set[tuple[int, str]] = field(default_factory=set)
    description: dict[str, Any] = field(default_factory=dict)

    @property
    def before_all(self) -> Item:
        return {name: {kind: "0"} for name, kind in zip(self.names, self.types, strict=True)}

    def key(self, item: Mapping[str, Any]) -> Item:
        return {name: item[name] for name in self.names}

    def scan(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        segment, segments = asked.get("Segment", 0), asked.get("TotalSegments", 1)

        def place(item: Mapping[str, Any]) -> tuple[int, str]:
            text = json.dumps(self.key(item), sort_keys=True)
            return zlib.crc32((self.salt + text).encode()), text

        mine = sorted((one for one in self.items if place(one)[0] % segments == segment), key=place)
        after = asked.get("ExclusiveStartKey")
        if after == self.before_all:
            after = None
        rest = [one for one in mine if place(one) > place(after)] if after else mine
        shown = rest[: self.page]
        asked_for = (segment, json.dumps(after, sort_keys=True))
        skipped = self.empty and asked_for not in self.emptied
        if skipped:
            self.emptied.add(asked_for)
            shown = []
        if "ExpressionAttributeNames" in asked:
            names = set(asked["ExpressionAttributeNames"].values())
            shown = [{name: value for name, value in one.items() if name in names} for one in shown]
        answer: dict[str, Any] = {
            "Items": shown,
            "Count": len(shown),
            "ScannedCount": len(shown),
            "ConsumedCapacity": {"TableName": asked["TableName"], "CapacityUnits": 0.5 * max(1, len(shown))},
        }
        if skipped:
            answer["LastEvaluatedKey"] = asked.get("ExclusiveStartKey") or self.before_all
        elif len(rest) > self.page:
            answer["LastEvaluatedKey"] = self.key(rest[self.page - 1])
        return answer


class Server:
    """``tables`` by region and name. ``fault`` is asked before each Scan, with its number and request."""

    def __init__(self, tables: dict[tuple[str, str], Table]) -> None:
        self.tables = tables
        self.fault: Callable[[int, Mapping[str, Any]], Fault] = lambda number, asked: None
        self.scans: list[Mapping[str, Any]] = []
        self.connections = 0
        self.chunked = False
        self.url = ""
        self._lock = threading.Lock()

    def enter(self, asked: Mapping[str, Any]) -> int:
        with self._lock:
            self.scans.append(asked)
            return len(self.scans)


@contextmanager
def serving(tables: dict[tuple[str, str], Table], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Tables by region and name; over TLS when a context is given."""
    made = Server(tables)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            made.connections += 1

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = REGION.search(self.headers["Authorization"])
            assert found
            table = made.tables.get((found[1], asked["TableName"]))
            operation = self.headers["X-Amz-Target"].partition(".")[2]
            if table is None:
                self.answer(400, {"__type": "x#ResourceNotFoundException", "message": "no such table"})
            elif operation == "DescribeTable":
                self.answer(200, {"Table": described(table, asked["TableName"])})
            elif operation == "DescribeTimeToLive":
                self.answer(200, {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}})
            else:
                self.scan(table, asked)

        def scan(self, table: Table, asked: Mapping[str, Any]) -> None:
            fault = made.fault(made.enter(asked), asked)
            if isinstance(fault, tuple):
                self.answer(*fault)
            else:
                self.answer(200, table.scan(asked), fault)

        def answer(self, status: int, body: Mapping[str, Any], fault: str | None = None) -> None:
            raw = json.dumps(body).encode()
            if fault == "reset":
                self.close_connection = True
                return
            self.send_response(status)
            if made.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(raw)))
            self.send_header("x-amz-crc32", str(zlib.crc32(raw) ^ (fault == "corrupt")))
            self.end_headers()
            if made.chunked:
                parts = [raw[start : start + 700] for start in range(0, len(raw), 700)]
                raw = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))
            self.wfile.write(raw[:-5] if fault == "truncate" else raw)
            self.close_connection = fault == "truncate"

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda request, address: None  # type: ignore[method-assign]
        made.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def described(table: Table, name: str) -> dict[str, Any]:
    return {
        "TableName": name,
        "KeySchema": [
            {"AttributeName": one, "KeyType": kind} for one, kind in zip(table.names, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [
            {"AttributeName": one, "AttributeType": kind} for one, kind in zip(table.names, table.types, strict=True)
        ],
        "ItemCount": len(table.items) if table.count is None else table.count,
        "TableSizeBytes": 400 * len(table.items),
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        **table.description,
    }


def item(number: int, **attributes: Any) -> Item:
    return {"pk": {"S": f"P#{number % 7}"}, "sk": {"S": f"{number:05}"}, "n": {"N": str(number)}, **attributes}


def items(count: int) -> list[Item]:
    return [item(number) for number in range(count)]


def names_of(found: Sequence[bytes], text: Callable[[bytes], str]) -> set[str]:
    return {text(one) for one in found}
