"""Which of the tables compared are replicas of one global table, so that what is written in one arrives in another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

from ops.divergence.replicas import Described, Replica

STRONG = "STRONG"


def pairs(described: Mapping[Replica, Described]) -> tuple[list[tuple[Replica, Replica]], dict[tuple[str, str], str]]:
    """The ordered pairs that replicate, and of the others, by labels, why they do not."""
    linked: list[tuple[Replica, Replica]] = []
    unlinked: dict[tuple[str, str], str] = {}
    for one, other in permutations(described, 2):
        why = _apart(described[one], described[other])
        if why:
            unlinked[one.label, other.label] = why
        else:
            linked.append((one, other))
    return linked, unlinked


def members(table: Described) -> dict[str, Mapping[str, Any]]:
    """What a table tells of the members of its global table, by region. AWS lists the region that was asked, too."""
    return {str(one["RegionName"]): one for one in table.raw.get("Replicas") or []}


def is_strong(table: Described) -> bool:
    """Whether its global table is strongly consistent (MRSC): then nothing is ever on its way."""
    return table.raw.get("MultiRegionConsistency") == STRONG


def _apart(one: Described, other: Described) -> str:
    """Why two tables are not replicas of one global table; empty when they are."""
    names = [str(side.raw.get("TableName", "")) for side in (one, other)]
    if names[0] != names[1]:
        return f"they are two tables, {names[0]} and {names[1]}"
    if one.replica.region == other.replica.region:
        return "they are in one region"
    if not (_tells_of(one, other) or _tells_of(other, one)):
        return "neither table names the other among its replicas"
    return ""


def _tells_of(one: Described, other: Described) -> bool:
    member = members(one).get(other.replica.region)
    if member is None:
        return False
    told, own = member.get("ReplicaArn"), other.raw.get("TableArn")
    return told is None or own is None or told == own or _account(one) == _account(other)


def _account(table: Described) -> str:
    parts = str(table.raw.get("TableArn", "")).split(":")
    return parts[4] if len(parts) > 4 else ""
