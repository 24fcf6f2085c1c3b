"""Footprints as GeoJSON: closed, counterclockwise, and cut at the date line."""

from __future__ import annotations

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.messages import MultiPolygon, Polygon, encode, polygon

# As a camera that looks straight down has them: top left, top right, bottom right, bottom left.
NORTH_UP = [(-95.26, 29.51), (-95.24, 29.51), (-95.24, 29.49), (-95.26, 29.49)]


def parts(shape: Polygon | MultiPolygon) -> list[list[tuple[float, ...]]]:
    """The outlines."""
    return [rings[0] for rings in ([shape.coordinates] if isinstance(shape, Polygon) else shape.coordinates)]


def area(ring: list[tuple[float, ...]]) -> float:
    """In square degrees, positive if the ring runs counterclockwise."""
    x0, y0 = ring[0][:2]
    return sum((x - x0) * (next_y - y0) - (next_x - x0) * (y - y0) for (x, y, *_), (next_x, next_y, *_) in pairwise(ring)) / 2


def test_a_footprint_is_a_closed_ring_counterclockwise() -> None:
    shape = polygon(NORTH_UP)

    assert json.loads(encode(shape)) == {
        "type": "Polygon",
        "coordinates": [[[-95.26, 29.49], [-95.24, 29.49], [-95.24, 29.51], [-95.26, 29.51], [-95.26, 29.49]]],
    }


def test_a_ring_that_runs_counterclockwise_stays_as_it_is() -> None:
    corners = list(reversed(NORTH_UP))

    assert parts(polygon(corners)) == [[*corners, corners[0]]]


def test_coordinates_have_seven_decimals() -> None:
    ((ring,),) = [parts(polygon([(x + 1e-9, y - 1e-9) for x, y in NORTH_UP]))]

    assert set(ring) == set(NORTH_UP)


def test_what_crosses_the_date_line_is_cut_there() -> None:
    shape = polygon([(179.999, -17.0), (-179.998, -17.0), (-179.998, -17.1), (179.999, -17.1)])

    assert isinstance(shape, MultiPolygon)
    assert [sorted(set(ring)) for ring in parts(shape)] == [
        [(179.999, -17.1), (179.999, -17.0), (180.0, -17.1), (180.0, -17.0)],
        [(-180.0, -17.1), (-180.0, -17.0), (-179.998, -17.1), (-179.998, -17.0)],
    ]


@pytest.mark.parametrize("line", [180.0, -180.0])
@pytest.mark.parametrize("other", [179.99, -179.99])
def test_what_only_touches_the_date_line_is_not_cut(line: float, other: float) -> None:
    shape = polygon([(line, 1.0), (other, 1.0), (other, 0.99), (line, 0.99)])

    assert isinstance(shape, Polygon)
    assert {position[0] for position in shape.coordinates[0]} == {other, 180.0 if other > 0 else -180.0}


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_what_lies_around_a_pole_ends_at_it(pole: float) -> None:
    latitude = pole * 0.9999
    shape = polygon([(-135.0, latitude), (-45.0, latitude), (45.0, latitude), (135.0, latitude)])

    assert {position[1] for ring in parts(shape) for position in ring} >= {pole}
    assert sum(area(ring) for ring in parts(shape)) == pytest.approx(360 * abs(pole - latitude))


@given(
    st.tuples(st.floats(-180, 180), st.floats(-89, 89)),
    st.lists(st.tuples(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9)), min_size=4, max_size=4),
)
def test_a_footprint_anywhere_has_its_area_in_parts_that_lie_on_the_map(
    middle: tuple[float, float], offsets: list[tuple[float, float]]
) -> None:
    corners = [((middle[0] + x + 180) % 360 - 180, middle[1] + y) for x, y in offsets]
    signed = area([*offsets, offsets[0]])
    assume(abs(signed) > 1e-3)
    shape = polygon(corners)

    # What is read back passes the checks of ranges and closed rings.
    assert msgspec.json.decode(encode(shape), type=Polygon | MultiPolygon) == shape
    assert sum(area(ring) for ring in parts(shape)) == pytest.approx(abs(signed), abs=1e-5)


@pytest.mark.parametrize(
    "ring",
    [
        [[0, 0], [1, 0], [1, 1]],
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[0, 0], [181, 0], [1, 1], [0, 0]],
        [[0, 0], [1, 0, 0, 0], [1, 1], [0, 0]],
        [[0, 0], [1, 0], [1, 1], [0, 0]] * 100,
    ],
)
def test_a_ring_that_is_none_is_refused(ring: list[list[float]]) -> None:
    for content in ({"type": "Polygon", "coordinates": [ring]}, {"type": "MultiPolygon", "coordinates": [[ring]]}):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(json.dumps(content), type=Polygon | MultiPolygon)
