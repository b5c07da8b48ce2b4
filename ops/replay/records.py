"""What a replay writes down as it goes on, so that another can take it up: its entry in the ledger, and the keys heard.

The keys of each slice are an object beside the entry (16 bytes a key), because EventBridge never tells again what a
finished slice had delivered. What always holds: a record that cannot be written ends nothing; what is missing is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ops import bucket, ledger
from ops.aws import Cloud, caller
from ops.bucket import Place
from ops.errors import OpsError
from ops.ledger import Entry
from ops.plan import Plan

Progress = Callable[[str], None]


# A running entry that was not written for so long is of a run that was killed.
ALIVE = timedelta(minutes=5)


def is_alive(cloud: Cloud, place: Place, token: str) -> bool:
    """Whether the ledger knows a run of this plan that is going on."""
    entry = ledger.read(cloud, place, "replay", token)
    return entry is not None and entry.state == "running" and datetime.now(UTC) - entry.updated < ALIVE


class Records:
    """The ledger entry of one plan, and its slices' keys."""

    def __init__(self, cloud: Cloud, plan: Plan, progress: Progress) -> None:
        self._cloud, self._token, self._progress = cloud, plan.token, progress
        region = plan.parameters["region"]
        self.place = bucket.place(cloud, region, plan.parameters.get("keep", ""))
        self.problem = ""
        self.there = bucket.exists(cloud, self.place)
        if not self.there:
            progress(f"no record is kept: there is no bucket {self.place.bucket}; a resumed run will know fewer keys")
        now = datetime.now(UTC)
        known = ledger.read(cloud, self.place, plan.runbook, plan.token) if self.there else None
        self.entry = Entry(
            runbook=plan.runbook,
            token=plan.token,
            stage=plan.stage,
            account=plan.account,
            region=region,
            by=caller(cloud),
            started=known.started if known else now,
            updated=now,
            state="running",
            parameters=plan.parameters,
            steps=known.steps if known else [],
            figures=known.figures if known else {},
            request_ids=[],
        )

    @property
    def uri(self) -> str:
        """Where the entry is; empty where none is kept."""
        return self.place.uri(f"{bucket.LEDGER}/{self.entry.runbook}/{self._token}.json") if self.there else ""

    def write(self, state: ledger.State = "running", **figures: Any) -> None:
        """Write the entry as it is now."""
        self.entry = replace(
            self.entry, state=state, updated=datetime.now(UTC), figures={**self.entry.figures, **figures}
        )
        if self.there:
            self._try(lambda: ledger.write(self._cloud, self.place, self.entry))

    def slice_heard(self, number: int, state: str, replay: str, keys: bytes) -> None:
        """Note a slice that came to its end, or was cancelled, and the keys heard of it."""
        step = {"slice": number, "state": state, "replay": replay, "heard": len(keys) // 16}
        others = [one for one in self.entry.steps if one.get("slice") != number]
        if self.there and keys:
            content = "application/octet-stream"
            self._try(lambda: bucket.put(self._cloud, self.place, self._key(number), keys, content))
        steps = sorted([*others, step], key=lambda one: int(one.get("slice", 0)))
        self.entry = replace(self.entry, steps=steps)
        self.write()

    def heard(self, number: int) -> bytes | None:
        """The keys of a slice as an earlier run heard them; None when it left none."""
        step = next((one for one in self.entry.steps if one.get("slice") == number), None)
        if step is None:
            return None
        return bucket.get(self._cloud, self.place, self._key(number)) if step.get("heard") else b""

    def _key(self, number: int) -> str:
        return f"{bucket.KEYS_HEARD}/{self._token}/{number:03d}"

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OpsError as error:
            if not self.problem:
                self._progress(f"a record could not be written: {error}")
            self.problem = str(error)
