"""Where the camera looks, from each kind of message, in each frame of reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymavlink.dialects.v20 import ardupilotmega as dialect
from pymavlink.quaternion import QuaternionBase as Quaternion

from edge.position.mavlink_gimbal import quaternion_angles
from edge.position.mavlink_vehicle import Vehicle
from edge.position.report import Report
from edge.records import Attitude

from .autopilot import Autopilot, attitude, heartbeat, position

FROM_NOSE = dialect.GIMBAL_DEVICE_FLAGS_YAW_IN_VEHICLE_FRAME
FROM_NORTH = dialect.GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME
LOCKED = dialect.GIMBAL_DEVICE_FLAGS_YAW_LOCK
AIRCRAFT = Autopilot()
HEADING = attitude(1000, 0.0, 0.0, math.radians(100))


def gimbal(
    yaw_deg: float,
    pitch_deg: float,
    roll_deg: float = 0.0,
    *,
    flags: int,
    delta_yaw: float = math.nan,
    device: int = 0,
    boot_ms: int = 1000,
) -> Any:
    turned = Quaternion([math.radians(angle) for angle in (roll_deg, pitch_deg, yaw_deg)]).q
    silent = [math.nan] * 3
    return dialect.MAVLink_gimbal_device_attitude_status_message(
        0, 0, boot_ms, flags, [float(part) for part in turned], *silent, 0, delta_yaw, math.nan, device
    )


def mount(roll: float, pitch: float, yaw: float, absolute: float) -> Any:
    return dialect.MAVLink_mount_orientation_message(1000, roll, pitch, yaw, absolute)


def old_mount(pitch_deg: int, roll_deg: int, yaw_deg: int) -> Any:
    return dialect.MAVLink_mount_status_message(0, 0, pitch_deg * 100, roll_deg * 100, yaw_deg * 100)


def said(*messages: Any) -> Report | None:
    vehicle, report = Vehicle(), None
    for message in (heartbeat(), *messages):
        report = vehicle.report(AIRCRAFT.heard(message), 5.0)
    return report


def looks(*messages: Any) -> tuple[float, float, float]:
    report = said(*messages)
    assert report is not None
    assert report.camera is not None, report.refused
    return report.camera.yaw_deg, report.camera.pitch_deg, report.camera.roll_deg


@pytest.mark.parametrize(
    ("flags", "yaw"), [(FROM_NORTH, 30), (FROM_NOSE, 130), (LOCKED, 30), (0, 130), (LOCKED | FROM_NOSE, 130)]
)
def test_a_gimbal_says_by_its_flags_what_its_yaw_is_measured_from(flags: int, yaw: float) -> None:
    assert looks(HEADING, gimbal(30, -60, 5, flags=flags)) == pytest.approx((yaw, -60, 5), abs=1e-4)


def test_a_gimbal_that_knows_the_heading_itself_is_believed() -> None:
    told = gimbal(30, -60, flags=FROM_NOSE, delta_yaw=math.radians(-90))

    assert looks(HEADING, told) == pytest.approx((300, -60, 0), abs=1e-4)


def test_an_old_gimbal_has_no_heading_of_its_own() -> None:
    told = gimbal(30, -60, flags=0, delta_yaw=math.radians(-90))

    assert looks(HEADING, told) == pytest.approx((130, -60, 0), abs=1e-4)


def test_the_heading_of_a_position_serves_where_no_attitude_is_sent() -> None:
    assert looks(position(1000, hdg=20_000), gimbal(30, -60, flags=FROM_NOSE)) == pytest.approx((230, -60, 0), abs=1e-4)


@pytest.mark.parametrize(
    "before", [[], [attitude(1000)], [position(2500, hdg=0xFFFF)]], ids=["none", "of another time", "unknown"]
)
def test_without_a_heading_of_that_time_a_yaw_from_the_nose_is_refused(before: list[Any]) -> None:
    assert said(*before, gimbal(30, -60, flags=FROM_NOSE, boot_ms=2500)) == Report(5.0, refused="no heading")


@pytest.mark.parametrize(("yaw", "absolute", "looked"), [(30, 45, 45), (30, math.nan, 130), (30, 0, 130), (math.nan, 45, 45)])
def test_a_mount_is_believed_where_north_is_if_it_says_so(yaw: float, absolute: float, looked: float) -> None:
    assert looks(HEADING, mount(2, -80, yaw, absolute)) == (pytest.approx(looked, abs=1e-4), -80, 2)


@pytest.mark.parametrize("angles", [(math.nan, -80, 30, 45), (2, math.nan, 30, 45), (2, -80, math.nan, math.nan)])
def test_a_mount_that_does_not_know_says_nothing(angles: tuple[float, float, float, float]) -> None:
    assert said(HEADING, mount(*angles)) is None


def test_an_old_mount_says_hundredths_of_degrees_from_the_nose_and_no_time() -> None:
    report = said(HEADING, old_mount(-90, 0, 20))

    assert report is not None
    assert report.own_s is None
    assert report.camera == Attitude(pytest.approx(120, abs=1e-4), -90, 0)


def test_an_old_mount_is_not_listened_to_beside_a_better_message() -> None:
    assert said(HEADING, mount(0, -80, 30, 45), old_mount(-90, 0, 20)) is None
    assert looks(HEADING, old_mount(-90, 0, 20), mount(0, -80, 30, 45))[1] == -80


def test_a_second_gimbal_is_refused() -> None:
    first, second = gimbal(0, -90, flags=FROM_NORTH, device=1), gimbal(0, 0, flags=FROM_NORTH, device=2)

    assert said(first, second) == Report(5.0, refused="other gimbal")


@pytest.mark.parametrize(
    "message",
    [
        dialect.MAVLink_gimbal_device_attitude_status_message(0, 0, 1000, FROM_NORTH, [0.0] * 4, 0, 0, 0, 0),
        dialect.MAVLink_gimbal_device_attitude_status_message(0, 0, 1000, FROM_NORTH, [math.inf, 0, 0, 0], 0, 0, 0, 0),
        mount(200, -80, 30, 45),
        mount(0, -math.inf, 30, 45),
        old_mount(-9000, 0, 0),
    ],
)
def test_angles_that_cannot_be_are_refused(message: Any) -> None:
    assert said(HEADING, message) == Report(5.0, refused="impossible angle")


def test_a_gimbal_that_does_not_know_says_nothing() -> None:
    unknown = dialect.MAVLink_gimbal_device_attitude_status_message(0, 0, 1000, FROM_NORTH, [math.nan] * 4, 0, 0, 0, 0)

    assert said(unknown) is None


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray[Any, Any]:
    """By pymavlink's own arithmetic."""
    return np.array(Quaternion([math.radians(angle) for angle in (roll_deg, pitch_deg, yaw_deg)]).dcm)


_degrees = st.floats(-180, 180) | st.sampled_from([-180.0, -90.0, 0.0, 90.0, 180.0])
_pitches = st.floats(-90, 90) | st.sampled_from([-90.0, -89.9999, -89.9, 0.0, 90.0])


@settings(deadline=None, max_examples=300)
@given(_degrees, _pitches, _degrees)
def test_the_angles_of_a_quaternion_turn_as_it_does(yaw: float, pitch: float, roll: float) -> None:
    turned = np.array(Quaternion([math.radians(angle) for angle in (roll, pitch, yaw)]).q, np.float32)
    angles = quaternion_angles(*(float(part) for part in turned))

    # Half a milliradian: what float32 leaves of yaw and roll where both turn about nearly the same line.
    np.testing.assert_allclose(rotation(*angles), rotation(yaw, pitch, roll), rtol=0, atol=5e-4)


def test_a_camera_that_swings_through_straight_down_does_not_jump() -> None:
    seen = [
        quaternion_angles(*Quaternion([0.0, math.radians(pitch), math.radians(10)]).q)
        for pitch in (-88.0, -89.5, -90.0, -90.5, -92.0)
    ]

    assert [angles[0] for angles in seen] == pytest.approx([10] * 5, abs=1e-3)
    assert [angles[1] for angles in seen] == pytest.approx([-88.0, -89.5, -90.0, -90.5, -92.0], abs=1e-3)
    assert [angles[2] for angles in seen] == pytest.approx([0] * 5, abs=1e-3)
