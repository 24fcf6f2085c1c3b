"""A journal of schema 2, as version 0.4 wrote it."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

from edge.journal import packing
from edge.messages import alert_message, encode, uuid7
from edge.records import Alert
from tests.edge.journal.frames import observe
from tests.edge.journal.old import JOURNAL

_OBSERVATION = """
    frame INTEGER NOT NULL, tile TEXT NOT NULL, label TEXT NOT NULL, probabilities TEXT NOT NULL, latitude REAL,
    longitude REAL, altitude_m REAL, fix_source TEXT, model INTEGER NOT NULL REFERENCES models (model),
    engine INTEGER NOT NULL REFERENCES engines (engine), inference_ms REAL NOT NULL
"""
_RESULT = "tile, label, probabilities, latitude, longitude, altitude_m, fix_source, model, engine, inference_ms"
_SCHEMA = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, started_ms INTEGER NOT NULL, version TEXT NOT NULL, physical_cores INTEGER,
    logical_cores INTEGER, system TEXT NOT NULL, system_version TEXT NOT NULL, memory_bytes INTEGER NOT NULL,
    in_container INTEGER NOT NULL
);
CREATE TABLE sources (source INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE models (
    model INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, sha256 TEXT NOT NULL,
    UNIQUE (name, version, sha256)
);
CREATE TABLE engines (engine INTEGER PRIMARY KEY, name TEXT NOT NULL, device TEXT NOT NULL, UNIQUE (name, device));
CREATE TABLE frames (
    frame INTEGER PRIMARY KEY, run INTEGER, source INTEGER NOT NULL REFERENCES sources (source), name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL, recorded_ms INTEGER NOT NULL, captured_ms INTEGER,
    total_ms REAL, outcome INTEGER NOT NULL, reason TEXT
);
CREATE UNIQUE INDEX frames_by_key ON frames (name, modified_ns, size_bytes, source);
CREATE TABLE observations (observation INTEGER PRIMARY KEY, {_OBSERVATION});
CREATE TABLE alerts (
    sequence INTEGER PRIMARY KEY, {_OBSERVATION}, delivered INTEGER NOT NULL DEFAULT 0, message BLOB NOT NULL
);
CREATE TABLE thumbnails (sequence INTEGER PRIMARY KEY, alert TEXT NOT NULL, jpeg BLOB NOT NULL);
CREATE TABLE commands (id TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIEW results AS
    SELECT frames.name AS frame, sources.path AS source, sequence, delivered, {_RESULT}
    FROM frames JOIN sources USING (source) LEFT JOIN (
        SELECT frame, NULL AS sequence, NULL AS delivered, {_RESULT} FROM observations
        UNION ALL SELECT frame, sequence, delivered, {_RESULT} FROM alerts WHERE sequence > 0
    ) USING (frame);
"""


def make_version_2(path: Path, frames: int) -> list[bytes]:
    """Make a journal of schema 2; returns the messages of its alerts, of which the odd ones are delivered.

    Of three frames one has an alert, one an observation alone, and one was rejected.
    """
    messages: list[bytes] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA page_size = 1024")
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = 2;")
        database.execute("INSERT INTO facts VALUES ('journal', ?)", (JOURNAL,))
        database.execute("INSERT INTO sources VALUES (1, '/inbox')")
        database.execute("INSERT INTO models VALUES (1, 'terrain-damage', 3, '00')")
        database.execute("INSERT INTO engines VALUES (1, 'openvino', 'CPU')")
        for number in range(1, frames + 1):
            kind = number % 3
            database.execute(
                "INSERT INTO frames VALUES (?, NULL, 1, ?, 4096, 1795255200000000000, 1795255201250, ?, 12.5, ?, ?)",
                (number, f"{number}.jpeg", 1795255200000, kind == 2, "not an image" if kind == 2 else None),
            )
            result = (number, "0,0,8,8", "damaged", '{"damaged":0.75,"undamaged":0.25}', 29.5, -95.25, 31.0, "exif", 1, 1, 0.5)
            if kind == 0:
                database.execute("INSERT INTO observations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", result)
            if kind == 1:
                alert = Alert(uuid7(), observe(f"{number}.jpeg"), "damaged", 0.75)
                messages.append(encode(alert_message(alert, "uav-1", JOURNAL, len(messages) + 1)))
                database.execute(
                    "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (len(messages), *result, len(messages) % 2, _packed(messages[-1])),
                )
        database.execute("COMMIT")
    return messages


def _packed(message: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=packing._FIRST_DICTIONARY)
    return packer.compress(message) + packer.flush()
