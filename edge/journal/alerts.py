"""The alerts of a journal: which wait, which the ground has, and which it wants again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Sequence

from edge.journal.database import Database
from edge.journal.packing import pack, unpack
from edge.journal.records import WaitingAlert

# So many deliveries are noted before the mark below which all are is written, too.
_MARK_EVERY = 500


class Alerts:
    """Numbered from 1 without gaps, in the order in which they were decided.

    Attributes:
        last_sequence: Number of the newest; 0 before the first.
        waiting: How many are not delivered yet.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counting = threading.Lock()
        with database.reading() as connection:
            # Where housekeeping has forgotten all of them, their numbers are not given out again.
            forgotten = connection.execute("SELECT value FROM facts WHERE name = 'forgotten'").fetchone()
            newest = connection.execute("SELECT coalesce(max(sequence), 0) FROM alerts").fetchone()[0]
            self.last_sequence = max(0, newest, int(forgotten[0]) if forgotten else 0)
            row = connection.execute("SELECT value FROM facts WHERE name = 'settled'").fetchone()
            # All up to that one are delivered: what wears a memory card out is an index of those that are not.
            self._settled = min(int(row[0]), self.last_sequence) if row else 0
            self._written = self._settled
            self.waiting = connection.execute(
                "SELECT count(*) FROM alerts WHERE delivered = 0 AND (sequence > ? OR sequence < 0)", (self._settled,)
            ).fetchone()[0]

    @property
    def first_waiting(self) -> int:
        """No alert below this one waits, but for those of a damaged journal."""
        return self._settled + 1

    def added(self, count: int) -> None:
        """Count alerts that a transaction has added."""
        with self._counting:
            self.last_sequence += count
            self.waiting += count

    def rescue(self, messages: Sequence[bytes]) -> None:
        """Take in undelivered alerts of a damaged journal, as they are, the oldest first.

        Raises:
            JournalFullError: There is no room.
        """
        if not messages:
            return
        with self._database.writing() as connection:
            first = min(0, connection.execute("SELECT coalesce(min(sequence), 0) FROM alerts").fetchone()[0])
            connection.executemany(
                "INSERT INTO alerts (sequence, frame, tile, label, probabilities, model, engine, inference_ms, message)"
                " VALUES (?, 0, '', '', '', 0, 0, 0, ?)",
                [(first - number, pack(message)) for number, message in enumerate(reversed(messages), 1)],
            )
        with self._counting:
            self.waiting += len(messages)

    def newest(self, low: int, high: int, limit: int) -> list[WaitingAlert]:
        """Those that wait with numbers from `low` to `high`, the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT sequence, message FROM alerts WHERE sequence BETWEEN ? AND ? AND delivered = 0"
                " ORDER BY sequence DESC LIMIT ?",
                (low, high, limit),
            ).fetchall()
        return [WaitingAlert(sequence, unpack(message)) for sequence, message in rows]

    def lowest(self) -> int:
        """The least number that there is; 0: none below 1."""
        with self._database.reading() as connection:
            return min(0, int(connection.execute("SELECT coalesce(min(sequence), 0) FROM alerts").fetchone()[0]))

    def deliver(self, sequences: Collection[int]) -> int:
        """Note that alerts are delivered.

        Returns:
            How many waited.

        Raises:
            JournalFullError: There is no room; they stay undelivered.
        """
        with self._database.writing() as connection:
            marked: int = connection.executemany(
                "UPDATE alerts SET delivered = 1 WHERE sequence = ? AND delivered = 0",
                [(sequence,) for sequence in sequences],
            ).rowcount
            settled = self._settle(connection)
        return self._delivered(marked, settled)

    def deliver_through(self, through: int, missing: Sequence[tuple[int, int]]) -> int:
        """Note that all alerts up to a number are delivered, but for some.

        Args:
            missing: First and last of runs of numbers, ascending.

        Returns, raises:
            As `deliver`.
        """
        through = min(through, self.last_sequence)
        if through <= self._settled:
            return 0
        low, marked = self._settled + 1, 0
        with self._database.writing() as connection:
            for first, last in (*missing, (through + 1, through)):
                marked += connection.execute(
                    "UPDATE alerts SET delivered = 1 WHERE sequence BETWEEN ? AND ? AND delivered = 0",
                    (low, min(first - 1, through)),
                ).rowcount
                low = max(low, last + 1)
            settled = self._settle(connection)
        return self._delivered(marked, settled)

    def ask_again(self, first: int, last: int) -> int:
        """Have alerts wait again that were delivered, those of them that are still there; returns how many.

        Raises:
            JournalFullError: There is no room.
        """
        if first > min(last, self.last_sequence) or not self._has_delivered(first, last):
            return 0
        with self._database.writing() as connection:
            marked = connection.execute(
                "UPDATE alerts SET delivered = 0 WHERE sequence BETWEEN ? AND ? AND delivered = 1", (first, last)
            ).rowcount
            if marked and first <= self._settled:
                self._settled = first - 1
                self._note(connection, self._settled)
        with self._counting:
            self.waiting += marked
        return marked

    def _has_delivered(self, first: int, last: int) -> bool:
        with self._database.reading() as connection:
            query = "SELECT 1 FROM alerts WHERE sequence BETWEEN ? AND ? AND delivered = 1 LIMIT 1"
            return connection.execute(query, (first, last)).fetchone() is not None

    def _settle(self, connection: sqlite3.Connection) -> int:
        first = connection.execute(
            "SELECT sequence FROM alerts WHERE sequence > ? AND delivered = 0 ORDER BY sequence LIMIT 1", (self._settled,)
        ).fetchone()
        settled = int(first[0]) - 1 if first else self.last_sequence
        if settled - self._written >= _MARK_EVERY:
            self._note(connection, settled)
        return settled

    def _note(self, connection: sqlite3.Connection, settled: int) -> None:
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('settled', ?)", (str(settled),))
        self._written = settled

    def _delivered(self, marked: int, settled: int) -> int:
        self._settled = settled
        with self._counting:
            self.waiting -= marked
        return marked
