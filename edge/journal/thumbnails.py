"""Pictures that wait for room on the link. They are dropped first: an alert says all that is needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from edge.journal.database import Database
from edge.journal.records import Thumbnail

MOST = 1000
"""Pictures that may wait; 6 MB of 6 kB each."""


class Thumbnails:
    """By the number of their alert.

    Attributes:
        waiting: How many there are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.waiting = self._count()

    def insert(self, connection: sqlite3.Connection, thumbnails: Sequence[Thumbnail]) -> None:
        """Keep pictures, within a transaction; older ones of the same alert are dropped, and the oldest beyond `MOST`."""
        if not thumbnails:
            return
        replacing = [(each.alert, each.sequence) for each in thumbnails if each.replaces]
        connection.executemany("DELETE FROM thumbnails WHERE alert = ? AND sequence < ?", replacing)
        connection.executemany(
            "INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?)",
            [(each.sequence, each.alert, each.jpeg) for each in thumbnails],
        )
        if self.waiting + len(thumbnails) > MOST:
            connection.execute(
                "DELETE FROM thumbnails WHERE sequence <="
                " (SELECT sequence FROM thumbnails ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                (MOST,),
            )

    def added(self, thumbnails: Sequence[Thumbnail]) -> None:
        """Count pictures that a transaction has added."""
        count = self.waiting + len(thumbnails)
        self.waiting = self._count() if count > MOST or any(each.replaces for each in thumbnails) else count

    def newest(self, leave_out: Sequence[int] = ()) -> Thumbnail | None:
        """The newest one whose alert is delivered, or forgotten since; None: there is none.

        Args:
            leave_out: Not one of these, and of few numbers at most.
        """
        marks = ", ".join("?" * len(leave_out))
        with self._database.reading() as connection:
            query = (
                "SELECT sequence, alert, jpeg FROM thumbnails LEFT JOIN alerts USING (sequence)"  # noqa: S608 - question marks
                f" WHERE coalesce(delivered, 1) AND sequence NOT IN ({marks}) ORDER BY sequence DESC LIMIT 1"
            )
            row = connection.execute(query, tuple(leave_out)).fetchone()
        return None if row is None else Thumbnail(*row)

    def drop(self, sequences: Sequence[int]) -> None:
        """Forget pictures that are delivered.

        Raises:
            JournalFullError: There is no room.
        """
        with self._database.writing() as connection:
            connection.executemany("DELETE FROM thumbnails WHERE sequence = ?", [(sequence,) for sequence in sequences])
        self.waiting = self._count()

    def drop_oldest(self, count: int) -> int:
        """Forget some for want of room; returns how many.

        Raises:
            JournalFullError: There is no room.
        """
        with self._database.writing() as connection:
            dropped = connection.execute(
                "DELETE FROM thumbnails WHERE sequence IN (SELECT sequence FROM thumbnails ORDER BY sequence LIMIT ?)", (count,)
            ).rowcount
        self.waiting = self._count()
        return dropped

    def _count(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM thumbnails").fetchone()[0])
