"""Looks into a journal beside a daemon that may have it open."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge.journal.errors import JournalError
from edge.journal.owner import is_open
from edge.journal.packing import unpack
from edge.journal.records import Counts
from edge.journal.schema import OUTCOMES, VERSION


@contextmanager
def reader(path: Path | str) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, and what goes wrong with it as `JournalError`.

    Raises:
        JournalError: There is no journal, it is of another version, or it cannot be read; or, at the end, a daemon began to
            write into it meanwhile.
    """
    if not Path(path).exists():
        raise JournalError(f"journal {path}: no such file")
    uri = f"{Path(path).absolute().as_uri()}?mode=ro"
    stamp = None
    if not is_open(path) and not Path(f"{path}-wal").exists():
        # Nobody writes: so whoever may read the file alone can, without the right to put a lock beside it.
        uri += "&immutable=1"
        stamp = _stamp(path)
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                raise JournalError(f"journal {path}: is only being begun")
            if version != VERSION:
                raise JournalError(
                    f"journal {path}: has schema {version}, this program reads {VERSION}; the daemon converts it"
                )
            yield database
    except sqlite3.Error as error:
        _check_unchanged(path, stamp)
        raise JournalError(f"journal {path}: {error}") from error
    _check_unchanged(path, stamp)


def _stamp(path: Path | str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


def _check_unchanged(path: Path | str, stamp: tuple[int, int] | None) -> None:
    """
    Raises:
        JournalError: A file that was read without a lock has changed since its stamp: what was read may not fit together.
    """
    if stamp is not None and _stamp(path) != stamp:
        raise JournalError(f"journal {path}: a daemon began to write into it while it was read; try again")


def read_counts(path: Path | str) -> Counts:
    """How much a journal holds.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    with reader(path) as database:
        numbered = dict(database.execute("SELECT outcome, count(*) FROM frames GROUP BY outcome"))
        outcomes = {OUTCOMES[number]: count for number, count in numbered.items()}
        observations, alerts, told, waiting = database.execute(
            "SELECT (SELECT count(*) FROM observations), (SELECT count(*) FROM alerts WHERE sequence > 0),"
            " (SELECT count(*) FROM alerts WHERE sequence > 0 AND NOT repeats),"
            " (SELECT count(*) FROM alerts WHERE delivered = 0)"
        ).fetchone()
    rejected = outcomes.get("rejected", 0) + outcomes.get("unavailable", 0)
    return Counts(outcomes.get("observed", 0), rejected, observations + told, alerts, waiting)


def read_alerts(path: Path | str) -> list[tuple[int, bytes, bool]]:
    """The alerts of a journal: number, message, and whether it is delivered; in order.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """
    with reader(path) as database:
        rows = database.execute("SELECT sequence, message, delivered FROM alerts ORDER BY sequence")
        return [(sequence, unpack(message), bool(delivered)) for sequence, message, delivered in rows]
