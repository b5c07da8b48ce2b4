"""No more than the rate, over any stretch of time, but for what the bucket holds at first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ops.rate import TokenBucket


@given(
    per_s=st.floats(0.5, 5_000),
    takes=st.lists(st.tuples(st.integers(1, 10), st.floats(0, 2)), min_size=1, max_size=60),
)
def test_rate_is_never_exceeded_by_more_than_the_bucket_holds(per_s: float, takes: list[tuple[int, float]]) -> None:
    now = 0.0
    bucket = TokenBucket(per_s, clock=lambda: now)
    taken = 0
    for count, pause in takes:
        now += pause
        now += bucket.reserve(count)
        taken += count
        assert taken <= max(10.0, per_s / 10) + per_s * now + 1e-6
