"""A stand-in for DynamoDB that answers Scan as fast as loopback takes it, so that the client is what is measured.

A process of its own (``server``): plain HTTP/1.1 and TLS, keep-alive, one thread a connection. The region is the one
that a request was signed for. It answers Scan with parallel segments, GetItem, BatchGetItem, DescribeTable and
DescribeTimeToLive, each body with its ``x-amz-crc32``. Faults come on demand, every so many Scans, so that a run with
them can be repeated; a signature is not verified.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.bench.scan.connection import CONTROL
from tests.bench.scan.service import TABLE, Faults
from tests.bench.scan.tables import Shape

__all__ = ["TABLE", "Faults", "Shape", "Stub", "server"]


@dataclass(frozen=True)
class Stub:
    """A running server."""

    endpoint: str
    tls_endpoint: str
    authority: str  # the file of the certificate that signed the server's own
    shape: Shape

    def control(self, **faults: float) -> dict[str, Any]:
        """Set these faults and no others; what was counted since they were set last."""
        return self._ask({"faults": faults})

    def counts(self) -> dict[str, Any]:
        """Requests by operation, faults by kind, and ``cpu_s`` of the server."""
        return self._ask({})

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        unknown = set(body.get("faults", {})) - {one.name for one in fields(Faults)}
        if unknown:
            raise ValueError(f"faults: unknown {sorted(unknown)}")
        asked = urllib.request.Request(self.endpoint + CONTROL, data=json.dumps(body).encode())
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return dict(json.load(answer))


@contextmanager
def server(shape: Shape) -> Iterator[Stub]:
    """A server of these tables."""
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.scan", shape.to_json(), directory],
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            plain, tls = json.loads(process.stdout.readline())
            yield Stub(
                f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", str(Path(directory) / "certificate.pem"), shape
            )
        finally:
            process.terminate()
