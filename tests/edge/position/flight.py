"""Where the aircraft of the recorded flight was, computed another way than the product does it: pymavlink's own reader of
logs, and straight lines between its positions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VEHICLE = 1
"""The aircraft's system; 255 is the ground station, which the log holds as well."""


class FlightLog(NamedTuple):
    """The positions in a log, one row each.

    Attributes:
        received_s: When the recorder got it, seconds since 1970-01-01 UTC.
        own_s: When the autopilot computed it, seconds since its boot.
        places: Latitude and longitude in degrees, metres above sea level, metres above the place of take-off.
    """

    received_s: NDArray[np.float64]
    own_s: NDArray[np.float64]
    places: NDArray[np.float64]


def read_log(log: Path) -> FlightLog:
    """Every position of the aircraft that a log holds."""
    from pymavlink import mavutil

    connection = mavutil.mavlink_connection(str(log))
    rows = []
    while (message := connection.recv_match(type="GLOBAL_POSITION_INT")) is not None:
        if message.get_srcSystem() == VEHICLE:
            place = (message.lat / 1e7, message.lon / 1e7, message.alt / 1e3, message.relative_alt / 1e3)
            rows.append((message._timestamp, message.time_boot_ms / 1e3, *place))
    connection.close()
    table = np.array(rows, dtype=np.float64)
    return FlightLog(table[:, 0], table[:, 1], table[:, 2:])


def independent_positions(log: Path, times: Sequence[float]) -> NDArray[np.float64]:
    """Where the aircraft was, by the autopilot's own clock.

    That clock and the recorder's differ by a constant, and by what the radio delayed a message; the message that was delayed
    least shows the constant best. No clock runs away by more than a few milliseconds in the three minutes of this flight.

    Args:
        times: Seconds since 1970-01-01 UTC, by the recorder's clock.

    Returns:
        A row for each time, as in `FlightLog.places`; no number where the log does not reach.
    """
    flight = read_log(log)
    return _between(flight.own_s + np.min(flight.received_s - flight.own_s), flight.places, times)


def naive_positions(log: Path, times: Sequence[float]) -> NDArray[np.float64]:
    """The same, as if every message had been received the moment it was computed."""
    flight = read_log(log)
    return _between(flight.received_s, flight.places, times)


def photo_times(folder: Path) -> dict[str, float]:
    """The photos of the flight by their names, which say when each was taken: seconds since 1970-01-01 UTC."""
    return {
        photo.name: datetime.strptime(photo.stem, "%Y%m%d%H%M%S%fZ").replace(tzinfo=UTC).timestamp()
        for photo in sorted(folder.glob("*.jpg"))
    }


def metres_apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Horizontal distance of the rows of two tables of latitudes and longitudes."""
    from pyproj import Geod

    return np.asarray(Geod(ellps="WGS84").inv(one[:, 1], one[:, 0], other[:, 1], other[:, 0])[2])


def _between(moments: NDArray[np.float64], places: NDArray[np.float64], times: Sequence[float]) -> NDArray[np.float64]:
    return np.column_stack([np.interp(times, moments, column, np.nan, np.nan) for column in places.T])
