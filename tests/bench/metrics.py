"""How fast a day of metrics is collected, against the loop that one writes first: a call a metric, region by region.

Both ask the same stub of CloudWatch, a process of its own, which answers every call after :data:`LATENCY_MS` with a
point a minute, rendered ahead, in the protocol that botocore speaks. ``python -m tests.bench.metrics`` prints the
seconds and the calls of either.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pandas as pd

from ops.aws import CONFIG, new_session
from ops.metrics import collecting
from ops.metrics.series import Series
from ops.stack import Stack
from ops.stage import load_stage

REGIONS, METRICS, MINUTES, LATENCY_MS = ("us-east-1", "eu-west-1", "ap-south-1"), 40, 24 * 60, 100
START = datetime(2026, 11, 16, tzinfo=UTC)
END = START + timedelta(minutes=MINUTES)


def catalogue(*_: Any) -> list[Series]:
    """So many metrics of a region."""
    return [
        Series(f"function/f{n}", "AWS/Lambda", "Invocations", (("FunctionName", f"f{n}"),), "Sum", "count")
        for n in range(METRICS)
    ]


# --- the stub ----------------------------------------------------------------------------------------------------


@cache
def answer(queries: int, minutes: int) -> bytes:
    """An answer of GetMetricData to so many queries ``q0``, ``q1`` and so on."""
    times = [int(START.timestamp()) + 60 * n for n in range(minutes)]
    values = [float(n % 97) for n in range(minutes)]
    results = [{"Id": f"q{n}", "StatusCode": "Complete", "Timestamps": times, "Values": values} for n in range(queries)]
    return json.dumps({"MetricDataResults": results}).encode()


class _Stub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        body = answer(asked.count(b"MetricStat"), MINUTES)
        time.sleep(LATENCY_MS / 1000)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the bench's output is its figures."""


@contextmanager
def server() -> Iterator[str]:
    """The stub in a process of its own; yields its endpoint."""
    command = [sys.executable, "-m", "tests.bench.metrics", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


# --- both ways ---------------------------------------------------------------------------------------------------


class Bench:
    """A cloud whose regions are all the stub's."""

    def __init__(self, endpoint: str) -> None:
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        self._made: dict[str, Any] = {"endpoint_url": endpoint, **keys}
        made = new_session()
        self._clients: dict[str, Any] = {
            region: made.client("cloudwatch", region_name=region, config=CONFIG, **self._made) for region in REGIONS
        }
        self.stage = load_stage("local").model_copy(update={"regions": list(REGIONS)})
        collecting.catalogue = catalogue
        collecting.stack.read = lambda cloud, region: Stack()

    def client(self, service: str, region: str) -> Any:
        return self._clients[region]

    def ours(self) -> float:
        """Seconds that :func:`ops.metrics.collect` takes."""
        begun = time.perf_counter()
        frame = collecting.collect(self, START, END, 60)  # type: ignore[arg-type]
        seconds = time.perf_counter() - begun
        assert len(frame) == len(REGIONS) * METRICS * MINUTES
        return seconds

    def loop(self) -> float:
        """Seconds of a call a metric."""
        begun, rows = time.perf_counter(), []
        for region in REGIONS:
            client: Any = boto3.client("cloudwatch", region_name=region, **self._made)
            for one in catalogue():
                found = client.get_metric_data(MetricDataQueries=[one.query("q0", 60)], StartTime=START, EndTime=END)
                result = found["MetricDataResults"][0]
                points = zip(result["Timestamps"], result["Values"], strict=True)
                rows += [(moment, region, one.resource, value) for moment, value in points]
        frame = pd.DataFrame(rows, columns=["time", "region", "resource", "value"])
        assert len(frame) == len(REGIONS) * METRICS * MINUTES
        return time.perf_counter() - begun


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        with ThreadingHTTPServer(("127.0.0.1", 0), _Stub) as stub:
            # The other process reads it.
            sys.stdout.write(f"http://127.0.0.1:{stub.server_port}\n")
            sys.stdout.flush()
            stub.serve_forever()
    with server() as endpoint:
        bench = Bench(endpoint)
        for _ in range(3):
            sys.stdout.write(f"ours {bench.ours():.2f} s in {len(REGIONS)} calls; ")
            sys.stdout.write(f"loop {bench.loop():.2f} s in {len(REGIONS) * METRICS} calls\n")


if __name__ == "__main__":
    main()
