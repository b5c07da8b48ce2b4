"""Cities and AWS regions on the map.

Coordinates are those of the city, or of the metropolitan area that AWS names for the region. The regions are those of
the partition ``aws``; round trips between the two are in ``ops/local/roundtrips.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ops.errors import UsageError

EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True)
class Place:
    """A point on the map, in degrees."""

    name: str
    latitude: float
    longitude: float


CITIES = {
    place.name: place
    for place in (
        Place("Amsterdam", 52.37, 4.90),
        Place("Bengaluru", 12.97, 77.59),
        Place("Cape Town", -33.92, 18.42),
        Place("Chicago", 41.88, -87.63),
        Place("Dubai", 25.20, 55.27),
        Place("Frankfurt", 50.11, 8.68),
        Place("Hong Kong", 22.32, 114.17),
        Place("Johannesburg", -26.20, 28.05),
        Place("Lagos", 6.52, 3.38),
        Place("London", 51.51, -0.13),
        Place("Los Angeles", 34.05, -118.24),
        Place("Madrid", 40.42, -3.70),
        Place("Mexico City", 19.43, -99.13),
        Place("Mumbai", 19.08, 72.88),
        Place("Nairobi", -1.29, 36.82),
        Place("New York", 40.71, -74.01),
        Place("Paris", 48.86, 2.35),
        Place("San Francisco", 37.77, -122.42),
        Place("Sao Paulo", -23.55, -46.63),
        Place("Seoul", 37.57, 126.98),
        Place("Singapore", 1.35, 103.82),
        Place("Stockholm", 59.33, 18.07),
        Place("Sydney", -33.87, 151.21),
        Place("Tokyo", 35.68, 139.69),
        Place("Toronto", 43.65, -79.38),
    )
}

REGIONS = {
    place.name: place
    for place in (
        Place("af-south-1", -33.92, 18.42),
        Place("ap-east-1", 22.32, 114.17),
        Place("ap-east-2", 25.03, 121.57),
        Place("ap-northeast-1", 35.68, 139.69),
        Place("ap-northeast-2", 37.57, 126.98),
        Place("ap-northeast-3", 34.69, 135.50),
        Place("ap-south-1", 19.08, 72.88),
        Place("ap-south-2", 17.39, 78.49),
        Place("ap-southeast-1", 1.35, 103.82),
        Place("ap-southeast-2", -33.87, 151.21),
        Place("ap-southeast-3", -6.21, 106.85),
        Place("ap-southeast-4", -37.81, 144.96),
        Place("ap-southeast-5", 3.14, 101.69),
        Place("ap-southeast-6", -36.85, 174.76),
        Place("ap-southeast-7", 13.76, 100.50),
        Place("ca-central-1", 45.50, -73.57),
        Place("ca-west-1", 51.05, -114.07),
        Place("eu-central-1", 50.11, 8.68),
        Place("eu-central-2", 47.37, 8.54),
        Place("eu-north-1", 59.33, 18.07),
        Place("eu-south-1", 45.46, 9.19),
        Place("eu-south-2", 41.65, -0.89),
        Place("eu-west-1", 53.35, -6.26),
        Place("eu-west-2", 51.51, -0.13),
        Place("eu-west-3", 48.86, 2.35),
        Place("il-central-1", 32.09, 34.78),
        Place("me-central-1", 24.45, 54.38),
        Place("me-south-1", 26.23, 50.59),
        Place("mx-central-1", 20.59, -100.39),
        Place("sa-east-1", -23.55, -46.63),
        Place("us-east-1", 39.04, -77.49),
        Place("us-east-2", 39.96, -83.00),
        Place("us-west-1", 37.35, -121.96),
        Place("us-west-2", 45.84, -119.70),
    )
}


def great_circle_km(one: Place, other: Place) -> float:
    """Haversine distance on a sphere of the Earth's mean radius."""
    lat1, lat2 = math.radians(one.latitude), math.radians(other.latitude)
    dlat, dlon = lat2 - lat1, math.radians(other.longitude - one.longitude)
    half = math.sin(dlat / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(dlon / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(half))


def require_city(city: str) -> str:
    """Return ``city``; raise UsageError when it is not on the map."""
    if city not in CITIES:
        raise UsageError(f"city: {city!r} is not known; accepted: {', '.join(CITIES)}")
    return city


def require_region(region: str) -> str:
    """Return ``region``; raise UsageError when it is not on the map."""
    if region not in REGIONS:
        raise UsageError(
            f"regions: {region!r} is not on the map of the local cloud, which knows no round trip to it; "
            f"accepted: {', '.join(REGIONS)}",
            hint="A new region of AWS: add its place to ops/local/cities.py; round trips are then derived.",
        )
    return region
