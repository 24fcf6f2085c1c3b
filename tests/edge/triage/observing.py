"""Observations as a flight has them, and a clock that stands until it is told to go on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np

from edge.records import Alert, Fix, Frame, FrameKey, ModelName, Observation, Prediction, Tile
from edge.triage import Sightings, Triage

BEGIN = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
HOUSTON = (29.76, -95.37)
M_PER_DEG = math.radians(6_371_008.8)
_MODEL = ModelName("terrain-damage", 1, "00")
_PIXELS = np.zeros((0, 0, 3), np.uint8)


def east_of(place: tuple[float, float], metres: float) -> tuple[float, float]:
    """A place so far to the east, or to the west if it is negative."""
    return place[0], (place[1] + metres / (M_PER_DEG * math.cos(math.radians(place[0]))) + 180) % 360 - 180


def observe(
    at_s: float = 0.0,
    place: tuple[float, float] | None = HOUSTON,
    share: float = 0.9,
    *,
    tile: int = 0,
    name: str | None = None,
    label: str = "damaged",
    source: str = "/in",
    is_of_ground: bool = False,
) -> Observation:
    """A tile of a frame that was taken so long after the beginning of the flight; the place is that of the aircraft."""
    captured_at = BEGIN + timedelta(seconds=at_s)
    frame = Frame(FrameKey(source, name or f"{at_s:011.3f}.jpeg", 1, 1), captured_at, 64, 8, _PIXELS)
    labels = {"damaged": 0.0, "flooded": 0.0, "undamaged": 1 - share} | {label: share}
    prediction = Prediction(labels, _MODEL, "openvino", "CPU", 0.4)
    fix = None if place is None else Fix(*place, "exif", captured_at, is_of_ground=is_of_ground)
    return Observation(frame, Tile(8 * tile, 0, 8, 8), prediction, fix)


class Clock:
    """Seconds, which pass when they are added."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def triage_of(sightings: Sightings) -> Triage:
    """Triage that alerts about probabilities from one half on."""
    return Triage(["damaged", "flooded"], 0.5, sightings)


def tell(triage: Triage, observations: Iterable[Observation]) -> list[Alert]:
    """All that is told about frames of one tile each."""
    return [alert for observation in observations for alert in triage.decide_all([observation])]


def newest(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """What stands of each alert in the end: a receiver keeps the highest revision, in whatever order they come."""
    kept: dict[str, Alert] = {}
    for alert in alerts:
        if alert.id not in kept or alert.revision > kept[alert.id].revision:
            kept[alert.id] = alert
    return kept
