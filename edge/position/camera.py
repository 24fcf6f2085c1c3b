"""The camera as a pinhole: which way each pixel of a frame looks.

Where the focal length comes from, the first that is known: the field of view in the configuration, a calibration in XMP, and
EXIF's focal length with the size of the sensor, with its pixels per millimetre, or as the equivalent of a 35 mm film camera.
What the image says is about the photo as it was taken: if EXIF shows that it was cut or turned since, none of it holds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge.config import CameraConfig
from edge.position.lenses import IMAGE_AREA_MM
from edge.position.tags import exif_number, exif_text, xmp_number
from edge.records import Frame
from edge.text import printable

_log = logging.getLogger(__name__)

Points = NDArray[np.float64]
"""Points or directions, one a row."""

_FILM_DIAGONAL_MM = math.hypot(36, 24)
# EXIF, FocalPlaneResolutionUnit.
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
# A lens between 170 and 1.4 degrees; what lies beyond is no pinhole, or a mistake.
_FOCAL_OF_WIDTH = (0.04, 40.0)
# A ray is found when it meets the image plane so near, in focal lengths: a millionth of a pixel.
_EXACT = 1e-10
# Aspect ratios are the same when they differ by less: sensors have a few columns more than the picture.
_ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole with a lens before it.

    Attributes:
        focal_px: Focal length in pixels of the frame as encoded.
        center_x: Where the optical axis meets the frame, pixels from its left edge; center_y: from its top edge.
        distortion: k1, k2, p1, p2, k3 of D. C. Brown's model, as OpenCV counts them; empty: none.
    """

    focal_px: float
    center_x: float
    center_y: float
    distortion: tuple[float, ...] = ()

    def rays(self, points: Points) -> Points:
        """Where pixels look: columns right, down, and 1 along the axis; not a number where the lens model does not reach.

        Args:
            points: Pixels from the frame's left and top edge.
        """
        seen = (np.asarray(points, np.float64) - (self.center_x, self.center_y)) / self.focal_px
        if self.distortion:
            seen = _undistorted(seen, self.distortion)
        return np.column_stack((seen, np.ones(len(seen))))


def camera_of(frame: Frame, config: CameraConfig) -> Camera | None:
    """The camera that took a frame; None if nothing is known of its lens."""
    if config.horizontal_fov_deg is not None:
        return _from_field_of_view(frame, config.horizontal_fov_deg, tuple(config.distortion))
    scale = _scale_of_exif(frame)
    if scale is None:
        _log.warning("%a: was cut or turned since it was taken: its lens is not known", frame.key.name)
        return None
    camera = None
    ways: tuple[Callable[[], Camera | None], ...] = (
        partial(_from_dewarp_data, frame, scale),
        partial(_from_calibration, frame),
        partial(_from_exif, frame, scale),
    )
    for way in ways:
        try:
            camera = way()
        except ValueError as error:
            _log.warning("%a: a part of the XMP is passed over: %s", frame.key.name, printable(str(error)))
        if camera is not None:
            break
    if camera is None:
        return None
    if not _FOCAL_OF_WIDTH[0] <= camera.focal_px / max(frame.width, frame.height) <= _FOCAL_OF_WIDTH[1]:
        _log.warning("%a: focal length of %.4g pixels refused", frame.key.name, camera.focal_px)
        return None
    if config.distortion:
        return Camera(camera.focal_px, camera.center_x, camera.center_y, tuple(config.distortion))
    return camera


def _from_field_of_view(frame: Frame, horizontal_fov_deg: float, distortion: tuple[float, ...]) -> Camera:
    """The angle is that between the edges of the frame as it is, distorted."""
    edge = np.array([[math.tan(math.radians(horizontal_fov_deg / 2)), 0.0]])
    seen = _distorted(edge, distortion)[0, 0] if distortion else edge[0, 0]
    return Camera(frame.width / 2 / float(seen), frame.width / 2, frame.height / 2, distortion)


def _from_dewarp_data(frame: Frame, scale: float) -> Camera | None:
    """DJI Terra's calibration: "date;fx,fy,cx,cy,k1,k2,p1,p2,k3", pixels, the centre from that of the photo."""
    text = frame.xmp.get("DewarpData", "").rpartition(";")[2]
    if not text:
        return None
    try:
        focal, _, right, down, *distortion = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError("DewarpData is not numbers with commas between them") from error
    if len(distortion) != 5 or not all(map(math.isfinite, (focal, right, down, *distortion))) or focal <= 0:
        raise ValueError("DewarpData is not fx, fy, cx, cy, k1, k2, p1, p2, k3")
    is_straightened = frame.xmp.get("DewarpFlag", "1") != "0"
    center = frame.width / 2 + right * scale, frame.height / 2 + down * scale
    return Camera(focal * scale, *center, () if is_straightened else tuple(distortion))


def _from_calibration(frame: Frame) -> Camera | None:
    """DJI's CalibratedFocalLength, in pixels of the whole sensor, whose middle is given beside it."""
    focal = xmp_number(frame.xmp, "CalibratedFocalLength")
    x, y = (xmp_number(frame.xmp, f"CalibratedOpticalCenter{axis}") for axis in "XY")
    if focal is None or x is None or y is None:
        return None
    if min(focal, x, y) <= 0:
        raise ValueError("CalibratedFocalLength or its centre is not positive")
    # A frame has the whole width or the whole height of the sensor: whichever side was cut, the other tells the scale.
    scale = max(frame.width / (2 * x), frame.height / (2 * y))
    if abs(scale - 1) < _ASPECT_TOLERANCE:
        scale = 1.0
    return Camera(focal * scale * _zoom(frame), frame.width / 2, frame.height / 2)


def _from_exif(frame: Frame, scale: float) -> Camera | None:
    focal_px = _focal_by_sensor(frame) or _focal_by_resolution(frame, scale) or _focal_by_film(frame)
    return Camera(focal_px, frame.width / 2, frame.height / 2) if focal_px else None


def _focal_by_sensor(frame: Frame) -> float | None:
    focal_mm = exif_number(frame.exif, "EXIF FocalLength")
    area_mm = IMAGE_AREA_MM.get(exif_text(frame.exif, "Image Model").upper())
    if focal_mm is None or area_mm is None:
        return None
    return focal_mm * max(frame.width / area_mm[0], frame.height / area_mm[1]) * _zoom(frame)


def _focal_by_resolution(frame: Frame, scale: float) -> float | None:
    focal_mm = exif_number(frame.exif, "EXIF FocalLength")
    per_unit = exif_number(frame.exif, "EXIF FocalPlaneXResolution")
    unit = exif_number(frame.exif, "EXIF FocalPlaneResolutionUnit")
    mm = _MM_PER_UNIT.get(int(unit) if unit else 2)
    if focal_mm is None or per_unit is None or mm is None:
        return None
    return focal_mm * per_unit / mm * scale * _zoom(frame)


def _focal_by_film(frame: Frame) -> float | None:
    """The equivalent compares the diagonals of film and sensor (CIPA DCG-001).

    Drones state that of the whole sensor also for frames of 16:9, which are cut from one of 4:3 in its full width: by the
    diagonal of such a frame the focal length would come out 8 % too short.
    """
    focal_mm = exif_number(frame.exif, "EXIF FocalLengthIn35mmFilm")
    # Whether digital zoom is in it, makers do not agree.
    if focal_mm is None or _zoom(frame) != 1:
        return None
    long, short = max(frame.width, frame.height), min(frame.width, frame.height)
    is_cut = long / short > 1.5 * (1 + _ASPECT_TOLERANCE)
    diagonal_px = long * 1.25 if is_cut else math.hypot(long, short)
    return focal_mm / _FILM_DIAGONAL_MM * diagonal_px


def _zoom(frame: Frame) -> float:
    """DigitalZoomRatio; 0 and 0/0 say that there was none."""
    ratio = exif_number(frame.exif, "EXIF DigitalZoomRatio")
    return ratio if ratio is not None and ratio > 1 else 1.0


def _scale_of_exif(frame: Frame) -> float | None:
    """Pixels of the frame for one of the photo as it was taken; None if it was cut or turned since, nobody knows how."""
    size = _size_of_exif(frame.exif)
    if size is None:
        return 1.0
    width, height = size
    if abs(frame.width * height / (frame.height * width) - 1) > _ASPECT_TOLERANCE:
        return None
    return frame.width / width


def _size_of_exif(exif: Mapping[str, object]) -> tuple[float, float] | None:
    width, height = (exif_number(exif, f"EXIF ExifImage{side}") for side in ("Width", "Length"))
    return (width, height) if width is not None and height is not None and min(width, height) > 0 else None


def _distorted(rays: Points, coefficients: tuple[float, ...]) -> Points:
    """Where the lens lets rays meet the image plane (D. C. Brown, Decentering distortion of lenses, 1966)."""
    k1, k2, p1, p2, k3 = (*coefficients, 0.0)[:5]
    x, y = rays[:, 0], rays[:, 1]
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    return np.column_stack(
        (
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        )
    )


def _undistorted(seen: Points, coefficients: tuple[float, ...]) -> Points:
    """The rays that meet the image plane there, by Newton's method; not a number where there are none."""
    rays, step = seen.copy(), 1e-6
    right, down = np.array([step, 0.0]), np.array([0.0, step])
    with np.errstate(all="ignore"):
        for _ in range(30):
            here = _distorted(rays, coefficients)
            miss = seen - here
            if not (np.abs(miss) > _EXACT).any():
                break
            by_x = (_distorted(rays + right, coefficients) - here) / step
            by_y = (_distorted(rays + down, coefficients) - here) / step
            determinant = by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]
            # Beyond the point where the lens folds the picture over, pixels have no ray of their own.
            determinant[determinant <= 0] = np.nan
            rays = rays + np.column_stack(
                (
                    (miss[:, 0] * by_y[:, 1] - miss[:, 1] * by_y[:, 0]) / determinant,
                    (miss[:, 1] * by_x[:, 0] - miss[:, 0] * by_x[:, 1]) / determinant,
                )
            )
        rays[~(np.abs(_distorted(rays, coefficients) - seen).max(axis=1) <= _EXACT)] = np.nan
    return rays
