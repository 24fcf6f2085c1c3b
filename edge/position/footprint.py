"""Which ground a frame and its tiles show.

Each pixel is a ray from the camera; where it meets the ground is the pixel's place. The ground is flat at the height of
take-off, which is what a drone's height counts from, or as an elevation file has it. With a file the question is how high the
camera is above its zero. Heights above take-off come from a barometer and are right within a metre or two; altitudes come from
a receiver, count from another zero on some drones, and were seen tens of metres off. So the elevation of the place of take-off
decides: it is altitude minus height, but no lower and no higher than all ground within `TAKE_OFF_M` of the aircraft, where it
must have taken off. If it did, this only ever brings the elevation nearer to the true one, and over flat land the altitude
does not matter at all.

What is not known is not made up: without height, attitude or camera there is no view, nor with the horizon in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.config import CameraConfig
from edge.position.camera import Camera, Points, camera_of
from edge.position.geodesy import degrees_per_m, move, move_each
from edge.position.rotation import Matrix, matrix, mounted
from edge.position.terrain import Terrain, Values
from edge.records import Attitude, Fix, Footprint, Frame, Tile

LIMIT_DEG = 85.0
"""A frame with a corner further than this from straight down shows the horizon, or ground that a degree puts elsewhere."""

TAKE_OFF_M = 1000.0
"""How far from its place of take-off an aircraft is taken to be at most, where the ground is not flat."""

# A ray is followed down through the elevations of the surroundings in so many steps, then between the two around the crossing;
# between the last two the ground is straight.
_STEPS = (64, 16)
# The surroundings are looked up in samples: a peak between two may stand out so far.
_MARGIN_M = 5.0
# Degrees of longitude are no map any more.
_TERRAIN_LATITUDE = 85.0
# Of a tile, in its widths and heights: top left, top right, bottom right, bottom left, and its middle.
_CORNERS_AND_MIDDLE = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)], np.float64)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the rays meet.

    Attributes:
        nearest_m: No ground in sight is less far below the camera; farthest_m: none is farther.
        camera_m: Elevation of the camera; None: not known.
        terrain: Of which the camera's elevation is known; None: the ground is flat.
    """

    nearest_m: float
    farthest_m: float
    camera_m: float | None
    terrain: Terrain | None = None


class View:
    """How a frame sees the ground."""

    def __init__(self, place: tuple[float, float], camera: Camera, turned: Matrix, ground: _Ground, frame: Frame) -> None:
        """
        Args:
            place: Latitude and longitude of the camera.
            turned: The camera's axes, forward, right and down as the frame shows it, in north, east, down.
        """
        self._latitude, self._longitude = place
        self._camera = camera
        self._turned = turned
        self._ground = ground
        self._middle = frame.width / 2, frame.height / 2

    def at(self, x: float, y: float) -> tuple[float, float] | None:
        """Latitude and longitude of the ground at a pixel, from the left and top edge of the frame as encoded; or None."""
        east_m, north_m, _ = self._meet(np.array([[x, y]]))[0]
        return None if math.isnan(east_m) else move(self._latitude, self._longitude, float(east_m), float(north_m))

    def footprint(self, tile: Tile) -> Footprint | None:
        """The ground that a tile shows; None where the ground under a corner or the middle is not known."""
        return self.footprints((tile,))[0]

    def footprints(self, tiles: Sequence[Tile]) -> list[Footprint | None]:
        """As `footprint`, of many tiles at once."""
        boxes = np.array([(tile.left, tile.top, tile.width, tile.height) for tile in tiles], np.float64).reshape(-1, 4)
        points = boxes[:, None, :2] + boxes[:, None, 2:] * _CORNERS_AND_MIDDLE
        met = self._meet(points.reshape(-1, 2))
        places = move_each(self._latitude, self._longitude, met[:, :2])
        found: list[Footprint | None] = []
        for place, elevation_m in zip(places.reshape(-1, 5, 2).tolist(), met[4::5, 2].tolist(), strict=True):
            if any(math.isnan(latitude) for latitude, _ in place):
                found.append(None)
                continue
            first, second, third, fourth = ((longitude, latitude) for latitude, longitude in place[:4])
            latitude, longitude = place[4]
            altitude_m = None if math.isnan(elevation_m) else elevation_m
            found.append(Footprint((first, second, third, fourth), latitude, longitude, altitude_m))
        return found

    @property
    def ground_sample_distance_m(self) -> float | None:
        """Metres of ground that a pixel of the frame as encoded shows in its middle: the root of the area that it shows."""
        (x, y), step = self._middle, min(self._middle) / 10
        around = np.array([(x + step, y), (x - step, y), (x, y + step), (x, y - step)])
        right, left, below, above = self._meet(around)[:, :2] / (2 * step)
        (east_x, north_x), (east_y, north_y) = right - left, below - above
        area_m2 = abs(east_x * north_y - north_x * east_y)
        return None if math.isnan(area_m2) else math.sqrt(area_m2)

    def _meet(self, points: Points) -> Points:
        """Where rays meet the ground: metres to the east and north of the camera, and elevation; not a number: nowhere."""
        slopes = _slopes(self._camera, self._turned, points)
        depths = self._depths(slopes)
        camera_m = math.nan if self._ground.camera_m is None else self._ground.camera_m
        return np.column_stack((slopes * depths[:, None], camera_m - depths))

    def _depths(self, slopes: Points) -> Values:
        """How far below the camera each ray first meets the ground, which hides what lies behind."""
        ground = self._ground
        if ground.terrain is None or ground.camera_m is None:
            return np.full(len(slopes), ground.farthest_m)
        rows = np.arange(len(slopes))
        above, below = np.full(len(slopes), ground.nearest_m), np.full(len(slopes), ground.farthest_m)
        for steps in _STEPS:
            depths = np.linspace(above, below, steps, axis=1)
            clear = ground.camera_m - depths - self._elevations(slopes, depths, ground.terrain)
            is_below = clear <= 0
            first = np.argmax(is_below, axis=1)
            before = np.maximum(first - 1, 0)
            # With a void before the crossing nobody knows where it is.
            passed = np.where(np.arange(steps) <= first[:, None], clear, 0)
            unknown = ~is_below.any(axis=1) | np.isnan(passed).any(axis=1)
            above, below = depths[rows, before], depths[rows, first]
        over, under = clear[rows, before], -clear[rows, first]
        with np.errstate(all="ignore"):
            share = np.where(over > 0, over / (over + under), 0.0)
        return np.where(unknown, np.nan, above + (below - above) * share)

    def _elevations(self, slopes: Points, depths: Values, terrain: Terrain) -> Values:
        latitude_per_m, longitude_per_m = degrees_per_m(self._latitude)
        latitudes = self._latitude + slopes[:, 1:] * depths * latitude_per_m
        return terrain.elevations_m(latitudes, self._longitude + slopes[:, :1] * depths * longitude_per_m)


def view_of(frame: Frame, fix: Fix, config: CameraConfig, terrain: Terrain | None = None) -> View | None:
    """How a frame sees the ground.

    Args:
        fix: Where the aircraft was; its camera's attitude where that is known, else its own with how the camera is mounted.
        terrain: Elevations of the ground; None: flat, at the height of take-off.

    Returns:
        None if height, attitude or lens are not known, the fix is not of an aircraft, or the horizon is in the frame: then
        all that is known is where the aircraft was.
    """
    if fix.is_of_ground or (fix.latitude == 0 and fix.longitude == 0):
        return None
    turned = _turned(fix, config)
    camera = None if turned is None else camera_of(frame, config)
    if turned is None or camera is None:
        return None
    corners = np.array([(0, 0), (frame.width, 0), (frame.width, frame.height), (0, frame.height)], np.float64)
    steepest = np.hypot(*_slopes(camera, turned, corners).T)
    if not (steepest <= math.tan(math.radians(LIMIT_DEG))).all():
        return None
    ground = _ground(fix, terrain, float(steepest.max()))
    return None if ground is None else View((fix.latitude, fix.longitude), camera, turned, ground, frame)


def _turned(fix: Fix, config: CameraConfig) -> Matrix | None:
    if fix.camera is not None:
        return matrix(fix.camera)
    if fix.attitude is None:
        return None
    return mounted(fix.attitude, Attitude(config.mount_yaw_deg, config.mount_pitch_deg, config.mount_roll_deg))


def _slopes(camera: Camera, turned: Matrix, points: Points) -> Points:
    """How far to the east and north the rays of pixels get for each metre down; not a number for those that do not go down."""
    rays = camera.rays(points) @ turned[:, [1, 2, 0]].T
    with np.errstate(all="ignore"):
        return np.where(rays[:, 2:] > 0, rays[:, [1, 0]] / rays[:, 2:], np.nan)


def _ground(fix: Fix, terrain: Terrain | None, steepest: float) -> _Ground | None:
    """None: how high the camera is, is not known, or it is not above the ground.

    Args:
        steepest: How far the frame reaches to the side for each metre down.
    """
    height_m = fix.height_m if fix.height_m is not None and fix.height_m > 0 else None
    if terrain is not None and abs(fix.latitude) <= _TERRAIN_LATITUDE:
        ground = _ground_by_terrain(fix, height_m, terrain, steepest)
        if ground is not None:
            return ground
    return None if height_m is None else _Ground(height_m, height_m, fix.altitude_m)


def _ground_by_terrain(fix: Fix, height_m: float | None, terrain: Terrain, steepest: float) -> _Ground | None:
    below_m = terrain.elevation_m(fix.latitude, fix.longitude)
    around_m = terrain.range_m(fix.latitude, fix.longitude, _degrees(fix, TAKE_OFF_M))
    if below_m is None or around_m is None:
        return None
    if height_m is None:
        camera_m = fix.altitude_m
    elif fix.altitude_m is None:
        camera_m = below_m + height_m
    else:
        camera_m = min(max(fix.altitude_m - height_m, around_m[0]), around_m[1]) + height_m
    if camera_m is None or camera_m <= below_m:
        return None
    in_sight_m = terrain.range_m(fix.latitude, fix.longitude, _degrees(fix, steepest * (camera_m - around_m[0])))
    if in_sight_m is None:
        return None
    nearest_m, farthest_m = camera_m - in_sight_m[1] - _MARGIN_M, camera_m - in_sight_m[0] + _MARGIN_M
    return _Ground(max(nearest_m, 0.0), farthest_m, camera_m, terrain)


def _degrees(fix: Fix, reach_m: float) -> tuple[float, float]:
    latitude_per_m, longitude_per_m = degrees_per_m(fix.latitude)
    return reach_m * latitude_per_m, reach_m * longitude_per_m
