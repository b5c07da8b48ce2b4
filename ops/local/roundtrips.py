"""How long a round trip from a city to an AWS region takes: measured where somebody measured it, else derived.

``round_trips.csv`` has a row a city and a column a region, in milliseconds. Each row says by ``source`` how it was
measured; an empty field was measured by nobody and is derived.

``cloudping``
    The city has an AWS region, so its row is that region's: median of a year of TCP round trips between EC2 regions,
    as CloudPing published them on 2025-05-29 (https://www.cloudping.co/, API ``latencies``, ``percentile=p_50``,
    ``timeframe=1Y``; the code is at https://github.com/mda590/cloudping.co).
``wondernetwork``
    The city has none: pings of 2020-07-19 and 20 from WonderNetwork's server in the city (New York: Garden City) to
    its server in the metropolitan area of the region, median over the two days of each run's mean of 30 pings
    (https://wonderproxy.com/blog/a-day-in-the-life-of-the-internet/). Where there was no server in that area, the
    nearest one: Pune for ap-south-1, Portland for us-west-2, Edmonton for ca-west-1, Mexico City for mx-central-1,
    Madrid for eu-south-2, Montreal's Laval for ca-central-1. Those are routes of the public internet: from Africa many
    lead through Europe.
``derived``
    Light in fibre covers about 200 km a millisecond, cables are about 1.4 times as long as the great circle, and 4 ms
    go to the last mile at both ends: ``4 + 2 * 1.4 * great_circle_km / 200``.

Route 53 has measurements of its own, between networks and regions, and publishes none of them: the order of regions
for a city is what these figures are for.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from ops.local.cities import CITIES, REGIONS, great_circle_km

TABLE = Path(__file__).with_name("round_trips.csv")
FIBRE_KM_PER_MS = 200.0
CABLE_STRETCH = 1.4
LAST_MILE_MS = 4.0

Source = Literal["cloudping", "wondernetwork", "derived"]


class RoundTrip(NamedTuple):
    """Milliseconds, and where the figure is from."""

    ms: float
    source: Source


@cache
def table() -> dict[tuple[str, str], RoundTrip]:
    """Every pair of a city and a region; one that nobody measured is derived."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = {row["city"]: row for row in csv.DictReader(file)}
    return {
        (city, region): RoundTrip(float(rows[city][region]), _source(rows[city]["source"]))
        if rows[city][region]
        else RoundTrip(derived_ms(city, region), "derived")
        for city in CITIES
        for region in REGIONS
    }


def round_trip(city: str, region: str) -> RoundTrip | None:
    """The round trip, or None for a region that is not on the map. Raises KeyError for a city that is not."""
    return table()[city, region] if region in REGIONS else None


def derived_ms(city: str, region: str) -> float:
    """The round trip by distance. Raises KeyError for a city or region that is not on the map."""
    distance_km = great_circle_km(CITIES[city], REGIONS[region])
    return LAST_MILE_MS + 2 * CABLE_STRETCH * distance_km / FIBRE_KM_PER_MS


def nearest_city(region: str) -> str:
    """The city with the shortest round trip to ``region``."""
    return min(CITIES, key=lambda city: (table()[city, region].ms, city))


def _source(text: str) -> Source:
    if text == "cloudping":
        return "cloudping"
    if text == "wondernetwork":
        return "wondernetwork"
    raise ValueError(f"{TABLE.name}: source {text!r} is not known; accepted: cloudping, wondernetwork")
