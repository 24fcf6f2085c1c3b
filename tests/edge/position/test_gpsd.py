"""The stream of gpsd: what it makes of a report, and of services that behave as gpsd should not."""

from __future__ import annotations

import math
import socket
import time
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.position.gpsd import LINE_BYTES, GpsdStream
from edge.position.report import LOOK_S, Report, StreamError
from edge.position.utc import seconds_of
from tests.conftest import free_port
from tests.edge.position.servers import GREETING, heard, places, saying, serving, told, tpv

# What a report says


def test_a_fix_says_what_the_receiver_said() -> None:
    before_s = time.monotonic()
    [report], _ = told(tpv(eph=4.2, speed=10.0, track=90.0))

    assert report.received_s is not None and before_s <= report.received_s <= time.monotonic()
    assert report.own_s == report.utc_s == seconds_of("2026-11-21T10:00:00.25Z")
    place = report.position
    assert place is not None and not place.is_2d
    assert (place.latitude, place.longitude, place.altitude_m, place.accuracy_m) == (29.7604, -95.3698, 31.2, 4.2)
    assert (place.north_m_s, place.east_m_s) == (pytest.approx(0, abs=1e-9), pytest.approx(10))


@pytest.mark.parametrize(
    ("fields", "altitude_m"),
    [
        ({"altMSL": None, "alt": 30.0}, 30.0),
        ({"alt": 30.0}, 31.2),
        ({"altMSL": None, "altHAE": 3.0}, None),
        ({"mode": 2}, None),
    ],
    ids=["of an old gpsd", "of a newer one", "above the ellipsoid", "of a 2D fix"],
)
def test_an_altitude_is_above_the_sea_or_unknown(fields: dict[str, object], altitude_m: float | None) -> None:
    [report], _ = told(tpv(**fields))

    assert report.position is not None
    assert report.position.altitude_m == altitude_m
    assert report.position.is_2d == (fields.get("mode") == 2)


@pytest.mark.parametrize(
    ("fields", "accuracy_m"),
    [({"epx": 3.0, "epy": 4.0}, 5.0), ({"epx": 3.0}, None), ({"eph": -1.0}, None), ({"eph": 0.0}, 0.0), ({}, None)],
)
def test_an_accuracy_is_of_the_horizontal_error_or_unknown(fields: dict[str, object], accuracy_m: float | None) -> None:
    [report], _ = told(tpv(**fields))

    assert report.position is not None and report.position.accuracy_m == accuracy_m


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mode": 1}, "no fix"),
        ({"mode": 0}, "no fix"),
        ({"mode": None}, "no fix"),
        ({"lat": None}, "no fix"),
        ({"status": 8}, "simulated"),
        ({"lat": "north"}, "garbage"),
        ({"time": "noon"}, "garbage"),
        ({"lon": math.nan}, "garbage"),
    ],
)
def test_what_is_no_fix_is_refused_with_its_reason(fields: dict[str, object], reason: str) -> None:
    reports, _ = told(tpv(**fields), tpv())

    assert [report.refused for report in reports] == [reason, None]
    assert reports[0] == Report(reports[0].received_s, refused=reason)


def test_a_fix_without_a_time_is_one() -> None:
    [report], _ = told(tpv(time=None))

    assert report.position is not None
    assert report.own_s is report.utc_s is None


def test_the_time_of_a_receiver_that_is_1024_weeks_behind_is_its_own_and_not_utc() -> None:
    [report], _ = told(tpv(time="2007-04-07T10:00:00.250Z"))

    assert report.own_s == seconds_of("2026-11-21T10:00:00.25Z") - 1024 * 7 * 86_400
    assert report.utc_s is None
    assert report.position is not None


def test_a_leap_second_is_understood() -> None:
    reports, _ = told(tpv(time="2026-12-31T23:59:60.500Z"))

    assert [report.own_s for report in reports] == [seconds_of("2027-01-01T00:00:00.500Z")]


def test_a_second_receiver_takes_over_when_the_first_has_no_fix_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.position.gpsd.KEEP_S", 0.3)

    def serve(connection: socket.socket) -> None:
        connection.sendall(GREETING + tpv(lat=1.0) + tpv(lat=2.0, device="/dev/b") + tpv(mode=1))
        time.sleep(0.4)
        connection.sendall(tpv(mode=1) + tpv(lat=3.0, device="/dev/b") + tpv(lat=4.0))

    with serving(serve) as port:
        reports, _ = heard(GpsdStream("127.0.0.1", port).reports())

    assert [report.refused for report in reports] == [None, "no fix", "no fix", None]
    assert [latitude for _, latitude, *_ in places(reports)] == [1.0, 3.0]


def test_a_second_receiver_takes_over_when_the_first_is_unplugged() -> None:
    gone = b'{"class":"DEVICE","path":"/dev/a","activated":0}\r\n'
    reports, _ = told(tpv(lat=1.0), tpv(lat=2.0, device="/dev/b"), gone, tpv(lat=3.0, device="/dev/b"))

    assert [latitude for _, latitude, *_ in places(reports)] == [1.0, 3.0]


# What is no gpsd, or a broken one


def test_half_lines_are_joined() -> None:
    line = tpv()
    reports, _ = told(*(line[index : index + 1] for index in range(len(line))))

    assert len(places(reports)) == 1
    assert len(reports) == 1


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xfe\n", b"hello\n", b"[]\n", b"{}\n", b'{"class":7}\n', b'{"class":"TPV","mode":"3"}\n', b'{"class":"TPV"' + b"\n"],
)
def test_a_line_of_garbage_costs_itself_alone(garbage: bytes) -> None:
    reports, _ = told(tpv(), garbage, tpv())

    assert [report.refused for report in reports] == [None, "garbage", None]


def test_a_line_that_is_nested_without_end_is_garbage() -> None:
    reports, _ = told(b'{"class":"TPV","x":' + b"[" * 30_000 + b"\n", tpv())

    assert [report.refused for report in reports] == ["garbage", None]


def test_what_says_nothing_of_a_place_is_passed_over() -> None:
    quiet = (b'{"class":"SKY","time":1}\n', b'{"class":"DEVICES","devices":[]}\n', b'{"class":"POLL","tpv":[]}\n', b"\r\n")
    reports, _ = told(*quiet, b'{"class":"AIS","lat":"x"}\n', tpv())

    assert [report.refused for report in reports] == [None]


def test_a_line_without_an_end_ends_the_stream() -> None:
    reports, reason = told(tpv(), b"x" * (2 * LINE_BYTES))

    assert len(reports) == 1
    assert reason.endswith("sent a line of more than 65536 bytes")


def test_a_gpsd_that_refuses_to_be_watched_ends_the_stream() -> None:
    _, reason = told(b'{"class":"ERROR","message":"Unrecognized\\nrequest"}\r\n')

    assert reason.endswith("gpsd refuses: Unrecognized\\nrequest")


def test_a_service_that_accepts_and_says_nothing_is_left() -> None:
    with serving(lambda connection: connection.recv(1) and time.sleep(2 * LOOK_S)) as port:
        reports = GpsdStream("127.0.0.1", port, greeting_s=LOOK_S).reports()
        with pytest.raises(StreamError, match="accepts, but says nothing"):
            next(report for report in reports if report is not None)


def test_a_port_where_nobody_listens_is_a_reason() -> None:
    with pytest.raises(StreamError, match=r"^127\.0\.0\.1:[0-9]+: Connection refused$"):
        list(GpsdStream("127.0.0.1", free_port()).reports())


def test_a_host_that_nobody_knows_is_a_reason() -> None:
    with pytest.raises(StreamError, match=r"^no-such-host\.invalid:2947: "):
        list(GpsdStream("no-such-host.invalid").reports())


def test_whoever_stops_early_closes_the_connection() -> None:
    closed: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(tpv())
        closed.append(connection.recv(100))

    with serving(serve) as port:
        reports = GpsdStream("127.0.0.1", port).reports()
        assert next(reports) is not None
        reports.close()  # type: ignore[attr-defined]

    assert closed == [b""]


def test_gpsd_is_found_by_ipv6() -> None:
    interfaces = Path("/proc/net/if_inet6")
    if not interfaces.exists() or " lo\n" not in interfaces.read_text():
        pytest.skip("this machine has no IPv6")
    with serving(saying(GREETING, tpv()), "::1") as port:
        reports, reason = heard(GpsdStream.parse(f"[::1]:{port}").reports())

    assert len(places(reports)) == 1
    assert reason.startswith(f"[::1]:{port}: ")


@pytest.mark.parametrize(
    "argument", ["", "127.0.0.1", "127.0.0.1:2947", "[::1]:2947", "[fe80::1%eth0]", "gps.local:1", ":2947"]
)
def test_a_host_and_a_port_are_understood(argument: str) -> None:
    assert GpsdStream.parse(argument).name == "gpsd"


@pytest.mark.parametrize(
    "argument", ["::1", "host:0", "host:65536", "host:port", "a b", "[::1", "http://host", "x" * 64 + ":1"]
)
def test_what_is_no_host_and_port_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=r"^expected gpsd:<host>:<port>"):
        GpsdStream.parse(argument)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2)
)
FIELDS = (
    "class",
    "mode",
    "status",
    "device",
    "time",
    "lat",
    "lon",
    "altMSL",
    "alt",
    "eph",
    "epx",
    "epy",
    "speed",
    "track",
    "path",
)
LINES = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(st.sampled_from(FIELDS), VALUES).map(lambda fields: tpv(**fields)),
    st.builds(lambda name, value: tpv(**{name: value}), st.sampled_from(FIELDS), st.floats(allow_nan=False)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=8))
def test_whatever_a_service_says_gives_reports_and_a_reason(lines: list[bytes]) -> None:
    reports, reason = told(*lines)

    assert reason
    for report in reports:
        assert (report.position is None) == (report.refused is not None)
        numbers = () if report.position is None else astuple(report.position)
        assert all(number is None or math.isfinite(number) for number in numbers)
