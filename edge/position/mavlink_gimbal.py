"""Where the camera looks, as the messages of gimbals say it: three kinds, and each counts yaw from something else.

- GIMBAL_DEVICE_ATTITUDE_STATUS: a quaternion; roll and pitch against the horizon, yaw from north or from the aircraft's
  nose, by its flags (https://mavlink.io/en/services/gimbal_v2.html).
- MOUNT_ORIENTATION: roll and pitch against the horizon, yaw from the nose, and in newer ones from north, too.
- MOUNT_STATUS: of old ArduPilot; no time and no word on what the angles are measured from. They are taken as those of
  MOUNT_ORIENTATION, which holds for gimbals that hold the horizon, and only as long as neither of the others is heard.

Yaw from the nose needs the aircraft's, which ATTITUDE and GLOBAL_POSITION_INT tell: the later of them counts.
"""

from __future__ import annotations

import math
from typing import Any

from edge.records import Attitude

GIMBAL_MESSAGES = ("MOUNT_STATUS", "MOUNT_ORIENTATION", "GIMBAL_DEVICE_ATTITUDE_STATUS")
"""The messages of gimbals; the later one of them is trusted more."""

_YAW_LOCK = 16
_YAW_FROM_NOSE = 32
_YAW_FROM_NORTH = 64
# sin of the pitch beyond which yaw and roll turn about the same line; float32 says no more than this.
_STRAIGHT = 1 - 1e-7


class Gimbal:
    """The one gimbal that is listened to: the first that is heard, by the best of the messages that come."""

    def __init__(self) -> None:
        self._heard: tuple[int, int, int] | None = None

    def attitude(self, message: Any, heading_deg: float | None) -> Attitude | None:
        """Where the camera looks.

        Args:
            message: pymavlink's, one of `GIMBAL_MESSAGES`.
            heading_deg: The aircraft's yaw; None: nobody knows.

        Returns:
            None: the message does not say, or a better one does.

        Raises:
            ValueError: It is of no use; the message is the reason.
        """
        kind = message.get_type()
        device = getattr(message, "gimbal_device_id", 0)
        who = (GIMBAL_MESSAGES.index(kind), message.get_srcComponent(), device)
        if self._heard is not None and who[0] < self._heard[0]:
            return None
        if self._heard is not None and who[0] == self._heard[0] and who != self._heard:
            raise ValueError("other gimbal")
        camera = _READERS[kind](message, heading_deg)
        if camera is not None:
            self._heard = who
        return camera


def checked_attitude(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Attitude:
    """An attitude with its yaw in 0..360.

    Raises:
        ValueError: Such angles cannot be.
    """
    if not (math.isfinite(yaw_deg) and abs(pitch_deg) <= 180 and abs(roll_deg) <= 180):  # false for what is no number, too
        raise ValueError("impossible angle")
    return Attitude(yaw_deg % 360 % 360, pitch_deg, roll_deg)  # twice: the rest of -1e-15 is 360


def quaternion_angles(w: float, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a rotation from the earth's frame (north, east, down) to the body's.

    A camera that swings through straight down goes from a pitch of -89 to -91 degrees; the other way to say the same has yaw
    and roll jump by 180 degrees, which no interpolation survives. Looking straight down or up, where yaw and roll turn about
    one line, all of it is yaw.

    Raises:
        ValueError: It is no rotation.
    """
    length = math.sqrt(w * w + x * x + y * y + z * z)
    if not abs(length - 1) < 0.05:
        raise ValueError("impossible angle")
    w, x, y, z = w / length, x / length, y / length, z / length
    sine = 2 * (w * y - z * x)
    if abs(sine) > _STRAIGHT:
        yaw = math.atan2(2 * (w * z - x * y), 1 - 2 * (x * x + z * z))
        return math.degrees(yaw), math.copysign(90, sine), 0.0
    yaw = math.degrees(math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
    pitch = math.degrees(math.asin(sine))
    roll = math.degrees(math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)))
    if abs(roll) > 90 and abs(pitch) > 45:
        yaw, pitch, roll = yaw + 180, math.copysign(180, pitch) - pitch, roll - math.copysign(180, roll)
    return yaw, pitch, roll


def _from_nose(yaw_deg: float, heading_deg: float | None) -> float:
    if heading_deg is None:
        raise ValueError("no heading")
    return yaw_deg + heading_deg


def _device(message: Any, heading_deg: float | None) -> Attitude | None:
    if any(math.isnan(part) for part in message.q):
        return None
    yaw, pitch, roll = quaternion_angles(*message.q)
    says_frame = message.flags & (_YAW_FROM_NOSE | _YAW_FROM_NORTH)
    if not message.flags & (_YAW_FROM_NORTH if says_frame else _YAW_LOCK):
        # What turns nose into north at the very moment; 0 is how a message says nothing that ends before it.
        is_told = says_frame and math.isfinite(message.delta_yaw) and message.delta_yaw != 0
        yaw = _from_nose(yaw, math.degrees(message.delta_yaw) if is_told else heading_deg)
    return checked_attitude(yaw, pitch, roll)


def _orientation(message: Any, heading_deg: float | None) -> Attitude | None:
    if math.isnan(message.pitch) or math.isnan(message.roll):
        return None
    # 0 stands for north, or for an older sender that does not say it: the way by the nose is right for both.
    if math.isfinite(message.yaw_absolute) and message.yaw_absolute != 0:
        yaw = message.yaw_absolute
    elif math.isnan(message.yaw):
        return None
    else:
        yaw = _from_nose(message.yaw, heading_deg)
    return checked_attitude(yaw, message.pitch, message.roll)


def _status(message: Any, heading_deg: float | None) -> Attitude:
    yaw = _from_nose(message.pointing_c / 100, heading_deg)
    return checked_attitude(yaw, message.pointing_a / 100, message.pointing_b / 100)


_READERS = {"MOUNT_STATUS": _status, "MOUNT_ORIENTATION": _orientation, "GIMBAL_DEVICE_ATTITUDE_STATUS": _device}
