"""Footprints against geometry that is done by hand, against OpenCV's projection, and over slopes whose crossing is known."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge.config import CameraConfig
from edge.position.footprint import View, view_of
from edge.position.geodesy import distance_m, move, offset_m
from edge.position.rotation import attitude_of, matrix
from edge.position.terrain import Terrain
from edge.records import Attitude, Fix, Footprint, Frame, FrameKey, Tile

AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
FRAME = Frame(FrameKey("/in", "a.jpeg", 1, 1), AT, 4000, 3000, np.zeros((1, 1, 3), np.uint8))
WHOLE = Tile(0, 0, 4000, 3000)
# Half a picture's width for each metre ahead.
WIDE = CameraConfig(horizontal_fov_deg=90.0)
DOWN = Attitude(0.0, -90.0, 0.0)
LATITUDE, LONGITUDE = 46.5, -91.5
FIX = Fix(LATITUDE, LONGITUDE, "exif", AT, height_m=50.0, camera=DOWN)


def seen(fix: Fix = FIX, config: CameraConfig = WIDE, terrain: Terrain | None = None) -> View:
    view = view_of(FRAME, fix, config, terrain)
    assert view is not None
    return view


def print_of(fix: Fix = FIX, config: CameraConfig = WIDE, terrain: Terrain | None = None, tile: Tile = WHOLE) -> Footprint:
    footprint = seen(fix, config, terrain).footprint(tile)
    assert footprint is not None
    return footprint


def corners_m(footprint: Footprint, fix: Fix = FIX) -> list[tuple[float, float]]:
    """The corners, metres to the east and north of the aircraft."""
    return [offset_m(fix.latitude, fix.longitude, latitude, longitude) for longitude, latitude in footprint.corners]


def flat(values: list[tuple[float, float]]) -> list[float]:
    return [value for pair in values for value in pair]


# Flat ground


def test_from_straight_above_the_footprint_is_as_wide_as_the_angle_says() -> None:
    footprint = print_of()

    # 90 degrees at 50 m: 100 m wide, and 75 m high for a picture of 4:3; top left, top right, bottom right, bottom left.
    expected = [(-50.0, 37.5), (50.0, 37.5), (50.0, -37.5), (-50.0, -37.5)]
    assert flat(corners_m(footprint)) == pytest.approx(flat(expected), abs=1e-6)
    assert (footprint.latitude, footprint.longitude) == pytest.approx((LATITUDE, LONGITUDE), abs=1e-12)
    assert seen().ground_sample_distance_m == pytest.approx(0.025)


def test_the_top_of_the_frame_points_where_the_gimbal_s_yaw_says() -> None:
    east = replace(FIX, camera=Attitude(90.0, -90.0, 0.0))

    expected = [(37.5, 50.0), (37.5, -50.0), (-37.5, -50.0), (-37.5, 50.0)]
    assert flat(corners_m(print_of(east))) == pytest.approx(flat(expected), abs=1e-6)


def test_straight_down_roll_turns_the_frame_as_yaw_does() -> None:
    rolled = print_of(replace(FIX, camera=Attitude(0.0, -90.0, 180.0)))

    assert flat(corners_m(rolled)) == pytest.approx(flat(corners_m(print_of(replace(FIX, camera=Attitude(180.0, -90.0, 0.0))))))


def test_an_oblique_camera_looks_ahead() -> None:
    narrow = CameraConfig(horizontal_fov_deg=2 * math.degrees(math.atan(0.5)))
    north, (left, right) = print_of(replace(FIX, camera=Attitude(0.0, -45.0, 0.0)), narrow), (-1, 1)

    # Along the axis 50 m ahead; the upper edge is atan(0.375) higher, the lower as much lower.
    assert offset_m(LATITUDE, LONGITUDE, north.latitude, north.longitude) == pytest.approx((0, 50), abs=1e-6)
    up, down = (50 * math.tan(math.radians(45) + side * math.atan(0.375)) for side in (1, -1))
    aside_up, aside_down = (math.hypot(50, reach) * math.cos(math.atan(0.375)) * 0.5 for reach in (up, down))
    expected = [(left * aside_up, up), (right * aside_up, up), (right * aside_down, down), (left * aside_down, down)]
    assert flat(corners_m(north)) == pytest.approx(flat(expected), abs=1e-6)


def test_the_right_side_down_moves_the_picture_to_the_left() -> None:
    fixed = replace(FIX, camera=None, attitude=Attitude(0.0, 0.0, 10.0))
    footprint = print_of(fixed)

    east_m, north_m = offset_m(LATITUDE, LONGITUDE, footprint.latitude, footprint.longitude)
    assert (east_m, north_m) == pytest.approx((-50 * math.tan(math.radians(10)), 0), abs=1e-6)


def test_the_nose_up_moves_the_picture_of_a_fixed_camera_ahead() -> None:
    footprint = print_of(replace(FIX, camera=None, attitude=Attitude(90.0, 10.0, 0.0)))

    east_m, north_m = offset_m(LATITUDE, LONGITUDE, footprint.latitude, footprint.longitude)
    assert (east_m, north_m) == pytest.approx((50 * math.tan(math.radians(10)), 0), abs=1e-6)


def test_a_camera_that_is_mounted_sideways_has_its_top_there() -> None:
    level = replace(FIX, camera=None, attitude=Attitude(30.0, 0.0, 0.0))
    mounted = CameraConfig(horizontal_fov_deg=90.0, mount_yaw_deg=60.0)

    assert flat(corners_m(print_of(level, mounted))) == pytest.approx(
        flat(corners_m(print_of(replace(FIX, camera=Attitude(90.0, -90.0, 0.0))))), abs=1e-6
    )


def test_a_gimbal_s_angles_come_before_the_aircraft_s() -> None:
    assert print_of(replace(FIX, attitude=Attitude(77.0, 20.0, 20.0))) == print_of()


def test_a_tile_shows_its_part_of_the_frame() -> None:
    quarter = print_of(tile=Tile(2000, 1500, 2000, 1500))

    expected = [(0.0, 0.0), (50.0, 0.0), (50.0, -37.5), (0.0, -37.5)]
    assert flat(corners_m(quarter)) == pytest.approx(flat(expected), abs=1e-6)
    assert offset_m(LATITUDE, LONGITUDE, quarter.latitude, quarter.longitude) == pytest.approx((25, -18.75), abs=1e-6)


@pytest.mark.parametrize("latitude", [-17.0, LATITUDE, 84.9, 89.9999])
def test_tiles_at_once_show_what_each_shows_by_itself_and_their_corners_what_the_pixels_do(latitude: float) -> None:
    view = seen(replace(FIX, latitude=latitude, longitude=180.0, camera=Attitude(33.0, -60.0, 5.0)))
    tiles = [Tile(left, top, 800, 600) for top in range(0, 2401, 400) for left in range(0, 3201, 400)]
    together = view.footprints(tiles)

    assert together == [view.footprint(tile) for tile in tiles]
    for tile, footprint in zip(tiles, together, strict=True):
        assert footprint is not None
        places = [(north, east) for east, north in footprint.corners] + [(footprint.latitude, footprint.longitude)]
        for place, (x, y) in zip(places, [(0, 0), (800, 0), (800, 600), (0, 600), (400, 300)], strict=True):
            pixel = view.at(tile.left + x, tile.top + y)
            assert pixel is not None
            assert distance_m(*place, *pixel) < 0.001
    assert view.footprints([]) == []


def test_the_ground_s_altitude_is_told_where_the_aircraft_s_is_known() -> None:
    assert print_of().altitude_m is None
    assert print_of(replace(FIX, altitude_m=230.0)).altitude_m == pytest.approx(180.0)


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(-17.0, 179.9999), (-17.0, -179.9999), (89.9999, 20.0), (-89.9999, -120.0)]
)
def test_at_the_date_line_and_the_poles_a_footprint_is_as_large_as_anywhere(latitude: float, longitude: float) -> None:
    footprint = print_of(replace(FIX, latitude=latitude, longitude=longitude))
    (west, north), (east, also_north), (_, south), _ = footprint.corners

    assert distance_m(north, west, also_north, east) == pytest.approx(100, abs=0.01)
    assert distance_m(also_north, east, south, footprint.corners[2][0]) == pytest.approx(75, abs=0.01)
    assert distance_m(latitude, longitude, footprint.latitude, footprint.longitude) == pytest.approx(0, abs=1e-6)
    assert all(-180 <= corner[0] <= 180 and -90 <= corner[1] <= 90 for corner in footprint.corners)


def test_a_frame_across_the_date_line_has_corners_on_both_sides() -> None:
    corners = print_of(replace(FIX, latitude=-17.0, longitude=180.0)).corners

    assert [longitude > 0 for longitude, _ in corners] == [True, False, False, True]


# No view


@pytest.mark.parametrize(
    "fix",
    [
        replace(FIX, height_m=None),
        replace(FIX, height_m=0.0),
        replace(FIX, height_m=-5.0),
        replace(FIX, camera=None),
        replace(FIX, camera=Attitude(0.0, 90.0, 0.0)),
        replace(FIX, camera=Attitude(0.0, 0.0, 0.0)),
        replace(FIX, camera=Attitude(0.0, -90.0 + 60.0, 0.0)),
        replace(FIX, camera=Attitude(0.0, -41.0, 0.0)),
        replace(FIX, is_of_ground=True),
        replace(FIX, latitude=0.0, longitude=0.0),
    ],
    ids=[
        "height unknown",
        "height zero",
        "height negative",
        "attitude unknown",
        "camera up",
        "camera ahead",
        "horizon in the picture",
        "corner beyond the limit",
        "a place of the ground",
        "no place",
    ],
)
def test_what_is_not_known_is_not_made_up(fix: Fix) -> None:
    assert view_of(FRAME, fix, WIDE) is None


def test_without_a_lens_there_is_no_view() -> None:
    assert view_of(FRAME, FIX, CameraConfig()) is None


# Against OpenCV

angles = st.tuples(st.floats(-180, 180), st.floats(-100, -50), st.floats(-30, 30))


@settings(max_examples=150, deadline=None)
@given(
    angles=angles,
    height_m=st.floats(5, 500),
    place=st.tuples(st.floats(-89, 89), st.floats(-180, 180)),
    point=st.tuples(st.floats(0, 4000), st.floats(0, 3000)),
    lens=st.sampled_from([[], [-0.1, 0.02, 0.001, -0.001, 0.001]]),
)
def test_what_a_pixel_shows_is_seen_by_that_pixel(
    angles: tuple[float, float, float],
    height_m: float,
    place: tuple[float, float],
    point: tuple[float, float],
    lens: list[float],
) -> None:
    latitude, longitude = place
    assume(abs(latitude) + abs(longitude) > 1e-3)
    camera = Attitude(*angles)
    fix = replace(FIX, latitude=latitude, longitude=longitude, height_m=height_m, camera=camera)
    view = view_of(FRAME, fix, CameraConfig(horizontal_fov_deg=60.0, distortion=lens))
    assume(view is not None)
    assert view is not None
    there = view.at(*point)
    assert there is not None

    east_m, north_m = offset_m(latitude, longitude, *there)
    ground = matrix(camera).T @ np.array([north_m, east_m, height_m])
    focal_px = view._camera.focal_px
    inner = np.array([[focal_px, 0, 2000.0], [0, focal_px, 1500.0], [0, 0, 1]])
    pixel, _ = cv2.projectPoints(ground[[1, 2, 0]][None], np.zeros(3), np.zeros(3), inner, np.array(lens) if lens else None)
    assert pixel[0, 0] == pytest.approx(point, abs=0.01)


@settings(max_examples=100, deadline=None)
@given(angles=angles, left=st.integers(0, 3000), top=st.integers(0, 2000))
def test_corners_go_round_the_tile_clockwise_as_seen_from_above(
    angles: tuple[float, float, float], left: int, top: int
) -> None:
    view = view_of(FRAME, replace(FIX, camera=Attitude(*angles)), CameraConfig(horizontal_fov_deg=60.0))
    assume(view is not None)
    assert view is not None
    footprint = view.footprint(Tile(left, top, 1000, 1000))
    assert footprint is not None
    corners = corners_m(footprint)
    turns = [
        (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
        for a, b, c in zip(corners, corners[1:] + corners[:1], corners[2:] + corners[:2], strict=True)
    ]

    assert max(turns) < 0


@settings(max_examples=100, deadline=None)
@given(st.tuples(st.floats(-179, 179), st.floats(-90, 90), st.floats(-179, 179)))
def test_an_attitude_and_its_matrix_are_the_same(angles: tuple[float, float, float]) -> None:
    rotation = matrix(Attitude(*angles))

    assert matrix(attitude_of(rotation)) == pytest.approx(rotation, abs=1e-6)
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)


# Terrain

STEP = 1 / 3600


def ground(rise_east: float, *, base_m: float = 200.0, hole: tuple[int, int] | None = None) -> Terrain:
    """A degree around the aircraft that rises to the east by so many metres a metre, `base_m` below the aircraft."""
    east_m = offset_m(LATITUDE, LONGITUDE, LATITUDE, LONGITUDE + STEP)[0]
    columns = np.arange(-1800, 1801) * east_m
    grid = np.broadcast_to(base_m + rise_east * np.clip(columns, -4000, 4000), (3601, 3601))
    if hole is not None:
        grid = grid.copy()
        grid[1800 + hole[0], 1800 + hole[1]] = -32768
    return Terrain(grid, LONGITUDE - 0.5, LATITUDE + 0.5, (STEP, STEP), -32768)


def test_over_level_terrain_the_footprint_is_that_of_flat_ground() -> None:
    fix = replace(FIX, altitude_m=250.0)
    footprint = print_of(fix, terrain=ground(0.0))

    assert flat(corners_m(footprint)) == pytest.approx(flat(corners_m(print_of(fix))), abs=0.02)
    assert footprint.altitude_m == pytest.approx(200.0, abs=0.01)
    assert seen(fix, terrain=ground(0.0)).ground_sample_distance_m == pytest.approx(0.025, rel=0.001)


@pytest.mark.parametrize("rise", [0.3, -0.5])
def test_on_a_slope_each_ray_ends_where_it_meets_it(rise: float) -> None:
    view = seen(replace(FIX, altitude_m=250.0), terrain=ground(rise))

    # A ray that gets a metre to the east for each metre down meets z = -50 + rise * x at 50 / (1 + rise).
    for x, slope in ((0.0, -1.0), (1000.0, -0.5), (2000.0, 0.0), (4000.0, 1.0)):
        place = view.at(x, 1500.0)
        assert place is not None
        east_m, north_m = offset_m(LATITUDE, LONGITUDE, *place)
        assert (east_m, north_m) == pytest.approx((50 * slope / (1 + rise * slope), 0), abs=0.05)


def test_what_lies_behind_a_ridge_is_hidden_by_it() -> None:
    grid = np.full((3601, 3601), 200.0)
    grid[:, 1805:1807] = 240.0  # 107 m to the east, 40 m high
    terrain = Terrain(grid, LONGITUDE - 0.5, LATITUDE + 0.5, (STEP, STEP), -32768)
    oblique = replace(FIX, altitude_m=250.0, camera=Attitude(90.0, -20.0, 0.0))
    narrow = CameraConfig(horizontal_fov_deg=10.0)
    place, flat_place = (seen(oblique, narrow, relief).at(2000.0, 1500.0) for relief in (terrain, None))
    assert place is not None
    assert flat_place is not None

    assert 85 < offset_m(LATITUDE, LONGITUDE, *place)[0] < 107
    assert offset_m(LATITUDE, LONGITUDE, *flat_place)[0] == pytest.approx(50 / math.tan(math.radians(20)), abs=0.01)


def test_over_level_terrain_an_altitude_that_is_far_off_does_no_harm() -> None:
    wrong = replace(FIX, altitude_m=250.0 - 28.0)

    assert flat(corners_m(print_of(wrong, terrain=ground(0.0)))) == pytest.approx(flat(corners_m(print_of())), abs=0.02)


def test_over_hills_the_altitude_says_where_the_take_off_was() -> None:
    # The aircraft is 50 m above a place of take-off that lies 60 m higher than the ground below it.
    footprint = print_of(replace(FIX, altitude_m=310.0), terrain=ground(0.1))
    east_m, _ = offset_m(LATITUDE, LONGITUDE, footprint.corners[1][1], footprint.corners[1][0])

    assert east_m == pytest.approx(110 / 1.1, abs=0.1)


def test_an_altitude_alone_is_enough_where_the_terrain_is_known() -> None:
    fix = replace(FIX, height_m=None, altitude_m=250.0)

    assert flat(corners_m(print_of(fix, terrain=ground(0.0)))) == pytest.approx(flat(corners_m(print_of())), abs=0.02)
    assert view_of(FRAME, replace(fix, altitude_m=199.0), WIDE, ground(0.0)) is None


def test_a_height_alone_counts_from_the_ground_below() -> None:
    footprint = print_of(terrain=ground(0.3))

    assert corners_m(footprint)[1][0] == pytest.approx(50 / 1.3, abs=0.05)


def test_beside_the_terrain_file_the_ground_is_flat() -> None:
    elsewhere = replace(FIX, latitude=-35.0, longitude=149.0)

    assert print_of(elsewhere, terrain=ground(0.3)) == print_of(elsewhere)
    assert view_of(FRAME, replace(elsewhere, height_m=None, altitude_m=90.0), WIDE, ground(0.3)) is None


def test_a_tile_over_a_void_has_no_footprint_and_its_neighbours_have() -> None:
    # The void is some 40 m to the east of the aircraft.
    view = seen(replace(FIX, altitude_m=250.0), terrain=ground(0.0, hole=(0, 2)))

    assert view.at(3700.0, 1500.0) is None
    assert view.footprint(Tile(3400, 1400, 200, 200)) is None
    assert view.footprint(Tile(0, 0, 1000, 1000)) is not None


# Real photos


def test_two_photos_of_a_drone_put_the_same_ground_at_the_same_place(data: Path, tmp_path: Path) -> None:
    from bench.footprints import FLOOR_M, compare, drone_photos

    for name, own_name in (("DJI_0020.JPG", "DJI_0020.jpeg"), ("DJI_0021.JPG", "DJI_0021.JPG")):
        (tmp_path / own_name).symlink_to((data / "drone-photos" / name).resolve())
    (pair,) = compare(drone_photos(tmp_path))

    assert len(pair.apart_m) > 50
    assert np.median(pair.apart_m) < FLOOR_M / 2
    assert pair.aircraft_m > 13


def test_photos_that_nothing_can_be_measured_with_are_said_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.footprints import main

    def reason() -> str:
        assert main(["--photos", str(tmp_path)]) == 2
        return capsys.readouterr().err

    assert reason() == f"{tmp_path}: no photos, expected files ending in .jpeg or .jpg\n"
    (tmp_path / "a.jpg").symlink_to((data / "drone-photos" / "DJI_0020.JPG").resolve())
    assert reason() == "no two of 1 photos show the same ground\n"
    (tmp_path / "b.Jpg").write_bytes(b"")
    assert reason() == f"{tmp_path}/b.Jpg: not an image\n"


def test_the_footprint_s_middle_is_where_the_pixel_is() -> None:
    view = seen(replace(FIX, camera=Attitude(33.0, -70.0, 5.0)), CameraConfig(horizontal_fov_deg=60.0))
    footprint = view.footprint(Tile(100, 200, 300, 400))

    assert footprint is not None
    assert (footprint.latitude, footprint.longitude) == view.at(250.0, 400.0)
    assert (footprint.corners[2][1], footprint.corners[2][0]) == view.at(400.0, 600.0)
    assert move(LATITUDE, LONGITUDE, 0.0, 0.0) == pytest.approx((LATITUDE, LONGITUDE))
