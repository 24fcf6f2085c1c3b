"""The area that alerts are limited to: the polygons of a GeoJSON file (RFC 7946)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from edge.config import ConfigError
from edge.text import one_line, printable
from edge.triage.sighting import M_PER_DEG

_MAX_BYTES = 10_000_000
# Each is looked at for each sighting within the box around them.
_MAX_POINTS = 20_000
_NESTED_MAX = 16
_FULL_TURN_DEG = 360.0

_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Polygon:
    """Rings of longitudes and latitudes: the outline and its holes, each closed. What lies on a line is within."""

    rings: tuple[tuple[_Point, ...], ...]
    west: float
    south: float
    east: float
    north: float

    def contains(self, longitude: float, latitude: float) -> bool:
        """By the even-odd rule: a ray to the east crosses the rings an odd number of times (Shimrat, 1962)."""
        if not (self.west <= longitude <= self.east and self.south <= latitude <= self.north):
            return False
        is_inside = False
        for ring in self.rings:
            x, y = ring[-1]
            for next_x, next_y in ring:
                side = (next_x - x) * (latitude - y) - (longitude - x) * (next_y - y)
                if side == 0 and min(x, next_x) <= longitude <= max(x, next_x) and min(y, next_y) <= latitude <= max(y, next_y):
                    return True
                if (y > latitude) != (next_y > latitude) and (side > 0) == (next_y > y):
                    is_inside = not is_inside
                x, y = next_x, next_y
        return is_inside

    def is_near(self, longitude: float, latitude: float, limit_m: float) -> bool:
        """Whether one of the rings is no further away, on a plane that touches the earth there."""
        limit_deg = limit_m / M_PER_DEG
        # Where meridians meet, all are near.
        narrow = max(math.cos(math.radians(latitude)), 1e-9)
        if not (
            self.west - limit_deg / narrow <= longitude <= self.east + limit_deg / narrow
            and self.south - limit_deg <= latitude <= self.north + limit_deg
        ):
            return False
        return any(
            _to_line(((x - longitude) * narrow, y - latitude), ((next_x - longitude) * narrow, next_y - latitude)) <= limit_deg
            for ring in self.rings
            for (x, y), (next_x, next_y) in pairwise(ring)
        )


class Area:
    """Polygons; the lines between their corners are straight in longitude and latitude, as GeoJSON has them."""

    def __init__(self, polygons: Sequence[Sequence[Sequence[_Point]]]) -> None:
        """
        Args:
            polygons: Each an outline and its holes: closed rings of longitude and latitude. An area across the date line is
                cut there, has longitudes beyond 180 degrees, or a side that jumps from one end to the other: that goes
                the short way.

        Raises:
            ValueError: A ring goes around a pole.
        """
        self._polygons = [_polygon(rings) for rings in polygons]

    @classmethod
    def load(cls, path: str) -> Area:
        """Read a GeoJSON file.

        Raises:
            ConfigError: It is missing, or no area; one line says why.
        """
        try:
            content = _read(Path(path))
            polygons = list(_polygons(content, 0))
            if sum(len(ring) for rings in polygons for ring in rings) > _MAX_POINTS:
                raise ValueError(f"has more than {_MAX_POINTS} points")
            if not polygons:
                raise ValueError("has no polygon")
            return cls(polygons)
        except (OSError, ValueError, OverflowError, msgspec.DecodeError, RecursionError) as error:
            raise ConfigError(
                f"triage.area: {printable(path)}: {one_line(error)}: expected GeoJSON with a Polygon or MultiPolygon"
            ) from error

    def contains(self, latitude: float, longitude: float, margin_m: float = 0.0) -> bool:
        """Whether a place is within, or no further outside than a margin; degrees, WGS 84."""
        turns = (longitude, longitude - _FULL_TURN_DEG, longitude + _FULL_TURN_DEG)
        if any(polygon.contains(each, latitude) for polygon in self._polygons for each in turns):
            return True
        return margin_m > 0 and any(polygon.is_near(each, latitude, margin_m) for polygon in self._polygons for each in turns)


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"has more than {_MAX_BYTES} bytes")
    return msgspec.json.decode(content)


def _polygon(rings: Sequence[Sequence[_Point]]) -> _Polygon:
    outline, *holes = (_unrolled(ring) for ring in rings)
    # A hole may be written a turn away from what it is in.
    beside = [_moved(hole, round((_middle(outline) - _middle(hole)) / _FULL_TURN_DEG) * _FULL_TURN_DEG) for hole in holes]
    longitudes, latitudes = zip(*(point for ring in (outline, *beside) for point in ring), strict=True)
    return _Polygon((outline, *beside), min(longitudes), min(latitudes), max(longitudes), max(latitudes))


def _unrolled(ring: Sequence[_Point]) -> tuple[_Point, ...]:
    """A ring whose sides go the short way, where more than half a turn was written; a full one is around the earth.

    Raises:
        ValueError: It goes around a pole, which has no inside in longitude and latitude.
    """
    turned, before = 0.0, ring[0][0]
    points = []
    for longitude, latitude in ring:
        if _FULL_TURN_DEG / 2 < abs(longitude - before) < _FULL_TURN_DEG:
            turned += math.copysign(_FULL_TURN_DEG, before - longitude)
        points.append((longitude + turned, latitude))
        before = longitude
    if turned:
        raise ValueError("has a ring around a pole, which is to be cut at the date line")
    return tuple(points)


def _middle(ring: Sequence[_Point]) -> float:
    longitudes = [longitude for longitude, _ in ring]
    return (min(longitudes) + max(longitudes)) / 2


def _moved(ring: Sequence[_Point], by_deg: float) -> tuple[_Point, ...]:
    return tuple((longitude + by_deg, latitude) for longitude, latitude in ring)


def _to_line(one: _Point, other: _Point) -> float:
    """From the origin to the nearest point of a line."""
    along = (other[0] - one[0], other[1] - one[1])
    squared = along[0] ** 2 + along[1] ** 2
    share = min(1.0, max(0.0, -(one[0] * along[0] + one[1] * along[1]) / squared)) if squared else 0.0
    return math.hypot(one[0] + share * along[0], one[1] + share * along[1])


def _polygons(content: Any, depth: int) -> Iterator[list[list[_Point]]]:
    """The polygons of a GeoJSON object.

    Raises:
        ValueError: It is none, or has something else in it: part of an area that is not understood would lose alerts.
    """
    kind = content.get("type") if isinstance(content, dict) else None
    if depth > _NESTED_MAX:
        raise ValueError("is nested too deeply")
    match kind:
        case "FeatureCollection" | "GeometryCollection":
            for part in _list(content.get("features" if kind == "FeatureCollection" else "geometries"), kind):
                yield from _polygons(part, depth + 1)
        case "Feature":
            yield from _polygons(content.get("geometry"), depth + 1)
        case "Polygon":
            yield _rings(content.get("coordinates"))
        case "MultiPolygon":
            for rings in _list(content.get("coordinates"), kind):
                yield _rings(rings)
        case _:
            raise ValueError(f"has a {printable(kind)} in it" if isinstance(kind, str) else "has a part without a type")


def _rings(coordinates: Any) -> list[list[_Point]]:
    rings = [[_point(each) for each in _list(ring, "ring")] for ring in _list(coordinates, "Polygon")]
    for ring in rings:
        if len(ring) < 4 or ring[0] != ring[-1]:
            raise ValueError("has a ring that is not closed, or of fewer than four points")
    return rings


def _point(position: Any) -> _Point:
    numbers = _list(position, "position")
    if len(numbers) < 2 or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers):
        raise ValueError("has a position that is not two numbers")
    longitude, latitude = float(numbers[0]), float(numbers[1])
    if not (math.isfinite(longitude) and abs(longitude) <= _FULL_TURN_DEG and abs(latitude) <= 90):
        raise ValueError(f"has the position {longitude:g}, {latitude:g}, which is not longitude and latitude in degrees")
    return longitude, latitude


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"has a {what} that is empty or no list")
    return value
