"""Mode ``probe``: what can be known of the replicas without reading an item, and what to do about it.

Every replica is asked how it is and how it sees the others; what matters to replication and differs between them is
named; CloudWatch tells how long replication took of late. What always holds: nothing is written; each thing that was
looked at is a check with what was seen and, where it is not well, what to do next; of tables that are not one global
table, what does not apply is left out and said. Heartbeats, which do write, are planned here and applied by a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from ops import charts
from ops.aws import Cloud
from ops.divergence import lagging, settings, symptoms
from ops.divergence.groups import members, pairs
from ops.divergence.lagging import Latency
from ops.divergence.replicas import Described, Replica
from ops.divergence.settings import NONE, Settings
from ops.divergence.symptoms import ACTIVE, AFTER, NEXT
from ops.record import Check

# How long an inaccessible replica stays a member of its global table.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ReplicaDescription.html
GRACE = timedelta(hours=20)


@dataclass(frozen=True)
class Seen:
    """One member of a global table as one replica sees it."""

    by: str
    region: str
    status: str
    since: datetime | None = None
    left: timedelta | None = None
    said: str = ""


@dataclass(frozen=True)
class Probe:
    """What was found."""

    settings: Mapping[str, Settings]
    seen: tuple[Seen, ...]
    latencies: tuple[Latency, ...]
    apart: Mapping[tuple[str, str], str]
    at: datetime

    def frame(self) -> pd.DataFrame:
        """A row a replica, with its settings."""
        rows = []
        for one in self.settings.values():
            row = asdict(one) | {"indexes": ", ".join(f"{name} {state}" for name, state in one.indexes.items()) or NONE}
            row |= {"denial": one.denial or NONE, "key_state": one.key_state or NONE}
            del row["inaccessible_since"], row["region"], row["writes"]
            rows.append({"replica": row.pop("label"), **row})
        return pd.DataFrame(rows).rename(columns={"denial": "replication_denied_by", "recovery": "backups"})

    def members_frame(self) -> pd.DataFrame:
        """A row a member of the global table and replica that tells of it."""
        rows = [(one.by, one.region, one.status, one.since, _hours(one.left), one.said) for one in self.seen]
        columns = ["seen by", "member", "status", "inaccessible since", "left before it leaves the group", "said"]
        return pd.DataFrame(rows, columns=columns)

    def latency_frame(self) -> pd.DataFrame:
        """A row an ordered pair that replicates, as CloudWatch has it."""
        names = ["source", "target", "points", "newest_ms", "newest_at", "mean_ms", "max_ms", "said"]
        return pd.DataFrame([asdict(one) for one in self.latencies], columns=names)

    def chart(self) -> charts.Chart | charts.NoData:
        """The newest ReplicationLatency as a heat map; a pair without data says so."""
        frame = self.latency_frame()
        frame["words"] = ["" if value is not None else "no data" for value in (one.newest_ms for one in self.latencies)]
        return charts.heatmap(
            frame,
            x="target",
            y="source",
            value="newest_ms",
            text="words",
            title="ReplicationLatency, the newest minute that CloudWatch has",
            x_title="received in",
            y_title="written in",
            unit="ms",
        )

    def latency_ms(self) -> dict[tuple[str, str], float]:
        """The newest figure of each pair that has one, by the labels of source and target."""
        return {(one.source, one.target): one.newest_ms for one in self.latencies if one.newest_ms is not None}

    def figures(self) -> dict[str, Any]:
        return {
            "replicas": len(self.settings),
            "replication_latency_ms": {f"{one.source} to {one.target}": one.newest_ms for one in self.latencies},
            "pairs_that_do_not_replicate": len(self.apart),
        }

    def checks(self) -> list[Check]:
        """Everything that was looked at; what fails says what to do next."""
        return [
            *(check for one in self.settings.values() for check in symptoms.of_table(one)),
            *self._of_members(),
            *symptoms.of_differences(self.settings, one_table=bool(self.seen) and not self.apart),
            *self._of_latency(),
        ]

    def _of_members(self) -> Iterator[Check]:
        if not self.seen:
            why = next(iter(self.apart.values()), "there is one table only")
            yield Check("one global table", True, f"no: {why}. What is written in one does not arrive in the other; "
                        "the state of pairs, replication latency and heartbeats do not apply")  # fmt: skip
            return
        if self.apart:
            listed = "; ".join(f"{source} to {target}: {why}" for (source, target), why in self.apart.items())
            yield Check("one global table", False, f"not all of them: {listed}. Compare those apart, or add the "
                        "replica again if it left the group")  # fmt: skip
        for one in self.seen:
            name = f"replica {one.region} seen by {one.by}"
            if one.status == ACTIVE:
                yield Check(name, True, ACTIVE)
                continue
            known = f"{one.status}{f' ({one.said})' if one.said else ''}"
            since = f", inaccessible since {one.since:%Y-%m-%d %H:%M}Z" if one.since else ""
            left = f", {_left(one.left)}" if one.left is not None else ""
            yield Check(name, False, f"{known}{since}{left}: {NEXT.get(one.status, 'look at the table')}, {AFTER}")

    def _of_latency(self) -> Iterator[Check]:
        for one in self.latencies:
            name = f"replication latency {one.source} to {one.target}"
            if one.newest_ms is None or one.newest_at is None:
                yield Check(
                    name, True, f"{one.said}. Heartbeats tell which" if one.said == lagging.NO_DATA else one.said
                )
                continue
            age = (self.at - one.newest_at).total_seconds() / 60
            yield Check(
                name,
                True,
                f"{one.newest_ms:,.0f} ms {age:,.0f} min ago; mean {one.mean_ms:,.0f} ms and max {one.max_ms:,.0f} ms "
                f"of {one.points} minutes",
            )


def probe(
    cloud: Cloud,
    described: Mapping[Replica, Described],
    *,
    window: timedelta = lagging.WINDOW,
    now: datetime | None = None,
) -> Probe:
    """Look at everything once; reads only.

    Args:
        described: what :func:`ops.divergence.replicas.describe` found, of the tables that are there.
        window: how far back CloudWatch is asked for the replication latency.
    """
    at = now or datetime.now(UTC)
    linked, apart = pairs(described)
    found = settings.read(cloud, described)
    seen = [one for table in described.values() for one in _seen(table, at)] if linked else []
    return Probe(
        settings={replica.label: one for replica, one in found.items()},
        seen=tuple(seen),
        latencies=lagging.read(cloud, linked, described, window=window, now=at),
        apart=apart,
        at=at,
    )


def _seen(table: Described, at: datetime) -> Iterator[Seen]:
    for region, member in members(table).items():
        since = member.get("ReplicaInaccessibleDateTime")
        yield Seen(
            by=table.replica.label,
            region=region,
            status=str(member.get("ReplicaStatus", ACTIVE)),
            since=since,
            left=since + GRACE - at if since else None,
            said=str(member.get("ReplicaStatusDescription") or member.get("ReplicaStatusPercentProgress") or ""),
        )


def _hours(left: timedelta | None) -> str:
    return "" if left is None else _left(left)


def _left(left: timedelta) -> str:
    minutes = int(left.total_seconds() // 60)
    if minutes < 0:
        return "the 20 h are over: it has left the group, or is about to"
    return f"{minutes // 60} h {minutes % 60} min of 20 h left before it leaves the group"
