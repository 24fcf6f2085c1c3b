"""One process at a time has a journal open, and what cannot be opened says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge.journal import Journal, is_open
from tests.conftest import PROJECT
from tests.edge.journal.frames import alerting
from tests.edge.journal.test_reading import refusal

_CHILD = """
import sys
from edge.journal import Journal
from tests.edge.journal.frames import fill
journal = Journal(sys.argv[1], "uav-1")
fill(journal, 1)
print("recorded", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_owner(path: Path) -> Iterator[int]:
    """A process that has the journal open and is killed at the end of the block; its number."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, path], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "recorded\n"
        yield child.pid
    finally:
        child.kill()
        child.communicate()


def test_the_second_to_open_a_journal_is_told_who_has_it(journal: Journal, path: Path) -> None:
    for _ in range(2):
        message = refusal(lambda: Journal(path, "uav-1"))
        assert message == f"journal {path}: another daemon has it open (process {os.getpid()})"
    assert journal.record([alerting("a")]) == 1


def test_a_process_that_is_killed_lets_go(path: Path) -> None:
    with another_owner(path) as process:
        assert f"(process {process})" in refusal(lambda: Journal(path, "uav-1"))
        assert is_open(path)

    assert not is_open(path)
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.alerts.last_sequence == 1
        assert str(os.getpid()) in refusal(lambda: Journal(path, "uav-1"))


def test_whether_a_journal_is_open_can_be_asked(path: Path) -> None:
    assert not is_open(path)
    with closing(Journal(path, "uav-1")):
        assert is_open(path)
        assert is_open(path)
    assert not is_open(path)


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    # The power cut between the making of the file and its first transaction leaves one.
    path.parent.mkdir()
    path.touch()
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.record([alerting("a")]) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "state" / "journal.db"
    assert refusal(lambda: Journal(path, "uav-1")).startswith(f"journal {path}: cannot be opened: ")


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    assert refusal(lambda: Journal(tmp_path, "uav-1")).startswith(f"journal {tmp_path}: ")


def test_a_journal_that_was_refused_is_not_held_on_to(path: Path) -> None:
    path.mkdir(parents=True)
    refusal(lambda: Journal(path, "uav-1"))
    path.rmdir()

    assert not is_open(path)
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.record([alerting("a")]) == 1


def test_all_that_is_written_is_synced(journal: Journal) -> None:
    with journal._database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
