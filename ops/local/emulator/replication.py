"""Asynchronous replication of a global table between regions: a log of writes, a link per direction, last writer wins.

Pure: the clock and what "apply" means are passed in, so that every interleaving can be tested. What always holds:

- a write reaches every other replica once its link's lag has passed, in the order in which its region made it;
- a replica takes a write only when it is newer than what the replica last took for that key. "Newer" is a total
  order: the time of the write, then the name of its region. A deletion is a write like any other and keeps its time
  for as long as an older write for that key may still arrive, so nothing that was deleted comes back;
- a region's write is always newer than what that region held for the key when it was made;
- a cut link holds its writes and delivers them when it is healed; a link that was cut with ``lose`` drops what it
  held, and what is written while it is cut, for ever;
- memory is bounded by the writes in flight: what was known about a key is forgotten as soon as no write for it is
  pending anywhere, because every later write is newer anyway.

AWS calls this multi-Region eventual consistency (MREC): "last writer wins", item by item.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

NS_PER_MS = 1_000_000


@dataclass(frozen=True, order=True, slots=True)
class Stamp:
    """When a write was made, and where: the order in which last writer wins decides."""

    time_ns: int
    region: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write on its way to one replica. ``item`` is None when it is a deletion."""

    table: Hashable
    key: Hashable
    item: Any
    stamp: Stamp
    recorded_ns: int

    @property
    def source(self) -> str:
        return self.stamp.region


@dataclass(frozen=True, slots=True)
class LinkState:
    """What a link looks like from outside; counts are since the start."""

    source: str
    destination: str
    lag_ms: float
    cut: bool
    lose: bool
    pending: int
    oldest_pending_ms: float
    delivered: int
    superseded: int
    dropped: int


@dataclass(slots=True)
class _Link:
    source: str
    destination: str
    lag_ns: int
    cut: bool = False
    lose: bool = False
    queue: deque[Write] = field(default_factory=deque)
    delivered: int = 0
    superseded: int = 0
    dropped: int = 0


@dataclass(slots=True)
class _InFlight:
    """What is known about one key while writes for it are pending: how many, and the last stamp of each replica."""

    pending: int = 0
    stamps: dict[str, Stamp] = field(default_factory=dict)


class ReplicationLog:
    """Writes of global tables between the regions of one cloud.

    Parameters
    ----------
    apply : called with a write and its destination region when the write is to be taken; answers whether that
        region still has the table (a write for a table that is gone is counted as dropped).
    clock : a monotonic clock in nanoseconds.
    default_lag_ms : lag of a link that has none of its own.
    """

    def __init__(
        self, *, apply: Callable[[Write, str], bool], clock: Callable[[], int], default_lag_ms: float = 0
    ) -> None:
        self._apply = apply
        self._clock = clock
        self._links: dict[tuple[str, str], _Link] = {}
        self._in_flight: dict[tuple[Hashable, Hashable], _InFlight] = {}
        self._last_ns = 0
        self.default_lag_ms = default_lag_ms

    # --- writes ------------------------------------------------------------------------------------------------

    def record(self, table: Hashable, source: str, replicas: Iterable[str], key: Hashable, item: Any) -> Stamp:
        """Take down a write that ``source`` has made, for every other region of ``replicas``. ``item`` None deletes."""
        now = self._clock()
        slot = (table, key)
        known = self._in_flight.setdefault(slot, _InFlight())
        held = known.stamps.get(source)
        # A region's own write supersedes what it held, also when two readings of the clock are equal.
        time_ns = max(now, self._last_ns, held.time_ns + 1 if held else 0)
        self._last_ns = time_ns
        write = Write(table, key, item, Stamp(time_ns, source), now)
        known.stamps[source] = write.stamp
        for region in replicas:
            if region != source:
                self._enqueue(self._link(source, region), write)
        self._forget_if_settled(slot)
        return write.stamp

    def pump(self, limit: int = 1000) -> int | None:
        """Deliver what is due, at most ``limit`` writes.

        Returns the time (ns) when the next write is due: in the past if the limit was reached, None if nothing waits
        on a link that is not cut.
        """
        now = self._clock()
        for link in self._links.values():
            while link.queue and not link.cut and limit > 0 and self._due_ns(link) <= now:
                limit -= 1
                self._deliver(link, link.queue.popleft())
        return min((self._due_ns(link) for link in self._links.values() if link.queue and not link.cut), default=None)

    def add_replica(self, table: Hashable, source: str, destination: str) -> None:
        """``destination`` has just become a replica, as a copy of what ``source`` holds now.

        Writes of an earlier incarnation of that replica are dropped; writes that ``source`` has yet to receive are
        sent to the newcomer as well, because the copy lacks them.
        """
        for link in self._links.values():
            if destination in (link.source, link.destination):
                kept: deque[Write] = deque()
                for write in link.queue:
                    if write.table == table:
                        link.dropped += 1
                        self._settle(write)
                    else:
                        kept.append(write)
                link.queue = kept
        for (of_table, _), known in self._in_flight.items():
            if of_table == table:
                known.stamps.pop(destination, None)
                if source in known.stamps:
                    known.stamps[destination] = known.stamps[source]
        for inbound in [link for link in self._links.values() if link.destination == source and link.queue]:
            outbound = self._link(inbound.source, destination)
            for write in inbound.queue:
                if write.table == table:
                    self._enqueue(outbound, write)

    # --- links -------------------------------------------------------------------------------------------------

    def set_lag(self, source: str, destination: str, lag_ms: float) -> None:
        """Applies to what is already on its way, too."""
        self._link(source, destination).lag_ns = round(lag_ms * NS_PER_MS)

    def cut(self, source: str, destination: str, *, lose: bool = False) -> None:
        """Stop deliveries from ``source`` to ``destination``; with ``lose``, drop them, the waiting ones included."""
        link = self._link(source, destination)
        link.cut, link.lose = True, lose
        if lose:
            link.dropped += len(link.queue)
            lost, link.queue = link.queue, deque()
            for write in lost:
                self._settle(write)

    def heal(self, source: str, destination: str) -> None:
        """Let deliveries through again; what was held is due at once, in order."""
        link = self._link(source, destination)
        link.cut = link.lose = False

    def links(self) -> list[LinkState]:
        now = self._clock()
        return [
            LinkState(
                source=link.source,
                destination=link.destination,
                lag_ms=link.lag_ns / NS_PER_MS,
                cut=link.cut,
                lose=link.lose,
                pending=len(link.queue),
                oldest_pending_ms=(now - link.queue[0].recorded_ns) / NS_PER_MS if link.queue else 0.0,
                delivered=link.delivered,
                superseded=link.superseded,
                dropped=link.dropped,
            )
            for _, link in sorted(self._links.items())
        ]

    def connect(self, regions: Iterable[str]) -> None:
        """Make the links between ``regions`` known, so that they are listed before the first write."""
        names = sorted(set(regions))
        for source in names:
            for destination in names:
                if source != destination:
                    self._link(source, destination)

    @property
    def keys_in_flight(self) -> int:
        """How many keys something is remembered about: 0 when nothing is pending."""
        return len(self._in_flight)

    # --- inside ------------------------------------------------------------------------------------------------

    def _link(self, source: str, destination: str) -> _Link:
        if source == destination:
            raise ValueError(f"a region does not replicate to itself: {source}")
        link = self._links.get((source, destination))
        if link is None:
            link = _Link(source, destination, round(self.default_lag_ms * NS_PER_MS))
            self._links[source, destination] = link
        return link

    @staticmethod
    def _due_ns(link: _Link) -> int:
        return link.queue[0].recorded_ns + link.lag_ns

    def _enqueue(self, link: _Link, write: Write) -> None:
        if link.cut and link.lose:
            link.dropped += 1
            return
        link.queue.append(write)
        self._in_flight[write.table, write.key].pending += 1

    def _deliver(self, link: _Link, write: Write) -> None:
        known = self._in_flight[write.table, write.key]
        held = known.stamps.get(link.destination)
        if held is not None and held >= write.stamp:
            link.superseded += 1
        elif self._apply(write, link.destination):
            known.stamps[link.destination] = write.stamp
            link.delivered += 1
        else:
            link.dropped += 1
        self._settle(write)

    def _settle(self, write: Write) -> None:
        slot = (write.table, write.key)
        self._in_flight[slot].pending -= 1
        self._forget_if_settled(slot)

    def _forget_if_settled(self, slot: tuple[Hashable, Hashable]) -> None:
        known = self._in_flight.get(slot)
        if known is not None and known.pending == 0:
            del self._in_flight[slot]


def settled(links: Iterable[LinkState]) -> bool:
    """Whether nothing waits on a link that is not cut."""
    return not any(link.pending for link in links if not link.cut)
