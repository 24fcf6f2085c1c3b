"""A damaged journal: it is set aside under its name, a new one begins, and its undelivered alerts are taken over."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Journal, JournalError, read_counts
from edge.journal.database import Database
from edge.messages import decode_alert
from tests.conftest import PROJECT
from tests.edge.journal.frames import alerting, fill, waiting_names, waiting_sequences

_KILLED = """
import os, signal, sys
from edge.journal import Journal
from tests.edge.journal.frames import fill
journal = Journal(sys.argv[1], "uav-1")
fill(journal, int(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave(path: Path, count: int) -> None:
    """A journal with as many alerts, whose daemon was killed."""
    subprocess.run([sys.executable, "-c", _KILLED, path, str(count)], cwd=PROJECT, check=False)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def close_well(path: Path, count: int) -> None:
    """A journal with as many alerts that was closed as it should be."""
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, count)


def overwrite(path: Path, first_page: int, last_page: int) -> None:
    """Write garbage over pages, counted from 0."""
    with path.open("r+b") as file:
        file.seek(1024 * first_page)
        file.write(random.Random(1).randbytes(1024 * (last_page - first_page)))


def page_of_the_tables(path: Path, table: str) -> int:
    """The first page of a table, counted from 0."""
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]) - 1


def aside_of(path: Path) -> list[Path]:
    """What was set aside of a journal."""
    return sorted(path.parent.glob("journal.db.damaged-*"))


def test_a_file_that_is_no_database_is_set_aside_and_a_new_journal_begins(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_text("These are my notes.\n" * 500)
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.record([alerting("a")]) == 1
        (aside,) = aside_of(path)
        assert journal.set_aside == aside
        assert (waiting_sequences(journal), journal.alerts.last_sequence) == ([1], 1)
    assert aside.read_text() == "These are my notes.\n" * 500
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert said == [
        f"journal {path}: is damaged: file is not a database",
        f"journal {path}: set aside as {aside.name}; 0 undelivered alerts rescued",
    ]
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.set_aside is None
        assert journal.alerts.last_sequence == 1
    assert aside_of(path) == [aside]


def test_undelivered_alerts_of_a_damaged_journal_wait_in_the_new_one(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 5)
        journal.alerts.deliver([2, 4])
        old, messages = journal.id, [alert.message for alert in journal.alerts.newest(1, 5, 5)]
    overwrite(path, page_of_the_tables(path, "frames_by_key"), page_of_the_tables(path, "frames_by_key") + 1)
    Path(f"{path}.damaged").touch()
    with closing(Journal(path, "uav-1")) as journal:
        assert (journal.id != old, journal.rescued) == (True, 3)
        assert [alert.message for alert in journal.alerts.newest(-9, 9, 9)] == messages
        assert waiting_sequences(journal) == [-3, -2, -1]
        # They keep the numbers and the journal that they had; those of the new one begin at 1.
        assert {decode_alert(message).properties.journal for message in messages} == {old}
        fill(journal, 2)
        assert (waiting_sequences(journal), journal.alerts.waiting) == ([-3, -2, -1, 1, 2], 5)
    assert read_counts(path).waiting == 5
    assert not Path(f"{path}.damaged").exists()
    with closing(Journal(path, "uav-1")) as journal:
        assert (journal.alerts.last_sequence, journal.alerts.lowest(), journal.alerts.waiting) == (2, -3, 5)
        assert journal.alerts.deliver([-2, 1]) == 2
        assert journal.alerts.first_waiting == 2
        assert journal.alerts.deliver_through(2, []) == 1
        assert waiting_sequences(journal) == [-3, -1]


def test_pages_overwritten_while_the_daemon_was_killed_are_found_at_the_start(path: Path) -> None:
    leave(path, 600)
    pages = path.stat().st_size // 1024
    overwrite(path, pages // 2, pages // 2 + 5)
    with closing(Journal(path, "uav-1")) as journal:
        assert len(aside_of(path)) == 1
        # From both ends: what lies in the broken pages alone is lost.
        assert 500 < journal.alerts.waiting < 600
        names = waiting_names(journal)
        assert (names[0], names[-1]) == ("1.jpeg", "600.jpeg")
        assert len(set(names)) == len(names)


def test_a_file_that_was_cut_off_is_set_aside(path: Path) -> None:
    leave(path, 300)
    os.truncate(path, path.stat().st_size // 2)
    with closing(Journal(path, "uav-1")) as journal:
        assert len(aside_of(path)) == 1
        fill(journal, 1)
        assert waiting_sequences(journal)[-1] == 1


def test_whatever_is_overwritten_the_journal_opens_and_alerts_come_once(tmp_path: Path) -> None:
    original = tmp_path / "journal.db"
    leave(original, 60)
    whole = original.read_bytes()
    names = {f"{number}.jpeg" for number in range(1, 61)}
    for seed in range(40):
        chance = random.Random(seed)
        path = tmp_path / f"{seed}.db"
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            # Not in the first 100 bytes, which say what it is: a newer version is left alone.
            start = chance.randrange(100, len(whole))
            damaged[start : start + 700] = chance.randbytes(len(damaged[start : start + 700]))
        path.write_bytes(damaged)
        Path(f"{path}.damaged").touch()
        with closing(Journal(path, "uav-1")) as journal:
            journal.record([alerting("new")])
            found = waiting_names(journal)
        assert len(set(found)) == len(found), seed
        assert set(found) <= names | {"new"}, seed


def test_damage_that_is_noticed_while_it_runs_is_looked_for_at_the_next_start(path: Path) -> None:
    close_well(path, 400)
    overwrite(path, page_of_the_tables(path, "frames_by_key"), page_of_the_tables(path, "frames_by_key") + 1)
    journal = Journal(path, "uav-1")
    # It was closed well: nobody looks through all of it. It is noticed when it is read.
    assert journal.set_aside is None
    with pytest.raises(JournalError, match="is damaged"):
        fill(journal, 1)
    journal.close()
    assert Path(f"{path}.damaged").exists()
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.set_aside is not None
        assert waiting_names(journal) == [f"{number}.jpeg" for number in range(1, 401)]


def test_a_crash_before_the_rescued_alerts_are_kept_does_not_lose_them(path: Path) -> None:
    close_well(path, 5)
    overwrite(path, page_of_the_tables(path, "frames_by_key"), page_of_the_tables(path, "frames_by_key") + 1)
    Path(f"{path}.damaged").touch()
    for _ in range(2):
        # As far as this a daemon comes that is killed then.
        database = Database(path)
        assert len(database.rescued) == 5
        database.close()
    with closing(Journal(path, "uav-1")) as journal:
        assert waiting_names(journal) == [f"{number}.jpeg" for number in range(1, 6)]
    with closing(Journal(path, "uav-1")) as journal:
        assert waiting_sequences(journal) == [-5, -4, -3, -2, -1]
    assert len(aside_of(path)) == 1


def test_a_crash_between_the_moves_of_a_damaged_journal_leaves_its_log_with_it(path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, path, "5"], cwd=PROJECT, check=False)
    aside = path.with_name("journal.db.damaged-20261121T100000000Z")
    Path(f"{path}.rescue").write_text(aside.name)
    os.rename(f"{path}-wal", f"{aside}-wal")
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.set_aside == aside
        assert waiting_sequences(journal) == [-5, -4, -3, -2, -1]


def test_a_damaged_journal_in_a_folder_that_cannot_be_written_says_so(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("These are my notes.\n" * 500)
    # In the way of the note; root may write everywhere else.
    Path(f"{path}.rescue").mkdir()
    with pytest.raises(JournalError, match=r"journal .*: what is left of a damaged one: Is a directory"):
        Journal(path, "uav-1")
    assert path.read_text() == "These are my notes.\n" * 500


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    close_well(path, 1)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        Journal(path, "uav-1")
    assert str(caught.value) == f"journal {path}: has schema 99, this program knows up to 3"
    assert path.read_bytes() == before
    assert aside_of(path) == []


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE contacts (name)")
    before = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        Journal(path, "uav-1")
    assert str(caught.value) == f"journal {path}: is another program's database"
    assert path.read_bytes() == before
    assert aside_of(path) == []
