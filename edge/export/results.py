"""What the journal has of each result, in the order in which frames were recorded.

The tables of a journal have no index of results by frame: it would wear a memory card out. So frames, observations and alerts
are each read through in the order of their keys, and merged: nothing is sorted, and nothing is held but one row of each table
and one bit for each frame. All is read in one transaction, beside a daemon that writes.
"""

from __future__ import annotations

import heapq
import mimetypes
import sqlite3
import zlib
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from edge.journal.packing import unpack, unpack_corners
from edge.journal.schema import CLOCKS, OUTCOMES
from edge.messages import MultiPolygon, Polygon, decode_alert, polygon
from edge.records import Clock, Outcome, PlaceKind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = mimetypes.MimeTypes()

_FRAME = (
    "frames.frame AS frame, frames.name AS name, path, size_bytes, modified_ns, captured_ms, clock, recorded_ms, outcome,"
    " reason, total_ms, frames.run AS run, runs.version AS version, physical_cores, logical_cores, system, system_version,"
    " memory_bytes, in_container"
)
_RESULT = (
    "tile, label, probabilities, inference_ms, latitude, longitude, altitude_m, on_ground, footprint, fix_source,"
    " models.name || '-' || models.version AS model, engines.name AS engine, engines.device AS device"
)
# Every join is to the left: so SQLite goes through the first table in the order of its keys and looks up the others by theirs.
_OF_FRAME = " LEFT JOIN sources USING (source) LEFT JOIN runs ON runs.run = frames.run"
_NAMES = (
    " LEFT JOIN models ON models.model = results.model LEFT JOIN engines ON engines.engine = results.engine"
    " LEFT JOIN frames ON frames.frame = results.frame"
)
# Columns of the tables that are the same in a result.
_FRAME_FIELDS = (
    "reason",
    "total_ms",
    "run",
    "version",
    "physical_cores",
    "logical_cores",
    "system",
    "system_version",
    "memory_bytes",
)
_RESULT_FIELDS = (
    "tile",
    "label",
    "inference_ms",
    "latitude",
    "longitude",
    "altitude_m",
    "fix_source",
    "model",
    "engine",
    "device",
)
_PLACES: tuple[PlaceKind, PlaceKind] = ("device", "ground")
_SINCE = "coalesce(recorded_ms, 0) >= ?"

OBSERVATIONS = (
    f"SELECT {_FRAME}, {_RESULT}, NULL AS sequence FROM observations AS results{_NAMES}{_OF_FRAME}"  # noqa: S608 - our own
    f" WHERE {_SINCE} ORDER BY observation"
)
# Below 1: of a journal that was damaged; they have nothing but their message. The housekeeping may have forgotten the frame of
# an alert that waits for long, and that of one that repeats a result is not the one with which it was told: then the message
# still knows it.
_ALERTS = (
    f"SELECT {_FRAME}, {_RESULT}, sequence, delivered, revision, sightings, iif(frames.frame IS NULL OR repeats, message, NULL)"  # noqa: S608
    f" AS message FROM alerts AS results{_NAMES}{_OF_FRAME} WHERE sequence > 0 AND {_SINCE}"
)
ALERTS = f"{_ALERTS} ORDER BY sequence"
# Those that are results of their frames.
ALERTED = f"{_ALERTS} AND NOT repeats ORDER BY sequence"
FRAMES = f"SELECT {_FRAME} FROM frames{_OF_FRAME} WHERE {_SINCE} ORDER BY frames.frame"  # noqa: S608


_CreatedFrom = Literal["image", "name", "file"]
_CREATED_FROM: dict[Clock, _CreatedFrom] = {"image": "image", "name": "name"}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A tile's result with all that is known of it, or a frame that has none. None: not known, or there is none.

    Attributes:
        frame: Its name within its source.
        type: MIME type, by the end of the name.
        created_at: When it was taken; created_from says who knows that: the image, the name of its file, or its file, which
            was last written then.
        clock: Which clock created_at is of: of a file, the device's, or that of the GPS where the device's is not synchronised.
        outcome: Of the frame; an observed one without a label: its result was forgotten to make room.
        label: The most probable one, and confidence its probability.
        inference_ms: Of this tile; total_ms: of the frame, from the beginning of its reading to its result.
        tile: Left, top, width and height in pixels.
        altitude_m: Above mean sea level.
        place: Whether latitude and longitude are of the ground that the tile shows, or of the device.
        footprint: The ground that it shows.
        device: What the engine ran on.
        alert_sequence: Number of the alert within this journal that was told with this result.
        alert_revision: How often that alert was told before, and alert_count how many frames showed it then.
        run: Number of the run of the daemon; what follows is of that run.
    """

    frame: str | None = None
    source: str | None = None
    size_bytes: int | None = None
    type: str | None = None
    created_at: datetime | None = None
    created_from: _CreatedFrom | None = None
    clock: Clock | None = None
    recorded_at: datetime | None = None
    outcome: Outcome
    reason: str | None = None
    tile: str | None = None
    label: str | None = None
    confidence: float | None = None
    probabilities: dict[str, float] | None = None
    inference_ms: float | None = None
    total_ms: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    place: PlaceKind | None = None
    footprint: Polygon | MultiPolygon | None = None
    fix_source: str | None = None
    model: str | None = None
    engine: str | None = None
    device: str | None = None
    alert_sequence: int | None = None
    alert_delivered: bool | None = None
    alert_revision: int | None = None
    alert_count: int | None = None
    run: int | None = None
    version: str | None = None
    physical_cores: int | None = None
    logical_cores: int | None = None
    system: str | None = None
    system_version: str | None = None
    memory_bytes: int | None = None
    in_container: bool | None = None


class _Head(msgspec.Struct):
    """All that is read of an alert to know which one it is."""

    id: str


_head_decoder = msgspec.json.Decoder(_Head)


def results(database: sqlite3.Connection, since: datetime | None = None, *, alerts_only: bool = False) -> Generator[Result]:
    """Every result, and every frame without one, in the order of the frames.

    A frame that was tried again is where it was first, its result where it came at last.

    Args:
        database: From `edge.journal.reader`; who stops early closes the iterator before it.
        since: Only frames that were recorded then or later.
        alerts_only: Each alert once, as it was told last.
    """
    since_ms = 0 if since is None else round(since.timestamp() * 1000)
    database.execute("BEGIN")
    try:
        if alerts_only:
            outdated = _outdated(database)
            yield from (_alert(row) for row in _rows(database, ALERTS, since_ms) if row["sequence"] not in outdated)
            return
        having_result = _frames_with_result(database)
        streams = (
            ((row["frame"], _observation(row)) for row in _rows(database, OBSERVATIONS, since_ms)),
            ((row["frame"] or 0, _alert(row)) for row in _rows(database, ALERTED, since_ms)),
            (
                (row["frame"], Result(**_of_frame(row)))
                for row in _rows(database, FRAMES, since_ms)
                if not having_result[row["frame"] >> 3] & 1 << (row["frame"] & 7)
            ),
        )
        for _, result in heapq.merge(*streams, key=lambda pair: pair[0]):
            yield result
    finally:
        database.rollback()


def _rows(database: sqlite3.Connection, query: str, since_ms: int) -> sqlite3.Cursor:
    cursor = database.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(query, (since_ms,))


def _frames_with_result(database: sqlite3.Connection) -> bytearray:
    """A bit for each number of a frame: whether there is an observation or an alert of it."""
    last = database.execute("SELECT coalesce(max(frame), 0) FROM frames").fetchone()[0]
    bits = bytearray((last >> 3) + 1)
    for table in ("observations", "alerts WHERE NOT repeats"):
        query = f"SELECT frame FROM (SELECT frame FROM {table}) WHERE frame BETWEEN 1 AND ?"  # noqa: S608 - our own tables
        for (frame,) in database.execute(query, (last,)):
            bits[frame >> 3] |= 1 << (frame & 7)
    return bits


def _outdated(database: sqlite3.Connection) -> set[int]:
    """Numbers of the alerts that were told again later; their messages say which are the same."""
    latest: dict[str, tuple[int, int]] = {}
    for alert, *told in _told(database, "revision > 0"):
        latest[alert] = max(latest.get(alert, (0, 0)), (told[0], told[1]))
    if not latest:
        return set()
    everyone = _told(database, "sequence > 0")
    return {sequence for alert, revision, sequence in everyone if latest.get(alert, (revision, sequence))[1] != sequence}


def _told(database: sqlite3.Connection, which: str) -> Iterator[tuple[str, int, int]]:
    """Id, revision and number of alerts whose messages can be read."""
    for revision, sequence, message in database.execute(f"SELECT revision, sequence, message FROM alerts WHERE {which}"):  # noqa: S608
        try:
            alert = _head_decoder.decode(unpack(message)).id
        except (zlib.error, msgspec.DecodeError):
            # What is damaged stands for itself.
            continue
        yield alert, revision, sequence


def _observation(row: sqlite3.Row) -> Result:
    return Result(**_of_frame(row), **_of_result(row))


def _alert(row: sqlite3.Row) -> Result:
    frame = _of_frame(row) if row["message"] is None else _of_message(row["message"])
    return Result(
        **frame,
        **_of_result(row),
        alert_sequence=row["sequence"],
        alert_delivered=bool(row["delivered"]),
        alert_revision=row["revision"],
        alert_count=row["sightings"],
    )


def _of_frame(row: sqlite3.Row) -> dict[str, Any]:
    modified_ms, captured_ms = row["modified_ns"] // 1_000_000, row["captured_ms"]
    clock = None if row["clock"] is None else CLOCKS[row["clock"]]
    # An older version did not say, but took the file's own time where the image had none.
    is_from_image = captured_ms not in {None, modified_ms}
    return {
        "frame": row["name"],
        "source": row["path"],
        "size_bytes": row["size_bytes"],
        "type": _TYPES.guess_type(row["name"], strict=False)[0],
        "created_at": _time(modified_ms if captured_ms is None else captured_ms),
        "created_from": _created_from(clock) or ("image" if is_from_image else "file"),
        "clock": clock,
        "recorded_at": _time(row["recorded_ms"]),
        "outcome": OUTCOMES[row["outcome"]],
        "in_container": None if row["in_container"] is None else bool(row["in_container"]),
    } | {name: row[name] for name in _FRAME_FIELDS}


def _of_result(row: sqlite3.Row) -> dict[str, Any]:
    probabilities = msgspec.json.decode(row["probabilities"], type=dict[str, float])
    return {
        "probabilities": probabilities,
        "confidence": probabilities.get(row["label"]),
        "place": None if row["on_ground"] is None else _PLACES[row["on_ground"]],
        "footprint": None if row["footprint"] is None else polygon(unpack_corners(row["footprint"])),
    } | {name: row[name] for name in _RESULT_FIELDS}


def _of_message(message: bytes) -> dict[str, Any]:
    """What an alert knows of its frame; of one that is damaged nothing is known."""
    try:
        properties = decode_alert(unpack(message)).properties
    except (zlib.error, msgspec.DecodeError):
        return {"outcome": "observed"}
    return {
        "frame": properties.frame.name,
        "source": properties.frame.source,
        "type": _TYPES.guess_type(properties.frame.name, strict=False)[0],
        "created_at": datetime.fromisoformat(properties.captured_at),
        "created_from": _created_from(properties.clock),
        "clock": properties.clock,
        "outcome": "observed",
    }


def _created_from(clock: Clock | None) -> _CreatedFrom | None:
    return None if clock is None else _CREATED_FROM.get(clock, "file")


def _time(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
