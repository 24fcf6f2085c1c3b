"""Geodesy against two libraries of other authors: pyproj (PROJ) and pymap3d."""

from __future__ import annotations

import math

import numpy as np
import pymap3d
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.position.geodesy import SERIES_DEG, SERIES_M, degrees_per_m, distance_m, move, move_each, offset_m

WGS84 = pyproj.Geod(ellps="WGS84")
CENTIMETRE = 0.01

latitudes = st.floats(-90, 90) | st.sampled_from([-90.0, -89.999999, 0.0, 89.999999, 90.0])
longitudes = st.floats(-180, 180) | st.sampled_from([-180.0, -179.999999, 0.0, 179.999999, 180.0])
kilometre = st.floats(-1000, 1000)


@settings(max_examples=300, deadline=None)
@given(latitudes, longitudes, kilometre, kilometre)
def test_a_way_ends_where_another_library_says(latitude: float, longitude: float, east_m: float, north_m: float) -> None:
    there = move(latitude, longitude, east_m, north_m)
    azimuth, length_m = math.degrees(math.atan2(east_m, north_m)), math.hypot(east_m, north_m)
    other_longitude, other_latitude, _ = WGS84.fwd(longitude, latitude, azimuth, length_m)

    assert -90 <= there[0] <= 90
    assert -180 <= there[1] <= 180
    assert WGS84.inv(there[1], there[0], other_longitude, other_latitude)[2] < CENTIMETRE


@settings(max_examples=200, deadline=None)
@given(latitudes, longitudes, kilometre, kilometre)
def test_a_way_ends_on_the_plane_that_touches_the_earth_at_its_beginning(
    latitude: float, longitude: float, east_m: float, north_m: float
) -> None:
    there = move(latitude, longitude, east_m, north_m)
    east, north, _ = pymap3d.geodetic2enu(*there, 0, latitude, longitude, 0)

    # Over a kilometre the plane and the curved ground differ by some micrometres.
    assert math.hypot(east - east_m, north - north_m) < CENTIMETRE


@settings(max_examples=200, deadline=None)
@given(latitudes, longitudes, kilometre, kilometre)
def test_an_offset_undoes_a_move(latitude: float, longitude: float, east_m: float, north_m: float) -> None:
    there = move(latitude, longitude, east_m, north_m)
    back = offset_m(latitude, longitude, *there)

    assert distance_m(*there, *move(latitude, longitude, *back)) < CENTIMETRE
    assert distance_m(latitude, longitude, *there) == pytest.approx(math.hypot(east_m, north_m), abs=CENTIMETRE)


@settings(max_examples=300, deadline=None)
@given(
    latitudes | st.sampled_from([-SERIES_DEG, SERIES_DEG]),
    longitudes,
    st.lists(st.tuples(st.floats(0, 1.2 * SERIES_M) | st.just(SERIES_M), st.floats(0, 360)), max_size=9),
)
def test_many_ways_end_where_each_by_itself_does(latitude: float, longitude: float, ways: list[tuple[float, float]]) -> None:
    offsets = [(length * math.sin(math.radians(angle)), length * math.cos(math.radians(angle))) for length, angle in ways]
    places = move_each(latitude, longitude, np.array(offsets, np.float64).reshape(-1, 2))

    assert places.shape == (len(ways), 2)
    for place, offset in zip(places.tolist(), offsets, strict=True):
        assert -180 <= place[1] <= 180
        assert distance_m(*place, *move(latitude, longitude, *offset)) < 0.001


@pytest.mark.parametrize(("latitude", "far_m"), [(46.8, 100.0), (46.8, 2 * SERIES_M), (89.0, 100.0)])
def test_a_way_that_is_not_known_has_no_end_and_leaves_the_others_as_they_are(latitude: float, far_m: float) -> None:
    places = move_each(latitude, 8.0, np.array([(math.nan, math.nan), (far_m, far_m)]))

    assert np.isnan(places[0]).all()
    assert distance_m(*places[1], *move(latitude, 8.0, far_m, far_m)) < 0.001


def test_a_way_across_the_date_line_ends_on_its_other_side() -> None:
    latitude, longitude = move(-17.0, 179.999, 500.0, 0.0)

    assert longitude == pytest.approx(-179.9963, abs=1e-4)
    assert latitude == pytest.approx(-17.0, abs=1e-6)
    assert distance_m(-17.0, 179.999, latitude, longitude) == pytest.approx(500.0)


def test_a_way_over_the_pole_comes_down_on_the_other_meridian() -> None:
    latitude, longitude = move(89.9999, 10.0, 0.0, 100.0)

    assert longitude == pytest.approx(-170.0)
    assert latitude < 90
    assert distance_m(90.0, 0.0, latitude, longitude) == pytest.approx(100 - 11.17, abs=0.01)


@pytest.mark.parametrize("latitude", [-84.0, -35.0, 0.0, 46.8, 80.0])
def test_the_flat_map_for_elevations_is_right_to_a_metre_over_a_kilometre(latitude: float) -> None:
    latitude_per_m, longitude_per_m = degrees_per_m(latitude)
    there = move(latitude, 12.0, 700.0, 700.0)

    assert distance_m(*there, latitude + 700 * latitude_per_m, 12.0 + 700 * longitude_per_m) < 1
