"""What the callers' resolvers keep: an answer stays as long as its TTL, whatever happens to health meanwhile.

One resolver a city. It asks anew at the first query after the TTL has passed (RFC 1035, section 3.2.1) and never
before; a TTL of 0 is used for the query in progress only and not kept. Time is monotonic: a clock that is set does
not shorten or lengthen it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ops.local.edge.choosing import Choice


class Cached(NamedTuple):
    """An answer that a resolver has, and the seconds that it keeps it."""

    choice: Choice
    left_s: float


@dataclass
class ResolverCache:
    """The answers of every city's resolver."""

    clock: Callable[[], float]
    _answers: dict[str, tuple[float, Choice]] = field(default_factory=dict)

    def get(self, city: str) -> Cached | None:
        """The answer that is kept for ``city``, or None when its resolver has to ask."""
        entry, now_s = self._answers.get(city), self.clock()
        if entry is None or entry[0] <= now_s:
            return None
        return Cached(entry[1], entry[0] - now_s)

    def put(self, city: str, choice: Choice) -> None:
        if choice.ttl_s > 0:
            self._answers[city] = (self.clock() + choice.ttl_s, choice)
