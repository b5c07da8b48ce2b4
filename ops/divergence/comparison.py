"""The verdict on one table: what was read, which suspects were confirmed, and what the operator is told.

``conclude`` makes it of what any mode found; ``compare`` does the whole of it for a table at once. What always holds:
only what was confirmed counts against the replicas, and a survey that could not name all that differs never passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.aws import Cloud
from ops.divergence import lagging
from ops.divergence.checkpoint import until_judged
from ops.divergence.classes import KINDS, MEANINGS
from ops.divergence.findings import Finding, Findings, wire
from ops.divergence.groups import pairs
from ops.divergence.judging import Difference, Judged, check_attempts, judge
from ops.divergence.naming import short
from ops.divergence.replicas import Described, Replica, Schema, agree, describe, resolve
from ops.divergence.scanning import Pace, scan
from ops.divergence.survey import Survey
from ops.record import Check, now_text
from sketch import keys

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str], None]

# Of keys in a check's detail, and in the figures.
NAMED, KEYS = 10, 20
# Of replication latency: what it took lately, not this morning.
LATELY = timedelta(minutes=15)


@dataclass(frozen=True)
class Subject:
    """One table to compare: its replicas, and what their descriptions say. ``warnings`` stop nothing."""

    table: str
    replicas: tuple[Replica, ...]
    described: Mapping[Replica, Described | None]
    schema: Schema
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The verdict on one table."""

    subject: Subject
    survey: Survey
    judged: Judged
    ignore: tuple[str, ...]
    only: tuple[str, ...] | None
    started: str
    duration_s: float

    @property
    def table(self) -> str:
        return self.subject.table

    @property
    def differences(self) -> tuple[Difference, ...]:
        """With those that have expired, which count for nothing."""
        return self.judged.differences

    @property
    def confirmed(self) -> tuple[Difference, ...]:
        return self.judged.confirmed

    @property
    def unsettled(self) -> tuple[str, ...]:
        return self.judged.unsettled

    @property
    def complete(self) -> bool:
        """Whether every key that differs was named."""
        return bool(self.survey.figures.get("complete", True))

    @property
    def equal(self) -> bool:
        return self.complete and not self.confirmed

    def figures(self) -> dict[str, Any]:
        counts = self.judged.counts
        return {
            "items": {one.label: one.items for one in self.survey.sides},
            "suspects": self.judged.suspects,
            "in_flight": counts.get("in flight", 0),
            "unsettled": len(self.unsettled),
            "expired": counts.get("expired", 0),
            "differences": len(self.confirmed),
            "classes": {kind: counts[kind] for kind in KINDS if counts.get(kind)},
            "keys": [short(one.text) for one in self.confirmed[:KEYS]],
            "read_units": round(sum(one.read_units for one in self.survey.sides), 1),
            "duration_s": round(self.duration_s, 2),
            "implementation": self.survey.implementation,
        } | ({} if self.complete else {"differ_about": self.survey.figures.get("differ_about")})

    def check(self) -> Check:
        """The verdict, with the keys an operator looks at first."""
        labels = [one.label for one in self.survey.sides]
        counts = ", ".join(f"{one.items:,} in {one.label}" for one in self.survey.sides)
        told = self.judged.counts
        notes = [
            (told.get("in flight", 0), "in flight and healed"),
            (told.get("expired", 0), "expired"),
            (told.get("excluded", 0), "different only in what does not count"),
            (len(self.unsettled), "kept changing and not judged"),
        ]
        aside = "".join(f"; {count:,} {what}" for count, what in notes if count)
        empty = [one.label for one in self.survey.sides if not one.items]
        aside += f"; not one item was read of {' and '.join(empty)}" if empty else ""
        if not self.complete:
            about = int(self.survey.figures.get("differ_about", 0))
            detail = (
                f"about {about:,} items differ, more than can be named; narrow it with ignore, only or fewer tables"
            )
        elif self.equal:
            detail = f"every item is the same in {' and '.join(labels)} ({counts}){aside}"
        else:
            named = "; ".join(f"{short(one.text)} ({one.kind})" for one in self.confirmed[:NAMED])
            more = f"; and {len(self.confirmed) - NAMED:,} more" if len(self.confirmed) > NAMED else ""
            detail = f"{len(self.confirmed):,} items differ: {named}{more}{aside}"
        return Check(f"replicas of {self.table} agree", self.equal, detail)

    def frame(self) -> pd.DataFrame:
        """A row a difference."""
        import pandas as pd

        rows = [
            (
                short(one.text),
                one.kind,
                ", ".join(one.missing_in),
                ", ".join(diff.path for diff in one.attributes),
                ", ".join(one.newest),
                one.explanation,
            )
            for one in self.differences
        ]
        return pd.DataFrame(rows, columns=["key", "class", "missing in", "attributes", "newest in", "explanation"])

    def attributes_frame(self) -> pd.DataFrame:
        """A row an attribute that differs, a column a replica."""
        import pandas as pd

        rows = [
            {"key": short(one.text), "attribute": diff.path} | diff.values
            for one in self.differences
            for diff in one.attributes
        ]
        return pd.DataFrame(rows, columns=["key", "attribute", *(one.label for one in self.survey.sides)])

    def classes_frame(self) -> pd.DataFrame:
        """A row a class that occurred: how many, and what it means."""
        import pandas as pd

        counts = self.judged.counts
        rows = [(kind, counts[kind], MEANINGS[kind]) for kind in KINDS if counts.get(kind)]
        return pd.DataFrame(rows, columns=["class", "items", "meaning"])

    def findings(self, run: str, stage: str, account: str) -> Findings:
        """What was confirmed, for the repair."""
        names = self.subject.schema.names
        found = tuple(
            Finding(
                wire(keys.unpack(one.key, names)),
                one.kind,
                {label: None if digest is None else digest.hex() for label, digest in one.digests.items()},
            )
            for one in self.confirmed
        )
        return Findings(
            run=run,
            stage=stage,
            account=account,
            table=self.table,
            replicas=self.subject.replicas,
            schema=self.subject.schema,
            ignore=self.ignore,
            only=self.only,
            made=datetime.now(UTC),
            findings=found,
        )


def look(cloud: Cloud, table: str = "", regions: Sequence[str] = (), replicas: Sequence[str] = ()) -> Subject:
    """The replicas of one table and whether they can be compared; see ``replicas.resolve`` for what is accepted.

    Raises:
        UsageError: fewer than two, or an address that is none.
        RefusedError: a table is missing, or its key schema is another.
    """
    found = resolve(cloud, table, regions, replicas)
    described = describe(cloud, found)
    schema, warnings = agree(described)
    shown = ", ".join(dict.fromkeys(one.table.rpartition("/")[2] for one in found))
    return Subject(shown, found, described, schema, tuple(warnings))


def measured(cloud: Cloud, subject: Subject) -> dict[tuple[str, str], float]:
    """The longest replication latency that CloudWatch has of the last minutes, by pair; none of pairs without data."""
    described = {replica: one for replica, one in subject.described.items() if one is not None}
    linked, _ = pairs(described)
    found = lagging.read(cloud, linked, described, window=LATELY)
    return {(one.source, one.target): one.max_ms for one in found if one.max_ms is not None}


def conclude(
    cloud: Cloud,
    subject: Subject,
    survey: Survey,
    *,
    ignore: Sequence[str] = (),
    only: Sequence[str] | None = None,
    attempts: int = 6,
    settle_s: float = 0.0,
    latency_ms: Mapping[tuple[str, str], float] | None = None,
    progress: Progress = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Comparison:
    """Judge what a mode found; reads only. Where nothing says how long replication takes, CloudWatch is asked."""
    started, begun = now_text(), clock()
    if survey.suspects and not settle_s and latency_ms is None:
        latency_ms = measured(cloud, subject)
    judged = judge(
        cloud,
        subject.replicas,
        subject.schema,
        survey.suspects,
        described=subject.described,
        ignore=ignore,
        only=only,
        attempts=attempts,
        settle_s=settle_s,
        latency_ms=latency_ms,
        progress=progress,
        sleep=sleep,
        clock=clock,
    )
    chosen = None if only is None else tuple(only)
    return Comparison(subject, survey, judged, tuple(ignore), chosen, started, survey.duration_s + clock() - begun)


def compare(
    cloud: Cloud,
    table: str = "",
    regions: Sequence[str] = (),
    *,
    replicas: Sequence[str] = (),
    ignore: Sequence[str] = (),
    only: Sequence[str] | None = None,
    attempts: int = 6,
    settle_s: float = 1.0,
    pace: Pace | None = None,
    checkpoint: Path | None = None,
    progress: Progress = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> Comparison:
    """Scan the replicas of one table (default: the stage's) and judge what differs; reads only.

    Args:
        attempts: strong reads of each suspect, at most.
        settle_s: seconds between them; more than replication usually takes; 0: three times what it was measured to.
        ignore, only: top-level attributes that do not count, or that alone do.

    Raises:
        UsageError: fewer than two replicas, or a number out of range.
        RefusedError: a replica is missing, or its key schema is another.
    """
    check_attempts(attempts)
    subject = look(cloud, table, regions, replicas)
    survey = scan(
        cloud,
        subject.replicas,
        subject.schema,
        ignore=ignore,
        only=only,
        pace=pace,
        checkpoint=checkpoint,
        progress=progress,
        sleep=sleep,
    )
    progress(f"{len(survey.suspects):,} suspects in {', '.join(one.label for one in subject.replicas)}")
    with until_judged(checkpoint, f"the same again with checkpoint {checkpoint}"):
        return conclude(
            cloud,
            subject,
            survey,
            ignore=ignore,
            only=only,
            attempts=attempts,
            settle_s=settle_s,
            progress=progress,
            sleep=sleep,
            clock=clock,
        )
