"""Whatever happens in whatever order to an outbox, its journal, a broker and a ground station: everything is stored in the end,
and nothing is taken for delivered that is not.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from edge.journal import Journal
from edge.messages import AckMessage, decode_alert
from edge.uplink.outbox import Outbox
from tests.edge.journal.frames import fill
from tests.edge.uplink.clock import Clock

STORED_WITHIN_S = 30.0
WINDOW = 6
# Of a journal that was damaged.
RESCUED = 3


class World(RuleBasedStateMachine):
    """One device, a link that breaks, a broker that forgets and a ground station that acknowledges."""

    stored_within_s: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.folder = TemporaryDirectory()
        self.next_id = 1
        # The id of the message → the alert, as (journal, sequence).
        self.under_way: dict[int, tuple[int, tuple[str, int]]] = {}
        self.at_broker: deque[tuple[str, int]] = deque()
        self.accepted: set[int] = set()
        self.stored: set[tuple[str, int]] = set()
        self.ever_stored: set[tuple[str, int]] = set()

    @initialize(count=st.integers(0, 5))
    def begin(self, count: int) -> None:
        with_alerts = Journal(Path(self.folder.name, "old.db"), "uav-1")
        fill(with_alerts, RESCUED)
        messages = [alert.message for alert in reversed(with_alerts.alerts.newest(1, RESCUED, RESCUED))]
        self.old = with_alerts.id
        with_alerts.close()
        self.journal = Journal(Path(self.folder.name, "journal.db"), "uav-1")
        self.journal.alerts.rescue(messages)
        fill(self.journal, count)
        self.outbox = Outbox(self.journal, self.stored_within_s, self.clock)

    @rule(count=st.integers(1, 5))
    def alerts_are_decided(self, count: int) -> None:
        fill(self.journal, count)

    @rule(most=st.integers(1, WINDOW))
    def send(self, most: int) -> None:
        while len(self.under_way) < most and (alert := self.outbox.next()) is not None:
            properties = decode_alert(alert.message).properties
            assert alert.sequence not in {sequence for sequence, _ in self.under_way.values()}, "twice under way"
            self.outbox.sent(self.next_id)
            self.under_way[self.next_id] = (alert.sequence, (properties.journal, properties.sequence))
            self.next_id += 1

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), is_heard=st.booleans())
    def broker_takes_one(self, data: st.DataObject, is_heard: bool) -> None:
        """Its acknowledgement may be lost; then the link breaks later."""
        message_id = data.draw(st.sampled_from(sorted(self.under_way)))
        sequence, alert = self.under_way[message_id]
        self.at_broker.append(alert)
        if is_heard:
            self.accepted.add(sequence)
            self.outbox.acknowledged(message_id)
            del self.under_way[message_id]

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def broker_refuses_one(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(sorted(self.under_way)))
        self.outbox.refused(message_id)
        del self.under_way[message_id]

    @rule()
    def link_breaks(self) -> None:
        self.under_way.clear()
        self.outbox.begin_again()

    @precondition(lambda self: self.stored_within_s is not None)
    @rule()
    def broker_forgets(self) -> None:
        # Those of the damaged journal are done when the broker has them: they are not asked for.
        self.at_broker = deque(alert for alert in self.at_broker if alert[0] == self.old)
        self.link_breaks()

    @rule(most=st.integers(1, 20))
    def ground_stores(self, most: int) -> None:
        while most and self.at_broker:
            self.stored.add(self.at_broker.popleft())
            most -= 1
        self.ever_stored |= self.stored

    @precondition(lambda self: self.stored_within_s is not None)
    @rule(data=st.data())
    def ground_loses_some_of_its_store(self, data: st.DataObject) -> None:
        mine = sorted(alert for alert in self.stored if alert[0] == self.journal.id)
        if mine:
            self.stored -= set(data.draw(st.lists(st.sampled_from(mine), max_size=3)))

    @rule(is_of_another=st.booleans())
    def ground_acknowledges(self, is_of_another: bool) -> None:
        journal = self.old if is_of_another else self.journal.id
        mine = {sequence for name, sequence in self.stored if name == journal}
        # What it has ever seen it knows to be there.
        through = max((sequence for name, sequence in self.ever_stored if name == journal), default=0)
        missing: list[int | tuple[int, int]] = [sequence for sequence in range(1, through + 1) if sequence not in mine]
        self.outbox.stored(AckMessage(schema=1, journal=journal, through=through, missing=missing))

    @rule()
    def deliveries_are_noted(self) -> None:
        self.outbox.note_done()

    @rule(seconds=st.sampled_from([0.1, 5.0, 31.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        self.outbox.repeat()

    @rule()
    def daemon_is_restarted(self) -> None:
        self.under_way.clear()
        self.journal.close()
        self.journal = Journal(Path(self.folder.name, "journal.db"), "uav-1")
        self.outbox = Outbox(self.journal, self.stored_within_s, self.clock)

    @invariant()
    def nothing_is_taken_for_delivered_that_is_not(self) -> None:
        if not hasattr(self, "journal"):
            return
        alerts = self.journal.alerts
        waiting = {alert.sequence for alert in alerts.newest(-RESCUED, 2**40, 2**40)}
        assert alerts.waiting == len(waiting)
        assert alerts.first_waiting <= min((sequence for sequence in waiting if sequence > 0), default=2**40)
        delivered = {sequence for sequence in range(-RESCUED, alerts.last_sequence + 1) if sequence} - waiting
        if self.stored_within_s is None:
            assert delivered <= self.accepted
        else:
            assert {(self.journal.id, sequence) for sequence in delivered if sequence > 0} <= self.ever_stored
            assert {sequence for sequence in delivered if sequence < 0} <= self.accepted
        assert self.outbox.outstanding == len(self.under_way)
        wait_s = self.outbox.wait_s()
        assert wait_s is None or wait_s >= 0

    def teardown(self) -> None:
        if not hasattr(self, "journal"):
            return
        everything = {(self.journal.id, sequence) for sequence in range(1, self.journal.alerts.last_sequence + 1)}
        everything |= {(self.old, sequence) for sequence in range(1, RESCUED + 1)}
        # From now on nothing fails any more, not even the link.
        for _ in range(10):
            while self.outbox.next() is not None or self.under_way:
                self.send(WINDOW)
                for message_id in list(self.under_way):
                    self.at_broker.append(self.under_way[message_id][1])
                    self.outbox.acknowledged(message_id)
                    del self.under_way[message_id]
            self.outbox.note_done()
            self.ground_stores(2**40)
            self.ground_acknowledges(is_of_another=False)
            if self.outbox.is_idle and not self.journal.alerts.waiting and self.stored >= everything:
                break
            # The longest pause after which a silent station is asked.
            self.time_passes(301.0)
        assert self.stored >= everything, f"lost: {everything - self.stored}"
        assert (self.journal.alerts.waiting, self.outbox.is_idle) == (0, True)
        self.journal.close()
        self.folder.cleanup()


@pytest.mark.parametrize("stored_within_s", [None, STORED_WITHIN_S], ids=["broker", "ground"])
@pytest.mark.parametrize(
    "examples",
    [pytest.param(25, id="some"), pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(1800)], id="many")],
)
def test_whatever_happens_everything_is_stored_in_the_end(stored_within_s: float | None, examples: int) -> None:
    world = type("World", (World,), {"stored_within_s": stored_within_s})
    run_state_machine_as_test(
        world,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
