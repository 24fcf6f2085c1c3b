"""The SQLite file of a journal: opened, checked, and used by one thread at a time."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from edge.journal.errors import JournalError, JournalFullError
from edge.journal.owner import Owner, sync_folder
from edge.journal.packing import unpack
from edge.journal.schema import prepare
from edge.messages import decode_alert, rfc3339, utc_now
from edge.text import one_line

_log = logging.getLogger(__name__)

# With less room than that a journal cannot be opened: SQLite needs as much for its index of the log.
_ROOM_BYTES = 65_536
# A daemon that starts has no time for all of a large file; what was damaged while it ran leaves a note.
_CHECK_S = 0.25
_CHECK_STEPS = 10_000
_NOTE = ".damaged"
# Names the journal that is set aside until its alerts are taken over: a crash in between must not lose them.
_RESCUE = ".rescue"
_READABLE = "delivered = 0 AND typeof(message) = 'blob'"
# The file itself is moved last: it never stands without its log.
_FILES = ("-wal", "-shm", "")


class Database:
    """One connection for all threads: two that write would empty each other's page cache (measured: 15 % fewer frames/s).

    Attributes:
        set_aside: Where a damaged journal was put before this one began; None: there was none.
        rescued: The messages of alerts that could still be read in that one and were not delivered.
    """

    def __init__(self, path: Path) -> None:
        """Open a journal, or begin a new one; a damaged one is set aside.

        Raises:
            JournalError: Another daemon has it open, it cannot be written, or it is no journal that this program knows.
            JournalFullError: There is no room on its disk.
        """
        self.path = path
        self._lock = threading.Lock()
        self.set_aside: Path | None = None
        self.rescued: list[bytes] = []
        self._owner = Owner(path)
        try:
            self._go_on_rescuing()
            self._connection = self._open()
        except BaseException:
            self._owner.close(well=False)
            raise
        self._is_damaged = False

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        with self._lock:
            self._connection.close()
        self._owner.close(well=not self._is_damaged)

    def forget_rescued(self) -> None:
        """Note that what was rescued is kept.

        Raises:
            JournalError: It cannot be noted.
        """
        self.rescued = []
        if self.set_aside is None:
            return
        try:
            Path(f"{self.path}{_RESCUE}").unlink()
        except OSError as error:
            raise JournalError(f"journal {self.path}: {error.strerror}") from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for a while, to read."""
        with self._lock, self._noticing_damage():
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one transaction, which is on the disk when the block has ended.

        All are synced. One that is not would lie in the log below those that are: should a sync fail once, Linux may take
        its pages for written, and after a power cut all that was logged behind it is lost (tests/edge/journal/test_crashes.py).

        Raises:
            JournalFullError: There is no room; nothing of it was kept, and it may be tried again.
        """
        with self._lock, self._noticing_damage():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise JournalFullError(f"journal {self.path}: {error}") from error
                raise

    @contextmanager
    def _noticing_damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                # The daemon ends; the next one looks closely, and begins anew where that is needed.
                self._is_damaged = True
                with suppress(OSError):
                    Path(f"{self.path}{_NOTE}").touch()
                raise JournalError(f"journal {self.path}: is damaged: {one_line(error)}") from error
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # What SQLite says of damage may quote it.
            if isinstance(error, UnicodeDecodeError) or _is_damage(error):
                _log.critical("journal %s: is damaged: %s", self.path, one_line(error))
                self._begin_anew()
                return self._open_new()
            raise self._explained(error) from error

    def _open_new(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error

    def _connect(self) -> sqlite3.Connection:
        note = Path(f"{self.path}{_NOTE}")
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            if note.exists():
                _check(connection, None)
            elif not self._owner.was_closed:
                _check(connection, _CHECK_S)
            prepare(connection)
            note.unlink(missing_ok=True)
            # SQLite passes over it when this fails, and on a later opening nobody would do it for the new log.
            sync_folder(self.path.parent)
        except OSError as error:
            connection.close()
            raise JournalError(f"journal {self.path}: {error.strerror}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _explained(self, error: sqlite3.DatabaseError) -> JournalError:
        if self.path.parent.is_dir() and shutil.disk_usage(self.path.parent).free < _ROOM_BYTES:
            return JournalFullError(f"journal {self.path}: no room on the disk ({one_line(error)})")
        return JournalError(f"journal {self.path}: {one_line(error)}")

    def _begin_anew(self) -> None:
        """Set a damaged journal aside, with what belongs to it, and take out of it what the ground has to know.

        Raises:
            JournalError: It cannot be moved.
        """
        aside = self._name_aside()
        try:
            with open(f"{self.path}{_RESCUE}", "w", encoding="utf-8") as file:
                file.write(aside.name)
                file.flush()
                os.fsync(file.fileno())
            self._move(aside)
        except OSError as error:
            raise JournalError(f"journal {self.path}: is damaged and cannot be set aside: {error.strerror}") from error
        self._rescue(aside)

    def _go_on_rescuing(self) -> None:
        """Do what a crash may have left undone of `_begin_anew`.

        Raises:
            JournalError: The damaged journal cannot be moved.
        """
        try:
            name = Path(f"{self.path}{_RESCUE}").read_text("utf-8")
            # Empty: nothing was moved yet.
            if name:
                self._move(self.path.with_name(name))
                self._rescue(self.path.with_name(name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise JournalError(f"journal {self.path}: what is left of a damaged one: {error.strerror}") from error

    def _name_aside(self) -> Path:
        stamp = rfc3339(utc_now()).replace(":", "").replace("-", "").replace(".", "")
        return self.path.with_name(f"{self.path.name}.damaged-{stamp}")

    def _move(self, aside: Path) -> None:
        if not os.path.lexists(aside):
            sync_folder(self.path.parent)
            for suffix in _FILES:
                if os.path.lexists(f"{self.path}{suffix}"):
                    os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
        Path(f"{self.path}{_NOTE}").unlink(missing_ok=True)
        sync_folder(self.path.parent)

    def _rescue(self, aside: Path) -> None:
        self.set_aside = aside
        self.rescued = _undelivered(aside)
        _log.critical("journal %s: set aside as %s; %d undelivered alerts rescued", self.path, aside.name, len(self.rescued))


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether a file is no database any more. A full disk, a lock or another schema is no damage."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _check(connection: sqlite3.Connection, seconds: float | None) -> None:
    """Look for damage, for so long.

    Raises:
        sqlite3.DatabaseError: There is some.
    """
    if seconds is not None:
        deadline = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _CHECK_STEPS)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        found = "ok"
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        damage = sqlite3.DatabaseError(found)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def _undelivered(path: Path) -> list[bytes]:
    """The messages that can be read from both ends of a damaged journal, each once, oldest first."""
    found: dict[int, bytes] = {}
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError, UnicodeDecodeError), closing(sqlite3.connect(path)) as database:
            # A view that cannot be read is no reason not to read the alerts.
            database.execute("PRAGMA writable_schema = ON")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            query = f"SELECT sequence, message FROM alerts WHERE {_READABLE} ORDER BY sequence {order}"  # noqa: S608
            rows: Iterator[Any] = database.execute(query)
            for sequence, message in rows:
                with suppress(zlib.error, msgspec.DecodeError):
                    unpacked = message if version == 1 else unpack(message)
                    decode_alert(unpacked)
                    found.setdefault(sequence, unpacked)
    return [found[sequence] for sequence in sorted(found)]
