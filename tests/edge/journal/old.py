"""A journal of schema 1, as version 0.3 wrote it, and a program that is killed while it brings one up to date:

python -m tests.edge.journal.old FOLDER COUNT
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path

from edge.journal import Journal
from edge.messages import alert_message, encode, uuid7
from edge.records import Alert
from tests.edge.journal.frames import observe

JOURNAL = "0198f1c2-0000-7000-8000-000000000001"
MODEL = "terrain-damage-3"

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


def make_old(path: Path, frames: int) -> list[bytes]:
    """Make a journal of schema 1; returns the messages of its alerts, of which the odd ones are delivered.

    Of five frames one has an alert, two have an observation alone, one was rejected and one could not be read.
    """
    messages: list[bytes] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = 1;")
        database.execute("INSERT INTO facts VALUES ('journal', ?)", (JOURNAL,))
        for number in range(frames):
            kind = number % 5
            outcome, captured_at = ("observed", "2026-11-21T10:00:00.000Z") if kind < 3 else ("rejected", None)
            outcome, reason = ("unavailable" if kind == 4 else outcome), (None if kind < 3 else "not an image")
            frame = database.execute(
                "INSERT INTO frames (source, name, size_bytes, modified_ns, recorded_at, captured_at, outcome, reason)"
                " VALUES ('/inbox', ?, 4096, 1795255200000000000, '2026-11-21T10:00:01.250Z', ?, ?, ?)",
                (f"{number}.jpeg", captured_at, outcome, reason),
            ).lastrowid
            if kind < 3:
                observation = database.execute(
                    "INSERT INTO observations (frame, tile, label, probabilities, latitude, longitude, altitude_m, fix_source,"
                    " model, engine, device, inference_ms) VALUES (?, '0,0,8,8', 'damaged',"
                    " '{\"damaged\":0.75,\"undamaged\":0.25}', ?, ?, NULL, 'exif', ?, 'openvino', ?, 0.5)",
                    (frame, 29.5, -95.25, MODEL, "GPU" if kind == 2 else "CPU"),
                ).lastrowid
                if kind == 0:
                    alert = Alert(uuid7(), observe(f"{number}.jpeg"), "damaged", 0.75)
                    messages.append(encode(alert_message(alert, "uav-1", JOURNAL, len(messages) + 1)))
                    database.execute(
                        "INSERT INTO alerts (observation, message, delivered) VALUES (?, ?, ?)",
                        (observation, messages[-1], len(messages) % 2),
                    )
        database.execute("COMMIT")
    return messages


def version_of(path: Path) -> int:
    """The schema of a journal that nobody has open."""
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def main(folder: Path, count: int) -> None:
    """Kill processes that bring a journal up to date, and see each time that nothing is lost; prints what was seen as JSON."""
    original, path = folder / "original.db", folder / "journal.db"
    messages = make_old(original, 4000)
    took_s = 0.0
    seen: Counter[str] = Counter()
    chance = random.Random(7)
    for number in range(count + 1):
        for suffix in ("", "-wal", "-shm", ".lock"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        shutil.copy(original, path)
        start_s = time.monotonic()
        process = os.fork()
        if process == 0:
            try:
                Journal(path, "uav-1").close()
            except BaseException:  # noqa: BLE001 - the end of a process
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if number:
            time.sleep(chance.uniform(0, took_s))
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        # The first one lives to its end and says how long that takes.
        took_s = took_s or time.monotonic() - start_s
        seen[f"schema {version_of(path)}"] += 1
        with closing(Journal(path, "uav-1")) as journal:
            assert (journal.set_aside, journal.id, journal.alerts.last_sequence) == (None, JOURNAL, len(messages))
            waiting = [alert.message for alert in reversed(journal.alerts.newest(1, 2**40, 2**40))]
            assert waiting == messages[1::2]
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
