"""How fast a replica may be read, so that reading it harms nobody: a budget of read units per second, and when to stop.

An eventually consistent read takes half a unit for 4 KB, so a Scan page of 1 MB takes about 128. What each page took is
reported with it, and paid from the budget: the next page waits until the budget has recovered. A throttle halves the
budget at once; each second without one gives a twentieth of it back. Past a threshold of latency or of throttles the
run stops, with everything read so far in its checkpoint.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ops.errors import OpsError

SHARE = 0.25
# What a table that was made on demand serves from the start, and what one serves at the most by default.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
NEW_TABLE_UNITS_PER_S = 12_000
PAGE_UNITS = 128.0
LEAST_UNITS_PER_S = 1.0
RECOVERY = 0.05
WINDOW_S = 60.0
# Latencies that are looked at, and how many make a percentile worth acting upon.
LATENCIES, ENOUGH = 400, 60


def default_units_per_s(description: Mapping[str, Any]) -> tuple[float, str]:
    """A share of what the table can serve, and of what, in words.

    That is its provisioned read capacity; on demand, its warm throughput (what it serves instantly), or the maximum
    that was set for it where that is less.

    Args:
        description: the table, as DescribeTable tells of it.
    """
    provisioned = float(description.get("ProvisionedThroughput", {}).get("ReadCapacityUnits", 0))
    on_demand = description.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST" or not provisioned
    if not on_demand:
        return max(provisioned * SHARE, LEAST_UNITS_PER_S), f"{SHARE:.0%} of {provisioned:,.0f} provisioned"
    warm = float(description.get("WarmThroughput", {}).get("ReadUnitsPerSecond", 0)) or NEW_TABLE_UNITS_PER_S
    most = float(description.get("OnDemandThroughput", {}).get("MaxReadRequestUnits", -1))
    if 0 < most <= warm:
        return max(most * SHARE, LEAST_UNITS_PER_S), f"{SHARE:.0%} of the table's on-demand maximum of {most:,.0f}"
    return warm * SHARE, f"{SHARE:.0%} of {warm:,.0f} that it serves at once on demand"


class Budget:
    """The budget of one replica, shared by all workers.

    Args:
        label: what messages call the replica.
        units_per_s: read units per second at the most.
        max_latency_ms: of the 95th percentile of the last pages; 0: any.
        max_throttles: within a minute; 0: any number.
    """

    def __init__(
        self,
        label: str,
        units_per_s: float,
        *,
        max_latency_ms: float = 0,
        max_throttles: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.most, self.rate = label, units_per_s, units_per_s
        self.throttles = 0
        self._max_latency_ms, self._max_throttles, self._clock = max_latency_ms, max_throttles, clock
        self._lock = threading.Lock()
        self._paid_until = self._changed = self._eased = clock()
        self._recent_throttles: deque[float] = deque()
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._expected = PAGE_UNITS
        self._answers = 0

    def reserve(self) -> tuple[float, float]:
        """Pay for a page ahead, by what pages took so far: the units paid, and the seconds to wait before asking."""
        with self._lock:
            now = self._clock()
            self._recover(now)
            # What was not used for a second is lost: no bursts after a pause.
            start = max(self._paid_until, now - 1.0)
            self._paid_until = start + self._expected / self.rate
            return self._expected, max(0.0, start - now)

    def used(self, paid: float, units: float) -> None:
        """Correct what was paid by what the page took."""
        with self._lock:
            self._paid_until += (units - paid) / self.rate
            self._expected += (units - self._expected) / 8

    def answered(self, latency_ms: float) -> None:
        """Enter how long a page took to come.

        Raises:
            OpsError: pages are slower than allowed.
        """
        with self._lock:
            self._latencies.append(latency_ms)
            self._answers += 1
            if not self._max_latency_ms or self._answers < ENOUGH or self._answers % 20:
                return
            if self.p95_ms > self._max_latency_ms:
                raise OpsError(
                    f"{self.label}: stopped, as one in twenty of its pages takes more than {self.p95_ms:,.0f} ms now, "
                    f"and max_latency_ms is {self._max_latency_ms:,.0f}",
                    hint="Go on when it is quieter, or slower with read_units_per_s.",
                )

    @property
    def p95_ms(self) -> float:
        """The 95th percentile of the last latencies; 0 before there are any."""
        seen = sorted(self._latencies)
        return seen[int(len(seen) * 0.95)] if seen else 0.0

    def throttled(self) -> None:
        """Enter a refusal for want of capacity: the budget is halved, though not more than once a second.

        Raises:
            OpsError: there were more of them within a minute than allowed.
        """
        with self._lock:
            now = self._clock()
            self._recover(now)
            self.throttles += 1
            self._recent_throttles.append(now)
            while self._recent_throttles[0] < now - WINDOW_S:
                self._recent_throttles.popleft()
            if now - self._eased >= 1.0 or self.rate == self.most:
                self.rate = max(self.rate / 2, min(LEAST_UNITS_PER_S, self.most))
                self._eased = self._changed = now
            if self._max_throttles and len(self._recent_throttles) > self._max_throttles:
                raise OpsError(
                    f"{self.label}: stopped, as {len(self._recent_throttles):,} requests were throttled within "
                    f"a minute, and max_throttles is {self._max_throttles:,}",
                    hint="Go on when there is more capacity, or slower with read_units_per_s.",
                )

    def _recover(self, now: float) -> None:
        if self.rate < self.most and now - self._changed >= 1.0:
            self.rate = min(self.most, self.rate + self.most * RECOVERY * (now - self._changed))
            self._changed = now
