"""What the daemon has to remember over a restart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Journal


def test_a_command_that_was_seen_is_known_after_a_restart(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        assert not journal.memory.was_seen("c-1")
        journal.memory.remember("c-1")
        journal.memory.remember("c-1")
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.memory.was_seen("c-1")
        assert not journal.memory.was_seen("c-2")


def test_commands_are_forgotten_after_two_days(journal: Journal) -> None:
    journal.memory.remember("old")
    journal.memory.remember("young")
    with journal._database.writing() as connection:
        connection.execute("UPDATE commands SET seen_ms = seen_ms - 172800000 - 1 WHERE id = 'old'")
        connection.execute("UPDATE commands SET seen_ms = seen_ms - 172800000 + 60000 WHERE id = 'young'")
    journal.memory.remember("new")
    assert [journal.memory.was_seen(each) for each in ("old", "young", "new")] == [False, True, True]


def test_a_fact_is_kept_changed_and_given_up(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.memory.fact("threshold") is None
        journal.memory.keep("threshold", "0.8")
        journal.memory.keep("threshold", "0.9")
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.memory.fact("threshold") == "0.9"
        journal.memory.keep("threshold", None)
        assert journal.memory.fact("threshold") is None


@pytest.mark.parametrize("name", ["journal", "settled", "frames_looked_at"])
def test_the_journal_s_own_facts_cannot_be_overwritten(path: Path, name: str) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        before = journal.id
        journal.memory.keep(name, "mine")
        assert journal.memory.fact(name) == "mine"
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.id == before
