"""Which alert goes next, and when one is done, with delivery to the broker."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Journal, JournalFullError
from edge.uplink.outbox import Outbox
from tests.edge.journal.frames import fill, waiting_sequences
from tests.edge.uplink.link import FakeLink, ack


def down(first: int, last: int) -> list[int]:
    """From the newest to the oldest."""
    return list(range(first, last - 1, -1))


@pytest.fixture
def outbox(journal: Journal) -> Outbox:
    return Outbox(journal)


@pytest.fixture
def link(outbox: Outbox) -> FakeLink:
    return FakeLink(outbox)


def test_of_an_empty_journal_there_is_nothing_to_send(outbox: Outbox) -> None:
    assert outbox.next() is None
    assert outbox.is_idle
    assert outbox.wait_s() is None
    assert outbox.note_done() == 0


def test_the_newest_goes_first(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 200)
    assert not outbox.is_idle
    assert link.send() == down(200, 1)


def test_what_comes_during_a_backlog_goes_before_it(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 100)
    assert link.carry(3) == [100, 99, 98]
    fill(journal, 2)
    assert link.carry(4) == [102, 101, 97, 96]
    fill(journal, 1)
    assert link.carry() == [103, *down(95, 1)]
    assert outbox.note_done() == 103
    assert outbox.is_idle


def test_the_next_one_stays_until_it_is_sent(journal: Journal, outbox: Outbox) -> None:
    fill(journal, 2)
    first = outbox.next()
    assert first is not None
    assert outbox.next() == first
    outbox.sent(1)
    second = outbox.next()
    assert second is not None
    assert (first.sequence, second.sequence) == (2, 1)


def test_an_alert_is_done_when_the_broker_has_it_and_noted_when_that_is_asked(
    journal: Journal, outbox: Outbox, link: FakeLink
) -> None:
    fill(journal, 3)
    link.send()
    assert outbox.outstanding == 3
    assert outbox.acknowledged(2) == 2
    assert (outbox.outstanding, outbox.done, journal.alerts.waiting) == (2, 1, 3)
    assert outbox.note_done() == 1
    assert (outbox.done, waiting_sequences(journal)) == (0, [1, 3])
    assert outbox.acknowledged(2) is None
    assert outbox.acknowledged(77) is None
    assert not outbox.is_idle


def test_what_a_broken_link_lost_goes_again_and_what_is_done_does_not(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 6)
    link.send(4)
    link.acknowledge([5])
    link.break_down()
    assert outbox.outstanding == 0
    # 5 is done and not yet noted.
    assert link.send() == [6, 4, 3, 2, 1]
    link.acknowledge()
    assert outbox.note_done() == 6


def test_an_acknowledgement_of_the_connection_before_counts_for_nothing(
    journal: Journal, outbox: Outbox, link: FakeLink
) -> None:
    fill(journal, 1)
    link.send()
    link.break_down()
    assert outbox.acknowledged(1) is None
    assert outbox.done == 0
    assert link.send() == [1]


def test_what_the_broker_refuses_goes_again(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 3)
    link.send()
    assert outbox.refused(2) == 2
    assert outbox.refused(2) is None
    assert (outbox.outstanding, outbox.is_idle) == (2, False)
    fill(journal, 1)
    assert link.send() == [4, 2]


def test_after_a_restart_what_was_not_noted_goes_again(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 4)
    link.send()
    link.acknowledge([4, 2])
    outbox.note_done()
    link.acknowledge([1])
    assert FakeLink(Outbox(journal)).send() == [3, 1]


def test_what_the_ground_misses_is_sent_again_also_with_delivery_to_the_broker(
    journal: Journal, outbox: Outbox, link: FakeLink
) -> None:
    fill(journal, 9)
    link.carry()
    outbox.note_done()
    assert outbox.stored(ack(journal, 9, [2, (5, 6)])) == 0
    assert waiting_sequences(journal) == [2, 5, 6]
    assert link.carry() == [6, 5, 2]
    assert outbox.note_done() == 3
    # What it has stored is none of the broker's business.
    fill(journal, 1)
    assert outbox.stored(ack(journal, 10)) == 0
    assert waiting_sequences(journal) == [10]


def test_what_is_asked_for_while_it_is_under_way_is_not_sent_twice(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 3)
    link.send()
    assert outbox.ask_again(1, 3) == 0
    assert link.send() == []
    link.acknowledge()
    assert outbox.is_idle


def test_of_what_is_asked_for_only_what_there_is_is_sent(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 3)
    link.carry()
    outbox.note_done()
    assert outbox.ask_again(-5, 100) == 3
    assert link.carry() == [3, 2, 1]
    assert link.carry() == []


def test_alerts_of_a_damaged_journal_go_last_and_are_done_when_the_broker_has_them(journal: Journal, link: FakeLink) -> None:
    journal.alerts.rescue([b"old", b"older", b"oldest"][::-1])
    fill(journal, 2)
    link = FakeLink(outbox := Outbox(journal))
    first = outbox.next()
    assert link.carry() == [2, 1, -1, -2, -3]
    assert first is not None
    assert outbox.note_done() == 5
    assert journal.alerts.waiting == 0
    link.break_down()
    assert link.send() == []


def test_a_delivery_that_cannot_be_noted_is_not_sent_again(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 2)
    link.carry()
    with journal._database.reading() as connection:
        connection.execute("PRAGMA query_only = 1")
    with pytest.raises(JournalFullError):
        outbox.note_done()
    link.break_down()
    assert (link.send(), outbox.done) == ([], 2)
    with journal._database.reading() as connection:
        connection.execute("PRAGMA query_only = 0")
    assert outbox.note_done() == 2


@pytest.fixture
def after_a_day(tmp_path: Path) -> Iterator[Journal]:
    """A journal with 86,400 alerts: their numbers matter, so that all have one message."""
    path = tmp_path / "day.db"
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 1)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO alerts WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 86400)"
            " SELECT i, frame, tile, label, probabilities, latitude, longitude, altitude_m, fix_source, model, engine,"
            " inference_ms, 0, message, on_ground, footprint, 0, 1, 0 FROM n JOIN alerts ON sequence = 1"
        )
    with closing(Journal(path, "uav-1")) as journal:
        yield journal


def test_a_day_s_alerts_are_a_few_intervals_in_memory(after_a_day: Journal) -> None:
    link = FakeLink(outbox := Outbox(after_a_day))
    most_intervals, most_read, sent, rounds = 0, 0, 0, 0
    while numbers := link.send(250):
        sent += len(numbers)
        # The link breaks now and then, and now and then the broker refuses one.
        rounds += 1
        if rounds % 50 == 0:
            link.break_down()
            sent -= len(numbers)
        elif rounds % 5 == 0:
            refused = next(iter(link.under_way))
            outbox.refused(refused)
            del link.under_way[refused]
            sent -= 1
        link.acknowledge()
        outbox.note_done()
        most_intervals = max(most_intervals, len(outbox._to_send._all))
        most_read = max(most_read, len(outbox._next))
    link.acknowledge()
    outbox.note_done()
    assert (sent, after_a_day.alerts.waiting, outbox.is_idle) == (86_400, 0, True)
    assert most_intervals <= 3
    assert most_read <= 64
