"""An autopilot's log, and how the configuration names what is listened to."""

from __future__ import annotations

import importlib.util
import math
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.position.mavlink import MavlinkStream
from edge.position.report import Position, Report, StreamError
from edge.records import Attitude

from .autopilot import START_US, Autopilot, as_log, attitude, encoded_flight
from .flight import independent_positions, metres_apart, naive_positions, photo_times


def reports_of(log: Path) -> list[Report]:
    stream = MavlinkStream.parse(str(log))
    assert stream.is_recording
    return [report for report in stream.reports() if report is not None]


def what_it_says(report: Report) -> tuple[float | None, Position | None, Attitude | None]:
    """Without what comes from other bytes: the recorder's time, and the accuracy, which another message tells."""
    there = report.position and replace(report.position, accuracy_m=None)
    return report.own_s, there, report.attitude


def written(folder: Path, content: bytes, name: str = "flight.tlog") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def failure(log: Path) -> str:
    with pytest.raises(StreamError) as caught:
        reports_of(log)
    return str(caught.value)


def test_every_position_and_attitude_of_the_recorded_flight_is_what_pymavlink_says(data: Path) -> None:
    from pymavlink import mavutil

    log = data / "flight" / "flight.tlog"
    heard = [report for report in reports_of(log) if report.refused is None]
    connection = mavutil.mavlink_connection(str(log))
    told = []
    while (message := connection.recv_match(type=["GLOBAL_POSITION_INT", "ATTITUDE"])) is not None:
        told.append(message)
    connection.close()

    assert Counter(message.get_type() for message in told) == {"GLOBAL_POSITION_INT": 676, "ATTITUDE": 604}
    # The first position comes before any word of a GPS receiver.
    told.remove(next(message for message in told if message.get_type() == "GLOBAL_POSITION_INT"))
    assert len(heard) == len(told)
    for report, message in zip(heard, told, strict=True):
        assert report.own_s == message.time_boot_ms / 1000
        assert report.received_s == pytest.approx(message._timestamp, abs=1e-6)
        if message.get_type() == "ATTITUDE":
            assert report.attitude is not None
            assert report.position is None
            assert math.radians(report.attitude.yaw_deg) == pytest.approx(message.yaw % (2 * math.pi), abs=1e-12)
            assert math.radians(report.attitude.pitch_deg) == pytest.approx(message.pitch, abs=1e-12)
            assert math.radians(report.attitude.roll_deg) == pytest.approx(message.roll, abs=1e-12)
        else:
            there = report.position
            assert there is not None
            assert (there.latitude * 1e7, there.longitude * 1e7) == pytest.approx((message.lat, message.lon), abs=1e-5)
            assert (there.altitude_m, there.height_m) == (message.alt / 1000, message.relative_alt / 1000)
            assert (there.north_m_s, there.east_m_s) == (message.vx / 100, message.vy / 100)


def test_the_recorded_flight_has_no_time_that_can_be_and_nothing_else_to_refuse(data: Path) -> None:
    refused = Counter(report.refused for report in reports_of(data / "flight" / "flight.tlog"))

    assert refused == {None: 1279, "implausible time": 546, "no GPS word": 1}


def test_the_radio_s_delay_would_misplace_a_photo_by_two_metres(data: Path) -> None:
    """Why positions are placed by the autopilot's own clock: 0.3 m at a photo in general, 2.1 m at the worst."""
    folder = data / "flight"
    times = list(photo_times(folder).values())
    apart = metres_apart(independent_positions(folder / "flight.tlog", times), naive_positions(folder / "flight.tlog", times))

    assert len(times) == 18
    assert apart.max() == pytest.approx(2.09, abs=0.01)
    assert sum(apart > 1) == 5


def test_damaged_bytes_in_the_recorded_flight_cost_their_own_messages_alone(data: Path, tmp_path: Path) -> None:
    log = data / "flight" / "flight.tlog"
    content, chance = bytearray(log.read_bytes()), random.Random(5)
    for place in chance.sample(range(len(content)), 300):
        content[place] ^= 1 << chance.randrange(8)
    damaged = reports_of(written(tmp_path, bytes(content)))
    intact, usable = ([what_it_says(report) for report in heard if report.own_s] for heard in (reports_of(log), damaged))
    refused = Counter(report.refused for report in damaged)

    assert len(intact) - 100 < len(usable) < len(intact)
    assert [report for report in intact if report in usable] == usable
    assert refused.keys() == {None, "implausible time", "checksum", "garbage", "no GPS word"}
    assert refused["no GPS word"] <= 5  # after a time of the recorder's that was damaged, until the next word
    assert 100 < refused["checksum"] + refused["garbage"] <= 300


def test_a_log_of_a_day_in_this_decade_has_its_times_in_utc(tmp_path: Path) -> None:
    heard = reports_of(written(tmp_path, as_log(encoded_flight(2))))

    assert len([report for report in heard if report.position]) == 20
    assert all(report.utc_s is not None and report.own_s is not None for report in heard)
    assert {round(report.utc_s - report.own_s, 3) for report in heard if report.utc_s and report.own_s} == {START_US / 1e6}


def test_a_log_can_be_read_again(tmp_path: Path) -> None:
    stream = MavlinkStream.parse(str(written(tmp_path, as_log(encoded_flight(1)))))

    assert list(stream.reports()) == list(stream.reports())


def test_a_recorder_without_a_clock_does_not_say_when(tmp_path: Path) -> None:
    (report,) = reports_of(written(tmp_path, as_log([Autopilot().packet(attitude(1000))], start_us=86_400_000_000)))

    assert report.received_s is None
    assert report.own_s == 1.0


@pytest.mark.parametrize("kept", [0.95, 0.5, 0.3])
def test_a_log_that_ends_in_a_message_gives_what_came_before(tmp_path: Path, kept: float) -> None:
    packets = encoded_flight(2)
    content = as_log(packets)
    heard = reports_of(written(tmp_path, content))
    shorter = reports_of(written(tmp_path, content[: int(len(content) * kept)]))

    usable = [report for report in shorter if report.refused is None]
    assert 0 < len(usable) < len(heard)
    assert usable == heard[: len(usable)]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xfd", b"\0" * 200_000, b"\xfd\xfe" * 100_000, b"$GPGGA,123519,4807.038,N,01131.000,E*47\r\n" * 5000],
    ids=["empty", "one byte", "zeros", "markers", "NMEA"],
)
def test_what_is_no_log_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    file = written(tmp_path, content)

    assert failure(file) == f"{file}: no MAVLink log"


def test_a_log_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    assert failure(tmp_path / "none.tlog") == f"{tmp_path}/none.tlog: No such file or directory"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tlog")
    (tmp_path / "folder.tlog").mkdir()

    (tmp_path / "zero.tlog").symlink_to("/dev/zero")
    (tmp_path / "linked.tlog").symlink_to("pipe.tlog")

    for name in ("zero.tlog", "linked.tlog"):
        assert failure(tmp_path / name) == f"{tmp_path}/{name}: not a file"
    assert failure(tmp_path / "pipe.tlog") == f"{tmp_path}/pipe.tlog: not a file"
    assert failure(tmp_path / "folder.tlog") == f"{tmp_path}/folder.tlog: not a file"


def test_a_log_that_is_larger_than_anybody_records_is_not_read(tmp_path: Path) -> None:
    file = written(tmp_path, as_log(encoded_flight(1)))
    os.truncate(file, 2_000_000_001)

    assert failure(file).startswith(f"{file}: 2000000001 bytes, expected at most 2000000000")
    assert "\n" not in failure(file)


def test_a_log_is_closed_also_when_it_is_left_early(tmp_path: Path) -> None:
    stream = MavlinkStream.parse(str(written(tmp_path, as_log(encoded_flight(1)))))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        reports = stream.reports()
        next(reports)
        reports.close()

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("argument", "source"),
    [
        ("udp:127.0.0.1:14550", "udp:127.0.0.1:14550"),
        ("udp:[::1]:14550", "udp:::1:14550"),
        ("tcp:autopilot.example:5760", "tcp:autopilot.example:5760"),
        ("/dev/ttyACM0", "/dev/ttyACM0:57600"),
        ("/dev/ttyACM0:115200", "/dev/ttyACM0:115200"),
        (
            "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
            "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0:57600",
        ),
        ("/var/log/flight.tlog", "/var/log/flight.tlog"),
        ("flight.TLOG", "flight.TLOG"),
    ],
)
def test_the_configuration_names_what_is_listened_to(argument: str, source: str) -> None:
    stream = MavlinkStream.parse(argument)

    assert stream.name == "mavlink"
    assert str(stream._source) == source
    assert stream.is_recording is source.lower().endswith(".tlog")


@pytest.mark.parametrize(
    "argument",
    ["", "udp", "udp:", "udp:14550", "udp::14550", "udp:h:", "udp:h:0", "udp:h:65536", "udp:h:1e3", "tcp:h:-1", "tcp:a..b:1"],
)
def test_an_address_that_cannot_be_is_a_mistake_that_names_what_is_allowed(argument: str) -> None:
    with pytest.raises(ValueError, match="expected mavlink:udp:<host>:<port>, tcp:<host>:<port>, <device>"):
        MavlinkStream.parse(argument)


@pytest.mark.parametrize(
    "argument",
    [":", f"tcp:{'a' * 64}:1", "udpout:127.0.0.1:14550", "ttyACM0", "/dev/tty\0", "flight.bin", "tcp:a\nb:1"],
)
def test_what_cannot_be_listened_to_is_a_mistake_that_names_what_is_allowed(argument: str) -> None:
    with pytest.raises(ValueError, match="expected mavlink:udp:<host>:<port>, tcp:<host>:<port>, <device>"):
        MavlinkStream.parse(argument)


@pytest.mark.parametrize("baud", ["0", "299", "12000001", "9" * 5000])
def test_a_speed_that_no_line_has_is_a_mistake(baud: str) -> None:
    with pytest.raises(ValueError, match="expected 300 to 12000000 baud"):
        MavlinkStream.parse(f"/dev/ttyACM0:{baud}")


@given(
    st.text() | st.builds("{}:{}:{}".format, st.sampled_from(["udp", "tcp", "/dev/x"]), st.text(), st.text() | st.integers())
)
def test_any_text_is_a_source_or_a_mistake(argument: str) -> None:
    try:
        stream = MavlinkStream.parse(argument)
    except ValueError as error:
        assert "expected" in str(error)
    else:
        assert stream.name == "mavlink"


def test_without_pymavlink_the_reason_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymavlink", None)
    assert importlib.util.find_spec("pymavlink") is None

    with pytest.raises(ValueError, match=r"needs pymavlink: pip install 'overflight\[mavlink\]'"):
        MavlinkStream.parse("udp:127.0.0.1:14550")


def test_pymavlink_is_only_loaded_when_something_is_read_and_brings_nothing_heavy() -> None:
    program = """
import sys
from edge.position.mavlink import MavlinkStream
stream = MavlinkStream.parse("/none/flight.tlog")
assert not {"pymavlink", "serial"} & sys.modules.keys()
from edge.position.mavlink_packets import load_dialect
load_dialect()
assert not {"lxml", "numpy", "pymavlink.mavutil"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
