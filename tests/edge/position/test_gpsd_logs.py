"""The stream of a real gpsd, which gpsfake feeds with the logs of many receivers.

Compared is each fix, in order: its time, latitude, longitude, altitude and mode.

- Ours with all that the same gpsd said meanwhile on a connection of its own: exactly, without exception. A fix is a TPV of mode
  2 or 3 with a place that is not simulated; its altitude is `altMSL`, else `alt`, and none in mode 2.
- Ours with the .log.chk beside each log, which a newer gpsd said of it: as sets, and times modulo 1024 weeks, since gpsd 3.22
  takes some receivers for being that much behind. Exempt are the logs in `OTHERWISE`, of which 3.22 itself says something else:
  of those only the first comparison holds. None of them is among `SOME_LOGS`.
- The .log.chk files themselves, said by a service made here, with what we make of them: exactly, all 90.

Not compared are accuracy and speed; the tests of lines that are written by hand have those.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.position.gpsd import GpsdStream
from edge.position.report import Report
from edge.position.utc import seconds_of
from tests.edge.position.servers import Place, heard, places, told
from tests.gpsd import Gpsd

Start = Callable[..., Gpsd]

SOME_LOGS = ("bu303-moving", "nmea-rtk", "tcp-test", "ublox-8", "unicore-um621", "zodiac")
"""A SiRF and a Zodiac in binary, a u-blox in both, NMEA, and one by TCP."""

ROLLOVER_S = 1024 * 7 * 86_400
"""gpsd 3.22 takes any time before 2017 for one that is 1024 weeks too early, because it knows of 18 leap seconds."""

OTHERWISE = {
    # Spoken by drivers of newer versions alone.
    *("oncore-m12", "quectel-l76k-binary", "quectel-l76k-dual", "trimble-res720-dr", "ublox-neo-m8u-hnr"),
    # Newer versions take the digits, or the altitude, from another message of the same receiver.
    *("navisys-gr701w", "ublox-lea-4t", "ublox-zed-f9p-hp", "ublox8-uniqid-monhw", "garmin48"),
    # Newer versions withhold some of the fixes that 3.22 reports.
    *("foretrex-201", "hp58534a", "oncore-binary-pos-hold", "trimble-lassen_iq-3dfix", "trimble-lassen_iq-playacar"),
    *("ublox-lea-4s", "ublox-neo-m8n", "ublox-neo-m8p", "ublox-neo-m8u", "ublox-zed-f9p-sfrbx"),
    # Newer versions report more often within a cycle, before it has an altitude or a time.
    *("eXplorist210", "ericsson-gru04", "haicom-305N", "humminbird-M37", "magellan315", "sirfstarv-nmea", "telit-pls83-w"),
    "triton400",
}
"""Logs of which gpsd 3.22 itself says something else than the version that made their .log.chk."""


def stated(said: Sequence[dict[str, Any]]) -> list[Place]:
    """The fixes among what gpsd said. What a receiver simulates (status 8) is none."""
    tpvs = [line for line in said if line["class"] == "TPV" and line["mode"] >= 2 and line.get("status") != 8]
    fixes = [line for line in tpvs if "lat" in line and "lon" in line]
    return [
        (
            seconds_of(fix["time"]) if "time" in fix else None,
            fix["lat"],
            fix["lon"],
            fix.get("altMSL", fix.get("alt")) if fix["mode"] == 3 else None,
            fix["mode"],
        )
        for fix in fixes
    ]


def recorded(log: Path) -> list[dict[str, Any]]:
    """What gpsd said when the log was recorded as a test of its own."""
    lines = log.with_name(f"{log.name}.chk").read_bytes().splitlines()
    return [json.loads(line) for line in lines if line.startswith(b"{")]


def any_rollover(fixes: Sequence[Place]) -> set[Place]:
    return {(None if time_s is None else round(time_s % ROLLOVER_S, 3), *rest) for time_s, *rest in fixes}  # type: ignore[misc]


def play(logs: Sequence[Path], start: Start) -> tuple[int, set[str]]:
    """Play logs through real gpsds, some at once.

    Returns:
        How many fixes came, and the logs whose fixes are others than in their .log.chk.
    """

    def one(log: Path) -> tuple[str, list[Place], list[Place]]:
        daemon = start(log)
        reports, reason = heard(GpsdStream("127.0.0.1", daemon.port).reports())
        daemon.finish()
        assert reason.endswith("closed the connection")
        return log.stem, places(reports), stated(daemon.said)

    with ThreadPoolExecutor(8) as threads:
        played = list(threads.map(one, logs))
    for name, ours, gpsds in played:
        assert ours == gpsds, f"{name}: not what gpsd said"
    expected = {log.stem: any_rollover(stated(recorded(log))) for log in logs}
    return sum(len(ours) for _, ours, _ in played), {name for name, ours, _ in played if any_rollover(ours) != expected[name]}


def test_every_fix_of_a_receiver_is_what_gpsd_says_it_is(data: Path, gpsd: Start) -> None:
    count, otherwise = play([data / "gpsd" / f"{name}.log" for name in SOME_LOGS], gpsd)

    assert not otherwise
    assert count >= 200


@pytest.mark.long
def test_every_fix_of_every_log_is_what_gpsd_says_it_is(data: Path, gpsd: Start) -> None:
    count, otherwise = play(sorted((data / "gpsd").glob("*.log")), gpsd)

    assert otherwise <= OTHERWISE
    assert count >= 2_000


def test_every_fix_that_the_newest_gpsd_said_of_every_log_is_understood(data: Path) -> None:
    logs = sorted((data / "gpsd").glob("*.log"))
    count = 0
    for log in logs:
        said = recorded(log)
        reports, _ = told(*(json.dumps(line).encode() + b"\n" for line in said))
        assert places(reports) == stated(said), log.name
        assert "garbage" not in {report.refused for report in reports}, log.name
        count += len(stated(said))

    assert len(logs) == 90
    assert count == 3_411


def test_two_receivers_are_not_mixed(data: Path, gpsd: Start) -> None:
    daemon = gpsd(data / "gpsd" / "bu303-moving.log", data / "gpsd" / "nmea-rtk.log")
    reports, _ = heard(GpsdStream("127.0.0.1", daemon.port).reports())
    daemon.finish()

    devices = {(fix["lat"], fix["lon"]): fix["device"] for fix in daemon.said if fix["class"] == "TPV" and "lat" in fix}
    order = [devices[latitude, longitude] for _, latitude, longitude, *_ in places(reports)]
    assert len(set(devices.values())) == 2
    # At most from the one that has ended to the other.
    assert sum(before != after for before, after in pairwise(order)) <= 1


def test_a_gpsd_that_is_killed_ends_the_stream(data: Path, gpsd: Start) -> None:
    daemon = gpsd(data / "gpsd" / "nmea-rtk.log", repeats=True, sentence_s=0.01)
    reports = GpsdStream("127.0.0.1", daemon.port).reports()
    assert any(report is not None and report.position is not None for report in reports)

    daemon.send(signal.SIGKILL)

    assert heard(reports)[1].startswith(f"127.0.0.1:{daemon.port}: ")


def test_a_gpsd_that_hangs_is_silence_and_goes_on_when_it_does(data: Path, gpsd: Start) -> None:
    daemon = gpsd(data / "gpsd" / "nmea-rtk.log", repeats=True, sentence_s=0.01)
    reports = GpsdStream("127.0.0.1", daemon.port).reports()
    assert any(report is not None and report.position is not None for report in reports)

    daemon.send(signal.SIGSTOP)
    after: list[Report | None] = []
    while after[-2:] != [None, None]:
        after.append(next(reports))
    daemon.send(signal.SIGCONT)

    assert any(report is not None and report.position is not None for report in reports)
