"""A resolver keeps an answer for its TTL, and the law that follows for a region that dies."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ops.local.edge.choosing import Choice, Resolver
from ops.local.edge.healthchecks import Health, HealthCheck
from ops.local.edge.resolvers import ResolverCache
from ops.local.roundtrips import round_trip
from tests.unit.local.edge.support import NAME, Clock, answer, latency_record, zone_of


def choice_of(ttl_s: int) -> Choice:
    return answer([latency_record("ap-south-1", ttl_s)], Health())


def test_answer_is_kept_for_its_ttl_and_not_longer() -> None:
    clock = Clock()
    cache = ResolverCache(clock)
    cache.put("Mumbai", choice_of(10))

    clock.now_s = 9.9
    cached = cache.get("Mumbai")
    assert cached is not None
    assert round(cached.left_s, 6) == 0.1
    clock.now_s = 10.0
    assert cache.get("Mumbai") is None


def test_answer_with_a_ttl_of_0_is_not_kept() -> None:
    cache = ResolverCache(Clock())
    cache.put("Mumbai", choice_of(0))

    assert cache.get("Mumbai") is None


def test_cities_have_resolvers_of_their_own() -> None:
    cache = ResolverCache(Clock())
    cache.put("Mumbai", choice_of(10))

    assert cache.get("London") is None


@given(
    ttl_s=st.integers(0, 120),
    interval_s=st.sampled_from([10, 30]),
    threshold=st.integers(1, 10),
    dies_at_s=st.floats(60, 200),
    offset_s=st.floats(0, 1, exclude_max=True),
)
def test_no_answer_changes_before_its_ttl_and_all_lead_away_from_a_dead_region_in_time(
    ttl_s: int, interval_s: int, threshold: int, dies_at_s: float, offset_s: float
) -> None:
    """A client asks each second. After the death its answer may stay for the probes to notice, and one TTL more."""
    clock, health = Clock(), Health()
    zone, regions = zone_of(*(latency_record(region, ttl_s) for region in ("ap-south-1", "us-east-1"))), []
    health.update([HealthCheck(region, "HTTPS", failure_threshold=threshold) for region in ("ap-south-1", "us-east-1")])
    cache, asked_at_s = ResolverCache(clock), []
    next_probe_s = offset_s * interval_s
    for second in range(math.ceil(dies_at_s + interval_s * threshold + ttl_s) + 2):
        while next_probe_s <= second:
            health.add("ap-south-1", next_probe_s < dies_at_s)
            health.add("us-east-1", True)
            next_probe_s += interval_s
        clock.now_s = float(second)
        kept = cache.get("Mumbai")
        if kept is None:
            choice = Resolver(zone, health, lambda region: round_trip("Mumbai", region)).choose(NAME)
            cache.put("Mumbai", choice)
            asked_at_s.append(second)
        else:
            choice = kept.choice
        assert choice.chosen is not None
        regions.append(choice.chosen.region)

    assert all(later - earlier >= max(ttl_s, 1) for earlier, later in pairwise(asked_at_s))
    assert regions[math.ceil(dies_at_s) - 1] == "ap-south-1"
    assert regions[math.ceil(dies_at_s + interval_s * threshold + ttl_s) + 1] == "us-east-1"
    assert sum(one != other for one, other in pairwise(regions)) == 1
