"""What is broken on purpose, for the parts of the emulator that have to break it.

``apply`` is given the whole record at every change and replaces what was there; nothing is remembered from before. It
may be called from any thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from ops.local.effects import Effects
from ops.local.emulator.replication import ReplicationLog
from ops.local.record import Fault

CERTAIN = 1.0


class Outages:
    """Knows what is broken now; ``change_links`` changes replication, ``set_rules`` the proxy's rules."""

    def __init__(self, change_links: Callable[[Callable[[ReplicationLog], None]], None]) -> None:
        self._change_links = change_links
        self.set_rules: Callable[[list[dict[str, Any]]], object] = lambda rules: None
        self.effects = Effects.of(())

    def apply(self, faults: Sequence[Fault]) -> None:
        """Break exactly what the record says."""
        self.effects = Effects.of(faults)
        self.set_rules(self.effects.rules)
        cuts = self.effects.cuts

        def change(log: ReplicationLog) -> None:
            known = {(link.source, link.destination) for link in log.links()}
            for first, second in {(min(pair), max(pair)) for pair in known} | set(cuts):
                for source, destination in ((first, second), (second, first)):
                    if (first, second) in cuts:
                        log.cut(source, destination, lose=cuts[first, second])
                    else:
                        log.heal(source, destination)

        self._change_links(change)

    def state(self) -> dict[str, Any]:
        """What ``GET /_atoll/faults`` answers."""
        effects = self.effects
        return {
            "apis_down": sorted(effects.apis_down),
            "calls_down": sorted(effects.calls_down),
            "processing_off": sorted(effects.processing_off),
            "cuts": [list(pair) for pair in sorted(effects.cuts)],
            "functions": [str(fault) for fault in effects.functions],
            "rules": len(effects.rules),
        }

    def of_invocation(self, region: str, function: str) -> tuple[Fault | None, Fault | None]:
        """The delay and the error that meet one invocation of a function; a share of them is drawn each time."""
        met: dict[str, Fault] = {}
        for fault in self._of(region, function):
            if fault.rate >= CERTAIN or random.random() < fault.rate:  # noqa: S311 (no secret)
                met.setdefault(fault.kind, fault)
        return met.get("function-delay"), met.get("function-error")

    def polls(self, region: str, function: str) -> bool:
        """Whether queues and streams are read for a function.

        Not while each of its invocations would fail before the code ran. On AWS the poller goes on: a batch that fails
        is back in the queue after the visibility timeout, and after maxReceiveCount of those in the DLQ. Here it stays
        in the queue, so that an experiment of a minute does not depend on which timeouts happen to fall into it.
        """
        if region in self.effects.processing_off:
            return False
        return not any(
            fault.kind == "function-error" and fault.prevent and fault.rate >= CERTAIN
            for fault in self._of(region, function)
        )

    def _of(self, region: str, function: str) -> list[Fault]:
        return [fault for fault in self.effects.functions if fault.region == region and function in fault.functions]
