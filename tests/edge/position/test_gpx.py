"""The stream of a GPX track."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.position.gpx import GpxStream
from edge.position.report import Report, StreamError
from edge.position.utc import seconds_of

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
VERSION = {
    "1.0": '<gpx version="1.0" creator="t" xmlns="http://www.topografix.com/GPX/1/0">',
    "1.1": '<gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">',
    "none": "<gpx>",
    "prefixed": '<g:gpx xmlns:g="http://www.topografix.com/GPX/1/1">',
}
POINT = '<trkpt lat="29.7604" lon="-95.3698"><ele>31.2</ele><time>2026-11-21T10:00:00.5Z</time></trkpt>'


def track(*points: str, begin: str = VERSION["1.1"]) -> str:
    return f"{HEAD}{begin}<trk><name>t</name><trkseg>{''.join(points)}</trkseg></trk></gpx>"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str | bytes], list[Report]]:
    """What a file says."""
    file = tmp_path / "track.gpx"

    def read(content: str | bytes) -> list[Report]:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        reports = list(GpxStream.parse(str(file)).reports())
        return [report for report in reports if report is not None]

    return read


Read = Callable[[str | bytes], list[Report]]


@pytest.mark.parametrize("version", ["1.0", "1.1", "none", "prefixed"])
def test_a_point_says_where_and_when(read: Read, version: str) -> None:
    content = track(POINT, begin=VERSION[version])
    if version == "prefixed":
        content = content.replace("<gpx", "<g:gpx")
        for name in ("gpx", "trk>", "trkseg", "trkpt", "ele", "time", "name"):
            content = content.replace(f"<{name}", f"<g:{name}").replace(f"</{name}", f"</g:{name}")
    [report] = read(content)

    assert report.received_s is None
    assert report.own_s == report.utc_s == seconds_of("2026-11-21T10:00:00.5Z")
    assert report.position is not None
    assert astuple(report.position)[:3] == (29.7604, -95.3698, 31.2)


def test_the_velocity_of_version_1_0_is_read(read: Read) -> None:
    [report] = read(track(POINT.replace("</trkpt>", "<course>90</course><speed>10</speed></trkpt>"), begin=VERSION["1.0"]))

    assert report.position is not None
    assert (report.position.north_m_s, report.position.east_m_s) == (pytest.approx(0, abs=1e-9), pytest.approx(10))


def test_routes_and_waypoints_are_no_track(read: Read) -> None:
    elsewhere = POINT.replace("trkpt", "wpt") + "<rte>" + POINT.replace("trkpt", "rtept") + "</rte>"

    assert len(read(track(POINT).replace("<trk>", f"{elsewhere}<trk>"))) == 1


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ('<trkpt lat="1" lon="2"/>', "no time"),
        ('<trkpt lat="1" lon="2"><time> </time></trkpt>', "no time"),
        ('<trkpt lat="1" lon="2"><time>noon</time></trkpt>', "garbage"),
        ('<trkpt lat="1"><time>2026-11-21T10:00:00Z</time></trkpt>', "garbage"),
        ('<trkpt lat="x" lon="2"><time>2026-11-21T10:00:00Z</time></trkpt>', "garbage"),
        ('<trkpt lat="nan" lon="2"><time>2026-11-21T10:00:00Z</time></trkpt>', "garbage"),
        ('<trkpt lat="1" lon="2"><time>2026-11-21T10:00:00Z</time><fix>none</fix></trkpt>', "no fix"),
    ],
)
def test_a_point_that_is_none_costs_itself_alone(read: Read, point: str, reason: str) -> None:
    reports = read(track(POINT, point, POINT))

    assert [report.refused for report in reports] == [None, reason, None]
    assert reports[1] == Report(None, refused=reason)


@pytest.mark.parametrize("extra", ["<ele>high</ele>", "<ele>inf</ele>", "", "<ele>5</ele><fix>2d</fix>"])
def test_an_altitude_that_is_not_known_is_unknown(read: Read, extra: str) -> None:
    [report] = read(track(POINT.replace("<ele>31.2</ele>", extra)))

    assert report.position is not None
    assert report.position.altitude_m is None
    assert report.position.is_2d == ("2d" in extra)


def test_a_point_of_before_there_were_receivers_has_no_utc(read: Read) -> None:
    [report] = read(track(POINT.replace("2026", "1970")))

    assert report.position is not None
    assert report.utc_s is None


BOMB = '<!DOCTYPE gpx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", r"broken XML: no element found"),
        ("not XML", r"broken XML: "),
        (track(POINT)[:-20], r"broken XML: "),
        (track(POINT).replace(HEAD, HEAD + BOMB).replace("31.2", "&b;"), r"has a DTD or entities"),
        (track(POINT).replace(HEAD, HEAD + '<!DOCTYPE gpx SYSTEM "file:///etc/passwd">'), r"has a DTD or entities"),
        ("<html><body/></html>", r"not GPX: its root is html, not gpx"),
        (track(POINT).replace("UTF-8", "no-such"), r"broken XML: "),
    ],
    ids=["empty", "text", "cut off", "entity bomb", "outer DTD", "HTML", "unknown encoding"],
)
def test_what_is_no_gpx_is_a_reason_in_one_line(read: Read, content: str, reason: str) -> None:
    with pytest.raises(StreamError, match=rf"track\.gpx: {reason}") as caught:
        read(content)

    assert str(caught.value).isprintable()


def test_a_file_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    file = tmp_path / "track.gpx"
    # More than the parser reads at once.
    file.write_text(track(*[POINT] * 1_000)[:-30])
    taken: list[Report | None] = []
    with pytest.raises(StreamError):
        taken.extend(GpxStream(str(file)).reports())

    assert len(taken) == 1_000 - 1


def test_a_file_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"absent\.gpx: No such file or directory$"):
        list(GpxStream(str(tmp_path / "absent.gpx")).reports())


def test_no_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected gpx:<file>$"):
        GpxStream.parse("")


def test_a_long_track_needs_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "track.gpx"
    file.write_text(track(*[POINT] * 20_000))
    tracemalloc.start()
    count = sum(report is not None and report.position is not None for report in GpxStream(str(file)).reports())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 2_000_000


PIECES = st.one_of(
    st.sampled_from(
        [POINT, "<trkpt>", "</trkpt>", "<trk>", "</gpx>", "<!--", "-->", "<![CDATA[", "&amp;", "&x;", "\0", "<time>"]
    ),
    st.text(max_size=20),
    st.builds(lambda a, b, c: f'<trkpt lat="{a}" lon="{b}"><time>{c}</time></trkpt>', st.floats(), st.floats(), st.datetimes()),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=8).map(lambda parts: track(*parts))))
def test_whatever_a_file_holds_gives_reports_or_a_reason(read: Read, content: str | bytes) -> None:
    try:
        reports = read(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    except StreamError as error:
        assert str(error).isprintable()
        return
    for report in reports:
        assert (report.position is None) == (report.refused is not None)
        numbers = () if report.position is None else astuple(report.position)
        assert all(number is None or math.isfinite(number) for number in numbers)
