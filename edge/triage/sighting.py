"""An observation that reaches the threshold, and how far it is from another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from edge.records import Observation, Place

# Mean radius (IUGG). On a sphere a distance is wrong by at most 0.6 %, which is nothing to what decides about an alert, and
# it takes a microsecond; geodesics take a hundred.
_EARTH_RADIUS_M = 6_371_008.8
M_PER_DEG = math.radians(_EARTH_RADIUS_M)
"""Of latitude."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An observation, where it is, and the label that is alerted about with its probability."""

    observation: Observation
    place: Place | None
    label: str
    confidence: float

    @property
    def at(self) -> datetime:
        """Moment of the exposure, UTC."""
        return self.observation.frame.captured_at


def is_near(one: Place, other: Place, limit_m: float) -> bool:
    """Whether two places are closer than a limit."""
    # Most are not, and cost no sine.
    return abs(one.latitude - other.latitude) * M_PER_DEG <= limit_m and distance_m(one, other) < limit_m


def distance_m(one: Place, other: Place) -> float:
    """Between two places along the ground, by the haversine formula (Sinnott, 1984); right at the poles and the date line."""
    latitude, other_latitude = math.radians(one.latitude), math.radians(other.latitude)
    across = math.sin(math.radians(other.longitude - one.longitude) / 2) ** 2
    share = math.sin((other_latitude - latitude) / 2) ** 2 + math.cos(latitude) * math.cos(other_latitude) * across
    return 2 * _EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(share)))
