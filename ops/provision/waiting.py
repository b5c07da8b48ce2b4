"""How an apply waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.errors import OpsError


@dataclass(frozen=True)
class Waits:
    """How an apply waits for what AWS does in its own time. A deadline that passes is an error that says what to do."""

    deadline_s: float = 1800
    poll_s: float = 0.2
    poll_max_s: float = 10
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time  # unix seconds, for what was begun before this apply

    def until(self, what: str, ready: Callable[[], bool]) -> None:
        """Poll ``ready``, less and less often, until it is true.

        Raises:
            OpsError: the deadline passed.
        """
        end, pause = self.clock() + self.deadline_s, self.poll_s
        while not ready():
            if self.clock() >= end:
                raise OpsError(
                    f"{what}: not ready after {self.deadline_s:.0f} s",
                    hint="It may still come up by itself: plan again, and apply what is left.",
                )
            self.sleep(pause)
            pause = min(pause * 1.5, self.poll_max_s)

    def settle(self, moment: float) -> None:
        """Sleep until this moment, in unix seconds, which may be past."""
        left = moment - self.now()
        if left > 0:
            self.sleep(left)
