"""Keeps a journal within its limits: what was delivered is forgotten first, then pictures, undelivered alerts never."""

from __future__ import annotations

import math
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
_AGE_LOOK_S = 3600.0
_LOWEST = -(2**62)


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
        # How far the alerts, and the frames, were looked at.
        self._alerts_after = _LOWEST
        self._frames_after = 0
        self._aged_at = -math.inf

    def tidy(self) -> str | None:
        """Forget what has to be forgotten.

        Returns:
            Why the journal is larger than it may be, in one line; None: it is not.

        Raises:
            JournalFullError: There is no room on the disk, not even for that.
        """
        self._alerts_after = _LOWEST
        self._forget_old()
        self._alerts_after = _LOWEST
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
        if self._limits.max_age_days is None or time.monotonic() - self._aged_at < _AGE_LOOK_S:
            return
        self._aged_at = time.monotonic()
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
            removed = connection.execute(
                "DELETE FROM observations WHERE observation IN"
                " (SELECT observation FROM observations WHERE frame <= ? ORDER BY observation LIMIT ?)",
                (last, _CHUNK),
            ).rowcount
            # In the order of their keys, which is that of their frames. Those that wait are not looked at for each piece.
            alerts = connection.execute(
                "SELECT sequence FROM alerts WHERE sequence > ? AND frame <= ? AND delivered > 0 ORDER BY sequence LIMIT ?",
                (self._alerts_after, last, _CHUNK),
            ).fetchall()
            if alerts:
                self._alerts_after = alerts[-1][0]
                # Numbers that were given out are never given out again.
                connection.execute(
                    "INSERT INTO facts SELECT 'forgotten', max(sequence) FROM alerts WHERE true"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
                    " WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)"
                )
                connection.executemany("DELETE FROM alerts WHERE sequence = ?", alerts)
        return removed > 0 or bool(alerts)

    def _oldest_frames(self, connection: sqlite3.Connection, before_ms: int | None) -> int | None:
        """The last of the oldest frames that have anything to be forgotten."""
        oldest = [
            row[0]
            for row in (
                connection.execute("SELECT frame FROM observations ORDER BY observation LIMIT 1").fetchone(),
                connection.execute(
                    "SELECT frame FROM alerts WHERE sequence > ? AND delivered > 0 ORDER BY sequence LIMIT 1",
                    (self._alerts_after,),
                ).fetchone(),
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
        with self._database.reading() as connection:
            first = connection.execute("SELECT frame FROM observations ORDER BY observation LIMIT 1").fetchone()
            rows = connection.execute(
                "SELECT frame, path, name, recorded_ms FROM frames JOIN sources USING (source)"
                " WHERE frame > ? AND frame < ? AND frame < (SELECT max(frame) FROM frames) ORDER BY frame LIMIT ?",
                (self._frames_after, first[0] if first else 2**62, _CHUNK),
            ).fetchall()
        rows = [row for row in rows if before_ms is None or row[3] < before_ms]
        there = {path: _is_there(path) for path in {row[1] for row in rows}}
        gone = [frame for frame, path, name, _ in rows if there[path] and not os.path.lexists(os.path.join(path, name))]
        if gone:
            with self._database.writing() as connection:
                connection.executemany("DELETE FROM frames WHERE frame = ?", [(frame,) for frame in gone])
        self._frames_after = rows[-1][0] if rows else 0
        return bool(rows)

    def _forget_thumbnails(self, before_ms: int | None) -> bool:
        return self._thumbnails.drop_oldest(_CHUNK) > 0


def _is_there(source: str) -> bool:
    """Whether a folder is there; where a stick is mounted that was pulled out lies an empty one."""
    try:
        with os.scandir(source) as entries:
            return next(entries, None) is not None
    except OSError:
        # A camera is no folder, and its frames do not come again.
        return "://" in source or not source.startswith("/") or source.startswith("/dev/")
