"""A journal of an older version is brought up to date with all that is in it, or stays as it was."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.journal import Counts, Journal, read_counts, reader
from tests.conftest import PROJECT
from tests.edge.journal.frames import alerting, fill, key_of, waiting_sequences
from tests.edge.journal.old import JOURNAL, make_old, version_of
from tests.edge.journal.version_2 import make_version_2


def test_all_that_an_old_journal_holds_is_in_the_new_one(path: Path) -> None:
    messages = make_old(path, 50)
    with closing(Journal(path, "uav-1")) as journal:
        assert (journal.id, journal.set_aside) == (JOURNAL, None)
        assert (journal.alerts.last_sequence, journal.alerts.waiting) == (10, 5)
        # The messages that wait are the same to the byte.
        assert [alert.message for alert in reversed(journal.alerts.newest(1, 10, 10))] == messages[1::2]
        outcomes = [journal.outcome_of(key_of(f"{number}.jpeg")) for number in range(5)]
        assert outcomes == ["observed"] * 3 + ["rejected", "unavailable"]
        assert read_counts(path) == Counts(observed=30, rejected=20, observations=30, alerts=10, waiting=5)
    assert version_of(path) == 3


def test_the_sequence_and_the_frames_go_on_where_they_were(path: Path) -> None:
    make_old(path, 50)
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.record([alerting("0.jpeg")]) == 0
        assert journal.record([alerting("4.jpeg")]) == 1
        fill(journal, 0)
        assert journal.alerts.ask_again([(1, 1)]) == 1
    with closing(Journal(path, "uav-1")) as journal:
        assert waiting_sequences(journal) == [1, 2, 4, 6, 8, 10, 11]


def row_of(path: Path, name: str) -> dict[str, Any]:
    """A frame in the view results."""
    with reader(path) as database:
        database.row_factory = sqlite3.Row
        (row,) = database.execute("SELECT * FROM results WHERE frame = ?", (name,)).fetchall()
    return dict(row)


def test_what_was_observed_is_in_the_new_tables(path: Path) -> None:
    make_old(path, 10)
    Journal(path, "uav-1").close()
    alert, observation, rejected = (row_of(path, f"{number}.jpeg") for number in (5, 2, 3))
    assert observation == {
        "frame": "2.jpeg",
        "source": "/inbox",
        "size_bytes": 4096,
        "modified_ns": 1_795_255_200_000_000_000,
        "captured_ms": 1_795_255_200_000,
        "recorded_ms": 1_795_255_201_250,
        "total_ms": None,
        "outcome": "observed",
        "reason": None,
        "run": None,
        "sequence": None,
        "delivered": None,
        "tile": "0,0,8,8",
        "label": "damaged",
        "probabilities": '{"damaged":0.75,"undamaged":0.25}',
        "latitude": 29.5,
        "longitude": -95.25,
        "altitude_m": None,
        "place": None,
        "fix_source": "exif",
        "model": "terrain-damage-3",
        "engine": "openvino",
        "device": "GPU",
        "inference_ms": 0.5,
    }
    assert (alert["sequence"], alert["device"], alert["tile"]) == (2, "CPU", "0,0,8,8")
    assert (rejected["outcome"], rejected["reason"], rejected["captured_ms"]) == ("rejected", "not an image", None)


def test_a_journal_of_version_2_goes_on_with_all_that_it_holds(path: Path) -> None:
    messages = make_version_2(path, 30)
    with closing(Journal(path, "uav-1")) as journal:
        assert (journal.id, journal.set_aside, version_of(path)) == (JOURNAL, None, 3)
        assert [alert.message for alert in reversed(journal.alerts.newest(1, 10, 10))] == messages[1::2]
        assert read_counts(path) == Counts(observed=20, rejected=10, observations=20, alerts=10, waiting=5)
        assert journal.record([alerting("1.jpeg")]) == 0
        assert journal.record([alerting("new.jpeg")]) == 1
        assert waiting_sequences(journal) == [2, 4, 6, 8, 10, 11]
        # What was written before and after is read side by side, and can be asked for again.
        assert journal.alerts.ask_again([(1, 1)]) == 1
        with reader(path) as database:
            assert {clock for (clock,) in database.execute("SELECT clock FROM frames")} == {None}
    assert (row_of(path, "1.jpeg")["place"], row_of(path, "new.jpeg")["place"]) == (None, "device")


def test_a_journal_that_was_brought_up_to_date_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    make_version_2(path, 3)
    make_old(tmp_path / "1.db", 5)
    columns = []
    for file in (path, tmp_path / "1.db", tmp_path / "new.db"):
        Journal(file, "uav-1").close()
        with reader(file) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type != 'index' ORDER BY name")]
            columns.append({name: database.execute(f"PRAGMA table_info({name})").fetchall() for name in names})
    assert columns[0] == columns[1] == columns[2]


def test_an_old_journal_without_anything_in_it_becomes_a_new_one(path: Path) -> None:
    make_old(path, 0)
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 1)
        assert (journal.id, waiting_sequences(journal)) == (JOURNAL, [1])


def test_the_alerts_of_a_damaged_old_journal_are_rescued(path: Path) -> None:
    messages = make_old(path, 400)
    with closing(sqlite3.connect(path)) as database:
        page_bytes = database.execute("PRAGMA page_size").fetchone()[0]
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frames_by_key'").fetchone()[0] - 1
    with path.open("r+b") as file:
        file.seek(page * page_bytes)
        file.write(b"\xff" * page_bytes)
    Path(f"{path}.damaged").touch()
    with closing(Journal(path, "uav-1")) as journal:
        assert [alert.message for alert in reversed(journal.alerts.newest(-1000, -1, 1000))] == messages[1::2]


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_killed_at_random_moments_of_the_conversion(tmp_path: Path, count: int) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.edge.journal.old", tmp_path, str(count)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    seen: dict[str, int] = json.loads(finished.stdout)
    # Most were killed before its end, when it is all there or not at all.
    assert seen["schema 1"] > count / 3, seen
    assert sum(seen.values()) == count + 1
