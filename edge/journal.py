"""The journal: the SQLite file that remembers every frame, observation and alert, and what was delivered.

What it acknowledged survives a power cut: it runs in WAL mode, frames are written with ``synchronous=FULL``, and a frame, its
observations and its alerts are one transaction. Alerts are numbered without gaps, in the order in which they were decided.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.messages import alert_message, encode, uuid7
from edge.records import Alert, FrameKey, Observation, Outcome
from edge.text import printable

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 1

# With less room than that a journal cannot be opened: SQLite needs as much for its index of the log.
_ROOM_BYTES = 65_536
_LOCK_TRIES = 4
_LOCK_PAUSE_S = 0.05

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE frames (
    frame INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    recorded_at TEXT NOT NULL,
    captured_at TEXT,
    outcome TEXT NOT NULL CHECK (outcome IN ('observed', 'rejected', 'unavailable')),
    reason TEXT
);
CREATE UNIQUE INDEX frames_by_key ON frames (name, modified_ns, size_bytes, source);
CREATE TABLE observations (
    observation INTEGER PRIMARY KEY,
    frame INTEGER NOT NULL REFERENCES frames (frame),
    tile TEXT NOT NULL,
    label TEXT NOT NULL,
    probabilities TEXT NOT NULL,
    latitude REAL,
    longitude REAL,
    altitude_m REAL,
    fix_source TEXT,
    model TEXT NOT NULL,
    engine TEXT NOT NULL,
    device TEXT NOT NULL,
    inference_ms REAL NOT NULL
);
CREATE TABLE alerts (
    sequence INTEGER PRIMARY KEY,
    observation INTEGER NOT NULL REFERENCES observations (observation),
    message BLOB NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX alerts_waiting ON alerts (sequence) WHERE delivered = 0;
"""


class JournalError(Exception):
    """The journal cannot be opened; the message is one line that names the file and why."""


class JournalFullError(JournalError):
    """There is no room on the disk (or no right to write) just now; nothing of the transaction was kept."""


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What became of a frame.

    Attributes:
        reason: Why it was rejected; None if it was observed.
    """

    key: FrameKey
    captured_at: str | None
    outcome: Outcome
    reason: str | None
    observations: Sequence[Observation] = ()
    alerts: Sequence[Alert] = ()


@dataclass(frozen=True, slots=True)
class WaitingAlert:
    """An alert that is not delivered yet, as it goes over the wire."""

    sequence: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the journal holds."""

    observed: int
    rejected: int
    observations: int
    alerts: int
    waiting: int


class Journal:
    """One device's journal. Any thread may call it; one process at a time may have it open."""

    def __init__(self, path: Path | str, device: str) -> None:
        """Open the journal, or begin a new one.

        Raises:
            JournalError: Another daemon has it open, it cannot be written, or it is no journal of this version.
            JournalFullError: There is no room on its disk.
        """
        self._path = Path(path)
        self._device = device
        # One connection for all threads: two that write would empty each other's page cache (measured: 15 % fewer frames/s).
        self._lock = threading.Lock()
        self._owner = _lock_file(self._path)
        try:
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5.0)
        except sqlite3.Error as error:
            os.close(self._owner)
            raise JournalError(f"journal {self._path}: {error}") from error
        try:
            self.id = self._prepare()
            self._sequence = self._number("SELECT coalesce(max(sequence), 0) FROM alerts")
            self._waiting = self._number("SELECT count(*) FROM alerts WHERE delivered = 0")
        except (sqlite3.Error, OSError) as error:
            self._database.close()
            os.close(self._owner)
            if shutil.disk_usage(self._path.parent).free < _ROOM_BYTES:
                raise JournalFullError(f"journal {self._path}: no room on the disk ({error})") from error
            raise JournalError(f"journal {self._path}: {error}") from error

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        with self._lock:
            self._database.close()
        os.close(self._owner)

    def record(self, frames: Iterable[FrameRecord]) -> int:
        """Keep what became of frames, with their observations and alerts, in one transaction.

        A frame that is already there as observed or rejected is left as it is.

        Returns:
            How many alerts were added.

        Raises:
            JournalFullError: There is no room; nothing was kept, and the same call may be made again.
        """
        with self._lock:
            first = self._sequence
            try:
                self._database.execute("BEGIN IMMEDIATE")
                for frame in frames:
                    self._insert(frame)
                self._database.execute("COMMIT")
            except BaseException as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                self._sequence = first
                if isinstance(error, sqlite3.OperationalError):
                    raise JournalFullError(f"journal {self._path}: {error}") from error
                raise
            added = self._sequence - first
            self._waiting += added
            return added

    def outcome_of(self, key: FrameKey) -> Outcome | None:
        """What became of a frame; None if it was never recorded."""
        with self._lock:
            row = self._database.execute(
                "SELECT outcome FROM frames WHERE name = ? AND modified_ns = ? AND size_bytes = ? AND source = ?",
                (key.name, key.modified_ns, key.size_bytes, key.source),
            ).fetchone()
        return None if row is None else row[0]

    def waiting_after(self, sequence: int, limit: int) -> list[WaitingAlert]:
        """The next alerts that are not delivered, oldest first, with sequence numbers above `sequence`."""
        with self._lock:
            rows = self._database.execute(
                "SELECT sequence, message FROM alerts WHERE delivered = 0 AND sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        return [WaitingAlert(*row) for row in rows]

    def mark_delivered(self, sequences: Sequence[int]) -> None:
        """Note that alerts were acknowledged.

        Raises:
            JournalFullError: There is no room; they stay undelivered.
        """
        with self._lock:
            try:
                # A delivery that a power cut forgets is sent again, and the receiver drops it by its id.
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.execute("BEGIN IMMEDIATE")
                marked = self._database.executemany(
                    "UPDATE alerts SET delivered = 1 WHERE sequence = ? AND delivered = 0",
                    [(sequence,) for sequence in sequences],
                ).rowcount
                self._database.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise JournalFullError(f"journal {self._path}: {error}") from error
            finally:
                self._database.execute("PRAGMA synchronous = FULL")
            self._waiting -= marked

    @property
    def waiting(self) -> int:
        """Alerts that are not delivered yet."""
        return self._waiting

    @property
    def last_sequence(self) -> int:
        """Number of the newest alert; 0 before the first."""
        return self._sequence

    def _number(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    def _prepare(self) -> str:
        """Set the file up and return its id, which a new journal gets when it begins."""
        version = self._number("PRAGMA user_version")
        if version not in {0, SCHEMA_VERSION}:
            raise sqlite3.DatabaseError(f"has schema {version}, this program knows {SCHEMA_VERSION}")
        if version == 0 and self._number("SELECT count(*) FROM sqlite_master") != 0:
            raise sqlite3.DatabaseError("is another program's database")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        if version == 0:
            script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};"
            self._database.executescript(script)
            self._database.execute("INSERT INTO facts VALUES ('journal', ?)", (uuid7(),))
            self._database.execute("COMMIT")
            _sync_folder(self._path.parent)
        return str(self._database.execute("SELECT value FROM facts WHERE name = 'journal'").fetchone()[0])

    def _insert(self, frame: FrameRecord) -> None:
        key = frame.key
        row = self._database.execute(
            "INSERT INTO frames (source, name, size_bytes, modified_ns, recorded_at, captured_at, outcome, reason)"
            " VALUES (?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ'), ?, ?, ?)"
            " ON CONFLICT (name, modified_ns, size_bytes, source) DO UPDATE SET recorded_at = excluded.recorded_at,"
            " captured_at = excluded.captured_at, outcome = excluded.outcome, reason = excluded.reason"
            " WHERE outcome = 'unavailable' RETURNING frame",
            (key.source, key.name, key.size_bytes, key.modified_ns, frame.captured_at, frame.outcome, frame.reason),
        ).fetchone()
        if row is None:
            return
        alerts = {id(alert.observation): alert for alert in frame.alerts}
        for observation in frame.observations:
            number = self._insert_observation(row[0], observation)
            alert = alerts.get(id(observation))
            if alert is not None:
                self._sequence += 1
                message = encode(alert_message(alert, self._device, self.id, self._sequence))
                self._database.execute(
                    "INSERT INTO alerts (sequence, observation, message) VALUES (?, ?, ?)", (self._sequence, number, message)
                )

    def _insert_observation(self, frame: int, observation: Observation) -> int | None:
        prediction, fix, tile = observation.prediction, observation.fix, observation.tile
        return self._database.execute(
            "INSERT INTO observations (frame, tile, label, probabilities, latitude, longitude, altitude_m, fix_source,"
            " model, engine, device, inference_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                frame,
                f"{tile.left},{tile.top},{tile.width},{tile.height}",
                prediction.label,
                msgspec.json.encode(prediction.probabilities).decode(),
                None if fix is None else fix.latitude,
                None if fix is None else fix.longitude,
                None if fix is None else fix.altitude_m,
                None if fix is None else fix.source,
                f"{prediction.model.name}-{prediction.model.version}",
                prediction.engine,
                prediction.device,
                prediction.inference_ms,
            ),
        ).lastrowid


def read_counts(path: Path | str) -> Counts:
    """How much a journal holds, read beside a daemon that may have it open.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    if not Path(path).exists():
        raise JournalError(f"journal {path}: no such file")
    try:
        uri = f"{Path(path).absolute().as_uri()}?mode=ro"
        if not is_open(path) and not Path(f"{path}-wal").exists():
            # Nobody writes: so whoever may read the file alone can, without the right to put a lock beside it.
            uri += "&immutable=1"
        database = sqlite3.connect(uri, uri=True, timeout=5.0)
        try:
            outcomes = dict(database.execute("SELECT outcome, count(*) FROM frames GROUP BY outcome"))
            observations, alerts, waiting = database.execute(
                "SELECT (SELECT count(*) FROM observations), (SELECT count(*) FROM alerts),"
                " (SELECT count(*) FROM alerts WHERE delivered = 0)"
            ).fetchone()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise JournalError(f"journal {path}: {error}") from error
    rejected = outcomes.get("rejected", 0) + outcomes.get("unavailable", 0)
    return Counts(outcomes.get("observed", 0), rejected, observations, alerts, waiting)


def is_open(path: Path | str) -> bool:
    """Whether a daemon has the journal open now.

    Raises:
        JournalError: Its lock cannot be looked at.
    """
    try:
        with open(f"{path}.lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise JournalError(f"journal {path}: cannot be looked at: {error.strerror}") from error
    return False


def _lock_file(path: Path) -> int:
    """Take the lock that says that this process owns the journal; it ends with the process, however that ends.

    Returns:
        The descriptor that holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise JournalError(f"journal {path}: cannot be opened: {error.strerror}") from error
    for attempt in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            # Somebody who asks for the status holds it for an instant; a daemon holds it longer.
            if attempt + 1 < _LOCK_TRIES:
                time.sleep(_LOCK_PAUSE_S)
                continue
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            message = f"journal {path}: another daemon has it open (process {printable(owner) or 'unknown'})"
            raise JournalError(message) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except OSError as error:
        # The number is for people; on a full disk the lock alone must do.
        _log.warning("journal %s: process number not noted: %s", path, error.strerror)
    return descriptor


def _sync_folder(folder: Path) -> None:
    """Make a new file's name survive a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
