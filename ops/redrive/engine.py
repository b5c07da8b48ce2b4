"""How a dead-letter queue is emptied: message by message, or by SQS's own StartMessageMoveTask where that is enough.

SQS's task moves everything back to the queues that the messages came from, takes no filter, counts no redrives, and
moves 500 messages a second at the most; of a message that it did not bring to the DLQ itself it knows no source. No
machine of ours takes part.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ops.redrive.survey import Seen

TASK_PER_S = 500


@dataclass(frozen=True)
class Engine:
    """The way, and why it is this one. ``refused``: it was asked for, and cannot do it."""

    name: Literal["client", "move-task"]
    why: str
    refused: bool = False
    warning: str = ""


def choose(seen: Seen, asked: str, *, everything: bool, rate_per_s: int, second: str) -> Engine:
    """How the messages of one queue are moved.

    Args:
        asked: ``auto``, ``client`` or ``move-task``.
        everything: whether neither a filter nor a limit was given.
        second: what becomes of messages that were redriven before.
    """
    if asked == "client":
        return Engine("client", "message by message, as asked for")
    reason = _not_enough(seen, everything, second)
    name = f"{seen.queue.name} in {seen.queue.region}"
    warning = f"{name}: a move task marks no message as redriven: what comes back is then taken for a first failure"
    if asked == "move-task":
        if reason:
            return Engine("move-task", f"StartMessageMoveTask is not enough: {reason}", refused=True)
        return Engine("move-task", "StartMessageMoveTask, as asked for", warning=warning)
    if reason:
        return Engine("client", f"message by message; StartMessageMoveTask is not enough: {reason}")
    if rate_per_s > TASK_PER_S:
        return Engine("client", f"message by message; faster than the {TASK_PER_S}/s of StartMessageMoveTask")
    return Engine(
        "move-task",
        "StartMessageMoveTask: all goes back to its one source, at the same rate and without passing through here",
        warning=warning,
    )


def _not_enough(seen: Seen, everything: bool, second: str) -> str:
    """Why SQS's own task cannot do what is asked; empty when it can."""
    sources = seen.queue.fed_by("queue")
    reasons = {
        "it takes neither a filter nor a limit": not everything,
        "it is only for DLQs of queues, and this is none": not sources,
        "more than one queue has this DLQ": len({*seen.first, *seen.again}) > 1 or len(sources) > 1,
        "messages that failed after a redrive are not to be moved": bool(seen.second) and second != "redrive",
        "it knows the source only of what SQS itself brought here": set(seen.kinds) != {"sqs"} or bool(seen.stuck),
        "not all of the messages could be looked at": seen.partial,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
