"""The journal: the SQLite file that remembers every frame, observation and alert, and what was delivered.

What it acknowledged survives a power cut: it runs in WAL mode, frames are written with ``synchronous=FULL``, and a frame, its
observations and its alerts are one transaction. Alerts are numbered without gaps, in the order in which they were decided.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from edge.journal.alerts import Alerts
from edge.journal.database import Database
from edge.journal.errors import JournalFullError
from edge.journal.limits import Housekeeping, Limits
from edge.journal.memory import Memory
from edge.journal.packing import pack, pack_corners
from edge.journal.records import FrameRecord, Run, Thumbnail
from edge.journal.schema import CLOCKS, OUTCOMES, milliseconds
from edge.journal.thumbnails import Thumbnails
from edge.messages import alert_message, encode
from edge.records import Alert, FrameKey, ModelName, Observation, Outcome

_log = logging.getLogger(__name__)

_UNAVAILABLE = OUTCOMES.index("unavailable")
_OBSERVATION = (
    "frame, tile, label, probabilities, latitude, longitude, altitude_m, fix_source, model, engine, inference_ms, on_ground,"
    " footprint"
)
_ALERT = f"sequence, {_OBSERVATION}, message, revision, sightings, repeats"


class Journal:
    """One device's journal. Any thread may call it; one process at a time may have it open.

    Attributes:
        id: Of this journal, which its alerts carry.
        alerts: Those to be delivered.
        thumbnails: Pictures that follow their alerts.
        memory: What the daemon itself has to remember.
        set_aside: Where a damaged journal was put before this one began; None: there was none.
        rescued: Undelivered alerts that were taken over from that one.
    """

    def __init__(self, path: Path | str, device: str, run: Run | None = None) -> None:
        """Open the journal, or begin a new one. A damaged one is set aside, and its undelivered alerts are taken over.

        Args:
            run: What is to be known of this run of the daemon; None: nothing.

        Raises:
            JournalError: Another daemon has it open, it cannot be written, or it is no journal that this program knows.
            JournalFullError: There is no room on its disk.
        """
        self.path = Path(path)
        self._device = device
        self._database = Database(self.path)
        try:
            with self._database.reading() as connection:
                self.id = str(connection.execute("SELECT value FROM facts WHERE name = 'journal'").fetchone()[0])
            self.alerts = Alerts(self._database)
            self.alerts.rescue(self._database.rescued)
            self.rescued = len(self._database.rescued)
            self._database.forget_rescued()
            self.thumbnails = Thumbnails(self._database)
            self.memory = Memory(self._database)
            self._names: dict[tuple[object, ...], int] = {}
            self._run = None if run is None else self._begin(run)
        except BaseException:
            self._database.close()
            raise
        self.set_aside = self._database.set_aside

    def housekeeping(self, limits: Limits) -> Housekeeping:
        """What keeps it within limits."""
        return Housekeeping(self._database, self.thumbnails, limits)

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._database.close()

    @property
    def size_bytes(self) -> int:
        """On the disk, with its write-ahead log."""
        sizes = (os.path.getsize(f"{self.path}{suffix}") for suffix in ("", "-wal") if os.path.exists(f"{self.path}{suffix}"))
        return sum(sizes)

    def record(
        self,
        frames: Iterable[FrameRecord],
        revisions: Sequence[Alert] = (),
        thumbnails: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        """Keep what became of frames, with their observations and alerts, in one transaction.

        A frame that is already there as observed or rejected is left as it is.

        Args:
            revisions: Of alerts about earlier frames, told for another reason than one of these frames.
            thumbnails: Pictures for the ground, by the id of their revision's alert.

        Returns:
            How many alerts were added, each revision counted.

        Raises:
            JournalFullError: There is no room; nothing was kept, and the same call may be made again.
        """
        kept = list(frames)
        try:
            return self._record(kept, revisions, dict(thumbnails))
        except JournalFullError as error:
            if not thumbnails and not any(frame.thumbnails for frame in kept):
                raise
            # Alerts say all that is needed, and may find room where their pictures do not.
            count = self._record(kept, revisions, None)
            _log.warning("%s: kept without pictures", error)
            return count

    def _record(self, frames: list[FrameRecord], revisions: Sequence[Alert], pictures: Mapping[str, bytes] | None) -> int:
        """
        Args:
            pictures: Of revisions; None: no picture is kept, of frames neither.
        """
        first: int = self.alerts.last_sequence
        sequence = first
        thumbnails: list[Thumbnail] = []
        try:
            with self._database.writing() as connection:
                for frame in frames:
                    number = self._insert(connection, frame)
                    if number is not None:
                        sequence = self._insert_results(connection, number, frame, sequence, thumbnails)
                for alert in revisions:
                    sequence += 1
                    self._insert_alert(connection, sequence, self._newest_frame(connection), alert, repeats=True)
                    if pictures and alert.id in pictures:
                        thumbnails.append(Thumbnail(sequence, alert.id, pictures[alert.id], alert.revision))
                if pictures is not None:
                    self.thumbnails.insert(connection, thumbnails)
        except BaseException:
            # Names that were new in there are not.
            self._names.clear()
            raise
        self.alerts.added(sequence - first)
        if pictures is not None:
            self.thumbnails.added(thumbnails)
        return sequence - first

    def outcome_of(self, key: FrameKey) -> Outcome | None:
        """What became of a frame; None if it was never recorded."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT outcome FROM frames WHERE name = ? AND modified_ns = ? AND size_bytes = ?"
                " AND source = (SELECT source FROM sources WHERE path = ?)",
                (key.name, key.modified_ns, key.size_bytes, key.source),
            ).fetchone()
        return None if row is None else OUTCOMES[row[0]]

    def _begin(self, run: Run) -> int | None:
        with self._database.writing() as connection:
            values = (time.time_ns() // 1_000_000, *(getattr(run, name) for name in run.__dataclass_fields__))
            return connection.execute(
                "INSERT INTO runs (started_ms, version, physical_cores, logical_cores, system, system_version, memory_bytes,"
                " in_container) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            ).lastrowid

    def _insert(self, connection: sqlite3.Connection, frame: FrameRecord) -> int | None:
        """The number of a frame; None: it was there."""
        key = frame.key
        row = connection.execute(
            "INSERT INTO frames (run, source, name, size_bytes, modified_ns, recorded_ms, captured_ms, total_ms, outcome,"
            " reason, clock) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name, modified_ns, size_bytes, source) DO UPDATE SET run = excluded.run,"
            " recorded_ms = excluded.recorded_ms, captured_ms = excluded.captured_ms, total_ms = excluded.total_ms,"
            " outcome = excluded.outcome, reason = excluded.reason, clock = excluded.clock WHERE outcome = ? RETURNING frame",
            (
                self._run,
                self._number_of(connection, "sources", "path", key.source),
                key.name,
                key.size_bytes,
                key.modified_ns,
                time.time_ns() // 1_000_000,
                milliseconds(frame.captured_at),
                frame.total_ms,
                OUTCOMES.index(frame.outcome),
                frame.reason,
                None if frame.clock is None else CLOCKS.index(frame.clock),
                _UNAVAILABLE,
            ),
        ).fetchone()
        return None if row is None else int(row[0])

    def _insert_results(
        self, connection: sqlite3.Connection, frame: int, record: FrameRecord, sequence: int, thumbnails: list[Thumbnail]
    ) -> int:
        """Returns the number of the last alert."""
        results = {id(observation): observation for observation in record.observations}
        own: dict[int, Alert] = {}
        # About an earlier frame, or told of before: such an alert is no result of this frame.
        repeats: list[Alert] = []
        for alert in record.alerts:
            if id(alert.observation) in results and own.setdefault(id(alert.observation), alert) is alert:
                continue
            repeats.append(alert)
        pictures = dict(record.thumbnails)
        for alert in (*(own[key] for key in results if key in own), *repeats):
            sequence += 1
            self._insert_alert(connection, sequence, frame, alert, repeats=own.get(id(alert.observation)) is not alert)
            if alert.id in pictures:
                thumbnails.append(Thumbnail(sequence, alert.id, pictures[alert.id], alert.revision))
        connection.executemany(
            f"INSERT INTO observations ({_OBSERVATION}) VALUES ({_marks(13)})",  # noqa: S608 - our own columns
            [self._values(connection, frame, observation) for key, observation in results.items() if key not in own],
        )
        return sequence

    def _insert_alert(self, connection: sqlite3.Connection, sequence: int, frame: int, alert: Alert, *, repeats: bool) -> None:
        message = encode(alert_message(alert, self._device, self.id, sequence))
        values = self._values(connection, frame, alert.observation)
        connection.execute(
            f"INSERT INTO alerts ({_ALERT}) VALUES ({_marks(18)})",  # noqa: S608 - our own columns
            (sequence, *values, pack(message), alert.revision, alert.count, repeats),
        )

    def _newest_frame(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT coalesce(max(frame), 0) FROM frames").fetchone()[0])

    def _values(self, connection: sqlite3.Connection, frame: int, observation: Observation) -> tuple[object, ...]:
        prediction, fix, tile, place = observation.prediction, observation.fix, observation.tile, observation.place
        return (
            frame,
            f"{tile.left},{tile.top},{tile.width},{tile.height}",
            prediction.label,
            msgspec.json.encode({label: round(value, 6) for label, value in prediction.probabilities.items()}).decode(),
            None if place is None else place.latitude,
            None if place is None else place.longitude,
            None if place is None else place.altitude_m,
            None if fix is None else fix.source,
            self._model(connection, prediction.model),
            self._number_of(connection, "engines", "name, device", prediction.engine, prediction.device),
            round(prediction.inference_ms, 3),
            None if place is None else place.kind == "ground",
            None if observation.footprint is None else pack_corners(observation.footprint.corners),
        )

    def _model(self, connection: sqlite3.Connection, model: ModelName) -> int:
        return self._number_of(connection, "models", "name, version, sha256", model.name, model.version, model.sha256)

    def _number_of(self, connection: sqlite3.Connection, table: str, columns: str, *values: object) -> int:
        """The number of what is named again and again; it is added where it is new."""
        number = self._names.get((table, *values))
        if number is None:
            where = " AND ".join(f"{column} = ?" for column in columns.split(", "))
            query = f"SELECT rowid FROM {table} WHERE {where}"  # noqa: S608 - our own tables
            row = connection.execute(query, values).fetchone()
            if row is None:
                insert = f"INSERT INTO {table} ({columns}) VALUES ({_marks(len(values))}) RETURNING rowid"  # noqa: S608
                row = connection.execute(insert, values).fetchone()
            number = self._names[(table, *values)] = int(row[0])
        return number


def _marks(count: int) -> str:
    return ", ".join("?" * count)
