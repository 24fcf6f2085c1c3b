"""``overflight journal report``: the flight in numbers, for people and for programs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edge.journal import Journal, Limits
from tests.edge.export.conftest import OTHER_RUN, RUN, Flight, failed, observed


def report_of(flight: Flight, *arguments: object) -> dict[str, Any]:
    """What a program gets."""
    content: dict[str, Any] = json.loads(flight.prints("report", "--json", *arguments))
    return content


def record_every_100_ms(journal: Path) -> None:
    """Let each frame have been recorded 100 ms after the one before it, from 10:00 on."""
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("UPDATE frames SET recorded_ms = 1795255200000 + frame * 100")


@pytest.fixture
def two_runs(flight: Flight) -> Flight:
    """A flight of two runs, the second after nine frames' time."""
    frames = [observed(f"{number}.jpg", inference_ms=number, total_ms=10.0 * number) for number in range(1, 22)]
    flight.flies([*frames, failed("a.jpg"), failed("b.jpg"), failed("c.jpg", reason="empty")])
    alerts = [observed(f"ruin-{number}.jpg", alerts=True, place=(29.0 + number, -95.0 - number)) for number in range(3)]
    flight.flies(
        [*alerts, observed("nowhere.jpg", place=None), failed("d.jpg", "unavailable", "permission denied")],
        run=OTHER_RUN,
        delivered=[1, 2],
    )
    record_every_100_ms(flight.journal)
    return flight


def test_a_run_in_numbers(two_runs: Flight) -> None:
    report = report_of(two_runs, "--run", 1)
    assert report["total"] is None
    run = report["run"]
    assert run["machine"] == asdict(RUN)
    assert run["frames"] == {"observed": 21, "rejected": 3, "unavailable": 0}
    assert list(run["reasons"].items()) == [("not an image", 2), ("empty", 1)]
    assert (run["first_frame_at"], run["last_frame_at"]) == ("2026-11-21T10:00:00.100Z", "2026-11-21T10:00:02.400Z")
    assert (run["duration_s"], run["frames_per_s"]) == (2.3, pytest.approx(10.0))
    assert run["inference_ms"] == {"median": 11.0, "p95": 20.0}
    assert run["total_ms"] == {"median": 110.0, "p95": 200.0}
    assert (run["alerts"], run["delivered"], run["waiting"]) == (0, 0, 0)
    assert (run["results"], run["labels"]) == (21, {"undamaged": 21})


def test_the_last_run_and_all(two_runs: Flight) -> None:
    report = report_of(two_runs)
    run, total = report["run"], report["total"]
    assert (run["run"], run["machine"]) == (2, asdict(OTHER_RUN))
    assert run["frames"] == {"observed": 4, "rejected": 0, "unavailable": 1}
    assert (run["alerts"], run["delivered"], run["waiting"]) == (3, 2, 1)
    assert (run["results"], run["without_position"]) == (4, 1)
    assert run["box"] == {"west": -97.0, "south": 29.0, "east": -95.0, "north": 31.0}
    assert run["labels"] == {"damaged": 3, "undamaged": 1}

    assert (total["run"], total["runs"], total["machine"]) == (None, 2, None)
    assert sum(total["frames"].values()) == 29
    # The time between the runs does not count.
    assert total["duration_s"] == pytest.approx(2.3 + 0.4)
    assert total["frames_per_s"] == pytest.approx(10.0)
    assert (total["models"], total["engines"]) == ({"terrain-damage-3": 25}, {"openvino on CPU": 25})


def test_the_journal_itself(two_runs: Flight) -> None:
    journal = report_of(two_runs)["journal"]
    assert journal["path"] == str(two_runs.journal)
    assert journal["size_bytes"] == two_runs.journal.stat().st_size
    assert (journal["oldest_at"], journal["newest_at"]) == ("2026-11-21T10:00:00.100Z", "2026-11-21T10:00:02.900Z")
    assert (journal["last_sequence"], journal["missing"], journal["gaps"]) == (3, 0, [])
    assert journal["set_aside"] == []


def test_a_table_that_fits_the_terminal(two_runs: Flight) -> None:
    long = "a reason that is longer than a line of a terminal is wide, so that it has to be cut somewhere near its end"
    two_runs.flies([observed("x.jpg", alerts=True), failed("y.jpg", reason=long)])
    lines = two_runs.prints("report").splitlines()
    # The first names the journal.
    assert max(map(len, lines[1:])) <= 80
    table = {line.split("  ")[0] or line.strip().split("  ")[0]: line.split() for line in lines}
    assert table["alerts"][-2:] == ["1", "4"]
    assert [line for line in lines if line.startswith("machine")] == [
        "machine   Linux (Debian GNU/Linux 12 (bookworm), 6.1.0), 4 physical and 8"
    ]
    assert any(line.startswith("       1  a reason that is longer") and line.endswith("…") for line in lines)


def test_numbers_that_are_missing_are_said(two_runs: Flight) -> None:
    with closing(sqlite3.connect(two_runs.journal)) as database, database:
        database.execute("DELETE FROM alerts WHERE sequence = 2")
    journal = report_of(two_runs)["journal"]
    assert (journal["missing"], journal["gaps"]) == (1, [[2, 2]])
    assert "alerts    numbered up to 3, 1 ARE MISSING: 2\n" in two_runs.prints("report")


def test_what_was_forgotten_after_its_delivery_is_not_missing(flight: Flight) -> None:
    flight.flies([observed(f"{number}.jpg", alerts=True) for number in range(5)], delivered=[1, 3, 5])
    with closing(Journal(flight.journal, "uav-1")) as journal:
        journal.housekeeping(Limits(max_bytes=1, max_age_days=None)).tidy()
    report = report_of(flight)
    assert (report["journal"]["missing"], report["total"]["alerts"], report["total"]["waiting"]) == (0, 2, 2)


def test_a_damaged_journal_that_was_set_aside_is_named(flight: Flight) -> None:
    flight.flies([observed("a.jpg")])
    flight.journal.write_bytes(b"no database" * 1000)
    flight.flies([observed("b.jpg")])
    (aside,) = flight.folder.glob("journal.db.damaged-*")
    assert report_of(flight)["journal"]["set_aside"] == [str(aside)]
    assert f"damaged   {aside} was set aside" in flight.prints("report")


def test_alerts_that_were_rescued_from_a_damaged_journal_are_no_results_of_this_one(flight: Flight) -> None:
    with closing(Journal(flight.journal, "uav-1", RUN)) as journal:
        journal.alerts.rescue([b"of another journal"])
        journal.record([observed("a.jpg", alerts=True)])
    report = report_of(flight)
    assert (report["journal"]["rescued"], report["total"]["alerts"], report["total"]["results"]) == (1, 1, 1)
    assert "          1 of a damaged journal wait, too\n" in flight.prints("report")
    assert len(flight.prints("export", "--format", "csv").splitlines()) == 2


def test_a_flight_across_the_date_line_has_a_small_box(flight: Flight) -> None:
    flight.flies([observed("a.jpg", place=(-17.0, 179.5)), observed("b.jpg", place=(-16.0, -179.5))])
    assert report_of(flight)["run"]["box"] == {"west": 179.5, "south": -17.0, "east": -179.5, "north": -16.0}


def test_a_journal_of_nothing_has_a_report(flight: Flight) -> None:
    flight.flies([], run=None)
    report = report_of(flight)
    assert report["run"] is None
    assert (report["total"]["frames_per_s"], report["total"]["box"], report["total"]["started_at"]) == (None, None, None)
    assert ["frames", "0"] in [line.split() for line in flight.prints("report").splitlines()]


def test_frames_of_no_known_run_count_in_the_total(flight: Flight) -> None:
    flight.flies([observed("a.jpg")], run=None)
    flight.flies([observed("b.jpg")])
    report = report_of(flight)
    assert (report["run"]["results"], report["total"]["results"], report["total"]["runs"]) == (1, 2, 1)


def test_a_report_is_made_beside_a_daemon(flight: Flight) -> None:
    with closing(Journal(flight.journal, "uav-1", RUN)) as journal:
        journal.record([observed("a.jpg", alerts=True)])
        report = report_of(flight)
        assert (report["run"]["alerts"], report["journal"]["size_bytes"]) == (1, journal.size_bytes)


def test_a_run_that_is_not_there_is_a_mistake_that_names_those_that_are(two_runs: Flight) -> None:
    assert two_runs.refuses("report", "--run", 7) == (2, "overflight: --run: 7: no such run; the journal has 1 to 2")
    assert two_runs.refuses("report", "--run", "first")[0] == 2


def test_without_a_journal_there_is_one_line(flight: Flight) -> None:
    assert flight.refuses("report") == (1, f"overflight: journal {flight.journal}: no such file")
