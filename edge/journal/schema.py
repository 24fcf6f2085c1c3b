"""The tables of a journal, and how older ones are brought up to date.

Of a frame with an alert three trees are written to, in pages of 1 kB, and its message is packed: what is written for each alert
is what wears a memory card out. Times are milliseconds since 1970-01-01 UTC. The view ``results`` is for people.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

from edge.journal.packing import pack
from edge.messages import uuid7
from edge.records import Clock, Outcome

VERSION = 3
PAGE_BYTES = 1024

OUTCOMES: tuple[Outcome, ...] = ("observed", "rejected", "unavailable")
"""As numbered in the table frames."""

CLOCKS: tuple[Clock, ...] = ("image", "name", "system", "gps", "unsynchronised")
"""As numbered in the same table."""

_OBSERVATION = """
    frame INTEGER NOT NULL,
    tile TEXT NOT NULL,
    label TEXT NOT NULL,
    probabilities TEXT NOT NULL,
    latitude REAL,
    longitude REAL,
    altitude_m REAL,
    fix_source TEXT,
    model INTEGER NOT NULL REFERENCES models (model),
    engine INTEGER NOT NULL REFERENCES engines (engine),
    inference_ms REAL NOT NULL
"""
# What version 3 added stands at the end, where ALTER TABLE puts it. The place of a result is latitude and longitude; on_ground:
# 1: it is that of the ground, 0: that of the device, NULL: there is none, or an older version did not say.
_PLACE = ("on_ground INTEGER", "footprint BLOB")
# Which clock captured_ms is of; NULL: an older version did not say.
_CLOCK = ("clock INTEGER",)
# sightings: how many frames show it; repeats: the row tells again of a result that is a row of its own. The frame of such a row
# is the one with which it was told, for the housekeeping; the message knows the right one.
_ALERT = (
    "revision INTEGER NOT NULL DEFAULT 0",
    "sightings INTEGER NOT NULL DEFAULT 1",
    "repeats INTEGER NOT NULL DEFAULT 0",
)

_TABLES = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    started_ms INTEGER NOT NULL,
    version TEXT NOT NULL,
    physical_cores INTEGER,
    logical_cores INTEGER,
    system TEXT NOT NULL,
    system_version TEXT NOT NULL,
    memory_bytes INTEGER NOT NULL,
    in_container INTEGER NOT NULL
);
CREATE TABLE sources (source INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE models (
    model INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    UNIQUE (name, version, sha256)
);
CREATE TABLE engines (engine INTEGER PRIMARY KEY, name TEXT NOT NULL, device TEXT NOT NULL, UNIQUE (name, device));
CREATE TABLE frames (
    frame INTEGER PRIMARY KEY,
    run INTEGER,
    source INTEGER NOT NULL REFERENCES sources (source),
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    recorded_ms INTEGER NOT NULL,
    captured_ms INTEGER,
    total_ms REAL,
    outcome INTEGER NOT NULL,
    reason TEXT,
    {", ".join(_CLOCK)}
);
CREATE UNIQUE INDEX frames_by_key ON frames (name, modified_ns, size_bytes, source);
CREATE TABLE observations (observation INTEGER PRIMARY KEY, {_OBSERVATION}, {", ".join(_PLACE)});
CREATE TABLE alerts (
    sequence INTEGER PRIMARY KEY, {_OBSERVATION}, delivered INTEGER NOT NULL DEFAULT 0, message BLOB NOT NULL,
    {", ".join((*_PLACE, *_ALERT))}
);
CREATE TABLE thumbnails (sequence INTEGER PRIMARY KEY, alert TEXT NOT NULL, jpeg BLOB NOT NULL);
CREATE TABLE commands (id TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL) WITHOUT ROWID;
"""

_VIEW = """
CREATE VIEW results AS
    SELECT frames.name AS frame, sources.path AS source, size_bytes, modified_ns, captured_ms, recorded_ms, total_ms,
        CASE outcome WHEN 0 THEN 'observed' WHEN 1 THEN 'rejected' ELSE 'unavailable' END AS outcome, reason, run,
        sequence, delivered, tile, label, probabilities, latitude, longitude, altitude_m,
        CASE on_ground WHEN 1 THEN 'ground' WHEN 0 THEN 'device' END AS place, fix_source,
        models.name || '-' || models.version AS model, engines.name AS engine, engines.device AS device, inference_ms
    FROM frames
    JOIN sources USING (source)
    LEFT JOIN (
        SELECT frame, NULL AS sequence, NULL AS delivered, tile, label, probabilities, latitude, longitude, altitude_m,
            on_ground, fix_source, model, engine, inference_ms FROM observations
        UNION ALL
        SELECT frame, sequence, delivered, tile, label, probabilities, latitude, longitude, altitude_m,
            on_ground, fix_source, model, engine, inference_ms FROM alerts WHERE sequence > 0 AND NOT repeats
    ) USING (frame)
    LEFT JOIN models USING (model)
    LEFT JOIN engines USING (engine);
"""


def prepare(database: sqlite3.Connection) -> None:
    """Set up a new journal, or bring an old one up to date, in one transaction.

    Raises:
        sqlite3.DatabaseError: It is another program's database, or of a newer version.
    """
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise sqlite3.NotSupportedError(f"has schema {version}, this program knows up to {VERSION}")
    is_new = version == 0
    if is_new and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.NotSupportedError("is another program's database")
    if is_new:
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        # In its place a mode that loses acknowledged alerts would be used without a word.
        raise sqlite3.OperationalError(f"cannot keep a write-ahead log, only {mode}")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA temp_store = MEMORY")
    # By default it would keep 2 MB of pages in hand, and reach that only after thousands of frames.
    database.execute("PRAGMA cache_size = -512")
    # Pages that are written again and again reach the file once for 4 MB of log.
    database.execute("PRAGMA wal_autocheckpoint = 4000")
    # A log that grew while somebody read for long is made small again.
    database.execute("PRAGMA journal_size_limit = 16777216")
    if version == VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        if is_new:
            _run(database, _TABLES + _VIEW)
            database.execute("INSERT INTO facts VALUES ('journal', ?)", (uuid7(),))
        elif version == 1:
            _from_1(database)
        else:
            _from_2(database)
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def milliseconds(text: str | None) -> int | None:
    """A time on the wire as the journal keeps it."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def _run(database: sqlite3.Connection, script: str) -> None:
    """Run statements within the transaction that is open; `executescript` would end it."""
    for statement in script.split(";"):
        if statement.strip():
            database.execute(statement)


def _from_2(database: sqlite3.Connection) -> None:
    """Schema 2 knew neither clocks nor footprints nor revisions. No row is touched: what was added has its default in them."""
    database.execute("DROP VIEW results")
    for table, columns in (("frames", _CLOCK), ("observations", _PLACE), ("alerts", (*_PLACE, *_ALERT))):
        for column in columns:
            database.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    _run(database, _VIEW)


def _from_1(database: sqlite3.Connection) -> None:
    """Schema 1 kept times as text, every observation in one table, and messages as they are."""
    database.create_function("overflight_ms", 1, milliseconds, deterministic=True)
    database.create_function("overflight_pack", 1, pack, deterministic=True)
    for table in ("facts", "frames", "observations", "alerts"):
        database.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for index in ("frames_by_key", "alerts_waiting"):
        database.execute(f"DROP INDEX {index}")
    _run(database, _TABLES + _VIEW)
    # Model names end in their version: terrain-damage-3. Their hash was not kept.
    _run(
        database,
        """
        INSERT INTO facts SELECT name, value FROM facts_1;
        INSERT INTO sources (path) SELECT DISTINCT source FROM frames_1;
        INSERT INTO models (name, version, sha256)
            SELECT DISTINCT substr(model, 1, length(rtrim(model, '0123456789')) - 1),
                CAST(substr(model, length(rtrim(model, '0123456789')) + 1) AS INTEGER), '' FROM observations_1;
        INSERT INTO engines (name, device) SELECT DISTINCT engine, device FROM observations_1;
        INSERT INTO frames SELECT frame, NULL, sources.source, name, size_bytes, modified_ns, overflight_ms(recorded_at),
            overflight_ms(captured_at), NULL, CASE outcome WHEN 'observed' THEN 0 WHEN 'rejected' THEN 1 ELSE 2 END, reason,
            NULL FROM frames_1 JOIN sources ON path = frames_1.source;
        CREATE TABLE moved AS SELECT observation, frame, tile, label, probabilities, latitude, longitude, altitude_m,
            fix_source, models.model AS model, engines.engine AS engine, inference_ms
            FROM observations_1 JOIN models ON observations_1.model = models.name || '-' || models.version
            JOIN engines ON observations_1.engine = engines.name AND observations_1.device = engines.device;
        INSERT INTO observations SELECT *, NULL, NULL FROM moved WHERE observation NOT IN (SELECT observation FROM alerts_1);
        INSERT INTO alerts (sequence, frame, tile, label, probabilities, latitude, longitude, altitude_m, fix_source, model,
            engine, inference_ms, delivered, message)
            SELECT sequence, frame, tile, label, probabilities, latitude, longitude, altitude_m, fix_source,
            model, engine, inference_ms, delivered, overflight_pack(message) FROM alerts_1 JOIN moved USING (observation)
        """,
    )
    for table in ("frames", "alerts"):
        (before,), (after,) = (database.execute(f"SELECT count(*) FROM {name}").fetchone() for name in (f"{table}_1", table))  # noqa: S608
        if before != after:
            raise sqlite3.NotSupportedError(f"cannot be converted: of {before} {table} {before - after} would be lost")
    for table in ("moved", "alerts_1", "observations_1", "frames_1", "facts_1"):
        database.execute(f"DROP TABLE {table}")
