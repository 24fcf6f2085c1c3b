"""What a receiver or an autopilot says, and what every source of it looks like: a stream of reports."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edge.records import Attitude

LOOK_S = 0.5
"""A live stream gives a None at least this often, so that whoever reads it can stop, and sees that it is silent."""


class StreamError(Exception):
    """A stream cannot be opened or read any more; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the device is, as one message said. None: it did not say.

    Attributes:
        latitude: Degrees north, WGS 84; longitude: degrees east. As they were said: whoever takes them checks them.
        altitude_m: Above mean sea level.
        height_m: Above the place of take-off.
        accuracy_m: Horizontal, one standard deviation.
        north_m_s: Speed over ground; east_m_s likewise.
        is_2d: The receiver saw too few satellites to know its altitude.
    """

    latitude: float
    longitude: float
    altitude_m: float | None = None
    height_m: float | None = None
    accuracy_m: float | None = None
    north_m_s: float | None = None
    east_m_s: float | None = None
    is_2d: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What one message said.

    Attributes:
        received_s: When it came: by this machine's monotonic clock from a live stream; from a recording by the clock of
            whoever recorded it, seconds since 1970-01-01 UTC. None: the recording does not say.
        own_s: When it was measured, by the clock of whoever measured it, which starts anywhere: seconds since its boot, or
            UTC. None: it does not say.
        utc_s: The same as GPS time tells it, seconds since 1970-01-01 UTC; None: it does not say, or what it says cannot be.
        attitude: Of the aircraft.
        camera: Of the camera, against the horizon and north.
        refused: Why the message is of no use, in few words that are counted: "no fix", "checksum". Then the rest is None.
    """

    received_s: float | None
    own_s: float | None = None
    utc_s: float | None = None
    position: Position | None = None
    attitude: Attitude | None = None
    camera: Attitude | None = None
    refused: str | None = None


@runtime_checkable
class Stream(Protocol):
    """A source of reports.

    Attributes:
        name: As the config names it: "gpsd".
        is_recording: It is a file that is read from its beginning to its end, at once.
    """

    name: str
    is_recording: bool

    def reports(self) -> Generator[Report | None, None, None]:
        """Connect, and give what comes; None after `LOOK_S` of silence. It ends where a recording does.

        Whoever stops early closes the generator, which lets go of what it has open.

        Raises:
            StreamError: It cannot be opened, was lost, or is not what it should be.
        """
