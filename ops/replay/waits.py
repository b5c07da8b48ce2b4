"""How long a replay waits for what, and how time passes for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Waits:
    """Deadlines in seconds.

    ``quiet_s``: queues empty before; ``rules_s``: a new rule is known to EventBridge, which says "a short period of
    time" (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html); ``replay_s``: nothing moves;
    ``pause_s``: paused in all; ``cancel_s``: cancelled replays end; ``tap_s``: the tap is dry; ``drain_s``: queues
    empty after; ``metrics_s``: EventBridge's metrics arrive; ``listen_s``: a
    receive of the tap, which asks all of SQS only when it waits.
    """

    quiet_s: float = 120
    rules_s: float = 10
    replay_s: float = 3600
    pause_s: float = 6 * 3600
    cancel_s: float = 45
    tap_s: float = 120
    drain_s: float = 1800
    metrics_s: float = 180
    listen_s: int = 1
    poll_s: float = 0.5
    settle_s: float = 1.0
    settle_attempts: int = 5
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
