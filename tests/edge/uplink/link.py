"""What stands for the link in tests of the outbox: it takes alerts and acknowledges them when a test says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.journal import Journal
from edge.messages import AckMessage
from edge.uplink.outbox import Outbox


class FakeLink:
    """Sends what an outbox has, and holds it until it is acknowledged, refused or lost.

    Attributes:
        under_way: What the broker has not acknowledged: the id of the message → the number of the alert.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._next_id = 1
        self.under_way: dict[int, int] = {}

    def send(self, most: int = 1_000_000) -> list[int]:
        """Send up to so many; returns their numbers."""
        sent: list[int] = []
        while len(sent) < most and (alert := self._outbox.next()) is not None:
            self._outbox.sent(self._next_id)
            self.under_way[self._next_id] = alert.sequence
            self._next_id += 1
            sent.append(alert.sequence)
        return sent

    def acknowledge(self, sequences: Iterable[int] | None = None) -> None:
        """The broker acknowledges some of what is under way; None: all."""
        wanted = set(self.under_way.values() if sequences is None else sequences)
        for message_id, sequence in list(self.under_way.items()):
            if sequence in wanted:
                self._outbox.acknowledged(message_id)
                del self.under_way[message_id]

    def carry(self, most: int = 1_000_000) -> list[int]:
        """Send and have it acknowledged at once."""
        sent = self.send(most)
        self.acknowledge()
        return sent

    def break_down(self) -> None:
        """Lose what is under way, and connect anew."""
        self.under_way.clear()
        self._outbox.begin_again()


def ack(journal: Journal, through: int, missing: Sequence[int | tuple[int, int]] = ()) -> AckMessage:
    """An acknowledgement of the ground station."""
    return AckMessage(schema=1, journal=journal.id, through=through, missing=list(missing))
