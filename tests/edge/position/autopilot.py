"""An autopilot that speaks: messages encoded by pymavlink, those of a recorded flight, and ways to send them."""

from __future__ import annotations

import os
import pty
import tty
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as dialect

START_US = 1_790_000_000_000_000
"""A moment in 2026, microseconds since 1970."""


class Autopilot:
    """Encodes messages of one system."""

    def __init__(self, system: int = 1, component: int = 1, *, is_v1: bool = False) -> None:
        self._encoder = dialect.MAVLink(None, system, component)
        self._is_v1 = is_v1

    def packet(self, message: Any) -> bytes:
        packed = message.pack(self._encoder, force_mavlink1=self._is_v1)
        self._encoder.seq = (self._encoder.seq + 1) % 256
        return bytes(packed)

    def heard(self, message: Any) -> Any:
        """The message as whoever has received it sees it."""
        return dialect.MAVLink(None).decode(bytearray(self.packet(message)))


def heartbeat(autopilot: int = dialect.MAV_AUTOPILOT_ARDUPILOTMEGA, kind: int = dialect.MAV_TYPE_QUADROTOR) -> Any:
    return dialect.MAVLink_heartbeat_message(kind, autopilot, 0, 0, 4, 3)


def position(boot_ms: int, latitude: float = -35.36, longitude: float = 149.16, hdg: int = 9000) -> Any:
    place = (round(latitude * 1e7), round(longitude * 1e7), 667_000, 76_231)
    return dialect.MAVLink_global_position_int_message(boot_ms, *place, 950, -110, 0, hdg)


def attitude(boot_ms: int, roll: float = 0.1, pitch: float = -0.05, yaw: float = -0.37) -> Any:
    return dialect.MAVLink_attitude_message(boot_ms, roll, pitch, yaw, 0, 0, 0)


def gps(fix_type: int = 3, h_acc: int = 239) -> Any:
    return dialect.MAVLink_gps_raw_int_message(0, fix_type, 0, 0, 0, 58, 75, 0, 0, 20, 0, h_acc)


def encoded_flight(seconds: int = 20) -> list[bytes]:
    """Ten positions and attitudes a second, and whatever else an autopilot says; with a ground station on the link."""
    aircraft, ground = Autopilot(), Autopilot(255, 0)
    packets = []
    for step in range(seconds * 10):
        boot_ms = 60_000 + step * 100
        if step % 10 == 0:
            station = heartbeat(dialect.MAV_AUTOPILOT_INVALID, dialect.MAV_TYPE_GCS)
            packets += [aircraft.packet(heartbeat()), ground.packet(station), aircraft.packet(gps())]
            packets.append(aircraft.packet(dialect.MAVLink_system_time_message(START_US + boot_ms * 1000, boot_ms)))
        packets.append(aircraft.packet(attitude(boot_ms, yaw=step / 50)))
        packets.append(aircraft.packet(position(boot_ms, latitude=-35.36 + step * 1e-5)))
        packets.append(aircraft.packet(dialect.MAVLink_vfr_hud_message(10, 10, 90, 40, 76, 0)))
    return packets


def recorded_packets(log: Path) -> list[bytes]:
    """Every packet of a log, as pymavlink's own reader finds them."""
    from pymavlink import mavutil

    connection = mavutil.mavlink_connection(str(log))
    packets = []
    while (message := connection.recv_msg()) is not None:
        packets.append(bytes(message.get_msgbuf()))
    connection.close()
    return packets


def as_log(packets: Sequence[bytes], start_us: int = START_US) -> bytes:
    """The packets as a ground station records them, ten milliseconds apart."""
    stamped = ((start_us + number * 10_000).to_bytes(8, "big") + packet for number, packet in enumerate(packets))
    return b"".join(stamped)


class SerialLine:
    """A serial line with something that sends at its other end: a pseudo terminal."""

    def __init__(self) -> None:
        self._end, other = pty.openpty()
        tty.setraw(other)
        self.device = os.ttyname(other)
        os.close(other)

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._end, data) :]

    def unplug(self) -> None:
        os.close(self._end)
