"""How many messages wait in the stage's queues, and waiting until they are processed. Reads only.

Depths are SQS's own approximations, which settle within a minute; a queue counts as drained when it was empty in
several reads in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from botocore.exceptions import ClientError

from ops.aws import Cloud, explained
from ops.errors import OpsError
from ops.fanout import each

STEADY_READS = 3
_COUNTS: list[Any] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


@dataclass(frozen=True)
class Depth:
    """One queue at one time: waiting, being processed, and delayed messages."""

    region: str
    queue: str
    dlq: bool
    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        return self.visible + self.in_flight + self.delayed


def depths(cloud: Cloud, regions: Sequence[str] = ()) -> list[Depth]:
    """Every processor's queue and every DLQ in ``regions`` (default: the stage's).

    Raises:
        OpsError: a queue does not exist, or SQS could not be asked.
    """
    with explained("reading queue depths"):
        found = _read(cloud, regions)
    for (region, name), depth in found.items():
        if depth is None:
            raise OpsError(
                f"queue {name}: there is none in {region}",
                hint=f"Run: ops deploy --stage {cloud.stage.stage} --region {region}",
            )
    return [depth for depth in found.values() if depth]


def existing(cloud: Cloud, region: str) -> list[Depth]:
    """Those of a region's queues and DLQs that there are.

    Raises:
        ClientError: SQS could not be asked.
    """
    return [depth for depth in _read(cloud, [region]).values() if depth]


def _read(cloud: Cloud, regions: Sequence[str]) -> dict[tuple[str, str], Depth | None]:
    stage = cloud.stage
    names = [*(stage.queue(processor) for processor in stage.processor_names), *stage.dlqs]
    wanted = [(region, name) for region in (regions or stage.regions) for name in names]
    return each(wanted, lambda one: _depth(cloud, *one, one[1] in stage.dlqs))


def frame(found: Sequence[Depth]) -> pd.DataFrame:
    """A row a queue."""
    rows = [(d.region, d.queue, "DLQ" if d.dlq else "queue", d.visible, d.in_flight, d.delayed) for d in found]
    return pd.DataFrame(rows, columns=["region", "queue", "kind", "visible", "in flight", "delayed"])


def dlq_depths(found: Sequence[Depth]) -> dict[str, int]:
    """``{"<region> <queue>": messages}`` of the DLQs."""
    return {f"{d.region} {d.queue}": d.total for d in found if d.dlq}


def drain(
    cloud: Cloud,
    regions: Sequence[str] = (),
    *,
    deadline_s: float = 600,
    poll_s: float = 0.5,
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until every queue (DLQs aside) is empty and stays so; False when the deadline passes first."""
    end, empty, last = clock() + deadline_s, 0, -1
    while True:
        waiting = sum(depth.total for depth in depths(cloud, regions) if not depth.dlq)
        empty = empty + 1 if waiting == 0 else 0
        if empty >= STEADY_READS:
            return True
        if waiting != last:
            progress(f"{waiting:,} messages are waiting or being processed")
            last = waiting
        if clock() >= end:
            return False
        sleep(poll_s)


def _depth(cloud: Cloud, region: str, name: str, is_dlq: bool) -> Depth | None:
    sqs = cloud.client("sqs", region)
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
    except ClientError as error:
        if any(code in error.response["Error"]["Code"] for code in ("NonExistentQueue", "QueueDoesNotExist")):
            return None
        raise
    visible, in_flight, delayed = (int(counts.get(name, 0)) for name in _COUNTS)
    return Depth(region, name, is_dlq, visible, in_flight, delayed)
