"""Pictures that wait for room on the link. They are dropped first: an alert says all that is needed."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence

from edge.journal.database import Database
from edge.journal.records import Thumbnail

MOST = 1000
"""Pictures that may wait; 6 MB of 6 kB each."""
_REVISIONS_REMEMBERED = 4096


class Thumbnails:
    """By the number of their alert.

    Attributes:
        waiting: How many there are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # Of each alert the highest revision whose picture was kept. Lanes record out of order, and a newer picture may have
        # been sent already; but an alert is only told again by the process that told it first.
        self._revisions: OrderedDict[str, int] = OrderedDict()
        self.waiting = self._count()

    def insert(self, connection: sqlite3.Connection, thumbnails: Sequence[Thumbnail]) -> None:
        """Keep pictures, within a transaction: of each alert that of its highest revision, and the newest `MOST`."""
        newest = self._newest_revisions(thumbnails)
        if not newest:
            return
        replacing = [(each.alert,) for each in newest if each.alert in self._revisions]
        connection.executemany("DELETE FROM thumbnails WHERE alert = ?", replacing)
        connection.executemany(
            "INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?)",
            [(each.sequence, each.alert, each.jpeg) for each in newest],
        )
        if self.waiting + len(newest) > MOST:
            connection.execute(
                "DELETE FROM thumbnails WHERE sequence <="
                " (SELECT sequence FROM thumbnails ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                (MOST,),
            )

    def added(self, thumbnails: Sequence[Thumbnail]) -> None:
        """Take note of pictures that a transaction has added."""
        newest = self._newest_revisions(thumbnails)
        count = self.waiting + len(newest)
        is_replacing = any(each.alert in self._revisions for each in newest)
        for each in newest:
            self._revisions[each.alert] = each.revision
            self._revisions.move_to_end(each.alert)
        while len(self._revisions) > _REVISIONS_REMEMBERED:
            self._revisions.popitem(last=False)
        self.waiting = self._count() if count > MOST or is_replacing else count

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

    def _newest_revisions(self, thumbnails: Sequence[Thumbnail]) -> list[Thumbnail]:
        """Of each alert that of the highest revision, unless there was one of a higher before."""
        newest: dict[str, Thumbnail] = {}
        for each in thumbnails:
            known = newest[each.alert].revision if each.alert in newest else self._revisions.get(each.alert, -1)
            if each.revision > known:
                newest[each.alert] = each
        return list(newest.values())

    def _count(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM thumbnails").fetchone()[0])
