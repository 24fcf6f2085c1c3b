"""Where the device was, from a receiver that it listens to: the real daemon on a serial line, with a broker."""

from __future__ import annotations

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pynmeagps import GET, NMEAMessage

from edge.clock import is_synchronised
from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import Ground

METRES_A_DEGREE = 110_855.0  # of latitude at 29.76 degrees north (WGS 84)
LATITUDE, LONGITUDE = 29.76, -95.37
SPEED_M_S = 10.0


class Receiver:
    """A GPS receiver at the other end of a serial line, on its way north at 10 m/s.

    Attributes:
        ahead: By how much its time, which is the true one, is ahead of this machine's clock.
    """

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead
        self.device_end, self._line = os.openpty()
        tty.setraw(self._line)
        self.path = os.ttyname(self._line)
        self._begun_s = time.time()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._speak)
        self._thread.start()

    def latitude_at(self, system_s: float) -> float:
        return LATITUDE + (system_s - self._begun_s) * SPEED_M_S / METRES_A_DEGREE

    def _speak(self) -> None:
        while not self._stopping.wait(0.2):
            now_s = time.time()
            moment = datetime.fromtimestamp(now_s, UTC) + self.ahead
            clock = moment.time()
            latitude = self.latitude_at(now_s)
            position = {"lat": latitude, "NS": "N", "lon": LONGITUDE, "EW": "W", "time": clock}
            sentences = (
                NMEAMessage("GP", "RMC", GET, status="A", date=moment.date(), spd=SPEED_M_S / 0.514444, cog=0.0, **position),
                NMEAMessage("GP", "GGA", GET, quality=1, numSV=9, HDOP=0.9, alt=80.0, **position),
            )
            os.write(self.device_end, b"".join(sentence.serialize() for sentence in sentences))

    def silence(self) -> None:
        self._stopping.set()
        self._thread.join()

    def unplug(self) -> None:
        self.silence()
        os.close(self._line)
        os.close(self.device_end)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    # Where nobody sets this machine's clock, the receiver's time is the better one, and differs so that it shows.
    receiver = Receiver(timedelta(0) if is_synchronised() else timedelta(hours=1))
    yield receiver
    receiver.silence()


@pytest.fixture
def device(overflight: Overflight, mosquitto: Mosquitto, receiver: Receiver) -> Overflight:
    """One that alerts about every frame, and listens to the receiver."""
    overflight.config["uplink"] = {"url": mosquitto.url, "reconnect_max_s": 0.2}
    overflight.config["triage"] = {"threshold": 0.0}
    overflight.config["health"] = {"interval_s": 0.2}
    overflight.config["position"] = {"sources": ["exif", f"nmea:{receiver.path}"]}
    return overflight


@pytest.fixture
def ground(mosquitto: Mosquitto, listen: Callable[[int], Ground]) -> Ground:
    return listen(mosquitto.port)


def test_each_frame_is_where_the_receiver_was_when_it_was_written(
    device: Overflight, ground: Ground, receiver: Receiver, make_jpeg: Callable[..., bytes]
) -> None:
    title = f"nmea:{receiver.path}"
    with device.running("run"):
        wait_for(lambda: any(health["positions"][title]["fixes"] > 5 for health in ground.health), 20)
        for number in range(10):
            (device.inbox / f"{number}.jpg").write_bytes(make_jpeg(number, 128, 128))
            time.sleep(0.3)
        wait_for(lambda: len(ground.alerts) == 10, 20)

    for alert in ground.alerts:
        properties = alert["properties"]
        written_s = (device.inbox / properties["frame"]["name"]).stat().st_mtime
        longitude, latitude = alert["geometry"]["coordinates"][:2]
        away_m = abs(latitude - receiver.latitude_at(written_s)) * METRES_A_DEGREE
        captured_at = datetime.fromisoformat(properties["captured_at"])
        assert longitude == pytest.approx(LONGITUDE, abs=1e-7)
        # What came with the smallest delay is some milliseconds old; the thread that speaks may be held up on a busy machine.
        assert away_m < 3
        assert properties["fix"]["source"] == "nmea"
        assert properties["fix"]["age_s"] <= 1
        assert properties["place"] == "device"
        assert properties["clock"] == ("gps" if receiver.ahead else "system")
        assert abs(captured_at - receiver.ahead - datetime.fromtimestamp(written_s, UTC)) < timedelta(seconds=0.3)


def test_a_receiver_that_is_pulled_is_said_and_the_alerts_go_on_without_a_position(
    device: Overflight, ground: Ground, receiver: Receiver, make_jpeg: Callable[..., bytes]
) -> None:
    with device.running("run"):
        wait_for(lambda: bool(ground.statuses) and ground.statuses[-1]["state"] == "online", 20)
        receiver.unplug()
        wait_for(lambda: ground.statuses[-1]["state"] == "degraded", 20)
        (reason,) = ground.statuses[-1]["reasons"]
        time.sleep(2.1)
        Path(device.inbox / "late.jpg").write_bytes(make_jpeg(1, 128, 128))
        wait_for(lambda: len(ground.alerts) == 1, 20)

    assert reason.startswith(f"position nmea:{receiver.path}: ")
    (alert,) = ground.alerts
    assert alert["geometry"] is None
    assert alert["properties"]["fix"] is None
    assert "place" not in alert["properties"]
