"""Distances and directions on the Earth's ellipsoid (WGS 84), right at the poles and across the date line.

C. F. F. Karney, Algorithms for geodesics, J. Geodesy 87 (2013), doi 10.1007/s00190-012-0578-z, by geographiclib. It is exact
to 15 nm and costs some 20 microseconds a call, so it is asked about points that are told, and not about every pixel. Where
there are many points around one place, a series is as good and a hundred times as fast.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SERIES_M = 5000.0
"""As far the series is right to a millimetre, and up to `SERIES_DEG` of latitude."""

SERIES_DEG = 85.0


def move(latitude: float, longitude: float, east_m: float, north_m: float) -> tuple[float, float]:
    """Where one gets to by going straight ahead, so far to the east and so far to the north of where one is.

    At a pole north is where the meridian of the given longitude points.

    Returns:
        Latitude and longitude, degrees; the longitude within -180..180.
    """
    azimuth_deg = math.degrees(math.atan2(east_m, north_m))
    there = _wgs84().Direct(latitude, longitude, azimuth_deg, math.hypot(east_m, north_m))
    return float(there["lat2"]), _normal(float(there["lon2"]))


def move_each(latitude: float, longitude: float, offsets_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where one gets to from one place by several ways: as `move`, to a millimetre.

    By Legendre's series of the direct problem, up to the third power of the way in radii of the Earth.

    Args:
        offsets_m: (n, 2), to the east and to the north.

    Returns:
        (n, 2), latitudes and longitudes; not a number where an offset is none.
    """
    import numpy as np

    if abs(latitude) > SERIES_DEG or (np.hypot(*offsets_m.T) > SERIES_M).any():
        ways = [(float(east_m), float(north_m)) for east_m, north_m in offsets_m]
        places = [(math.nan, math.nan) if math.isnan(sum(way)) else move(latitude, longitude, *way) for way in ways]
        return np.array(places, np.float64).reshape(-1, 2)
    cosine, tangent = math.cos(math.radians(latitude)), math.tan(math.radians(latitude))
    tangent2 = tangent * tangent
    # The square of the second eccentricity, times that of the cosine.
    eta2 = _ECCENTRICITY_SQUARED / (1 - _ECCENTRICITY_SQUARED) * cosine * cosine
    across_m = _across_m(latitude)
    east, north = offsets_m[:, 0] / across_m, offsets_m[:, 1] / across_m
    east2, north2 = east * east, north * north
    mixed = 1 + 3 * tangent2 + eta2
    up = (
        north
        - tangent * (east2 / 2 + 1.5 * eta2 * north2)
        - (mixed - 9 * eta2 * tangent2) / 6 * north * east2
        - eta2 * (1 - tangent2) / 2 * north * north2
    )
    aside = east * (1 + tangent * north - tangent2 / 3 * east2 + mixed / 3 * north2)
    latitudes = latitude + np.degrees((1 + eta2) * up)
    longitudes = longitude + np.degrees(aside / cosine)
    beyond = np.abs(longitudes) > 180
    return np.column_stack((latitudes, np.where(beyond, (longitudes + 180) % 360 - 180, longitudes)))


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
    across_m = _across_m(latitude)
    # Radius of curvature in the meridian.
    meridian_m = across_m * (1 - _ECCENTRICITY_SQUARED) / (1 - _ECCENTRICITY_SQUARED * sine * sine)
    return math.degrees(1 / meridian_m), math.degrees(1 / (across_m * max(cosine, 1e-9)))


_SEMI_MAJOR_AXIS_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY_SQUARED = _FLATTENING * (2 - _FLATTENING)


def _across_m(latitude: float) -> float:
    """Radius of curvature across the meridian."""
    return _SEMI_MAJOR_AXIS_M / math.sqrt(1 - _ECCENTRICITY_SQUARED * math.sin(math.radians(latitude)) ** 2)


@cache
def _wgs84() -> Any:
    from geographiclib.geodesic import Geodesic

    return Geodesic.WGS84


def _normal(longitude: float) -> float:
    """The same meridian within -180..180."""
    return longitude if -180 <= longitude <= 180 else math.remainder(longitude, 360)
