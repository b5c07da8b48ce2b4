"""Which record answers a name: pure decisions over the zone, the health and one caller's city.

What holds, as documented for Route 53, and is played here:

- A record is healthy when its health check is; without one it always is. An alias with ``EvaluateTargetHealth``
  inherits the health of what it leads to: a name of the zone is healthy while one of its records is. Of an API Gateway
  API nothing is known, so it is healthy. Without ``EvaluateTargetHealth`` the alias does not look at its target.
- Latency: of the healthy records the one whose region has the lowest latency for the caller.
- Weighted: a healthy record, drawn in proportion to its weight. Records of weight 0 are considered only when all of the
  others are unhealthy; when all weights are 0, all are equally probable.
- Failover: the primary while it is healthy, else the secondary while that is healthy, else the primary.
- Multivalue: up to eight healthy records at random, of which a client takes the first.
- When no record of a name is healthy, all count as healthy ("fail open"), and the policy decides as ever.
- A branch of a tree is left only for its health: an alias that does not evaluate it is answered from below, whatever
  the state there.

https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-complex-configs.html
https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html
https://docs.aws.amazon.com/Route53/latest/APIReference/API_AliasTarget.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ops.local.edge.healthchecks import Health, Status
from ops.local.edge.records import Record, Zone
from ops.local.roundtrips import RoundTrip

API_NAME = re.compile(r"^(?P<api>[a-z0-9]+)\.execute-api\.(?P<region>[a-z0-9-]+)\.amazonaws\.com$")
FAIL_OPEN = "no record is healthy, so all count as healthy"

Latency = Callable[[str], RoundTrip | None]
"""From a region to the caller's round trip; None when there is no figure."""
Draw = Callable[[], float]
"""A number from 0 up to 1; a weighted policy answers by it."""


class NotPlayedError(Exception):
    """The zone asks for something of Route 53 that the edge does not play; the message names it."""


@dataclass(frozen=True)
class Candidate:
    """One record of a name, seen from one city.

    ``below`` is what answers where the record leads to another name of the zone; ``share`` is that of the answers which
    this record gives now, 0 to 1, and ``left_out`` why it gives none.
    """

    record: Record
    target: str
    region: str
    round_trip: RoundTrip | None
    healthy: bool
    why: str
    check: Status
    below: Choice | None = None
    share: float = 0.0
    left_out: str = ""


@dataclass(frozen=True)
class Choice:
    """Which record answers, and why. ``chain`` are the records from the name to the target; ``ttl_s`` their least."""

    chosen: Candidate | None
    candidates: tuple[Candidate, ...]
    reason: str
    chain: tuple[Record, ...] = ()

    @property
    def ttl_s(self) -> int:
        """Seconds a resolver keeps the answer: an alias has no TTL of its own where it leads to a record."""
        last = len(self.chain) - 1
        return min((one.ttl_s for place, one in enumerate(self.chain) if place == last or not one.alias), default=0)


def region_of(target: str) -> str:
    """The region in the name of an API, else an empty string."""
    match = API_NAME.match(target)
    return match["region"] if match else ""


@dataclass(frozen=True)
class Resolver:
    """Answers names of one zone for one caller. Without ``draw`` the most probable record answers."""

    zone: Zone
    health: Health
    latency: Latency
    draw: Draw | None = None
    _path: tuple[str, ...] = field(default=(), repr=False)

    def choose(self, name: str) -> Choice:
        """The answer for ``name``.

        Raises:
            NotPlayedError: a record or a health check on the way is of a kind that is not played, or leads in a circle.
        """
        if name in self._path:
            raise NotPlayedError(f"{name} leads back to itself: {' -> '.join((*self._path, name))}")
        below = replace(self, _path=(*self._path, name))
        group = self.zone.group(name)
        for record in group:
            if record.not_played:
                raise NotPlayedError(f"{name} ({record.set_id or record.kind}): {record.not_played}")
        if not group:
            return Choice(None, (), f"{name} has no record of type A, CNAME or AAAA")
        chosen, candidates, reason = _decide(group[0].policy, [below._candidate(record) for record in group], self.draw)
        chain = (chosen.record, *(chosen.below.chain if chosen.below else ()))
        return Choice(chosen, tuple(candidates), reason, chain)

    def _candidate(self, record: Record) -> Candidate:
        below = self.choose(record.target) if record.leads_on and self.zone.group(record.target) else None
        healthy, why, check = self._health(record, below)
        target = below.chosen.target if below is not None and below.chosen is not None else record.target
        region = region_of(target) or record.region
        # Latency routing goes by the region that the record names, wherever its target may be.
        return Candidate(record, target, region, self.latency(record.region or region), healthy, why, check, below)

    def _health(self, record: Record, below: Choice | None) -> tuple[bool, str, Status]:
        check = self.health.status(record.health_check_id)
        if check.not_played:
            raise NotPlayedError(f"{record.name} ({record.set_id or record.kind}): {check.not_played}")
        if not record.evaluate_target_health:
            return check.healthy, check.why, check
        if below is None:
            healthy, why = True, "target: an AWS resource of which Route 53 knows no health"
        else:
            up = sum(one.healthy for one in below.candidates)
            healthy, why = up > 0, f"target: {up} of {len(below.candidates)} records of {record.target} healthy"
        if record.health_check_id is None:
            return healthy, why, check
        return check.healthy and healthy, f"{check.why}; {why}", check


@dataclass(frozen=True)
class _Verdict:
    """What a routing policy makes of its candidates: shares in their order, and what those without one lack."""

    shares: list[float]
    reason: str
    passed_over: str


def _decide(policy: str, candidates: list[Candidate], draw: Draw | None) -> tuple[Candidate, list[Candidate], str]:
    """The one that answers, all of them with what became of each, and why."""
    healthy = any(one.healthy for one in candidates)
    if policy == "latency":
        candidates = sorted(candidates, key=_nearest_first)
    pool = [one.healthy or not healthy for one in candidates]
    verdict = _POLICIES[policy](candidates, pool)
    chosen = _drawn(verdict.shares, draw)
    settled = [
        replace(
            one,
            share=share,
            left_out="" if share else verdict.passed_over if considered else "unhealthy",
        )
        for one, share, considered in zip(candidates, verdict.shares, pool, strict=True)
    ]
    reason = verdict.reason if healthy else f"{FAIL_OPEN}: {verdict.reason}"
    return settled[chosen], settled, reason


def _by_latency(candidates: Sequence[Candidate], pool: Sequence[bool]) -> _Verdict:
    """The candidates are in the order of their round trips."""
    first = pool.index(True)
    shares = [float(place == first) for place in range(len(pool))]
    if candidates[first].round_trip is None:
        return _Verdict(shares, f"no round trip to {candidates[first].record.region} is known", "farther")
    if first == 0:
        suffix = ", and healthy" if candidates[0].healthy else ""
        return _Verdict(shares, f"the nearest region{suffix}", "farther")
    nearer = ", ".join(one.record.region for one in candidates[:first])
    return _Verdict(
        shares, f"the nearest healthy region; {nearer} {'is' if first == 1 else 'are'} unhealthy", "farther"
    )


def _by_weight(candidates: Sequence[Candidate], pool: Sequence[bool]) -> _Verdict:
    weights = [one.record.weight if considered else 0 for one, considered in zip(candidates, pool, strict=True)]
    if not any(weights):
        # Only records of weight 0 are left: all of them, with equal probability.
        weights = [int(considered) for considered in pool]
    total = sum(weights)
    return _Verdict([weight / total for weight in weights], f"weighted: {_percents(candidates, weights)}", "weight 0")


def _by_failover(candidates: Sequence[Candidate], _: Sequence[bool]) -> _Verdict:
    def place(role: str) -> int | None:
        return next((at for at, one in enumerate(candidates) if one.record.failover == role), None)

    primary, secondary = place("PRIMARY"), place("SECONDARY")
    if primary is None or secondary is None:
        chosen, reason = 0, f"{candidates[0].record.failover.lower()}, and there is no other"
    elif candidates[primary].healthy:
        chosen, reason = primary, "the primary, and healthy"
    elif candidates[secondary].healthy:
        chosen, reason = secondary, "the secondary; the primary is unhealthy"
    else:
        chosen, reason = primary, "the primary, as the secondary is unhealthy too"
    return _Verdict([float(at == chosen) for at in range(len(candidates))], reason, "secondary")


def _at_random(candidates: Sequence[Candidate], pool: Sequence[bool]) -> _Verdict:
    count = sum(pool)
    reason = "the only record" if len(candidates) == 1 else f"one of {count} records at random"
    return _Verdict([considered / count for considered in pool], reason, "")


_POLICIES = {
    "latency": _by_latency,
    "weighted": _by_weight,
    "failover": _by_failover,
    "multivalue": _at_random,
    "simple": _at_random,
}


def _nearest_first(one: Candidate) -> tuple[bool, float, str]:
    trip = one.round_trip
    return (trip is None, trip.ms if trip is not None else 0.0, one.record.set_id)


def _percents(candidates: Sequence[Candidate], weights: Sequence[int]) -> str:
    total = sum(weights)
    parts = [f"{one.record.set_id} {weight / total:.0%}" for one, weight in zip(candidates, weights, strict=True)]
    return ", ".join(parts)


def _drawn(shares: Sequence[float], draw: Draw | None) -> int:
    """The place that a draw falls on; without a draw, the first of the greatest share."""
    if draw is None:
        return max(range(len(shares)), key=lambda place: (shares[place], -place))
    left = draw()
    for place, share in enumerate(shares):
        if share and left < share:
            return place
        left -= share
    return max(place for place, share in enumerate(shares) if share)  # what rounding left over
