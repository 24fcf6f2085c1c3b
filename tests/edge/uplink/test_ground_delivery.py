"""When an alert is done and when it goes again, with delivery to the ground station."""

from __future__ import annotations

import pytest

from edge.journal import Journal
from edge.messages import AckMessage
from edge.uplink.outbox import Outbox
from tests.edge.journal.frames import fill, waiting_sequences
from tests.edge.uplink.clock import Clock
from tests.edge.uplink.link import FakeLink, ack

STORED_WITHIN_S = 30.0


@pytest.fixture
def outbox(journal: Journal, clock: Clock) -> Outbox:
    return Outbox(journal, STORED_WITHIN_S, clock)


@pytest.fixture
def link(outbox: Outbox) -> FakeLink:
    return FakeLink(outbox)


def repeated(outbox: Outbox, link: FakeLink, clock: Clock) -> tuple[float, set[int]]:
    """Wait until something is sent again: how long that was, and what is sent."""
    waited_s = outbox.wait_s()
    assert waited_s is not None
    clock.pass_s(waited_s)
    outbox.repeat()
    return waited_s, set(link.carry())


def test_an_alert_is_done_when_the_ground_has_stored_it_not_when_the_broker_has_it(
    journal: Journal, outbox: Outbox, link: FakeLink
) -> None:
    fill(journal, 5)
    link.carry()
    assert (outbox.done, outbox.note_done(), journal.alerts.waiting) == (0, 0, 5)
    assert outbox.is_idle
    assert outbox.stored(ack(journal, 3)) == 3
    assert waiting_sequences(journal) == [4, 5]
    assert outbox.stored(ack(journal, 3)) == 0
    assert outbox.stored(ack(journal, 5)) == 2
    assert journal.alerts.waiting == 0


def test_what_the_ground_misses_is_not_done(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 20)
    link.carry()
    assert outbox.stored(ack(journal, 18, [1, (4, 6), (10, 10), 18])) == 12
    assert waiting_sequences(journal) == [1, 4, 5, 6, 10, 18, 19, 20]


def test_what_was_sent_a_moment_ago_is_not_sent_again_though_the_ground_misses_it(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    fill(journal, 10)
    link.carry()
    clock.pass_s(STORED_WITHIN_S - 1)
    outbox.stored(ack(journal, 10, [3]))
    assert link.carry() == []
    clock.pass_s(2)
    # It is sent again as soon as it may be lost and the station still misses it.
    outbox.stored(ack(journal, 10, [3]))
    assert link.carry() == [3]
    outbox.stored(ack(journal, 10))
    assert (journal.alerts.waiting, outbox.wait_s()) == (0, None)


def test_what_was_delivered_and_is_missing_waits_again_and_is_sent(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    # The store of the ground station was put back to an older one.
    fill(journal, 10)
    link.carry()
    outbox.stored(ack(journal, 10))
    clock.pass_s(3600)
    assert outbox.stored(ack(journal, 10, [(2, 4), 7])) == 0
    assert journal.alerts.waiting == 4
    assert link.carry() == [7, 4, 3, 2]
    assert outbox.stored(ack(journal, 10)) == 4


def test_all_that_is_not_acknowledged_goes_again_while_the_station_is_heard(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    fill(journal, 200)
    link.carry()
    outbox.stored(ack(journal, 60))
    assert repeated(outbox, link, clock) == (STORED_WITHIN_S, set(range(61, 201)))
    outbox.stored(ack(journal, 61))
    assert repeated(outbox, link, clock) == (STORED_WITHIN_S, set(range(62, 201)))


def test_a_silent_station_is_asked_with_a_few_and_ever_more_rarely(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    fill(journal, 1000)
    link.carry()
    # Nothing was heard yet, which may be chance: all of it once more.
    assert repeated(outbox, link, clock) == (30.0, set(range(1, 1001)))
    few = {*range(1, 51), *range(951, 1001)}
    asked = [repeated(outbox, link, clock) for _ in range(7)]
    assert asked == [(pause_s, few) for pause_s in (30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0)]
    # One answer, and all of it goes at once and at the old pace.
    assert outbox.stored(ack(journal, 1000, [(51, 950)])) == 100
    assert set(link.carry()) == set(range(51, 951))
    assert outbox.wait_s() == STORED_WITHIN_S


def test_a_new_alert_goes_once_while_the_station_is_silent(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    fill(journal, 300)
    link.carry()
    repeated(outbox, link, clock)
    fill(journal, 100)
    assert set(link.carry()) == set(range(301, 401))
    assert repeated(outbox, link, clock)[1] == {*range(1, 51), *range(351, 401)}


def test_of_few_alerts_each_is_asked_with_once(journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock) -> None:
    fill(journal, 60)
    link.carry()
    repeated(outbox, link, clock)
    clock.pass_s(outbox.wait_s() or 0)
    outbox.repeat()
    assert link.carry() == list(range(60, 0, -1))


def test_a_new_connection_sends_all_again_while_the_station_is_heard(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    # A broker without persistence has forgotten what it had acknowledged.
    fill(journal, 10)
    link.carry()
    outbox.stored(ack(journal, 4))
    link.break_down()
    assert link.send() == [10, 9, 8, 7, 6, 5]


def test_a_new_connection_sends_what_was_under_way_while_the_station_is_silent(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    fill(journal, 500)
    link.carry()
    repeated(outbox, link, clock)
    fill(journal, 3)
    link.send(2)
    link.break_down()
    assert link.carry() == [503, 502, 501]


def test_what_the_broker_refuses_goes_again_at_once(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 2)
    link.send()
    assert outbox.refused(1) == 2
    assert link.send() == [2]


def test_an_acknowledgement_of_another_journal_counts_for_nothing(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    fill(journal, 5)
    link.carry()
    clock.pass_s(STORED_WITHIN_S + 1)
    assert outbox.stored(AckMessage(schema=1, journal="another", through=5, missing=[2])) == 0
    assert (journal.alerts.waiting, link.send()) == (5, [])


def test_an_acknowledgement_of_what_there_is_not_counts_for_nothing(journal: Journal, outbox: Outbox, link: FakeLink) -> None:
    fill(journal, 2)
    link.carry()
    assert outbox.stored(ack(journal, 1_000_000, [(500, 900_000)])) == 2
    fill(journal, 1)
    assert link.carry() == [3]
    assert waiting_sequences(journal) == [3]


def test_alerts_of_a_damaged_journal_are_done_when_the_broker_has_them(journal: Journal, clock: Clock) -> None:
    # No acknowledgement of this journal can name them.
    journal.alerts.rescue([b"older", b"old"])
    fill(journal, 1)
    link = FakeLink(outbox := Outbox(journal, STORED_WITHIN_S, clock))
    assert link.carry() == [1, -1, -2]
    assert (outbox.done, outbox.note_done()) == (2, 2)
    assert waiting_sequences(journal) == [1]


def test_nobody_is_woken_in_vain_while_more_is_to_be_sent(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    # The link breaks in the midst of a backlog and stays down for a day.
    fill(journal, 100)
    link.send(50)
    link.break_down()
    clock.pass_s(86_400)
    outbox.repeat()
    assert outbox.wait_s() is None
    assert link.carry() == list(range(100, 0, -1))
    outbox.repeat()
    assert outbox.wait_s() == STORED_WITHIN_S


def test_an_alert_after_a_long_pause_is_waited_for_as_long_as_any_other(
    journal: Journal, outbox: Outbox, link: FakeLink, clock: Clock
) -> None:
    fill(journal, 200)
    link.carry()
    outbox.stored(ack(journal, 200))
    clock.pass_s(3600)
    fill(journal, 200)
    assert outbox.wait_s() is None
    link.carry()
    # The station is not silent: it had nothing to say.
    assert repeated(outbox, link, clock) == (STORED_WITHIN_S, set(range(201, 401)))
