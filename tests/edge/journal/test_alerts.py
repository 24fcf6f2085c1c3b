"""Alerts: which wait, in what order they come, and the mark below which all are delivered."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.journal import Journal, read_counts
from tests.edge.journal.frames import fill, waiting_sequences


@contextmanager
def again(path: Path) -> Iterator[Journal]:
    """The same journal after a restart."""
    with closing(Journal(path, "uav-1")) as journal:
        yield journal


def sequences(journal: Journal, low: int, high: int, limit: int) -> list[int]:
    """The numbers of what waits, the newest first."""
    return [alert.sequence for alert in journal.alerts.newest(low, high, limit)]


def settled_on_disk(path: Path) -> int:
    """The mark as the journal has noted it."""
    with closing(sqlite3.connect(path)) as database:
        row = database.execute("SELECT value FROM facts WHERE name = 'settled'").fetchone()
    return int(row[0]) if row else 0


def test_the_newest_of_a_range_come_first_up_to_a_limit(journal: Journal) -> None:
    fill(journal, 5)
    assert sequences(journal, 1, 5, 2) == [5, 4]
    assert sequences(journal, 1, 3, 2) == [3, 2]
    assert sequences(journal, 2, 4, 10) == [4, 3, 2]
    assert sequences(journal, 6, 9, 10) == []
    assert sequences(journal, 1, 5, 0) == []


def test_delivered_alerts_no_longer_wait_also_after_a_restart(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 5)
        assert journal.alerts.deliver([4, 2]) == 2
        assert journal.alerts.waiting == 3
        assert sequences(journal, 1, 5, 2) == [5, 3]
    with again(path) as journal:
        assert journal.alerts.waiting == 3
        assert waiting_sequences(journal) == [1, 3, 5]


def test_the_sequence_goes_on_where_everything_was_delivered(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 2)
        journal.alerts.deliver([1, 2])
    with again(path) as journal:
        fill(journal, 1)
        assert waiting_sequences(journal) == [3]


def test_delivering_nothing_changes_nothing(journal: Journal) -> None:
    fill(journal, 1)
    assert journal.alerts.deliver([]) == 0
    assert (journal.alerts.waiting, waiting_sequences(journal)) == (1, [1])


def test_an_alert_that_is_delivered_twice_is_counted_once(journal: Journal, path: Path) -> None:
    fill(journal, 2)
    assert journal.alerts.deliver([1]) == 1
    assert journal.alerts.deliver([1, 1]) == 0
    assert journal.alerts.waiting == read_counts(path).waiting == 1


def test_all_through_a_number_are_delivered_but_what_is_missing(journal: Journal) -> None:
    fill(journal, 10)
    assert journal.alerts.deliver_through(8, [(2, 2), (5, 6)]) == 5
    assert waiting_sequences(journal) == [2, 5, 6, 9, 10]
    assert journal.alerts.first_waiting == 2
    assert journal.alerts.deliver_through(8, [(5, 6)]) == 1
    assert journal.alerts.first_waiting == 5


def test_an_alert_that_there_is_not_yet_cannot_be_delivered(journal: Journal) -> None:
    # A ground station that knows another journal of the same id, or errs.
    fill(journal, 3)
    assert journal.alerts.deliver_through(1000, [(2, 2), (500, 600)]) == 2
    fill(journal, 2)
    assert waiting_sequences(journal) == [2, 4, 5]
    assert journal.alerts.first_waiting == 2


def test_what_is_asked_for_again_waits_again(journal: Journal) -> None:
    fill(journal, 10)
    journal.alerts.deliver_through(10, [])
    assert journal.alerts.ask_again([(3, 4)]) == 2
    assert journal.alerts.ask_again([(4, 5)]) == 1
    assert journal.alerts.ask_again([(11, 20)]) == journal.alerts.ask_again([(5, 4)]) == 0
    assert (waiting_sequences(journal), journal.alerts.waiting, journal.alerts.first_waiting) == ([3, 4, 5], 3, 3)


@pytest.mark.parametrize("count", [499, 500, 1200])
def test_the_mark_is_never_beyond_an_alert_that_waits_over_restarts(path: Path, count: int) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 1300)
        journal.alerts.deliver_through(count, [])
        assert journal.alerts.first_waiting == count + 1
    # It is not written each time: that would be one more page for each delivery.
    assert settled_on_disk(path) == (count if count >= 500 else 0)
    with again(path) as journal:
        assert journal.alerts.waiting == 1300 - count
        assert journal.alerts.first_waiting <= count + 1
        assert journal.alerts.ask_again([(7, 7)]) == 1
        assert journal.alerts.first_waiting <= 7
    assert settled_on_disk(path) < 7
    with again(path) as journal:
        assert journal.alerts.waiting == 1300 - count + 1
        assert waiting_sequences(journal)[0] == 7


@pytest.mark.parametrize("delivered_last", [1, 700])
def test_the_mark_waits_for_the_last_of_what_lies_below_it(path: Path, delivered_last: int) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 1000)
        journal.alerts.deliver([sequence for sequence in range(1, 1001) if sequence != delivered_last])
        assert journal.alerts.first_waiting == delivered_last
        assert settled_on_disk(path) < delivered_last
        journal.alerts.deliver([delivered_last])
        assert journal.alerts.first_waiting == 1001


Step = tuple[str, int, int]
_STEPS = st.tuples(
    st.sampled_from(["fill", "deliver", "through", "through but one", "ask again", "restart"]),
    st.integers(1, 1500),
    st.integers(0, 900),
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(_STEPS, min_size=3, max_size=12))
def test_whatever_is_delivered_and_asked_for_the_journal_agrees_with_a_set(steps: list[Step]) -> None:
    waiting: set[int] = set()
    last = 0
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal.db")
        journal = Journal(path, "uav-1")
        for action, first, length in steps:
            numbers = set(range(first, min(first + length, last) + 1))
            if action == "fill":
                fill(journal, length)
                waiting |= set(range(last + 1, last + length + 1))
                last += length
            elif action == "deliver":
                assert journal.alerts.deliver(numbers) == len(waiting & numbers)
                waiting -= numbers
            elif action.startswith("through"):
                missing = [(first, first + length)] if action == "through but one" else []
                through = first + 2 * length
                gone = {sequence for sequence in waiting if sequence <= through} - (numbers if missing else set())
                assert journal.alerts.deliver_through(through, missing) == len(gone)
                waiting -= gone
            elif action == "ask again":
                assert journal.alerts.ask_again([(first, first + length)]) == len(numbers - waiting)
                waiting |= numbers
            else:
                journal.close()
                journal = Journal(path, "uav-1")
            assert journal.alerts.waiting == len(waiting)
            assert journal.alerts.first_waiting <= min(waiting, default=last + 1)
            assert journal.alerts.last_sequence == last
        assert waiting_sequences(journal) == sorted(waiting)
        journal.close()


def test_an_alert_that_is_damaged_does_not_keep_the_others_from_being_sent(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    fill(journal, 3)
    with journal._database.writing() as connection:
        connection.execute("UPDATE alerts SET message = zeroblob(200) WHERE sequence = 2")
    assert [alert.sequence for alert in journal.alerts.newest(1, 3, 10)] == [3, 1]
    assert "alert 2 is damaged and lost" in caplog.text
    assert (journal.alerts.waiting, journal.alerts.damaged) == (2, 1)
    journal.alerts.deliver([1, 3])
    assert journal.alerts.waiting == 0
