"""Counts and looks from outside, beside a daemon or without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Counts, Journal, JournalError, read_alerts, read_counts, reader
from tests.edge.journal.frames import alerting, failed, fill, quiet


def refusal(action: Callable[[], object]) -> str:
    """The message of the error that an action raises, which is one line."""
    with pytest.raises(JournalError) as caught:
        action()
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    return message


def test_counts_are_read_beside_an_open_journal(journal: Journal, path: Path) -> None:
    journal.record([alerting("a"), alerting("b"), quiet("c"), failed("d", "rejected"), failed("e", "unavailable")])
    journal.alerts.deliver([1])

    assert read_counts(path) == Counts(observed=3, rejected=2, observations=3, alerts=2, waiting=1)
    # Reading was no reason to stop writing.
    assert journal.record([alerting("f")]) == 1


def test_counts_are_read_of_a_closed_journal(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("a")])
    path.chmod(0o444)
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=1, alerts=1, waiting=1)
    assert sorted(file.name for file in path.parent.iterdir()) == ["journal.db", "journal.db.lock"]


def test_counts_of_a_new_journal_are_zero(journal: Journal, path: Path) -> None:
    assert read_counts(path) == Counts(0, 0, 0, 0, 0)


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "no#1.db", "ü.db"])
def test_counts_are_read_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    with closing(Journal(tmp_path / name, "uav-1")) as journal:
        journal.record([quiet("a")])
        assert read_counts(tmp_path / name).observed == 1


def test_counting_a_journal_that_is_not_there_makes_none(path: Path) -> None:
    assert refusal(lambda: read_counts(path)) == f"journal {path}: no such file"
    assert not path.parent.exists()


def test_counting_a_file_that_is_no_journal_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database " * 1000)
    assert str(file) in refusal(lambda: read_counts(file))


def test_a_journal_of_another_version_is_not_read_but_said_who_converts_it(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 1")
    assert refusal(lambda: read_counts(path)) == (f"journal {path}: has schema 1, this program reads 3; the daemon converts it")


def test_alerts_are_read_in_order_with_whether_they_are_delivered(journal: Journal, path: Path) -> None:
    fill(journal, 3)
    messages = [alert.message for alert in reversed(journal.alerts.newest(1, 3, 3))]
    journal.alerts.deliver([2])
    assert read_alerts(path) == [(1, messages[0], False), (2, messages[1], True), (3, messages[2], False)]


def test_a_journal_that_is_only_being_begun_says_so(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert refusal(lambda: read_counts(path)) == f"journal {path}: is only being begun"


def test_what_a_daemon_began_to_write_meanwhile_is_not_trusted(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 1)

    def read_while_it_is_written() -> None:
        with reader(path), closing(Journal(path, "uav-1")) as journal:
            fill(journal, 1)

    assert "a daemon began to write into it" in refusal(read_while_it_is_written)


def test_whoever_reads_cannot_write(journal: Journal, path: Path) -> None:
    def write() -> None:
        with reader(path) as database:
            database.execute("DELETE FROM alerts")

    assert "readonly" in refusal(write)
