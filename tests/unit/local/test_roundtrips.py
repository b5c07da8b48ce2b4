"""Round trips: every pair has a figure, each says where it is from, and none is faster than light."""

from __future__ import annotations

import csv

import pytest

from ops.errors import UsageError
from ops.local import cloud
from ops.local.cities import CITIES, REGIONS, great_circle_km, require_region
from ops.local.roundtrips import TABLE, RoundTrip, derived_ms, nearest_city, round_trip, table
from ops.stage import load_stage, stage_names


def test_great_circle_between_new_york_and_london_is_5570_km() -> None:
    assert great_circle_km(CITIES["New York"], CITIES["London"]) == pytest.approx(5570, rel=0.01)


def test_table_has_a_row_for_each_city_and_a_column_for_each_region() -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["city"] for row in rows] == sorted(CITIES)
    assert set(rows[0]) == {"city", "source", *REGIONS}


@pytest.mark.parametrize(
    ("city", "region", "expected"),
    [
        ("Mumbai", "us-east-1", RoundTrip(189.7, "cloudping")),
        ("Mumbai", "ap-south-1", RoundTrip(3.0, "cloudping")),
        ("London", "eu-west-1", RoundTrip(13.4, "cloudping")),
        ("New York", "us-east-1", RoundTrip(9.1, "wondernetwork")),
        ("Nairobi", "eu-south-1", RoundTrip(164.4, "wondernetwork")),
    ],
)
def test_published_figures_are_quoted(city: str, region: str, expected: RoundTrip) -> None:
    assert round_trip(city, region) == expected


def test_pair_that_nobody_measured_is_derived_by_the_documented_formula_and_marked() -> None:
    distance_km = great_circle_km(CITIES["Mumbai"], REGIONS["ap-southeast-6"])

    assert round_trip("Mumbai", "ap-southeast-6") == RoundTrip(
        pytest.approx(4 + 2 * 1.4 * distance_km / 200), "derived"
    )


def test_no_round_trip_is_faster_than_light_in_fibre_and_most_are_measured() -> None:
    for (city, region), trip in table().items():
        light_ms = 2 * great_circle_km(CITIES[city], REGIONS[region]) / 200
        assert trip.ms > 0.97 * light_ms, (city, region, trip)  # coordinates are those of a metropolitan area
        assert trip.ms < 470, (city, region, trip)
    assert sum(trip.source == "derived" for trip in table().values()) < 0.06 * len(table())


def test_measured_figures_differ_from_the_derived_ones_only_by_the_detours_of_routes() -> None:
    ratios = [trip.ms / derived_ms(*pair) for pair, trip in table().items() if trip.source != "derived"]

    assert 0.9 < sorted(ratios)[len(ratios) // 2] < 1.3


def test_nearest_city_to_virginia_is_on_its_coast() -> None:
    assert nearest_city("us-east-1") == "New York"
    assert nearest_city("ap-south-1") == "Mumbai"


def test_region_that_is_on_no_map_has_no_round_trip() -> None:
    assert round_trip("Mumbai", "us-gov-west-1") is None


@pytest.mark.parametrize("name", stage_names())
def test_every_region_of_the_stages_is_on_the_map(name: str) -> None:
    assert [require_region(region) for region in load_stage(name).regions] == load_stage(name).regions


def test_stage_with_a_region_that_is_on_no_map_is_refused_before_anything_starts(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = load_stage("local")
    stage = stage.model_copy(update={"regions": [*stage.regions, "us-gov-west-1"]})

    with pytest.raises(UsageError, match="'us-gov-west-1' is not on the map"):
        cloud.up(stage)
