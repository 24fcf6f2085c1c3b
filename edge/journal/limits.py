"""Keeps a journal within its limits: what was delivered is forgotten first, then pictures, undelivered alerts never."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass

from edge.journal.database import Database
from edge.journal.thumbnails import Thumbnails

_CHUNK = 500
# The rest comes the next time.
_MOST_CHUNKS = 200
# Once it is too large it is made a little smaller than it may be, and not again for each frame.
_ENOUGH = 0.95
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a journal may hold.

    Attributes:
        max_bytes: Without the pages in the file that are free.
        max_age_days: What is older may be forgotten; None: nothing for its age.
    """

    max_bytes: int
    max_age_days: float | None


class Housekeeping:
    """Forgets in small pieces, so that frames do not wait for long."""

    def __init__(self, database: Database, thumbnails: Thumbnails, limits: Limits) -> None:
        self._database = database
        self._thumbnails = thumbnails
        self._limits = limits

    def tidy(self) -> str | None:
        """Forget what has to be forgotten.

        Returns:
            Why the journal is larger than it may be, in one line; None: it is not.

        Raises:
            JournalFullError: There is no room on the disk, not even for that.
        """
        self._forget_old()
        used = self._used_bytes()
        if used <= self._limits.max_bytes:
            return None
        enough = int(_ENOUGH * self._limits.max_bytes)
        for forget in (self._forget_history, self._forget_frames, self._forget_thumbnails):
            for _ in range(_MOST_CHUNKS):
                if used <= enough or not forget(None):
                    break
                used = self._used_bytes()
        if used <= self._limits.max_bytes:
            return None
        return (
            f"holds {used / 1e6:.1f} MB of undelivered alerts and of frames whose files are still there,"
            f" journal.max_bytes allows {self._limits.max_bytes / 1e6:.1f} MB"
        )

    def _forget_old(self) -> None:
        if self._limits.max_age_days is None:
            return
        before_ms = time.time_ns() // 1_000_000 - round(self._limits.max_age_days * _DAY_MS)
        for forget in (self._forget_history, self._forget_frames):
            for _ in range(_MOST_CHUNKS):
                if not forget(before_ms):
                    break

    def _used_bytes(self) -> int:
        with self._database.reading() as connection:
            pages, free, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    def _forget_history(self, before_ms: int | None) -> bool:
        """Forget the oldest observations and delivered alerts. False: there are none any more."""
        with self._database.writing() as connection:
            last = self._oldest_frames(connection, before_ms)
            if last is None:
                return False
            removed = 0
            connection.execute(
                "INSERT OR REPLACE INTO facts SELECT 'forgotten', max(sequence) FROM alerts HAVING max(sequence) > 0"
            )
            for table, condition in (("observations", ""), ("alerts", " AND delivered = 1")):
                key = "observation" if table == "observations" else "sequence"
                # In the order of their keys, which is that of their frames.
                query = (
                    f"DELETE FROM {table} WHERE {key} IN"  # noqa: S608 - our own tables
                    f" (SELECT {key} FROM {table} WHERE frame <= ?{condition} ORDER BY {key} LIMIT {_CHUNK})"
                )
                removed += connection.execute(query, (last,)).rowcount
        return removed > 0

    def _oldest_frames(self, connection: sqlite3.Connection, before_ms: int | None) -> int | None:
        """The last of the oldest frames that have anything to be forgotten."""
        oldest = [
            row[0]
            for row in (
                connection.execute("SELECT frame FROM observations ORDER BY observation LIMIT 1").fetchone(),
                connection.execute("SELECT frame FROM alerts WHERE delivered = 1 ORDER BY sequence LIMIT 1").fetchone(),
            )
            if row
        ]
        if not oldest:
            return None
        last = min(oldest) + _CHUNK
        if before_ms is None:
            return int(last)
        # Frames that are forgotten themselves, while their alerts waited, were old.
        young = connection.execute(
            "SELECT min(frame) FROM frames WHERE frame BETWEEN ? AND ? AND recorded_ms >= ?", (min(oldest), last, before_ms)
        ).fetchone()[0]
        return int(last) if young is None else int(young) - 1

    def _forget_frames(self, before_ms: int | None) -> bool:
        """Forget the oldest frames whose files are gone; one that is still there would be classified once more.

        The newest one stays, whose number would be given again.

        Returns:
            Whether there may be more.
        """
        with self._database.writing() as connection:
            start = connection.execute("SELECT value FROM facts WHERE name = 'frames_looked_at'").fetchone()
            after = int(start[0]) if start else 0
            first = connection.execute("SELECT frame FROM observations ORDER BY observation LIMIT 1").fetchone()
            rows = connection.execute(
                "SELECT frame, path, name, recorded_ms FROM frames JOIN sources USING (source)"
                " WHERE frame > ? AND frame < ? AND frame < (SELECT max(frame) FROM frames) ORDER BY frame LIMIT ?",
                (after, first[0] if first else 2**62, _CHUNK),
            ).fetchall()
            rows = [row for row in rows if before_ms is None or row[3] < before_ms]
            gone = [frame for frame, path, name, _ in rows if not os.path.lexists(os.path.join(path, name))]
            connection.executemany("DELETE FROM frames WHERE frame = ?", [(frame,) for frame in gone])
            looked = rows[-1][0] if rows else 0
            if after or looked:
                connection.execute("INSERT OR REPLACE INTO facts VALUES ('frames_looked_at', ?)", (str(looked),))
        return bool(rows)

    def _forget_thumbnails(self, before_ms: int | None) -> bool:
        return self._thumbnails.drop_oldest(_CHUNK) > 0
