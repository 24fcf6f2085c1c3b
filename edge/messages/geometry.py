"""Places and footprints as GeoJSON (RFC 7946)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from edge.records import Fix, Place

# A centimetre.
_DECIMALS = 7
_ALTITUDE_DECIMALS = 3
_HALF_TURN_DEG, _FULL_TURN_DEG = 180.0, 360.0
_RINGS_MAX, _POINTS_MAX = 16, 256

Position: TypeAlias = Annotated[tuple[float, ...], Meta(min_length=2, max_length=3)]
Ring: TypeAlias = Annotated[list[Position], Meta(min_length=4, max_length=_POINTS_MAX)]
Rings: TypeAlias = Annotated[list[Ring], Meta(min_length=1, max_length=_RINGS_MAX)]
Corner: TypeAlias = tuple[float, float]


class Point(msgspec.Struct, frozen=True, tag_field="type", tag="Point"):
    """GeoJSON (RFC 7946): longitude, latitude in degrees and, where it is known, altitude above sea level in metres."""

    coordinates: Position

    def __post_init__(self) -> None:
        _check(self.coordinates)


class Polygon(msgspec.Struct, frozen=True, tag_field="type", tag="Polygon"):
    """GeoJSON: closed rings, the outline counterclockwise."""

    coordinates: Rings

    def __post_init__(self) -> None:
        _check_rings(self.coordinates)


class MultiPolygon(msgspec.Struct, frozen=True, tag_field="type", tag="MultiPolygon"):
    """GeoJSON: what crosses the date line is cut there (RFC 7946, 3.1.9)."""

    coordinates: Annotated[list[Rings], Meta(min_length=1, max_length=_RINGS_MAX)]

    def __post_init__(self) -> None:
        for rings in self.coordinates:
            _check_rings(rings)


def point(place: Place | Fix, *, is_rounded: bool = False) -> Point:
    """A place.

    Args:
        is_rounded: To the centimetre, where it was computed; what a source said stays as it was said.
    """
    longitude, latitude = place.longitude, place.latitude
    if is_rounded:
        longitude, latitude = round(longitude, _DECIMALS), round(latitude, _DECIMALS)
    if place.altitude_m is None:
        return Point((longitude, latitude))
    return Point((longitude, latitude, round(place.altitude_m, _ALTITUDE_DECIMALS)))


def polygon(corners: Sequence[Corner]) -> Polygon | MultiPolygon:
    """What lies within corners, longitude and latitude in degrees, each joined to the next by the short way.

    Sides are straight in longitude and latitude, which a footprint is too small to tell. Around a pole it ends at it.
    """
    ring = _unrolled(corners)
    if _area(ring) < 0:
        ring.reverse()
    pieces = [_cut(ring, turn * _FULL_TURN_DEG) for turn in (-1, 0, 1)]
    parts = [[_closed(piece)] for piece in pieces if piece]
    return Polygon(parts[0]) if len(parts) == 1 else MultiPolygon(parts)


def _unrolled(corners: Sequence[Corner]) -> list[Corner]:
    """The corners with longitudes that do not jump at the date line: beyond 180 degrees behind it."""
    ring = [(_turned(corners[0][0], 0.0), corners[0][1])]
    for longitude, latitude in (*corners[1:], corners[0]):
        ring.append((_turned(longitude, ring[-1][0]), latitude))
    first, last = ring[0], ring.pop()
    if abs(last[0] - first[0]) > _HALF_TURN_DEG:
        # It goes around a pole, along which it is closed.
        pole = 90.0 if sum(latitude for _, latitude in ring) > 0 else -90.0
        ring += [last, (last[0], pole), (first[0], pole)]
    return ring


def _turned(longitude: float, near: float) -> float:
    """A longitude, by whole turns, within half a turn of another."""
    return longitude - _FULL_TURN_DEG * round((longitude - near) / _FULL_TURN_DEG)


def _cut(ring: list[Corner], turn: float) -> list[Corner]:
    """What lies within the half turns around `turn`, turned back; empty: nothing (Sutherland and Hodgman, 1974)."""
    low, high = turn - _HALF_TURN_DEG, turn + _HALF_TURN_DEG
    if min(x for x, _ in ring) >= high or max(x for x, _ in ring) <= low:
        return []
    for limit, sign in ((low, 1.0), (high, -1.0)):
        kept: list[Corner] = []
        for (x, y), (next_x, next_y) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if sign * (x - limit) >= 0:
                kept.append((x, y))
            if (x - limit) * (next_x - limit) < 0:
                kept.append((limit, y + (next_y - y) * (limit - x) / (next_x - x)))
        ring = kept
    return [(x - turn, y) for x, y in ring]


def _closed(ring: list[Corner]) -> list[tuple[float, ...]]:
    rounded = [(round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in ring]
    return [*rounded, rounded[0]]


def _area(ring: list[Corner]) -> float:
    """Twice the area, negative if the ring runs clockwise (the shoelace formula), about its first corner, to be exact."""
    x0, y0 = ring[0]
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    return sum((x - x0) * (next_y - y0) - (next_x - x0) * (y - y0) for (x, y), (next_x, next_y) in pairs)


def _check_rings(rings: list[list[tuple[float, ...]]]) -> None:
    for ring in rings:
        if ring[0] != ring[-1]:
            raise ValueError("expected a closed ring")
        for position in ring:
            _check(position)


def _check(position: tuple[float, ...]) -> None:
    longitude, latitude = position[:2]
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise ValueError(f"expected longitude -180..180 and latitude -90..90, got {longitude}, {latitude}")
