"""Replicas in memory that hold conditions as DynamoDB does, a writer who comes in between, and a bucket of objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from threading import RLock
from typing import Any

import pytest

from ops.divergence.findings import Finding, Findings, wire
from ops.divergence.replicas import Described, Replica
from sketch import keys
from sketch.canonical import encode
from tests.unit.ops.divergence.fakes import AP, EU, SCHEMA, US, described, refused

Item = dict[str, Any]
NAMES = SCHEMA.names
_TERM = re.compile(r"attribute_(not_)?exists\((#\d+)\)|(#\d+)=(:\d+)")
_SET, _REMOVE = re.compile(r"SET (.*?)(?: REMOVE|$)"), re.compile(r"REMOVE (.*)$")


class Killed(BaseException):
    """The process ends here."""


class World:
    """Replicas by label. ``between`` is called before each write, as another's chance; ``linked`` ones replicate."""

    def __init__(self, *replicas: Replica, linked: bool = False) -> None:
        self.replicas, self.linked = replicas or (US, AP), linked
        self.items: dict[str, dict[bytes, Item]] = {one.label: {} for one in self.replicas}
        self.objects: dict[str, bytes] = {}
        self.between: Callable[[str, bytes], None] = lambda label, key: None
        self.calls: list[str] = []
        self.lives: int | None = None  # changes (to a table or to the bucket) until the process is killed
        self.lock = RLock()

    def client(self, cloud: Any, replica: Replica) -> _Client:
        return _Client(self, replica.label)

    def put(self, label: str, item: Item) -> bytes:
        packed = keys.pack(item, NAMES)
        self.items[label][packed] = deepcopy(item)
        return packed

    def state(self) -> dict[str, dict[bytes, Item]]:
        return deepcopy(self.items)

    def findings(self) -> Findings:
        """All keys that any replica has, as if each were confirmed."""
        packed = sorted({key for items in self.items.values() for key in items})
        found = tuple(
            Finding(wire(keys.unpack(key, NAMES)), "conflicting", dict.fromkeys(self.items, "0" * 32)) for key in packed
        )
        return Findings(
            "20260301T120000Z-divergence",
            "unit",
            "123456789012",
            "t",
            tuple(self.replicas),
            SCHEMA,
            (),
            None,
            datetime(2026, 3, 1, 12, tzinfo=UTC),
            found,
        )

    def described(self) -> dict[Replica, Described | None]:
        alone: dict[str, Any] = {} if self.linked else {"Replicas": []}
        return {one: described(one, ttl="expires_at", **alone) for one in self.replicas}

    def change(self) -> None:
        """One change more, or the end."""
        if self.lives is not None:
            if self.lives == 0:
                raise Killed
            self.lives -= 1

    @contextmanager
    def used(self) -> Iterator[World]:
        """The toolkit works on these tables and this bucket."""
        with pytest.MonkeyPatch.context() as patch:
            for module in ("rereading", "repair.mending"):
                patch.setattr(f"ops.divergence.{module}.client", self.client)
            patch.setattr("ops.divergence.repair.planning.describe", lambda cloud, replicas: self.described())
            patch.setattr("ops.divergence.repair.standing.refusals", lambda cloud, described: [])
            patch.setattr("ops.divergence.repair.applying.caller", lambda cloud: "arn:aws:iam::123456789012:user/unit")
            patch.setattr("ops.bucket.exists", lambda cloud, place: True)
            patch.setattr("ops.bucket.put", self._put_object)
            patch.setattr("ops.bucket.get", lambda cloud, place, key: self.objects.get(key))
            patch.setattr("ops.bucket.keys", self._keys)
            yield self

    def _put_object(self, cloud: Any, place: Any, key: str, body: bytes, content_type: str = "") -> None:
        with self.lock:
            self.change()
            self.calls.append("PutObject")
            self.objects[key] = body

    def _keys(self, cloud: Any, place: Any, prefix: str, limit: int = 0) -> Iterator[tuple[str, datetime, int]]:
        for key, body in list(self.objects.items()):
            if key.startswith(prefix):
                yield key, datetime(2026, 3, 1, tzinfo=UTC), len(body)


class _Client:
    def __init__(self, world: World, label: str) -> None:
        self.world, self.label, self.items = world, label, world.items[label]

    def batch_get_item(self, **asked: Any) -> dict[str, Any]:
        ((name, wanted),) = asked["RequestItems"].items()
        assert wanted["ConsistentRead"]
        packed = [keys.pack(key, NAMES) for key in wanted["Keys"]]
        with self.world.lock:
            return {"Responses": {name: [deepcopy(self.items[one]) for one in packed if one in self.items]}}

    def put_item(self, **asked: Any) -> dict[str, Any]:
        return self._write(asked["Item"], asked, lambda held: deepcopy(asked["Item"]))

    def update_item(self, **asked: Any) -> dict[str, Any]:
        names, values = asked["ExpressionAttributeNames"], asked.get("ExpressionAttributeValues", {})

        def updated(held: Item | None) -> Item:
            made = dict(held or asked["Key"])
            to_set = _SET.search(asked["UpdateExpression"])
            for part in to_set[1].split(",") if to_set else []:
                name, value = part.split("=")
                made[names[name]] = values[value]
            removed = _REMOVE.search(asked["UpdateExpression"])
            for name in removed[1].split(",") if removed else []:
                made.pop(names[name], None)
            return deepcopy(made)

        return self._write(asked["Key"], asked, updated)

    def delete_item(self, **asked: Any) -> dict[str, Any]:
        return self._write(asked["Key"], asked, lambda held: None)

    def _write(self, key: Mapping[str, Any], asked: Mapping[str, Any], made: Callable[..., Item | None]) -> Any:
        packed = keys.pack(key, NAMES)
        with self.world.lock:
            self.world.between(self.label, packed)
            self.world.change()
            self.world.calls.append("Write")
            held = self.items.get(packed)
            check(asked, held)
            image = made(held)
            replicas = self.world.items.values() if self.world.linked else [self.items]
            for items in replicas:
                if image is None:
                    items.pop(packed, None)
                else:
                    items[packed] = deepcopy(image)
            return {"Attributes": image if asked.get("ReturnValues") == "ALL_NEW" else held}


def check(asked: Mapping[str, Any], held: Item | None) -> None:
    """Refuse as DynamoDB does: what does not hold, what is too long, and names or values that stand for nothing."""
    condition = asked["ConditionExpression"]
    used = set(re.findall(r"[#:]\d+", condition + asked.get("UpdateExpression", "")))
    assert used == {*asked["ExpressionAttributeNames"], *asked.get("ExpressionAttributeValues", {})}
    assert len(condition) <= 4096
    assert len(asked.get("UpdateExpression", "")) <= 4096
    terms = condition.split(" AND ")
    assert 2 * len(terms) - 1 <= 300
    assert all(_holds(term, asked, held or {}) is not None for term in terms)
    if not all(_holds(term, asked, held or {}) for term in terms):
        raise refused("ConditionalCheckFailedException")


def _holds(term: str, asked: Mapping[str, Any], held: Item) -> bool:
    found = _TERM.fullmatch(term)
    assert found is not None, term
    absent, existing, name, value = found.groups()
    names = asked["ExpressionAttributeNames"]
    if existing:
        return (names[existing] in held) is not bool(absent)
    attribute = names[name]
    wanted = asked["ExpressionAttributeValues"][value]
    return attribute in held and encode(held[attribute], "held") == encode(wanted, "wanted")


__all__ = ["AP", "EU", "NAMES", "SCHEMA", "US", "Killed", "World", "check"]
