"""The stream of NMEA 0183: from logs of many receivers, beside what gpsd makes of them, and from a pseudo-terminal."""

from __future__ import annotations

import json
import math
import os
import random
import threading
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from functools import reduce
from operator import xor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.position.nmea import NmeaStream
from edge.position.report import LOOK_S, Report, StreamError
from edge.position.utc import seconds_of

RMC = "GPRMC,{time},A,2945.624,N,09522.188,W,19.4384,090.0,{date},,,A"
GGA = "GPGGA,{time},2945.6240,N,09522.1880,W,1,08,0.9,31.2,M,-27.0,M,,"
BEGIN_S = seconds_of("2026-11-21T10:00:00Z")


def sentence(body: str) -> bytes:
    """A sentence with the checksum that it should have."""
    return f"${body}*{reduce(xor, body.encode('latin-1')):02X}\r\n".encode("latin-1")


def rmc(time_of_day: str = "100000.00", date: str = "211126") -> bytes:
    return sentence(RMC.format(time=time_of_day, date=date))


def gga(time_of_day: str = "100000.00") -> bytes:
    return sentence(GGA.format(time=time_of_day))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Report]]:
    """What a recording of these parts says."""
    file = tmp_path / "receiver.log"

    def read(*parts: bytes) -> list[Report]:
        file.write_bytes(b"".join(parts))
        reports = list(NmeaStream(str(file)).reports())
        assert all(report is not None and report.received_s is None for report in reports)
        return [report for report in reports if report is not None]

    return read


# Beside gpsd


def test_every_fix_of_every_receiver_is_where_gpsd_says_it_is(data: Path) -> None:
    compared, without = 0, {}
    for log in sorted((data / "gpsd").glob("*.log")):
        fixes = defaultdict(list)
        for line in log.with_name(f"{log.name}.chk").read_bytes().splitlines():
            fix = json.loads(line) if line.startswith(b'{"class":"TPV"') else {"mode": 0}
            if fix["mode"] >= 2 and "lat" in fix and "time" in fix:
                fixes[round(seconds_of(fix["time"]), 3)].append((fix["lat"], fix["lon"], fix.get("altMSL")))
        placed = {}
        for report in NmeaStream(str(log)).reports():
            if report is not None and report.position is not None and report.utc_s is not None:
                place = report.position
                placed[round(report.utc_s, 3)] = place
                for_this = fixes.get(round(report.utc_s, 3), [])
                # 1e-6° is 11 cm: some receivers tell more digits in one of their sentences.
                near = [fix for fix in for_this if abs(fix[0] - place.latitude) + abs(fix[1] - place.longitude) < 1e-6]
                assert near or not for_this, f"{log.name}: {place} at none of {for_this}"
                assert (
                    place.altitude_m is None
                    or not near
                    or any(fix[2] is None or abs(fix[2] - place.altitude_m) < 0.06 for fix in near)
                )
                compared += bool(near)
        if placed and (missing := len(fixes.keys() - placed.keys())):
            without[log.stem] = missing

    assert compared >= 1_150
    # It also speaks UBX, in which two of its fixes are.
    assert without == {"ublox8-uniqid-monhw": 2}


# What sentences say together


def test_the_sentences_of_one_time_are_one_fix(read: Callable[..., list[Report]]) -> None:
    [report] = read(rmc(), gga(), sentence("GPGSA,A,3,01,02,03,04,,,,,,,,,1.6,0.9,1.3"))

    assert report.own_s == report.utc_s == BEGIN_S
    place = report.position
    assert place is not None and not place.is_2d
    assert (place.latitude, place.longitude) == (pytest.approx(29.7604, abs=1e-9), pytest.approx(-95.3698, abs=1e-9))
    assert (place.altitude_m, place.accuracy_m) == (31.2, pytest.approx(0.9 * 6.1))
    assert (place.north_m_s, place.east_m_s) == (pytest.approx(0, abs=1e-9), pytest.approx(10, abs=1e-4))


@pytest.mark.parametrize("talker", ["GP", "GN", "GL", "BD", "IN", "QZ"])
@pytest.mark.parametrize(
    "body",
    ["GGA,100000,2945.624,N,09522.188,W,1,08,0.9,31.2,M,,M,,", "GNS,100000,2945.624,N,09522.188,W,AN,08,0.9,31.2,,,", "GLL,2945.624,N,09522.188,W,100000,A"],  # noqa: E501
)  # fmt: skip
def test_any_talker_may_say_a_place(read: Callable[..., list[Report]], talker: str, body: str) -> None:
    [report] = read(sentence(talker + body))

    assert report.position is not None
    assert (report.position.latitude, report.position.longitude) == (pytest.approx(29.7604), pytest.approx(-95.3698))


@pytest.mark.parametrize(("hemispheres", "signs"), [("NE", (1, 1)), ("SE", (-1, 1)), ("NW", (1, -1)), ("SW", (-1, -1))])
def test_south_and_west_are_negative(read: Callable[..., list[Report]], hemispheres: str, signs: tuple[int, int]) -> None:
    [report] = read(sentence(f"GPGLL,2945.624,{hemispheres[0]},09522.188,{hemispheres[1]},100000,A"))

    place = report.position
    assert place is not None
    assert (math.copysign(1, place.latitude), math.copysign(1, place.longitude)) == signs


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("GPGGA,100000,2945.624,N,09522.188,W,0,00,99.9,,M,,M,,", "no fix"),
        ("GPGGA,100000,,,,,,,,,,,,,", "no fix"),
        ("GPGGA,100000,2945.624,N,09522.188,W,6,08,0.9,31.2,M,,M,,", "estimated"),
        ("GPGGA,100000,2945.624,N,09522.188,W,7,08,0.9,31.2,M,,M,,", "manual"),
        ("GPGGA,100000,2945.624,N,09522.188,W,8,08,0.9,31.2,M,,M,,", "simulated"),
        ("GPGGA,100000,2945.624,,09522.188,W,1,08,0.9,31.2,M,,M,,", "no fix"),
        ("GPRMC,100000,V,2945.624,N,09522.188,W,0.0,0.0,211126,,,N", "no fix"),
        ("GPRMC,100000,A,2945.624,N,09522.188,W,0.0,0.0,211126,,,S", "simulated"),
        ("GPRMC,,V,,,,,,,,,,N", "no fix"),
        ("GPGLL,2945.624,N,09522.188,W,100000,V,N", "no fix"),
        ("GNGNS,100000,2945.624,N,09522.188,W,NNN,00,,,,,", "no fix"),
        ("GNGNS,100000,2945.624,N,09522.188,W,EEN,00,,,,,", "estimated"),
        ("GPGGA,100000,2945.624,N,09522.188,W,x,08,0.9,31.2,M,,M,,", "garbage"),
    ],
)
def test_what_is_no_fix_is_refused_with_its_reason(read: Callable[..., list[Report]], body: str, reason: str) -> None:
    assert read(sentence(body)) == [Report(None, refused=reason)]


def test_one_sentence_that_doubts_a_fix_refuses_it(read: Callable[..., list[Report]]) -> None:
    doubt = sentence("GPRMC,100000.00,V,2945.624,N,09522.188,W,0.0,0.0,211126,,,N")

    assert read(gga(), doubt) == [Report(None, refused="no fix")]


def test_a_2d_fix_has_no_altitude(read: Callable[..., list[Report]]) -> None:
    [report] = read(gga(), sentence("GPGSA,A,2,01,02,03,,,,,,,,,,1.6,0.9,1.3"))

    assert report.position is not None
    assert report.position.is_2d
    assert report.position.altitude_m is None


@pytest.mark.parametrize(("quality", "accuracy_m"), [(1, 5.49), (2, 1.35), (3, None), (4, None), (5, None), (9, None)])
def test_an_accuracy_is_that_of_the_kind_of_fix(
    read: Callable[..., list[Report]], quality: int, accuracy_m: float | None
) -> None:
    [report] = read(sentence(f"GPGGA,100000,2945.624,N,09522.188,W,{quality},08,0.9,31.2,M,,M,,"))

    assert report.position is not None
    assert report.position.accuracy_m == (None if accuracy_m is None else pytest.approx(accuracy_m))


def test_the_receivers_own_accuracy_is_better_than_a_computed_one(read: Callable[..., list[Report]]) -> None:
    [report] = read(gga(), sentence("GPGST,100000.00,1.2,,,,0.3,0.4,0.9"))

    assert report.position is not None and report.position.accuracy_m == pytest.approx(0.5)


def test_a_velocity_may_have_a_sentence_of_its_own(read: Callable[..., list[Report]]) -> None:
    [report] = read(gga(), sentence("GPVTG,180.0,T,,M,19.4384,N,36.0,K,A"))

    assert report.position is not None
    assert (report.position.north_m_s, report.position.east_m_s) == (pytest.approx(-10, abs=1e-4), pytest.approx(0, abs=1e-9))


# When it was


def test_without_a_date_the_time_of_day_is_the_receivers_clock_and_goes_on_over_midnight(
    read: Callable[..., list[Report]],
) -> None:
    reports = read(gga("235959.00"), gga("235959.50"), gga("000000.00"), gga("000001.00"))

    assert [report.own_s for report in reports] == [86_399.0, 86_399.5, 86_400.0, 86_401.0]
    assert {report.utc_s for report in reports} == {None}


def test_a_date_counts_for_what_follows_over_midnight(read: Callable[..., list[Report]]) -> None:
    reports = read(rmc("235959.00", "211126"), gga("000000.00"), gga("000001.00"), rmc("000002.00", "221126"))

    assert [report.utc_s for report in reports] == [BEGIN_S + 50_399 + second for second in range(4)]
    assert [report.own_s for report in reports] == [report.utc_s for report in reports]


def test_a_date_that_comes_late_does_not_make_the_receivers_clock_jump(read: Callable[..., list[Report]]) -> None:
    date = sentence("GPZDA,100002.00,21,11,2026,00,00")
    reports = read(gga("100000.00"), gga("100001.00"), date, gga("100002.00"), gga("100003.00"))

    assert [report.own_s for report in reports] == [36_000.0, 36_001.0, 36_002.0, 36_003.0]
    assert [report.utc_s for report in reports] == [None, None, BEGIN_S + 2, BEGIN_S + 3]


@pytest.mark.parametrize(("date", "year"), [("211126", 2026), ("211190", 1990), ("211199", 1999), ("211100", 2000)])
def test_a_year_of_two_digits_is_of_the_time_of_gps(read: Callable[..., list[Report]], date: str, year: int) -> None:
    [report] = read(rmc(date=date))

    assert report.utc_s == seconds_of(f"{year}-11-21T10:00:00Z")


@pytest.mark.parametrize("date", ["", "320126", "999999", "060180"])
def test_a_date_that_cannot_be_is_no_utc(read: Callable[..., list[Report]], date: str) -> None:
    [report] = read(rmc(date=date))

    assert report.position is not None
    assert report.utc_s is None


# Damage


def test_a_wrong_checksum_costs_its_sentence_alone(read: Callable[..., list[Report]]) -> None:
    wrong = gga("100001.00").replace(b"31.2", b"81.2")
    reports = read(gga("100000.00"), wrong, gga("100002.00"))

    assert [report.refused for report in reports] == ["checksum", None, None]
    assert [report.own_s for report in reports] == [None, 36_000.0, 36_002.0]


def test_any_damaged_byte_is_noticed(read: Callable[..., list[Report]]) -> None:
    whole = gga()
    for index in range(1, len(whole) - 5):
        damaged = whole[:index] + bytes([whole[index] ^ 0x01]) + whole[index + 1 :]
        assert not [report for report in read(damaged) if report.position is not None], damaged


@pytest.mark.parametrize("length", [8, 20, 60])
def test_a_sentence_that_is_cut_off_by_the_next_is_counted(read: Callable[..., list[Report]], length: int) -> None:
    reports = read(gga("100000.00")[:length], gga("100001.00"))

    assert [report.refused for report in reports] == ["checksum", None]


def test_other_formats_on_the_same_line_are_passed_over(read: Callable[..., list[Report]]) -> None:
    noise = random.Random(1).randbytes(5_000).replace(b"$", b"")
    maker = sentence("PUBX,00,100000.00,2945.624,N,09522.188,W,4.2,G3,2.1,2.0") + sentence("PXRMC,1,2,3")
    others = sentence("GPGSV,1,1,01,20,78,331,45") + sentence("GPTXT,01,01,02,hello")
    comment = b"# Note: $GPGGA of a comment\n"

    assert [report.refused for report in read(noise, b"\r\n", comment, maker, noise, rmc(), others, noise)] == [None]


def test_a_line_without_an_end_needs_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "noise"
    file.write_bytes(b"$GPGGA," * 600_000 + gga())
    tracemalloc.start()
    last = list(NmeaStream(str(file)).reports())[-1]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert last is not None and last.position is not None
    assert peak < 1_500_000


def test_a_file_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"absent\.log: No such file or directory$"):
        list(NmeaStream(str(tmp_path / "absent.log")).reports())


# From a device


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """A serial line: the receiver's end, and the name of ours."""
    receiver, ours = os.openpty()
    name = os.ttyname(ours)
    os.close(ours)
    try:
        yield receiver, name
    finally:
        # One that was unplugged is closed already.
        with suppress(OSError):
            os.close(receiver)


def test_a_receiver_is_read_as_it_speaks() -> None:
    with terminal() as (receiver, name):
        reports = NmeaStream.parse(f"{name}:4800").reports()
        assert next(reports) is None
        before_s = time.monotonic()
        os.write(receiver, rmc()[:20])
        assert next(reports) is None
        os.write(receiver, rmc()[20:] + gga())
        report = next(report for report in reports if report is not None)

    assert report.received_s is not None and before_s <= report.received_s <= time.monotonic() - LOOK_S / 2
    assert report.utc_s == BEGIN_S
    assert report.position is not None and report.position.altitude_m == 31.2


def test_a_receiver_that_is_1024_weeks_behind_tells_no_utc() -> None:
    with terminal() as (receiver, name):
        reports = NmeaStream(name).reports()
        assert next(reports) is None
        os.write(receiver, rmc(date="070407"))
        report = next(report for report in reports if report is not None)

    assert report.position is not None
    assert report.own_s == seconds_of("2007-04-07T10:00:00Z")
    assert report.utc_s is None


def test_a_receiver_that_is_unplugged_ends_the_stream() -> None:
    with terminal() as (receiver, name):
        reports = NmeaStream(name).reports()
        assert next(reports) is None
        unplug = threading.Timer(0.1, os.close, [receiver])
        unplug.start()
        with pytest.raises(StreamError, match=f"^{name}: .+"):
            list(reports)
        unplug.join()


def test_a_device_that_is_not_there_is_a_reason() -> None:
    stream = NmeaStream("/dev/ttyUSB-absent")

    assert not stream.is_recording
    with pytest.raises(StreamError, match=r"/dev/ttyUSB-absent"):
        list(stream.reports())


def test_a_device_that_is_no_serial_line_is_a_reason() -> None:
    with pytest.raises(StreamError, match=r"^/dev/null: .+"):
        list(NmeaStream("/dev/null").reports())


@pytest.mark.parametrize(
    ("argument", "path", "baud"),
    [
        ("/dev/ttyUSB0", "/dev/ttyUSB0", 9_600),
        ("/dev/ttyUSB0:115200", "/dev/ttyUSB0", 115_200),
        ("/dev/serial/by-path/usb-0:1:1.0-port0", "/dev/serial/by-path/usb-0:1:1.0-port0", 9_600),
        ("flight:2.log", "flight:2.log", 9_600),
    ],
)
def test_a_device_and_its_speed_are_understood(argument: str, path: str, baud: int) -> None:
    stream = NmeaStream.parse(argument)

    assert (stream._path, stream._baud) == (path, baud)


@pytest.mark.parametrize("argument", ["", ":9600", "/dev/ttyUSB0:100", "a\0b"])
def test_what_is_no_device_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=r"^expected nmea:<device>"):
        NmeaStream.parse(argument)


KINDS = ("RMC", "GGA", "GNS", "GLL", "ZDA", "GSA", "GST", "VTG")
FIELDS = st.one_of(
    st.sampled_from(
        ["", "A", "V", "N", "S", "W", "100000", "235959.99", "2945.624", "09522.188", "1", "2", "8", "nan", "1e999"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="$*"), max_size=8),
    st.integers().map(str),
    st.floats().map(str),
)
PIECES = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda kind, fields: sentence(f"GP{kind}," + ",".join(fields)), st.sampled_from(KINDS), st.lists(FIELDS, max_size=20)
    ),
    st.builds(rmc, st.sampled_from(["100000.00", "235960.00", "", "x"]), st.sampled_from(["211126", "", "000000"])),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=8))
def test_whatever_a_receiver_says_gives_reports(read: Callable[..., list[Report]], pieces: list[bytes]) -> None:
    for report in read(*pieces):
        assert (report.position is None) == (report.refused is not None)
        assert report.utc_s is None or math.isfinite(report.utc_s)
        numbers = () if report.position is None else astuple(report.position)
        assert all(number is None or math.isfinite(number) for number in numbers)
