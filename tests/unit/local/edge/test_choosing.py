"""The edge answers as Route 53 documents it, for every city and every set of healthy regions, policy by policy."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.local.cities import CITIES
from ops.local.edge.choosing import FAIL_OPEN, Choice, NotPlayedError, region_of
from ops.local.edge.healthchecks import Health, HealthCheck
from ops.local.edge.records import Record
from tests.unit.local.edge.support import NAME, answer, api, health_of, latency_record

# --- latency: a written expectation ------------------------------------------------------------------------------

REGION = {"us": "us-east-1", "eu": "eu-west-1", "in": "ap-south-1", "au": "ap-southeast-2", "br": "sa-east-1"}
# Nearest first, by the published figures that ops/local/round_trips.csv quotes; written out, so that the choice is not
# held against its own computation.
NEAREST_FIRST = {
    "Amsterdam": "eu us in br au",
    "Bengaluru": "in au eu us br",
    "Cape Town": "eu us in br au",
    "Chicago": "us eu br in au",
    "Dubai": "in eu au us br",
    "Frankfurt": "eu us in br au",
    "Hong Kong": "in au us eu br",
    "Johannesburg": "eu us in br au",
    "Lagos": "eu us in br au",
    "London": "eu us in br au",
    "Los Angeles": "us au eu br in",
    "Madrid": "eu us in br au",
    "Mexico City": "us eu br au in",
    "Mumbai": "in eu au us br",
    "Nairobi": "eu us in br au",
    "New York": "us eu br au in",
    "Paris": "eu us in br au",
    "San Francisco": "us eu au br in",
    "Sao Paulo": "br us eu in au",
    "Seoul": "in au us eu br",
    "Singapore": "in au eu us br",
    "Stockholm": "eu us in br au",
    "Sydney": "au in us eu br",
    "Tokyo": "au in us eu br",
    "Toronto": "us eu br au in",
}
STAGES = (("us", "in"), ("us", "in", "eu"), ("us", "in", "eu", "au", "br"))


def subsets(regions: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(regions, count) for count in range(len(regions) + 1)))


def test_expectation_covers_every_city() -> None:
    assert set(NEAREST_FIRST) == set(CITIES)


@pytest.mark.parametrize("city", NEAREST_FIRST)
@pytest.mark.parametrize("regions", STAGES, ids="+".join)
def test_latency_for_every_city_and_every_subset_of_healthy_regions(city: str, regions: tuple[str, ...]) -> None:
    order = [short for short in NEAREST_FIRST[city].split() if short in regions]
    records = [latency_record(REGION[short]) for short in regions]
    for up in subsets(regions):
        choice = answer(records, health_of({REGION[short]: short in up for short in regions}), city)
        expected = next((short for short in order if short in up), order[0])

        assert choice.chosen is not None
        assert choice.chosen.region == REGION[expected], (city, up)
        assert [one.region for one in choice.candidates] == [REGION[short] for short in order]
        assert [one.healthy for one in choice.candidates] == [short in up for short in order]
        assert choice.reason.startswith(FAIL_OPEN) is (not up)


@pytest.mark.parametrize(
    ("up", "left_out", "reason"),
    [
        (("in", "us", "eu"), {"eu": "farther", "us": "farther"}, "the nearest region, and healthy"),
        (("us", "eu"), {"in": "unhealthy", "us": "farther"}, "the nearest healthy region; ap-south-1 is unhealthy"),
        (
            ("us",),
            {"in": "unhealthy", "eu": "unhealthy"},
            "the nearest healthy region; ap-south-1, eu-west-1 are unhealthy",
        ),
        ((), {"us": "farther", "eu": "farther"}, f"{FAIL_OPEN}: the nearest region"),
    ],
)
def test_latency_says_why_and_who_was_left_out(up: tuple[str, ...], left_out: dict[str, str], reason: str) -> None:
    records = [latency_record(REGION[short]) for short in ("us", "eu", "in")]
    choice = answer(records, health_of({REGION[short]: short in up for short in ("us", "eu", "in")}), "Mumbai")

    assert choice.reason == reason
    assert {one.region: one.left_out for one in choice.candidates if one.left_out} == {
        REGION[short]: why for short, why in left_out.items()
    }


def test_latency_goes_by_the_region_of_the_record_and_reports_that_of_the_target() -> None:
    misled = Record(NAME, "CNAME", api("us-east-1"), "misled", "latency", region="ap-south-1", ttl_s=10)
    choice = answer([misled, latency_record("eu-west-1")], health_of({"eu-west-1": True}), "Mumbai")

    assert choice.chosen is not None
    assert (choice.chosen.record.set_id, choice.chosen.region) == ("misled", "us-east-1")


def test_latency_record_of_a_region_without_a_figure_comes_last() -> None:
    unknown = Record(NAME, "CNAME", "x.example", "gov", "latency", region="us-gov-west-1")
    choice = answer([unknown, latency_record("sa-east-1")], health_of({"sa-east-1": False}), "Mumbai")

    assert choice.chosen is not None
    assert choice.chosen.record is unknown  # far away, but the only healthy one
    assert choice.candidates[-1].round_trip is None
    assert choice.reason == "no round trip to us-gov-west-1 is known"


def test_record_without_a_health_check_is_healthy() -> None:
    bare = Record(NAME, "CNAME", api("ap-south-1"), "bare", "latency", region="ap-south-1")
    choice = answer([bare], Health())

    assert choice.candidates[0].healthy
    assert choice.candidates[0].why == "no health check"


def test_name_without_records_has_no_answer_and_says_so() -> None:
    choice = answer([], Health())

    assert choice.chosen is None
    assert choice.reason == f"{NAME} has no record of type A, CNAME or AAAA"
    assert choice.ttl_s == 0


# --- weighted ----------------------------------------------------------------------------------------------------


def weighted(**weights: int) -> list[Record]:
    return [
        Record(NAME, "CNAME", api(REGION[short]), short, "weighted", weight=weight, health_check_id=short)
        for short, weight in weights.items()
    ]


@pytest.mark.parametrize(
    ("weights", "up", "shares"),
    [
        ({"us": 3, "in": 1}, ("us", "in"), {"us": 0.75, "in": 0.25}),
        ({"us": 3, "in": 1}, ("in",), {"us": 0, "in": 1}),
        ({"us": 255, "in": 0}, ("us", "in"), {"us": 1, "in": 0}),
        ({"us": 255, "in": 0}, ("in",), {"us": 0, "in": 1}),
        ({"us": 1, "in": 0, "eu": 0}, ("in", "eu"), {"us": 0, "in": 0.5, "eu": 0.5}),
        ({"us": 0, "in": 0}, ("us", "in"), {"us": 0.5, "in": 0.5}),
        ({"us": 3, "in": 1}, (), {"us": 0.75, "in": 0.25}),
        ({"us": 1, "in": 0}, (), {"us": 1, "in": 0}),
    ],
)
def test_weighted_answers_in_proportion_among_the_healthy(
    weights: dict[str, int], up: tuple[str, ...], shares: dict[str, float]
) -> None:
    choice = answer(weighted(**weights), health_of({short: short in up for short in weights}))

    assert {one.record.set_id: one.share for one in choice.candidates} == shares


@given(
    weights=st.lists(st.integers(0, 255), min_size=1, max_size=5),
    up=st.lists(st.booleans(), min_size=5, max_size=5),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_weighted_shares_add_up_and_a_draw_falls_on_one_of_them(
    weights: list[int], up: list[bool], draw: float
) -> None:
    records = weighted(**dict(zip(REGION, weights, strict=False)))
    health = health_of({record.set_id: healthy for record, healthy in zip(records, up, strict=False)})
    choice = answer(records, health, draw=lambda: draw)

    assert sum(one.share for one in choice.candidates) == pytest.approx(1)
    assert choice.chosen is not None
    assert choice.chosen.share > 0
    assert choice.chosen.healthy or not any(up[: len(records)])


def test_weighted_draws_follow_the_shares() -> None:
    records, health = weighted(us=3, eu=0, **{"in": 1}), health_of({"us": True, "in": True, "eu": True})
    drawn = [answer(records, health, draw=lambda at=at: at / 100).chosen for at in range(100)]

    assert [one.record.set_id for one in drawn if one] == ["us"] * 75 + ["in"] * 25


def test_evacuated_weight_says_so() -> None:
    choice = answer(weighted(us=0, **{"in": 100}), health_of({"us": True, "in": True}))

    assert {one.record.set_id: one.left_out for one in choice.candidates} == {"us": "weight 0", "in": ""}
    assert choice.reason == "weighted: us 0%, in 100%"


# --- failover, multivalue, simple --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primary", "secondary", "expected"),
    [
        (True, True, "primary"),
        (True, False, "primary"),
        (False, True, "secondary"),
        (False, False, "primary"),
        (False, None, "secondary"),
    ],
)
def test_failover_answers_the_secondary_only_when_it_alone_is_healthy(
    primary: bool, secondary: bool | None, expected: str
) -> None:
    records = [
        Record(NAME, "CNAME", api("us-east-1"), "secondary", "failover", failover="SECONDARY", health_check_id="s"),
        Record(NAME, "CNAME", api("ap-south-1"), "primary", "failover", failover="PRIMARY", health_check_id="p"),
    ]
    choice = answer(records, health_of({"p": primary, "s": secondary}))

    assert choice.chosen is not None
    assert choice.chosen.record.set_id == expected


def test_failover_with_one_record_answers_it() -> None:
    only = Record(NAME, "CNAME", api("us-east-1"), "p", "failover", failover="PRIMARY", health_check_id="p")
    choice = answer([only], health_of({"p": False}))

    assert choice.chosen is not None
    assert choice.reason == f"{FAIL_OPEN}: primary, and there is no other"


def test_multivalue_answers_healthy_records_with_equal_probability() -> None:
    records = [
        Record(NAME, "A", f"192.0.2.{number}", str(number), "multivalue", health_check_id=str(number))
        for number in range(3)
    ]
    choice = answer(records, health_of({"0": True, "1": False, "2": True}))

    assert [one.share for one in choice.candidates] == [0.5, 0, 0.5]
    assert choice.candidates[1].left_out == "unhealthy"


def test_simple_record_answers_always() -> None:
    choice = answer([Record(NAME, "CNAME", api("eu-west-1"), ttl_s=7)], Health())

    assert choice.chosen is not None
    assert (choice.chosen.region, choice.reason, choice.ttl_s) == ("eu-west-1", "the only record", 7)


# --- alias and evaluate target health ----------------------------------------------------------------------------


def tree(*, evaluate: bool) -> list[Record]:
    """Latency aliases onto weighted records, as Route 53's guide to complex configurations draws them."""
    roots = [
        Record(
            NAME, "A", f"{short}.atoll.example", short, "latency",
            region=REGION[short], alias=True, evaluate_target_health=evaluate,
        )
        for short in ("us", "in")
    ]  # fmt: skip
    leaves = [
        Record(
            f"{short}.atoll.example", "A", api(REGION[short]), f"{short}{number}", "weighted",
            weight=1, ttl_s=30, health_check_id=f"{short}{number}",
        )
        for short in ("us", "in")
        for number in (1, 2)
    ]  # fmt: skip
    return [*roots, *leaves]


def states(**down: bool) -> Health:
    return health_of({name: not down.get(name, False) for name in ("us1", "us2", "in1", "in2")})


@pytest.mark.parametrize(
    ("evaluate", "down", "expected"),
    [
        (True, {}, "ap-south-1"),
        (True, {"in1": True}, "ap-south-1"),
        (True, {"in1": True, "in2": True}, "us-east-1"),
        (True, {"in1": True, "in2": True, "us1": True, "us2": True}, "ap-south-1"),
        (False, {"in1": True, "in2": True}, "ap-south-1"),
    ],
)
def test_alias_leaves_a_branch_only_when_it_evaluates_its_health(
    evaluate: bool, down: dict[str, bool], expected: str
) -> None:
    choice = answer(tree(evaluate=evaluate), states(**down), "Mumbai")

    assert choice.chosen is not None
    assert choice.chosen.region == expected


def test_alias_onto_records_answers_a_healthy_one_with_their_ttl() -> None:
    choice = answer(tree(evaluate=True), states(in1=True), "Mumbai")

    assert [record.set_id for record in choice.chain] == ["in", "in2"]
    assert choice.ttl_s == 30
    assert choice.candidates[0].why == "target: 1 of 2 records of in.atoll.example healthy"


def test_alias_with_a_health_check_too_needs_both() -> None:
    records = [
        Record(NAME, "A", "in.atoll.example", "in", "latency", region="ap-south-1", alias=True,
               evaluate_target_health=True, health_check_id="own"),
        Record(NAME, "A", api("us-east-1"), "us", "latency", region="us-east-1", alias=True),
        Record("in.atoll.example", "A", api("ap-south-1"), health_check_id="leaf"),
    ]  # fmt: skip
    regions = {
        (own, leaf): answer(records, health_of({"own": own, "leaf": leaf})).chosen
        for own in (True, False)
        for leaf in (True, False)
    }

    assert [states for states, chosen in regions.items() if chosen and chosen.region == "ap-south-1"] == [(True, True)]


def test_alias_onto_an_api_is_healthy_as_nothing_is_known_of_it() -> None:
    record = Record(NAME, "A", api("us-east-1"), "us", "latency", region="us-east-1", alias=True,
                    evaluate_target_health=True)  # fmt: skip
    choice = answer([record], Health())

    assert choice.candidates[0].healthy
    assert "knows no health" in choice.candidates[0].why
    assert choice.ttl_s == 60


def test_cname_chain_is_kept_for_the_shortest_time_to_live() -> None:
    choice = answer(
        [
            Record(NAME, "CNAME", "us.atoll.example", ttl_s=60),
            Record("us.atoll.example", "CNAME", api("us-east-1"), ttl_s=5),
        ],
        Health(),
    )

    assert choice.chosen is not None
    assert (choice.chosen.region, choice.ttl_s) == ("us-east-1", 5)


def test_names_that_lead_in_a_circle_are_refused() -> None:
    circle = [Record(NAME, "CNAME", "b.atoll.example"), Record("b.atoll.example", "CNAME", NAME)]

    with pytest.raises(NotPlayedError, match=r"api\.atoll\.example -> b\.atoll\.example -> api\.atoll\.example"):
        answer(circle, Health())


# --- what is not played ------------------------------------------------------------------------------------------


def test_policy_that_is_not_played_is_refused_by_name() -> None:
    record = Record(NAME, "CNAME", "x", "in", not_played="geolocation routing is not played")

    with pytest.raises(NotPlayedError, match=r"api\.atoll\.example \(in\): geolocation routing is not played"):
        answer([record], Health())


def test_health_check_that_is_not_played_is_refused_by_name_also_as_a_child() -> None:
    health = Health()
    health.update(
        [
            HealthCheck("ap-south-1", "CALCULATED", children=("switch",), healthy_children=1),
            HealthCheck("switch", "RECOVERY_CONTROL"),
        ]
    )

    with pytest.raises(NotPlayedError, match="switch is of type RECOVERY_CONTROL, which is not played"):
        answer([latency_record("ap-south-1")], health)


# --- laws --------------------------------------------------------------------------------------------------------

CHECKS = st.builds(
    HealthCheck,
    id=st.just(""),
    kind=st.just("HTTPS"),
    inverted=st.booleans(),
    disabled=st.booleans(),
    failure_threshold=st.integers(1, 3),
)


def chosen_region(choice: Choice) -> str:
    assert choice.chosen is not None
    return choice.chosen.region


@given(checks=st.lists(CHECKS, min_size=3, max_size=3), probes=st.lists(st.booleans(), max_size=12))
def test_disabled_check_that_is_not_inverted_never_removes_its_region(
    checks: list[HealthCheck], probes: list[bool]
) -> None:
    regions = [REGION[short] for short in ("us", "eu", "in")]
    named = [HealthCheck(**{**vars(check), "id": region}) for check, region in zip(checks, regions, strict=True)]
    health = Health()
    health.update(named)
    for at, ok in enumerate(probes):
        health.add(regions[at % 3], ok)
    choice = answer([latency_record(region) for region in regions], health, "Mumbai")

    for check in named:
        candidate = next(one for one in choice.candidates if one.region == check.id)
        if check.disabled:
            assert candidate.healthy is not check.inverted
        assert candidate.left_out != "unhealthy" or not candidate.healthy
    healthy = [one for one in choice.candidates if one.healthy] or list(choice.candidates)
    assert chosen_region(choice) == healthy[0].region


def test_region_of_a_target_that_is_no_api_is_empty() -> None:
    assert region_of("d-1.cloudfront.net") == ""
