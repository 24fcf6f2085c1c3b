"""What can be a place on Earth."""

from __future__ import annotations

import math


def check_coordinates(latitude: float, longitude: float) -> None:
    """Refuse what is no place: values out of range, not finite, or 0/0, which receivers without a fix report.

    Args:
        latitude: Degrees north; longitude: degrees east.

    Raises:
        ValueError: With the reason.
    """
    if not (math.isfinite(latitude) and math.isfinite(longitude)):
        raise ValueError("latitude or longitude is not a finite number")
    if not -90 <= latitude <= 90:
        raise ValueError(f"latitude {latitude} is not within -90..90")
    if not -180 <= longitude <= 180:
        raise ValueError(f"longitude {longitude} is not within -180..180")
    if latitude == 0 and longitude == 0:
        raise ValueError("0/0 is what a receiver says that has no fix")
