"""Which alert goes next, and when one that may be lost goes again.

The newest goes first: after an outage the ground sees what is now before what was. Nothing gathers in memory: what is to be
sent are a few intervals of sequence numbers, and the journal has the rest.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from edge.journal import Journal, WaitingAlert
from edge.messages import AckMessage
from edge.uplink.intervals import Intervals

_READ_TOGETHER = 64
# A ground station that is silent is asked with so many from either end, and ever more rarely.
_PROBE = 50
_LONGEST_PAUSE_S = 300.0


class Outbox:
    """The alerts of a journal on their way.

    With delivery to the broker an alert is done when that has acknowledged it. With delivery to the ground station it is done
    when that has: what is not acknowledged in time is sent again, all of it while the station is heard, else a few.
    """

    def __init__(
        self, journal: Journal, stored_within_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            stored_within_s: With delivery to the ground station: how long it may take to acknowledge; None: to the broker.
        """
        self._journal = journal
        self._stored_within_s = stored_within_s
        self._clock = clock
        self._to_send = Intervals()
        self._next: deque[WaitingAlert] = deque()
        self._known = 0
        # On their way to the broker, by the id of the message.
        self._outstanding: dict[int, int] = {}
        # Acknowledged by the broker or the station, and not yet noted in the journal.
        self._done: set[int] = set()
        # When alerts were sent last: the station may miss what is under way. Only with delivery to the ground station.
        self._sent_at: OrderedDict[int, float] = OrderedDict()
        self._heard = True
        self._pause_s = stored_within_s or 0.0
        self._again_at: float | None = None
        self.begin_again()

    @property
    def outstanding(self) -> int:
        """How many the broker has not acknowledged."""
        return len(self._outstanding)

    @property
    def is_idle(self) -> bool:
        """Whether all that is to be sent now was, and the broker has it."""
        return not self._outstanding and not self._to_send and self._journal.alerts.last_sequence <= self._known

    def begin_again(self) -> None:
        """On a new connection nothing is outstanding, and the broker may have forgotten what it had acknowledged."""
        lost = list(self._outstanding.values())
        self._outstanding.clear()
        self._sent_at.clear()
        if self._stored_within_s is None or self._heard:
            self._add_all()
        else:
            for sequence in lost:
                self._to_send.add(sequence, sequence)
        self._next.clear()

    def next(self) -> WaitingAlert | None:
        """The alert to be sent now, which stays the next one until `sent` is called; None: there is none."""
        self._take_new()
        while True:
            while self._next and self._is_under_way(self._next[0].sequence):
                self._drop_first()
            if self._next:
                return self._next[0]
            if not self._to_send:
                return None
            low, high = self._to_send.highest
            self._next.extend(self._journal.alerts.newest(low, high, _READ_TOGETHER))
            if not self._next:
                self._to_send.cut_above(low - 1)

    def _take_new(self) -> None:
        """Put alerts that were decided since the last look before those that were read."""
        last = self._journal.alerts.last_sequence
        if last <= self._known:
            return
        first, self._known = self._known + 1, last
        self._to_send.add(first, last)
        if last - first >= _READ_TOGETHER:
            # They are read when their turn comes, and the others after them.
            self._next.clear()
        elif self._next:
            self._next.extendleft(reversed(self._journal.alerts.newest(first, last, _READ_TOGETHER)))

    def sent(self, message_id: int) -> None:
        """Note that the next alert was sent."""
        sequence = self._next[0].sequence
        self._drop_first()
        self._outstanding[message_id] = sequence
        if self._stored_within_s is not None:
            self._sent_at[sequence] = self._clock()
            self._sent_at.move_to_end(sequence)
            self._forget_sent()
            if self._again_at is None or self._again_at <= self._clock():
                self._again_at = self._clock() + self._pause_s

    def acknowledged(self, message_id: int) -> int | None:
        """The broker has an alert.

        Returns:
            Its number, if it is done by that; it has to be noted by `note_done`.
        """
        sequence = self._outstanding.pop(message_id, None)
        if sequence is None or (self._stored_within_s is not None and sequence > 0):
            return None
        self._done.add(sequence)
        return sequence

    def refused(self, message_id: int) -> int | None:
        """The broker does not take an alert, which is to be sent again; returns its number."""
        sequence = self._outstanding.pop(message_id, None)
        if sequence is not None:
            self._sent_at.pop(sequence, None)
            self._add(sequence, sequence)
        return sequence

    def note_done(self) -> int:
        """Write into the journal what is done.

        Returns:
            How many alerts are delivered by that.

        Raises:
            JournalFullError: There is no room; it can be tried again.
        """
        if not self._done:
            return 0
        count = self._journal.alerts.deliver(self._done)
        self._done.clear()
        return count

    @property
    def done(self) -> int:
        """How many are done and not noted."""
        return len(self._done)

    def stored(self, acknowledgement: AckMessage) -> int:
        """The ground station has stored alerts, and misses some.

        Returns:
            How many alerts are delivered by that.

        Raises:
            JournalFullError: There is no room; the station says it again.
        """
        if acknowledgement.journal != self._journal.id:
            return 0
        alerts = self._journal.alerts
        count = 0
        if self._stored_within_s is not None:
            count = alerts.deliver_through(acknowledgement.through, acknowledgement.runs)
            self._heard = True
            if count:
                self._pause_s = self._stored_within_s
                self._again_at = self._clock() + self._pause_s if alerts.waiting else None
        for first, last in acknowledgement.runs:
            self.ask_again(first, last)
        return count

    def ask_again(self, first: int, last: int) -> int:
        """Have alerts sent again, those of them that the journal still has.

        Returns:
            How many of them were delivered.

        Raises:
            JournalFullError: There is no room.
        """
        count = self._journal.alerts.ask_again(first, last)
        # What was sent a moment ago is passed over when its turn comes.
        self._add(max(1, first), min(last, self._known))
        return count

    def wait_s(self) -> float | None:
        """Seconds until `repeat` has something to do; None: it has not."""
        if self._again_at is None or self._to_send or not self._journal.alerts.waiting:
            return None
        return max(0.0, self._again_at - self._clock())

    def repeat(self) -> None:
        """Have sent again what the ground station has not acknowledged in time."""
        if self._again_at is None or self._clock() < self._again_at or self._to_send:
            return
        if self._heard:
            self._add_all()
        else:
            self._add_probe()
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._heard = False
        self._again_at = self._clock() + self._pause_s

    def _add_all(self) -> None:
        alerts = self._journal.alerts
        self._known = max(self._known, alerts.last_sequence)
        self._add(alerts.first_waiting, self._known)
        self._add(alerts.lowest(), -1)

    def _add_probe(self) -> None:
        alerts = self._journal.alerts
        first, last = alerts.first_waiting, alerts.last_sequence
        self._add(first, min(last, first + _PROBE - 1))
        self._add(max(first, last - _PROBE + 1), last)

    def _add(self, low: int, high: int) -> None:
        self._to_send.add(low, high)
        # What was read may not be the newest any more.
        self._next.clear()

    def _drop_first(self) -> None:
        self._to_send.cut_above(self._next.popleft().sequence - 1)

    def _is_under_way(self, sequence: int) -> bool:
        return sequence in self._done or sequence in self._outstanding.values() or self._is_recent(sequence)

    def _is_recent(self, sequence: int) -> bool:
        sent_at = self._sent_at.get(sequence)
        return sent_at is not None and self._clock() - sent_at < (self._stored_within_s or 0.0)

    def _forget_sent(self) -> None:
        limit = self._clock() - (self._stored_within_s or 0.0)
        while self._sent_at and next(iter(self._sent_at.values())) < limit:
            self._sent_at.popitem(last=False)
