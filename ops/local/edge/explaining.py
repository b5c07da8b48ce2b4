"""Why a region answers, as JSON: what ``GET /_edge/explain`` returns and ``ops edge explain --json`` prints."""

from __future__ import annotations

from typing import Any

from ops.local.edge.choosing import Candidate, Choice
from ops.local.edge.healthchecks import Status
from ops.local.edge.resolvers import Cached


def explanation(city: str, name: str, choice: Choice, cached: Cached | None, error: str) -> dict[str, Any]:
    """One city's answer. ``region`` is what Route 53 would answer now, ``answers`` what the city's resolver does.

    They differ while the resolver keeps an older answer. Times are in seconds, round trips in milliseconds; ``error``
    is why Route 53 could not be read, in which case what was read last is explained.
    """
    region = choice.chosen.region if choice.chosen else None
    kept = cached.choice.chosen if cached else None
    return {
        "city": city,
        "record": name,
        "answers": kept.region if kept else region,
        "region": region,
        "reason": choice.reason,
        "ttl_s": choice.ttl_s,
        "cached": {"region": kept.region, "set_id": kept.record.set_id, "ttl_left_s": round(cached.left_s, 1)}
        if cached and kept
        else None,
        "candidates": [_candidate(one) for one in choice.candidates],
        "error": error or None,
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    return {
        "region": one.region,
        "set_id": one.record.set_id,
        "policy": one.record.policy,
        "weight": one.record.weight if one.record.policy == "weighted" else None,
        "failover": one.record.failover or None,
        "target": one.target,
        "rtt_ms": round(one.round_trip.ms, 1) if one.round_trip else None,
        "rtt_source": one.round_trip.source if one.round_trip else None,
        "healthy": one.healthy,
        "health": one.why,
        "share": round(one.share, 4),
        "left_out": one.left_out or None,
        "check": _check(one.check),
        "below": [_candidate(each) for each in one.below.candidates] if one.below else [],
    }


def _check(status: Status) -> dict[str, Any] | None:
    check = status.check
    if check is None:
        return None
    return {
        "id": check.id,
        "type": check.kind,
        "healthy": status.healthy,
        "inverted": check.inverted,
        "disabled": check.disabled,
        "interval_s": check.interval_s if check.probed else None,
        "failure_threshold": check.failure_threshold if check.probed else None,
        "last_probe": status.last_probe or None,
        "last_probe_age_s": _seconds(status.last_probe_age_s),
        "consecutive": status.streak if check.probed else None,
        "for_s": _seconds(status.for_s),
        "children": [_check(child) for child in status.children],
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
