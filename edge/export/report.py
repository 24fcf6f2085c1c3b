"""The flight in numbers: of one run of the daemon, of all, and of the journal itself."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.journal import Run, reader
from edge.journal.schema import OUTCOMES
from edge.messages import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_REASONS = 5
_MOST_GAPS = 10
_FULL_TURN_DEG = 360.0

# Alerts below 1 are of a journal that was damaged. The frame of an alert that waits for long may be forgotten.
_COLUMNS = "frame, label, latitude, longitude, model, engine, inference_ms"
_RESULTS = (
    f"(SELECT {_COLUMNS} FROM observations UNION ALL"  # noqa: S608 - our own columns
    f" SELECT {_COLUMNS} FROM alerts WHERE sequence > 0 AND NOT repeats) AS results"
    " LEFT JOIN frames USING (frame)"
)
_IN_RUN = "(:run IS NULL OR frames.run = :run)"


class UnknownRunError(Exception):
    """The journal has no run of that number; the message is one line that says which it has."""


class Spread(msgspec.Struct, frozen=True):
    """Of values in milliseconds: half of them are not above the median, 95 of 100 not above p95."""

    median: float
    p95: float


class Box(msgspec.Struct, frozen=True):
    """What holds all positions, degrees in WGS 84; west is greater than east where it crosses 180° (RFC 7946, 5.2)."""

    west: float
    south: float
    east: float
    north: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A run, or all of them.

    Attributes:
        run: Number of the run; None: all.
        runs: How many there were, 0 in a journal of an older version.
        started_at: Of the (first) run.
        duration_s: From the first frame's record to the last one's; of all runs: without the time between them.
        frames: How many, by outcome.
        frames_per_s: Over that time; None: too few frames to say.
        reasons: Why frames were rejected, the most frequent first.
        inference_ms: Of tiles; total_ms: of frames, from the beginning of their reading to their result.
        results: How many tiles have one, alerts included; those that were forgotten to make room do not count.
        alerts: Each revision counts.
        labels: Results by their most probable label; models, engines: by what computed them.
        machine: None: of all runs, or unknown.
    """

    run: int | None
    runs: int
    started_at: str | None
    first_frame_at: str | None
    last_frame_at: str | None
    duration_s: float
    frames: dict[str, int]
    frames_per_s: float | None
    reasons: dict[str, int]
    inference_ms: Spread | None
    total_ms: Spread | None
    results: int
    without_position: int
    labels: dict[str, int]
    models: dict[str, int]
    engines: dict[str, int]
    box: Box | None
    alerts: int
    delivered: int
    waiting: int
    machine: Run | None


class JournalFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The journal itself.

    Attributes:
        size_bytes: On the disk, with its write-ahead log.
        last_sequence: Number of the newest alert.
        missing: How many alerts are not there though they cannot have been forgotten. Those are forgotten when they are
            delivered, the oldest first: so nothing may be missing above the oldest delivered one that is still there.
        gaps: First and last number of what is missing, the first ten.
        rescued: Undelivered alerts of a damaged journal that wait in this one.
        set_aside: Damaged journals that lie beside it.
    """

    path: str
    id: str
    size_bytes: int
    oldest_at: str | None
    newest_at: str | None
    last_sequence: int
    missing: int
    gaps: list[tuple[int, int]]
    rescued: int
    set_aside: list[str]


class Report(msgspec.Struct, frozen=True):
    """A journal in numbers; run: one of its runs, None: it knows of none; total: None: it was not asked for."""

    journal: JournalFigures
    run: Figures | None
    total: Figures | None


def report(path: Path, run: int | None = None) -> Report:
    """Read a journal's numbers, also while a daemon writes into it. Takes about 20 MB for a million frames.

    Args:
        run: Only that one; None: the last one, and all.

    Raises:
        JournalError: There is no journal, or it cannot be read.
        UnknownRunError: It has no such run.
    """
    with reader(path) as database:
        database.execute("BEGIN")
        runs = [row[0] for row in database.execute("SELECT run FROM runs ORDER BY run")]
        if run is not None and run not in runs:
            known = f"the journal has {runs[0]} to {runs[-1]}" if runs else "the journal knows of none"
            raise UnknownRunError(f"{run}: no such run; {known}")
        asked = run if run is not None else max(runs, default=None)
        figures = Report(
            _journal(database, path),
            None if asked is None else _figures(database, asked),
            _figures(database, None) if run is None else None,
        )
        database.rollback()
    return figures


def _journal(database: sqlite3.Connection, path: Path) -> JournalFigures:
    oldest, newest = database.execute("SELECT min(recorded_ms), max(recorded_ms) FROM frames").fetchone()
    last, rescued = database.execute("SELECT coalesce(max(sequence), 0), sum(sequence < 1) FROM alerts").fetchone()
    gaps = _gaps(database)
    return JournalFigures(
        path=str(path),
        id=database.execute("SELECT value FROM facts WHERE name = 'journal'").fetchone()[0],
        size_bytes=sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists()),
        oldest_at=_time(oldest),
        newest_at=_time(newest),
        last_sequence=max(0, last),
        missing=sum(last - first + 1 for first, last in gaps),
        gaps=gaps[:_MOST_GAPS],
        rescued=rescued or 0,
        set_aside=sorted(
            str(file) for file in path.parent.glob(f"{path.name}.damaged-*") if not file.name.endswith(("-wal", "-shm"))
        ),
    )


def _gaps(database: sqlite3.Connection) -> list[tuple[int, int]]:
    """First and last numbers of the alerts that are missing."""
    gaps = []
    previous = None
    query = (
        "SELECT sequence FROM alerts WHERE sequence >="
        " (SELECT sequence FROM alerts WHERE sequence > 0 AND delivered = 1 ORDER BY sequence LIMIT 1) ORDER BY sequence"
    )
    for (sequence,) in database.execute(query):
        if previous is not None and sequence > previous + 1:
            gaps.append((previous + 1, sequence - 1))
        previous = sequence
    return gaps


def _figures(database: sqlite3.Connection, run: int | None) -> Figures:
    scope = {"run": run}
    started, runs, machine = _runs(database, run)
    # One row a run; of an older version's frames nobody knows the run.
    spans = database.execute(
        f"SELECT count(*), min(recorded_ms), max(recorded_ms) FROM frames WHERE {_IN_RUN} GROUP BY run",  # noqa: S608 - our own
        scope,
    ).fetchall()
    duration_s = sum(last - first for _, first, last in spans) / 1000
    numbered = dict(
        database.execute(f"SELECT outcome, count(*) FROM frames WHERE {_IN_RUN} GROUP BY outcome", scope)  # noqa: S608
    )
    reasons = database.execute(
        f"SELECT reason, count(*) FROM frames WHERE {_IN_RUN} AND outcome != 0 GROUP BY reason"  # noqa: S608
        f" ORDER BY count(*) DESC, reason LIMIT {_MOST_REASONS}",
        scope,
    )
    alerts, delivered = database.execute(
        "SELECT count(*), coalesce(sum(delivered), 0) FROM alerts LEFT JOIN frames USING (frame)"  # noqa: S608
        f" WHERE sequence > 0 AND {_IN_RUN}",
        scope,
    ).fetchone()
    return Figures(
        run=run,
        runs=runs,
        started_at=_time(started),
        first_frame_at=_time(min((first for _, first, _ in spans), default=None)),
        last_frame_at=_time(max((last for _, _, last in spans), default=None)),
        duration_s=duration_s,
        frames={name: numbered.get(number, 0) for number, name in enumerate(OUTCOMES)},
        frames_per_s=sum(count - 1 for count, _, _ in spans) / duration_s if duration_s else None,
        reasons={reason or "unknown": count for reason, count in reasons},
        inference_ms=_spread(database, f"SELECT inference_ms FROM {_RESULTS} WHERE {_IN_RUN}", run),  # noqa: S608
        total_ms=_spread(
            database,
            f"SELECT total_ms FROM frames WHERE {_IN_RUN} AND total_ms IS NOT NULL",  # noqa: S608
            run,
        ),
        **_shares(database, run),
        alerts=alerts,
        delivered=delivered,
        waiting=alerts - delivered,
        machine=machine,
    )


def _runs(database: sqlite3.Connection, run: int | None) -> tuple[int | None, int, Run | None]:
    """When the first one started, how many there are, and the machine of the one that was asked for."""
    started, count = database.execute(
        "SELECT min(started_ms), count(*) FROM runs WHERE :run IS NULL OR run = :run", {"run": run}
    ).fetchone()
    if run is None:
        return started, count, None
    names = [field.name for field in fields(Run)]
    row = database.execute(f"SELECT {', '.join(names)} FROM runs WHERE run = ?", (run,)).fetchone()  # noqa: S608 - our own
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    return started, count, Run(**values | {"in_container": bool(values["in_container"])})


def _shares(database: sqlite3.Connection, run: int | None) -> dict[str, Any]:
    """The results by label, model and engine, and where they are."""
    groups = database.execute(
        "SELECT label, models.name || '-' || models.version, engines.name || ' on ' || device, count(*),"  # noqa: S608
        " count(*) - count(latitude), min(latitude), max(latitude), min(longitude), max(longitude),"
        f" min(longitude + {_FULL_TURN_DEG} * (longitude < 0)), max(longitude + {_FULL_TURN_DEG} * (longitude < 0))"
        f" FROM {_RESULTS} LEFT JOIN models USING (model) LEFT JOIN engines USING (engine) WHERE {_IN_RUN} GROUP BY 1, 2, 3",
        {"run": run},
    ).fetchall()
    counters: dict[str, Counter[str]] = {"labels": Counter(), "models": Counter(), "engines": Counter()}
    for group in groups:
        for counter, name in zip(counters.values(), group, strict=False):
            counter[name] += group[3]
    return {
        "results": sum(group[3] for group in groups),
        "without_position": sum(group[4] for group in groups),
        "box": _box([group[5:] for group in groups if group[5] is not None]),
    } | {name: dict(counter.most_common()) for name, counter in counters.items()}


def _box(extremes: Sequence[Sequence[float]]) -> Box | None:
    """The box around boxes, which have their longitudes from -180° on and from 0° on: it crosses 180° if it is smaller so."""
    if not extremes:
        return None
    souths, norths, wests, easts, turned_wests, turned_easts = zip(*extremes, strict=True)
    west, east = min(wests), max(easts)
    if max(turned_easts) - min(turned_wests) < east - west:
        west, east = (_turned(each) for each in (min(turned_wests), max(turned_easts)))
    return Box(west, min(souths), east, max(norths))


def _turned(longitude: float) -> float:
    return longitude - _FULL_TURN_DEG if longitude > _FULL_TURN_DEG / 2 else longitude


def _spread(database: sqlite3.Connection, query: str, run: int | None) -> Spread | None:
    import numpy as np

    values = np.fromiter((row[0] for row in database.execute(query, {"run": run})), dtype=np.float64)
    if not values.size:
        return None
    median, p95 = np.percentile(values, [50, 95])
    return Spread(round(float(median), 3), round(float(p95), 3))


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(datetime.fromtimestamp(milliseconds / 1000, UTC))
