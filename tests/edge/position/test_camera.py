"""Focal lengths from what photos say, and lens distortion against OpenCV."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import CameraConfig
from edge.position.camera import Camera, camera_of
from edge.records import Frame, FrameKey


def exif(**tags: Any) -> dict[str, Any]:
    """EXIF tags by the end of their names."""
    groups = {"Model": "Image", "Make": "Image"}
    return {
        f"{groups.get(name, 'EXIF')} {name}": SimpleNamespace(values=value if isinstance(value, str) else [value])
        for name, value in tags.items()
    }


def camera(
    width: int, height: int, tags: Mapping[str, Any] | None = None, xmp: Mapping[str, str] | None = None, **config: Any
) -> Camera | None:
    """The camera of a frame with these tags."""
    frame = Frame(
        FrameKey("/in", "a.jpeg", 1, 1),
        datetime(2026, 11, 21, tzinfo=UTC),
        width,
        height,
        np.zeros((1, 1, 3), np.uint8),
        tags or {},
        xmp or {},
    )
    return camera_of(frame, CameraConfig(**config))


def focal_px(width: int, height: int, tags: Mapping[str, Any] | None = None, xmp: Mapping[str, str] | None = None) -> float:
    found = camera(width, height, tags, xmp)
    assert found is not None
    return found.focal_px


def test_a_field_of_view_in_the_configuration_comes_before_the_image() -> None:
    found = camera(4000, 3000, exif(FocalLengthIn35mmFilm=20), horizontal_fov_deg=90.0)

    assert found == Camera(pytest.approx(2000.0), 2000.0, 1500.0)


PHANTOM = exif(Model="FC300S", FocalLength=3.61, FocalLengthIn35mmFilm=20)
TAKEN = exif(ExifImageWidth=4000, ExifImageLength=2250)


def test_the_phantom_sees_what_its_maker_says() -> None:
    # 94 degrees from corner to corner of 4:3.
    assert focal_px(4000, 3000, PHANTOM) == pytest.approx(2500 / math.tan(math.radians(47)), rel=0.01)


def test_a_frame_that_is_cut_from_the_sensor_has_the_focal_length_of_the_whole() -> None:
    assert focal_px(4000, 2250, PHANTOM) == focal_px(4000, 3000, PHANTOM)


def test_the_film_equivalent_of_a_cut_frame_is_that_of_the_whole_sensor() -> None:
    by_film = {name: value for name, value in PHANTOM.items() if "Model" not in name}

    assert focal_px(4000, 2250, by_film) == pytest.approx(focal_px(4000, 2250, PHANTOM), rel=0.01)
    assert focal_px(4000, 3000, by_film) == focal_px(4000, 2250, by_film)


def test_the_film_equivalent_of_film_is_itself() -> None:
    assert focal_px(3600, 2400, exif(FocalLengthIn35mmFilm=50)) == pytest.approx(5000)


def test_a_smaller_copy_of_a_photo_has_a_shorter_focal_length() -> None:
    assert focal_px(1000, 562, PHANTOM | TAKEN) == pytest.approx(focal_px(4000, 2250, PHANTOM | TAKEN) / 4, rel=0.01)


P4RTK = {
    "CalibratedFocalLength": "3666.666504",
    "CalibratedOpticalCenterX": "2736.000000",
    "CalibratedOpticalCenterY": "1824.000000",
}


@pytest.mark.parametrize(("width", "height"), [(5472, 3648), (4864, 3648), (5472, 3078)])
def test_a_calibrated_focal_length_holds_for_every_way_to_cut_the_sensor(width: int, height: int) -> None:
    assert camera(width, height, xmp=P4RTK) == Camera(pytest.approx(3666.67), width / 2, height / 2)


def test_a_calibrated_focal_length_is_scaled_with_the_frame() -> None:
    assert focal_px(1368, 912, xmp=P4RTK) == pytest.approx(3666.67 / 4)


def test_the_size_of_the_sensor_agrees_with_the_calibration() -> None:
    assert focal_px(5472, 3648, exif(Model="FC6310R", FocalLength=8.8)) == pytest.approx(3666.67, rel=0.002)


DEWARP = "2018-09-04;3678.87,3671.84,10.1,27.29,-0.26,0.11,0.0007,-0.0003,-0.04"


def test_the_calibration_of_one_camera_comes_before_that_of_its_kind() -> None:
    found = camera(5472, 3648, xmp=P4RTK | {"DewarpData": DEWARP, "DewarpFlag": "0"})

    assert found == Camera(3678.87, 2746.1, 1851.29, (-0.26, 0.11, 0.0007, -0.0003, -0.04))


def test_a_photo_that_was_straightened_already_is_not_straightened_again() -> None:
    found = camera(5472, 3648, xmp={"DewarpData": DEWARP, "DewarpFlag": "1"})

    assert found is not None
    assert found.distortion == ()


@pytest.mark.parametrize("dewarp", ["", ";", "2018;1,2,3", "2018;a,b", "2018;nan,1,0,0,0,0,0,0,0", "2018;0,1,0,0,0,0,0,0,0"])
def test_a_damaged_calibration_is_passed_over(dewarp: str) -> None:
    assert focal_px(5472, 3648, xmp=P4RTK | {"DewarpData": dewarp}) == pytest.approx(3666.67)


@pytest.mark.parametrize("damage", ["none", "-1", "0", "1e999"])
def test_a_damaged_focal_length_is_passed_over_and_logged(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert camera(5472, 3648, xmp=P4RTK | {"CalibratedFocalLength": damage}) is None

    assert "a part of the XMP is passed over" in caplog.text


def test_pixels_per_millimetre_tell_the_focal_length() -> None:
    tags = exif(FocalLength=16, FocalPlaneXResolution=255.0, FocalPlaneResolutionUnit=4)
    per_inch = exif(FocalLength=16, FocalPlaneXResolution=255.0 * 25.4, FocalPlaneResolutionUnit=2)

    assert focal_px(6000, 4000, tags) == pytest.approx(4080)
    assert focal_px(6000, 4000, per_inch) == pytest.approx(4080)


def test_a_photo_that_was_cut_nobody_knows_how_has_no_focal_length() -> None:
    tags = exif(
        FocalLength=16, FocalPlaneXResolution=255.0, FocalPlaneResolutionUnit=4, ExifImageWidth=6000, ExifImageLength=4000
    )

    assert camera(3000, 3000, tags) is None
    assert focal_px(3000, 2000, tags) == pytest.approx(2040)


@pytest.mark.parametrize(
    ("width", "height"), [(2250, 4000), (2250, 2250), (4000, 3000)], ids=["turned", "cut", "pieced together"]
)
@pytest.mark.parametrize(
    ("tags", "xmp"),
    [
        (PHANTOM, {}),
        (exif(FocalLengthIn35mmFilm=20), {}),
        ({}, P4RTK),
        ({}, {"DewarpData": DEWARP, "DewarpFlag": "0"}),
    ],
    ids=["sensor", "film", "calibration", "dewarp"],
)
def test_nothing_that_a_photo_says_of_its_lens_holds_after_it_was_cut_or_turned(
    width: int, height: int, tags: dict[str, Any], xmp: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert camera(4000, 2250, tags | TAKEN, xmp) is not None
    assert not caplog.records

    assert camera(width, height, tags | TAKEN, xmp) is None
    assert caplog.messages == ["'a.jpeg': was cut or turned since it was taken: its lens is not known"]


def test_a_photo_that_was_cut_has_the_field_of_view_of_the_configuration() -> None:
    found = camera(2000, 2000, PHANTOM | TAKEN, P4RTK, horizontal_fov_deg=90.0)

    assert found == Camera(pytest.approx(1000.0), 1000.0, 1000.0)


def test_digital_zoom_lengthens_the_focal_length() -> None:
    assert focal_px(4000, 3000, PHANTOM | exif(DigitalZoomRatio=2.0)) == pytest.approx(2 * focal_px(4000, 3000, PHANTOM))
    assert camera(4000, 3000, exif(FocalLengthIn35mmFilm=20, DigitalZoomRatio=2.0)) is None


@pytest.mark.parametrize(
    "tags", [{}, exif(FocalLength=3.61), exif(FocalLengthIn35mmFilm=0), exif(FocalLengthIn35mmFilm=90_000)]
)
def test_what_is_not_known_is_not_made_up(tags: dict[str, Any]) -> None:
    assert camera(4000, 3000, tags) is None


# Lenses


def matrix(found: Camera) -> np.ndarray:
    # OpenCV counts from the middle of the first pixel.
    return np.array([[found.focal_px, 0, found.center_x - 0.5], [0, found.focal_px, found.center_y - 0.5], [0, 0, 1]])


LENSES = [
    (-0.26, 0.11, 0.0007, -0.0003, -0.02),
    (0.05, -0.02, 0.001, 0.002),
    (-0.01, 0.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize("distortion", LENSES)
@settings(max_examples=60, deadline=None)
@given(x=st.floats(0, 5472), y=st.floats(0, 3648))
def test_a_ray_through_a_lens_comes_out_where_opencv_says(distortion: tuple[float, ...], x: float, y: float) -> None:
    found = Camera(3678.87, 2746.1, 1851.29, distortion)
    ray = found.rays(np.array([[x, y]]))
    seen, _ = cv2.projectPoints(ray, np.zeros(3), np.zeros(3), matrix(found), np.array(distortion))

    assert seen[0, 0] == pytest.approx((x - 0.5, y - 0.5), abs=1e-4)


def test_rays_agree_with_opencv_s_own_inverse() -> None:
    # A lens so weak that OpenCV's inverse, which ends after a few steps, is exact.
    found = Camera(3678.87, 2746.1, 1851.29, LENSES[2])
    points = np.random.default_rng(1).uniform((0, 0), (5472, 3648), (200, 2))
    other = cv2.undistortPoints(points[:, None] - 0.5, matrix(found), np.array(LENSES[2]))

    assert np.abs(found.rays(points)[:, :2] - other[:, 0]).max() < 1e-6


def test_a_pixel_that_no_ray_meets_has_no_ray() -> None:
    folded = Camera(1000.0, 1000.0, 1000.0, (-0.5, 0.0, 0.0, 0.0))

    assert np.isnan(folded.rays(np.array([[2000.0, 2000.0]]))[0, 0])
    assert folded.rays(np.array([[1000.0, 1000.0]]))[0].tolist() == [0, 0, 1]


def test_a_field_of_view_is_that_of_the_distorted_picture() -> None:
    found = camera(4000, 3000, horizontal_fov_deg=90.0, distortion=[-0.2, 0.03, 0.0, 0.0])

    assert found is not None
    assert found.rays(np.array([[4000.0, 1500.0]]))[0] == pytest.approx((1, 0, 1))
