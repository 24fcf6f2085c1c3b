"""Distances and directions on the Earth's ellipsoid (WGS 84), right at the poles and across the date line.

C. F. F. Karney, Algorithms for geodesics, J. Geodesy 87 (2013), doi 10.1007/s00190-012-0578-z, by geographiclib. It is exact
to 15 nm and costs some 20 microseconds a call, so it is asked about points that are told, and not about every pixel.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any


def move(latitude: float, longitude: float, east_m: float, north_m: float) -> tuple[float, float]:
    """Where one gets to by going straight ahead, so far to the east and so far to the north of where one is.

    At a pole north is where the meridian of the given longitude points.

    Returns:
        Latitude and longitude, degrees; the longitude within -180..180.
    """
    azimuth_deg = math.degrees(math.atan2(east_m, north_m))
    there = _wgs84().Direct(latitude, longitude, azimuth_deg, math.hypot(east_m, north_m))
    return float(there["lat2"]), _normal(float(there["lon2"]))


def offset_m(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> tuple[float, float]:
    """How far one has to go to the east and to the north to get to a place: the inverse of `move`."""
    way = _wgs84().Inverse(latitude, longitude, to_latitude, to_longitude)
    azimuth = math.radians(way["azi1"])
    return float(way["s12"] * math.sin(azimuth)), float(way["s12"] * math.cos(azimuth))


def distance_m(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    """Length of the shortest way between two places."""
    geodesic = _wgs84()
    return float(geodesic.Inverse(latitude, longitude, to_latitude, to_longitude, geodesic.DISTANCE)["s12"])


def degrees_per_m(latitude: float) -> tuple[float, float]:
    """Degrees of latitude and of longitude that one metre is: near a place, without a pole in between, a flat map.

    For looking up elevations, whose grid is coarse; it is off by some metres after a few kilometres.
    """
    sine, cosine = math.sin(math.radians(latitude)), math.cos(math.radians(latitude))
    # Radii of curvature in the meridian and across it.
    across_m = _SEMI_MAJOR_AXIS_M / math.sqrt(1 - _ECCENTRICITY_SQUARED * sine * sine)
    meridian_m = across_m * (1 - _ECCENTRICITY_SQUARED) / (1 - _ECCENTRICITY_SQUARED * sine * sine)
    return math.degrees(1 / meridian_m), math.degrees(1 / (across_m * max(cosine, 1e-9)))


_SEMI_MAJOR_AXIS_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY_SQUARED = _FLATTENING * (2 - _FLATTENING)


@cache
def _wgs84() -> Any:
    from geographiclib.geodesic import Geodesic

    return Geodesic.WGS84


def _normal(longitude: float) -> float:
    """The same meridian within -180..180."""
    return longitude if -180 <= longitude <= 180 else math.remainder(longitude, 360)
