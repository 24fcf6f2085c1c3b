"""Attitudes as rotation matrices.

Axes of what is turned: forward, right, down; of the Earth: north, east, down. Yaw, pitch and roll are applied about the axes
that are then reached, in this order (z, y', x''), as autopilots and DJI's gimbals report them (B. L. Stevens and F. L. Lewis,
Aircraft Control and Simulation, section 1.3; DJI Mavic 3E manual, list of the XMP fields).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge.records import Attitude

Matrix = NDArray[np.float64]


def matrix(attitude: Attitude) -> Matrix:
    """The matrix whose columns are the forward, right and down axis of what is turned, in north, east, down."""
    yaw, pitch, roll = (math.radians(angle) for angle in (attitude.yaw_deg, attitude.pitch_deg, attitude.roll_deg))
    cos_yaw, sin_yaw = math.cos(yaw), math.sin(yaw)
    cos_pitch, sin_pitch = math.cos(pitch), math.sin(pitch)
    cos_roll, sin_roll = math.cos(roll), math.sin(roll)
    return np.array(
        [
            [
                cos_yaw * cos_pitch,
                cos_yaw * sin_pitch * sin_roll - sin_yaw * cos_roll,
                cos_yaw * sin_pitch * cos_roll + sin_yaw * sin_roll,
            ],
            [
                sin_yaw * cos_pitch,
                sin_yaw * sin_pitch * sin_roll + cos_yaw * cos_roll,
                sin_yaw * sin_pitch * cos_roll - cos_yaw * sin_roll,
            ],
            [-sin_pitch, cos_pitch * sin_roll, cos_pitch * cos_roll],
        ]
    )


def attitude_of(rotation: Matrix) -> Attitude:
    """The attitude of a matrix. Straight up or down, where yaw and roll turn about the same axis, the roll is 0."""
    sin_pitch = min(max(float(-rotation[2, 0]), -1.0), 1.0)
    if abs(sin_pitch) > 1 - 1e-12:
        yaw = math.atan2(-rotation[0, 1], rotation[1, 1])
        return Attitude(math.degrees(yaw), math.copysign(90.0, sin_pitch), 0.0)
    return Attitude(
        math.degrees(math.atan2(rotation[1, 0], rotation[0, 0])),
        math.degrees(math.asin(sin_pitch)),
        math.degrees(math.atan2(rotation[2, 1], rotation[2, 2])),
    )


def mounted(aircraft: Attitude, mount: Attitude) -> Matrix:
    """The matrix of what is fixed to an aircraft, turned against it by `mount`."""
    return np.asarray(matrix(aircraft) @ matrix(mount), np.float64)
