"""What a repair is to bring about, key by key: orders, and the plan that carries them.

An order has digests and no contents, so that a plan of many items is small; the items themselves are read when their
turn comes, and written only where their digests are still those of the plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import PrivateAttr

from ops.divergence.replicas import Replica, Schema
from ops.plan import Plan
from sketch.canonical import item_digest

Image = Mapping[str, Any]
# Orders that are kept, carried out and recorded together.
CHUNK = 100


@dataclass(frozen=True)
class Order:
    """What the replicas hold of one key, and what each is to hold. Digests are hexadecimal; None: not there.

    Attributes
    ----------
    key
        Packed by ``sketch.keys``, in hexadecimal.
    seen, wanted
        By replica's label: the digest of the whole item.
    kept
        Of an undo: the number of the chunk of the earlier run's images that has this key.
    """

    key: str
    seen: dict[str, str | None]
    wanted: dict[str, str | None]
    kept: int = -1

    @property
    def packed(self) -> bytes:
        return bytes.fromhex(self.key)

    @property
    def touched(self) -> list[str]:
        """The replicas that are to change."""
        return [label for label, digest in self.wanted.items() if digest != self.seen[label]]


@dataclass(frozen=True)
class Work:
    """All that an apply needs, kept with its images: what one machine began, another one ends or undoes.

    Attributes
    ----------
    merged
        Whether an image may be wanted that no replica holds: the union of theirs.
    undoes
        The token of the run that this one undoes; empty: it is a repair.
    linked
        Pairs of labels that replicate.
    expiry, at
        The time-to-live attributes of the tables, and when the union was made, in epoch seconds.
    """

    table: str
    replicas: tuple[Replica, ...]
    schema: Schema
    orders: tuple[Order, ...]
    linked: tuple[tuple[str, str], ...]
    merged: bool = False
    undoes: str = ""
    expiry: tuple[str, ...] = ()
    at: float = 0.0


@dataclass(frozen=True)
class Row:
    """A key in the table of a plan. ``why`` an item is left alone, or where its image comes from."""

    key: bytes
    text: str
    kind: str
    does: str
    why: str
    decided: bool


class RepairPlan(Plan):
    """A plan with its orders beside it: they are in the token by their digest, and in no record."""

    _work: Work = PrivateAttr()
    _rows: tuple[Row, ...] = PrivateAttr(default=())

    @classmethod
    def of(cls, plan: Plan, work: Work, rows: Sequence[Row] = ()) -> RepairPlan:
        made = cls(**{name: getattr(plan, name) for name in Plan.model_fields})
        made._work, made._rows = work, tuple(rows)
        return made

    @property
    def work(self) -> Work:
        return self._work

    @property
    def undecided(self) -> tuple[Row, ...]:
        """The keys that the policy does not decide, which stay as they are."""
        return tuple(row for row in self._rows if not row.decided and row.kind != "healed")

    def frame(self) -> pd.DataFrame:
        """A row a key: what is done about it, and why."""
        rows = [(row.text, row.kind, row.does, row.why) for row in self._rows]
        return pd.DataFrame(rows, columns=["key", "class", "does", "why"])


def digest(image: Image | None) -> str | None:
    """Of the whole item: equal for items that DynamoDB calls equal."""
    return None if image is None else item_digest(image).hex()


def bound(orders: Iterable[Order], label: str) -> str:
    """What binds a plan's token to the orders of one replica."""
    made = hashlib.sha256()
    for one in sorted(orders, key=lambda order: order.key):
        made.update(f"{one.key} {one.seen[label]} {one.wanted[label]}\n".encode())
    return made.hexdigest()[:32]
