"""What a replay did, for a notebook: tables, figures, and the checks that are the proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ops.record import Check
from ops.replay.attempts import COMPLETED
from ops.replay.delivery import Delivered
from ops.replay.playing import Sample
from ops.replay.proof import Found, Look
from ops.window import text_of


@dataclass(frozen=True)
class SliceState:
    """One slice at the end of the run: ``attempts`` of all runs of the plan, ``heard`` different events."""

    number: int
    state: str
    attempts: int
    replay: str
    window: str
    heard: int


@dataclass(frozen=True)
class Replayed:
    """What a replay did, and what it was proved to have done.

    ``found``, ``before`` and ``after`` are None where there is no table of Atoll's, or no proof was asked for;
    ``delivered`` is None where there is one. ``silent`` are regions that gave no answer, and were not looked at.
    ``unheard`` are slices that another run finished and left no keys of.
    """

    token: str
    region: str
    delivers: bool
    stored: bool
    counted: bool
    slices: tuple[SliceState, ...]
    started: int
    heard: int
    listened: bool
    overheard: bool
    unreadable: int
    drained: bool
    found: Found | None
    before: Look | None
    after: Look | None
    delivered: Delivered | None
    dlqs_before: dict[str, int]
    dlqs_after: dict[str, int]
    samples: Sequence[Sample]
    by_minute: dict[tuple[str, str], int]
    paused_s: float
    duration_s: float
    record: str
    record_problem: str = ""
    silent: tuple[str, ...] = ()
    unheard: tuple[int, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        return COMPLETED if all(one.state == COMPLETED for one in self.slices) else "INCOMPLETE"

    @property
    def identical(self) -> bool:
        return self._checksums()[0] == self._checksums()[1]

    # --- tables ----------------------------------------------------------------------------------------------------

    def frame(self) -> pd.DataFrame:
        """Before and after, a row a measure."""
        rows: list[tuple[str, Any, Any]] = []
        if self.before and self.after:
            rows += [
                (f"items in {region}", one.checksum.count, self.after.prints[region].checksum.count)
                for region, one in self.before.prints.items()
            ]
            rows.append((f"checksum of {self.region}", *self._checksums()))
        if self.found:
            known = self.found.before + self.found.restored
            rows.append(("archived events in the table", self.found.before, known))
        rows += [(f"DLQ {name}", depth, self.dlqs_after.get(name)) for name, depth in self.dlqs_before.items()]
        return pd.DataFrame([[str(cell) for cell in row] for row in rows], columns=["measure", "before", "after"])

    def slices_frame(self) -> pd.DataFrame:
        """A row a slice."""
        rows = [(one.number, one.window, one.state, one.attempts, one.heard, one.replay) for one in self.slices]
        return pd.DataFrame(rows, columns=["slice", "window", "state", "attempts", "events", "replay"])

    def rate_frame(self) -> pd.DataFrame:
        """Events heard by each moment of the run, and a second since the one before."""
        rows = [
            (
                now.elapsed_s,
                now.events,
                max(0.0, (now.events - last.events) / max(0.001, now.elapsed_s - last.elapsed_s)),
            )
            for last, now in zip(self.samples, self.samples[1:], strict=False)
        ]
        return pd.DataFrame(rows, columns=["elapsed_s", "events", "events_per_s"])

    def minutes_frame(self) -> pd.DataFrame:
        """What the archive held of the window, as it was heard: a row a minute and type."""
        rows = [(minute, kind, count) for (minute, kind), count in sorted(self.by_minute.items())]
        frame = pd.DataFrame(rows, columns=["minute", "type", "events"])
        return frame.assign(minute=pd.to_datetime(frame["minute"], utc=True))

    def figures(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            **({"archived": self.heard} if self.listened else {}),
            "slices": len(self.slices),
            "replays_started": self.started,
            "duration_s": round(self.duration_s, 2),
            "paused_s": round(self.paused_s, 2),
        }
        if self.found and self.after:
            before, after = self._checksums()
            made |= {
                "items": self.after.prints[self.region].checksum.count,
                "already_in_table": self.found.before,
                "restored": self.found.restored,
                "missing": self.found.missing,
                "changed": len(self.found.harm.changed),
                "removed": len(self.found.harm.removed),
                "checksum_before": before,
                "checksum_after": after,
            }
        return made

    # --- the proof -------------------------------------------------------------------------------------------------

    def checks(self) -> list[Check]:
        incomplete = [f"{one.number} ({one.state})" for one in self.slices if one.state != COMPLETED]
        ended = f"not so: {', '.join(incomplete)}" if incomplete else f"all {len(self.slices)} in {self.region}"
        busy = "empty" if self.drained else "still busy when the deadline passed"
        made = [Check("slices replayed", not incomplete, ended), Check("queues drained", self.drained, busy)]
        made += [self._heard()] if self.listened else []
        made += self._table(self.found) if self.found else self._deliveries()
        grown = [
            f"{name}: {depth} to {self.dlqs_after.get(name, 0)}"
            for name, depth in self.dlqs_before.items()
            if self.dlqs_after.get(name, 0) > depth
        ]
        made.append(Check("nothing new in the DLQs", not grown, "; ".join(grown) or "as before"))
        if self.record or self.record_problem:
            made.append(Check("kept in the ledger", not self.record_problem, self.record_problem or self.record))
        return made

    def _heard(self) -> Check:
        detail = f"{self.heard:,} different events"
        if not self.overheard:
            detail += "; more were still coming when the deadline passed"
        if self.unreadable:
            detail += f"; {self.unreadable} messages were no events of this replay"
        if self.unheard:
            slices = ", ".join(map(str, self.unheard))
            detail += (
                f"; slices {slices} were finished by a run that left no keys: what is said of keys is not of theirs "
                "(to hear them: the same window with deliver=false)"
            )
        return Check("replay overheard", self.overheard and not self.unreadable, detail)

    def _table(self, found: Found) -> list[Check]:
        dead = "; ".join(f"{count} in {queue}" for queue, count in found.in_dlqs.items())
        nowhere = max(0, found.missing - sum(found.in_dlqs.values()))
        seen = f"of {found.archived:,} archived, {found.before:,} were there before"
        seen += f", {found.restored:,} were missing and are there now, {found.missing:,} are missing"
        if found.missing:
            seen += f" ({dead or 'none in a DLQ'}; {nowhere} in no DLQ: {', '.join(found.missing_keys)})"
        expected = self.stored or not self.delivers
        counted = f"{found.counted:,} of {found.archived:,}"
        made = [Check("archived events are in the table", not (expected and found.missing), seen)]
        if self.counted:
            made.append(Check("archived events are counted", found.counted == found.archived, counted))
        made.append(Check("table unharmed by the replay", found.harmless, self._harm(found)))
        late = {other: count for other, count in found.behind.items() if count and found.follow.get(other, True)}
        differing = [other for other, same in found.follow.items() if not same]
        others = f"not so: {', '.join(differing)}" if differing else ", ".join(found.follow) or "there is no other"
        if late:
            others += "; lacking archived events: " + ", ".join(f"{other} {count}" for other, count in late.items())
        if self.silent:
            others += f"; no answer, so not looked at: {', '.join(self.silent)}"
        return [*made, Check("other replicas follow", not differing, others)]

    def _harm(self, found: Found) -> str:
        before, after = self._checksums()
        if before == after:
            return f"the same canonical checksum before and after: {after}"
        harm, keys = found.harm, f" ({'; '.join(found.touched)})" if found.touched else ""
        more = (
            f"{len(harm.added)} items more, {found.added_events} of them events that were missing or arrived meanwhile"
        )
        changed = f"{len(harm.changed)} changed, {found.changed_events} of them events"
        return f"{more}; {changed}; {len(harm.removed)} gone{keys}"

    def _deliveries(self) -> list[Check]:
        if self.delivered is None:
            return []
        matched, failures = self.delivered.matched, self.delivered.failures
        if matched is None:
            counted = "CloudWatch had no figure in time, so that nothing is compared"
        else:
            counted = f"{self.heard:,} overheard, {matched:,} matched by EventBridge's own count (best effort)"
        listed = "; ".join(f"{name}: {count}" for name, count in failures.items())
        return [
            Check("delivered as EventBridge counts", matched is None or matched <= self.heard, counted),
            Check("no delivery failed", not failures, listed or "no failed invocation, none sent to a DLQ"),
        ]

    def _checksums(self) -> tuple[str, str]:
        if self.before is None or self.after is None:
            return "", ""
        return str(self.before.prints[self.region].checksum), str(self.after.prints[self.region].checksum)


def window_text(start: Any, end: Any) -> str:
    return f"{text_of(start)} to {text_of(end)}"
