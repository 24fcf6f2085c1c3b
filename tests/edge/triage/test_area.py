"""The area that alerts are limited to: what is in it, and what is no area."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge.config import ConfigError, TriageConfig
from edge.triage import Area, Sightings
from tests.edge.triage.observing import HOUSTON, M_PER_DEG, east_of, observe, tell, triage_of

Ring = list[tuple[float, float]]


def square(west: float, south: float, east: float, north: float) -> Ring:
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


AROUND_HOUSTON = {"type": "Polygon", "coordinates": [square(-96, 29, -95, 30)]}


def load(folder: Path, content: Any) -> Area:
    file = folder / "area.geojson"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return Area.load(str(file))


FORMS: list[dict[str, Any]] = [
    AROUND_HOUSTON,
    {"type": "MultiPolygon", "coordinates": [[square(0, 0, 1, 1)], AROUND_HOUSTON["coordinates"]]},
    {"type": "Feature", "properties": None, "geometry": AROUND_HOUSTON},
    {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": AROUND_HOUSTON}]},
    {"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": [AROUND_HOUSTON]}]},
]


@pytest.mark.parametrize("content", FORMS, ids=lambda content: str(content["type"]))
def test_every_form_of_an_area_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    area = load(tmp_path, content)

    assert area.contains(29.76, -95.37)
    assert not area.contains(30.01, -95.37)


def test_an_altitude_in_a_position_is_passed_over(tmp_path: Path) -> None:
    ring = [[*position, 12.5] for position in square(0, 0, 1, 1)]

    assert load(tmp_path, {"type": "Polygon", "coordinates": [ring]}).contains(0.5, 0.5)


def test_a_hole_is_outside_and_an_island_in_it_is_inside() -> None:
    area = Area([[square(0, 0, 9, 9), square(3, 3, 6, 6)], [square(4, 4, 5, 5)]])

    assert [area.contains(4.5, longitude) for longitude in (-1, 1, 3.5, 4.5, 7)] == [False, True, False, True, True]


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(0, 0), (1, 1), (0.5, 0), (0.5, 1), (0, 0.3), (1, 0.3), (0.25, 0.5), (0.5, 0.25)]
)
def test_what_lies_on_a_line_or_a_corner_is_within(latitude: float, longitude: float) -> None:
    hole = square(0.25, 0.25, 0.75, 0.75)

    assert Area([[square(0, 0, 1, 1), hole]]).contains(latitude, longitude)


# Of Fiji: cut at the date line as RFC 7946 says, and the same with longitudes that go on.
FIJI = [
    Area([[square(177, -19, 180, -16)], [square(-180, -19, -178, -16)]]),
    Area([[square(177, -19, 182, -16)]]),
    Area([[square(-183, -19, -178, -16)]]),
    Area([[square(177, -19, -178, -16)]]),
    Area([[[*reversed(square(177, -19, -178, -16))], square(-179, -18.5, -178.5, -18)]]),
    Area([[square(177, -19, 182, -16), square(-179, -18.5, -178.5, -18)]]),
]


@pytest.mark.parametrize(
    "area", FIJI, ids=["cut", "beyond 180", "beyond -180", "jumping", "with a hole", "beyond, with a hole"]
)
def test_an_area_across_the_date_line(area: Area) -> None:
    inside = [177.0, 178.4, 179.9999999, 180.0, -180.0, -179.9999999, -178.5, -178.0]

    assert all(area.contains(-17.5, longitude) for longitude in inside)
    assert not any(area.contains(-17.5, longitude) for longitude in (176.9, -177.9, 0.0, 90.0))


def test_a_hole_beyond_the_date_line_is_outside() -> None:
    for area in FIJI[4:]:
        within = [area.contains(-18.25, longitude) for longitude in (-179.5, -178.75, 181.25, -178.25)]
        assert within == [True, False, False, True]


def test_an_area_around_the_earth_is_one() -> None:
    area = Area([[square(-180, -90, 180, 90)]])

    assert all(area.contains(latitude, longitude) for latitude in (-90, 0, 90) for longitude in (-180, -90, 0, 179.9))


def test_a_ring_around_a_pole_is_refused(tmp_path: Path) -> None:
    ring = [(0, -70), (90, -70), (180, -71), (-90, -70), (0, -70)]

    with pytest.raises(ConfigError, match="has a ring around a pole, which is to be cut at the date line"):
        load(tmp_path, {"type": "Polygon", "coordinates": [ring]})


M_PER_DEG_EAST = M_PER_DEG * math.cos(math.radians(29.5))


@pytest.mark.parametrize(
    ("longitude", "latitude", "is_near"),
    [
        (-95 + 999 / M_PER_DEG_EAST, 29.5, True),
        (-95 + 1001 / M_PER_DEG_EAST, 29.5, False),
        (-96 - 999 / M_PER_DEG_EAST, 29.5, True),
        (-95.5, 29 - 999 / M_PER_DEG, True),
        (-95.5, 29 - 1001 / M_PER_DEG, False),
        (-95 + 800 / M_PER_DEG_EAST, 29 - 800 / M_PER_DEG, False),
        (85.0, 29.5, False),
    ],
)
def test_a_margin_is_in_metres_in_every_direction(longitude: float, latitude: float, is_near: bool) -> None:
    area = Area([[square(-96, 29, -95, 30)]])

    assert not area.contains(latitude, longitude)
    assert area.contains(latitude, longitude, 1000) == is_near


def test_a_margin_reaches_across_the_date_line() -> None:
    area = Area([[square(-180, -1, -179, 1)]])

    assert [area.contains(0, longitude, 1000) for longitude in (179.992, 179.99)] == [True, False]


def winding(ring: Ring, longitude: float, latitude: float) -> int:
    """How often a ring goes around a point that is not on it, in exact arithmetic (Sunday, 2001)."""
    turns = 0
    x, y = Fraction(longitude), Fraction(latitude)
    points = [(Fraction(each), Fraction(other)) for each, other in ring]
    for (x0, y0), (x1, y1) in pairwise(points):
        side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)
        if side == 0 and min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1):
            raise ZeroDivisionError
        turns += (y0 <= y < y1 and side > 0) - (y1 <= y < y0 and side < 0)
    return turns


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(-8, 8), st.integers(-8, 8)), min_size=3, max_size=9),
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
)
def test_a_point_is_within_as_exact_arithmetic_has_it(corners: list[tuple[int, int]], at: tuple[int, int]) -> None:
    ring: Ring = [*corners, corners[0]]  # type: ignore[list-item]
    area = Area([[ring]])
    try:
        is_inside = winding(ring, *at) % 2 == 1
    except ZeroDivisionError:
        is_inside = True

    assert area.contains(at[1], at[0]) == is_inside


@settings(deadline=None, max_examples=100)
@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(-89, 89), st.floats(-179, 179), st.floats(0.001, 1))
def test_a_box_holds_what_lies_between_its_sides(
    latitude: float, longitude: float, south: float, west: float, side: float
) -> None:
    assume(south + side <= 90 and west + side <= 180)
    is_inside = south <= latitude <= south + side and west <= longitude <= west + side

    assert Area([[square(west, south, west + side, south + side)]]).contains(latitude, longitude) == is_inside


# What becomes of sightings


def test_only_what_lies_in_the_area_is_alerted_about_and_the_rest_is_counted() -> None:
    sightings = Sightings(area=Area([[square(-96, 29, -95, 30)]]))
    observations = [observe(0), observe(1, (31.0, -95.5)), observe(2, (31.0, -95.5), share=0.1), observe(3, None)]
    told = tell(triage_of(sightings), observations)

    # Nobody knows where the last one is: it is told.
    assert [alert.observation for alert in told] == [observations[0], observations[3]]
    assert sightings.outside_area == 1


def test_an_aircraft_may_look_into_the_area_from_outside() -> None:
    sightings = Sightings(area=Area([[square(-96, 29, -95, 30)]]))
    edge = (29.5, -95.0)
    near, far, shown = (
        observe(0, east_of(edge, 900)),
        observe(1, east_of(edge, 1100)),
        observe(2, east_of(edge, 5), is_of_ground=True),
    )

    assert [alert.observation for alert in tell(triage_of(sightings), [near, far, shown])] == [near]
    assert sightings.outside_area == 2


def test_what_lies_outside_of_the_area_confirms_nothing_and_joins_nothing() -> None:
    sightings = Sightings(area=Area([[square(-95.37, 29, -95, 30)]]), merge_m=500, confirm=(2, 3))
    outside = observe(1, (HOUSTON[0], HOUSTON[1] - 0.001), is_of_ground=True)
    told = tell(triage_of(sightings), [observe(0, is_of_ground=True), outside, observe(2, share=0.1)])

    assert (told, sightings.outside_area) == ([], 1)


# What is no area

BAD: list[tuple[object, str]] = [
    ("", "truncated"),
    ("{", "truncated"),
    ("[" * 100_000, "depth"),
    ("null", "a part without a type"),
    ([], "a part without a type"),
    ({"type": 7}, "a part without a type"),
    ({"type": "Topology\n"}, r"has a Topology\\n in it"),
    ({"type": "Point", "coordinates": [1, 2]}, "has a Point in it"),
    ({"type": "Feature", "geometry": None}, "a part without a type"),
    ({"type": "FeatureCollection", "features": []}, "FeatureCollection that is empty or no list"),
    ({"type": "GeometryCollection", "geometries": [AROUND_HOUSTON, {"type": "LineString"}]}, "has a LineString in it"),
    ({"type": "Polygon"}, "Polygon that is empty or no list"),
    ({"type": "Polygon", "coordinates": [[]]}, "ring that is empty or no list"),
    ({"type": "Polygon", "coordinates": [square(0, 0, 1, 1)[:4]]}, "not closed"),
    ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}, "fewer than four points"),
    ({"type": "Polygon", "coordinates": [[[0, 0], [1, "1"], [1, 1], [0, 0]]]}, "not two numbers"),
    ({"type": "Polygon", "coordinates": [[[0, 0], [1, True], [1, 1], [0, 0]]]}, "not two numbers"),
    ({"type": "Polygon", "coordinates": [[[0, 0], [1], [1, 1], [0, 0]]]}, "not two numbers"),
    ({"type": "Polygon", "coordinates": [square(0, 0, 1, 90.5)]}, "not longitude and latitude in degrees"),
    ({"type": "Polygon", "coordinates": [square(0, 0, 361, 1)]}, "not longitude and latitude in degrees"),
    ({"type": "Polygon", "coordinates": [square(270000, 3290000, 280000, 3300000)]}, "not longitude and latitude"),
    ('{"type": "Polygon", "coordinates": [[[0, 0], [1e999, 0], [1, 1], [0, 0]]]}', "."),
    ('{"type": "Polygon", "coordinates": [[[0, 0], [1' + "0" * 400 + ", 0], [1, 1], [0, 0]]]}", "."),
    ({"type": "Polygon", "coordinates": [[[number % 7, 0] for number in range(20_007)]]}, "more than 20000 points"),
    (" " * 10_000_001, "more than 10000000 bytes"),
]


@pytest.mark.parametrize(("content", "reason"), BAD)
def test_what_is_no_area_is_refused_in_one_line(tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load(tmp_path, content)
    said = str(caught.value)
    assert said.startswith(f"triage.area: {tmp_path / 'area.geojson'}: ")
    assert said.isprintable()


@pytest.mark.parametrize("name", ["absent.geojson", "", "\0"])
def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^triage\.area: .*: expected GeoJSON with a Polygon or MultiPolygon$"):
        Sightings.from_config(TriageConfig(area=f"{tmp_path}/{name}"))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["Polygon", "Feature", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "coordinates", "geometry", "features", "geometries"]), inner, max_size=4)
    ),
)


@settings(deadline=None, max_examples=200)
@given(json_values)
def test_anything_else_is_an_area_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    file = tmp_path_factory.getbasetemp() / "any.geojson"
    file.write_text(json.dumps(content))
    try:
        Area.load(str(file)).contains(0, 0)
    except ConfigError as error:
        assert str(error).isprintable()
