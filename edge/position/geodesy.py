"""Stand-in until the real one is merged."""

from __future__ import annotations


def move(latitude: float, longitude: float, east_m: float, north_m: float) -> tuple[float, float]:
    """Where one is then."""
    import math

    from geographiclib.geodesic import Geodesic

    end = Geodesic.WGS84.Direct(latitude, longitude, math.degrees(math.atan2(east_m, north_m)), math.hypot(east_m, north_m))
    return float(end["lat2"]), float(end["lon2"])


def distance_m(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """On the ellipsoid."""
    from geographiclib.geodesic import Geodesic

    return float(Geodesic.WGS84.Inverse(latitude, longitude, other_latitude, other_longitude)["s12"])
