"""What a redrive would move, quarantine and leave, how long that takes and what it costs, as far as was seen."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ops.plan import Plan
from ops.prices import LAMBDA_REQUEST_USD, S3_PUT_USD, SQS_REQUEST_USD
from ops.redrive.survey import Seen, Survey


def of_survey(surveyed: Survey, rate: int, limit: int, second: str, batch_size: int) -> dict[str, Any]:
    """The estimates of a plan.

    Args:
        rate: messages a second.
        limit: messages to move at most, 0 is all.
        second: what becomes of messages that were redriven before.
        batch_size: messages that a processor takes at a time.
    """
    queues = [_fate(seen, second) for seen in surveyed.queues if seen.messages]
    move = sum(sum(one["targets"].values()) for one in queues)
    move = min(move, limit) if limit else move
    quarantine = sum(one["quarantine"] for one in queues)
    # Of ours: receive, send and delete, ten messages each; of the function's: receive and delete.
    requests = -(-(move + quarantine) // 10) * 3 + -(-move // batch_size) * 2
    usd = requests * SQS_REQUEST_USD + -(-move // batch_size) * LAMBDA_REQUEST_USD + quarantine * S3_PUT_USD
    return {
        "messages_seen": sum(seen.messages for seen in surveyed.queues),
        "messages_to_move": move,
        "messages_to_quarantine": quarantine,
        "messages_to_stay": sum(one["leave"] for one in queues),
        "counts_are_partial": any(seen.partial for seen in surveyed.queues),
        "duration_s": (move + quarantine) / rate,
        "sqs_requests": requests,
        "cost_usd": usd,
        "queues": queues,
    }


def _fate(seen: Seen, second: str) -> dict[str, Any]:
    """What becomes of what was seen of one queue."""
    targets = seen.first + seen.again if second == "redrive" else seen.first
    stays = {"redrive": seen.stuck + seen.second - seen.again.total(), "leave": seen.stuck + seen.second}
    return {
        "region": seen.queue.region,
        "queue": seen.queue.name,
        "targets": dict(sorted(targets.items())),
        "quarantine": seen.second if second == "quarantine" else 0,
        "leave": stays.get(second, seen.stuck),
    }


def targets_frame(plan: Plan) -> pd.DataFrame:
    """What would become of the messages, as far as they were seen: a row a queue and target."""
    rows = []
    for one in plan.estimates["queues"]:
        fates = [*one["targets"].items(), ("quarantine", one["quarantine"]), ("stays where it is", one["leave"])]
        rows += [(one["region"], one["queue"], fate, count) for fate, count in fates if count]
    return pd.DataFrame(rows, columns=["region", "queue", "goes_to", "messages"])


def figures(plan: Plan) -> dict[str, Any]:
    """The figures of a dry run."""
    return {name: value for name, value in plan.estimates.items() if name.startswith("messages_")}
