"""Mode ``probe``: what can be known of the replicas without reading an item, and what to do about it.

Every replica is asked how it is and how it sees the others; what matters to replication and differs between them is
named; CloudWatch tells how long replication took of late. What always holds: nothing is written; each thing that was
looked at is a check with what was seen and, where it is not well, what to do next; of tables that are not one global
table, what does not apply is left out and said. Heartbeats, which do write, are planned here and applied by a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from ops import charts
from ops.aws import Cloud
from ops.divergence import lagging, settings
from ops.divergence.groups import members, pairs
from ops.divergence.lagging import Latency
from ops.divergence.replicas import Described, Replica
from ops.divergence.settings import NONE, UNKNOWN, Settings
from ops.record import Check

# How long an inaccessible replica stays a member of its global table.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ReplicaDescription.html
GRACE = timedelta(hours=20)
ACTIVE = "ACTIVE"
_NEXT = {
    "CREATING": "wait: it becomes ACTIVE by itself",
    "UPDATING": "wait: it becomes ACTIVE by itself",
    "DELETING": "it is being removed: compare without it",
    "CREATION_FAILED": "remove the replica and add it again",
    "REGION_DISABLED": "enable the region in the account's settings",
    "INACCESSIBLE_ENCRYPTION_CREDENTIALS": "enable its KMS key, or cancel its deletion, and restore the key's grants",
    "REPLICATION_NOT_AUTHORIZED": "take the denial out of the table's resource policy, or end the drill that set it",
    "ARCHIVING": "its KMS key was gone for seven days: restore the table from the backup that DynamoDB makes",
    "ARCHIVED": "its KMS key was gone for seven days: restore the table from the backup that DynamoDB made",
}
_AFTER = "then scan, and repair what was missed"


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
            *(check for one in self.settings.values() for check in _of_table(one)),
            *self._of_members(),
            *self._alike(),
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
            yield Check(name, False, f"{known}{since}{left}: {_NEXT.get(one.status, 'look at the table')}, {_AFTER}")

    def _alike(self) -> Iterator[Check]:
        """What differs between the replicas: of a global table, a setting that it shares must not."""
        one_table = bool(self.seen) and not self.apart
        for what, value, matters, advice in _COMPARED:
            values = {label: value(one) for label, one in self.settings.items()}
            if len(set(values.values())) == 1:
                yield Check(f"same {what}", True, next(iter(values.values())))
                continue
            listed = "; ".join(f"{label}: {text}" for label, text in values.items())
            fails = matters and one_table
            yield Check(f"same {what}", not fails, f"differs: {listed}. {advice if fails else _HARMLESS}")

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


def _of_table(one: Settings) -> Iterator[Check]:
    """What a replica tells of itself."""
    label = one.label
    state = _NEXT.get(one.status, "look at the table")
    yield Check(
        f"{label}: table", one.status == ACTIVE, one.status if one.status == ACTIVE else f"{one.status}: {state}"
    )
    building = {name: state for name, state in one.indexes.items() if state not in (ACTIVE, "local")}
    listed = ", ".join(f"{name} is {state}" for name, state in (building or one.indexes).items()) or "it has none"
    wait = ": wait, a query of it misses items until it is ACTIVE" if building else ""
    yield Check(f"{label}: indexes", not building, f"{listed}{wait}")
    yield _of_key(one)
    if one.denial.startswith(UNKNOWN):
        yield Check(f"{label}: replication is allowed", True, one.denial)
    elif one.denial:
        yield Check(
            f"{label}: replication is allowed",
            False,
            f"the table's resource policy denies it ({one.denial}), as a drill of AWS FIS does: ops drill heal ends "
            f"the stage's own; else take the statement out of the policy within 20 h, {_AFTER}",
        )
    else:
        yield Check(f"{label}: replication is allowed", True, "no resource policy denies it")
    if one.version not in (NONE, "2019.11.21"):
        yield Check(
            f"{label}: version", False, f"{one.version}, the legacy one: update it to 2019.11.21 in the console"
        )


def _of_key(one: Settings) -> Check:
    name = f"{one.label}: encryption key"
    if one.inaccessible_since:
        since = f"DynamoDB cannot use {one.key} since {one.inaccessible_since:%Y-%m-%d %H:%M}Z"
        return Check(
            name, False, f"{since} ({one.key_state}): {_NEXT['INACCESSIBLE_ENCRYPTION_CREDENTIALS']}, {_AFTER}"
        )
    if one.key_state and not one.key_state.startswith(("Enabled", UNKNOWN)):
        return Check(
            name, False, f"{one.key} is {one.key_state}: enable it or cancel its deletion; the replica leaves its "
            "global table after 20 h without it"
        )  # fmt: skip
    return Check(name, True, f"{one.key}{f', {one.key_state}' if one.key_state else ''}")


def _kind_of_key(one: Settings) -> str:
    return one.key if one.key == settings.AWS_OWNED else "a key in the account"


_Value = Callable[[Settings], str]
_HARMLESS = "Each replica may have its own"
# What is compared: how it is called, its value, whether replicas of one global table must share it, and what to do.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
_COMPARED: tuple[tuple[str, _Value, bool, str], ...] = (
    ("time to live", lambda one: one.ttl, True, "Items expire in one region only: set the same attribute in all"),
    ("indexes", lambda one: ", ".join(sorted(one.indexes)) or NONE, True, "Make the index in all: queries differ"),
    ("kind of key", _kind_of_key, True, "Put all replicas under keys of one kind"),
    ("billing mode", lambda one: one.billing, True, "Set the same mode: a replica that throttles falls behind"),
    (
        "write capacity",
        lambda one: one.writes,
        True,
        "Give each replica the write units of the others: it falls behind",
    ),
    ("stream", lambda one: one.stream, False, ""),
    ("point-in-time recovery", lambda one: one.recovery.split(",")[0], False, ""),
    ("table class", lambda one: one.table_class, False, ""),
    ("deletion protection", lambda one: one.deletion_protection, False, ""),
    ("mode of settings", lambda one: one.settings_mode or NONE, False, ""),
)


def _hours(left: timedelta | None) -> str:
    return "" if left is None else _left(left)


def _left(left: timedelta) -> str:
    minutes = int(left.total_seconds() // 60)
    if minutes < 0:
        return "the 20 h are over: it has left the group, or is about to"
    return f"{minutes // 60} h {minutes % 60} min of 20 h left before it leaves the group"
