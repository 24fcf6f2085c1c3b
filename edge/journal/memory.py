"""What the daemon itself has to remember: which commands it has seen, and what they changed."""

from __future__ import annotations

import time

from edge.journal.database import Database

_DAY_MS = 86_400_000
# Keeps what is kept here apart from the facts of the journal itself.
_PREFIX = "kept "


class Memory:
    """Small facts that outlast the process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def was_seen(self, command: str) -> bool:
        """Whether the command with this id was seen before."""
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM commands WHERE id = ?", (command,)).fetchone() is not None

    def remember(self, command: str) -> None:
        """Remember the id of a command, for two days: no command lasts as long.

        Raises:
            JournalFullError: There is no room.
        """
        now_ms = time.time_ns() // 1_000_000
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO commands VALUES (?, ?)", (command, now_ms))
            connection.execute("DELETE FROM commands WHERE seen_ms < ?", (now_ms - 2 * _DAY_MS,))

    def fact(self, name: str) -> str | None:
        """What was kept under a name; None: nothing."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (_PREFIX + name,)).fetchone()
        return None if row is None else str(row[0])

    def keep(self, name: str, value: str | None) -> None:
        """Keep something under a name; None: nothing any more.

        Raises:
            JournalFullError: There is no room.
        """
        with self._database.writing() as connection:
            if value is None:
                connection.execute("DELETE FROM facts WHERE name = ?", (_PREFIX + name,))
            else:
                connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_PREFIX + name, value))
