"""What is done to a journal while it is made to fail, and what must be in it afterwards, whatever happened.

What the program says of itself goes into notes, one line each: ``begin record 1 2`` and, once the journal acknowledged it,
``done record 1 2``; so with ``deliver`` and the numbers of alerts; ``opened`` and the journal's id; ``refused`` and the reason.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edge.journal import FrameRecord, Journal, JournalError
from edge.journal.packing import unpack
from edge.messages import decode_alert, uuid7
from edge.records import Alert, Fix, Frame, FrameKey, ModelName, Observation, Prediction, Tile

CAPTURED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
MODEL = ModelName("terrain-damage", 3, "ab" * 32)
PIXELS = np.zeros((8, 8, 3), np.uint8)

# What is recorded after a crash to see that the journal works; a frame with an alert.
EXTRA_FRAME = 999_999

Step = tuple[str, Sequence[int]]
"""record: frames in one transaction; deliver: numbers of alerts; checkpoint; reopen."""

# 30 frames, of which each third has an alert: frame 0 has alert 1, frame 3 has alert 2.
SCENARIO: Sequence[Step] = [
    ("record", [0]),
    ("record", [1, 2]),
    ("record", [3]),
    ("deliver", [1]),
    ("record", [4, 5, 6, 7]),
    ("checkpoint", []),
    ("record", [8]),
    ("record", [9]),
    ("deliver", [2, 3]),
    ("record", [10, 11, 12]),
    ("record", [13, 14]),
    ("reopen", []),
    ("deliver", [4]),
    ("record", [15]),
    ("record", [16, 17, 18]),
    ("checkpoint", []),
    ("deliver", [6, 5]),
    ("record", [19, 20]),
    ("record", [21]),
    ("record", [22, 23, 24, 25, 26]),
    ("reopen", []),
    ("record", [27]),
    ("deliver", [8]),
    ("record", [28, 29]),
]

TRIES = 30


def frame(number: int) -> FrameRecord:
    """Each third frame has two tiles of which one is alerted about, each seventh was rejected, the others have one tile."""
    key = FrameKey("/inbox", f"{number}.jpeg", 4096, 1_795_255_200_000_000_000)
    if number % 7 == 1:
        return FrameRecord(key, None, "rejected", "not an image")
    whole = Frame(key, CAPTURED_AT, 16, 8, PIXELS)
    prediction = Prediction({"damaged": 0.75, "undamaged": 0.25}, MODEL, "openvino", "CPU", 0.5)
    fix = Fix(29.5, -95.25, "exif", CAPTURED_AT, altitude_m=31.0)
    tiles = [Tile(8 * column, 0, 8, 8) for column in range(2 if has_alert(number) else 1)]
    observations = [Observation(whole, tile, prediction, fix) for tile in tiles]
    alerts = [Alert(uuid7(), observations[-1], "damaged", 0.75)] if has_alert(number) else []
    return FrameRecord(key, "2026-11-21T10:00:00.000Z", "observed", None, observations, alerts)


def has_alert(number: int) -> bool:
    """Whether a frame is alerted about."""
    return number % 3 == 0 and number % 7 != 1


def observations_of(number: int) -> int:
    """How many observations a frame has."""
    return len(frame(number).observations)


class Player:
    """Does the scenario to a journal. A step that the journal refuses is noted and tried again, as the daemon does."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self._path = path
        self._note = note
        self._journal = self._open()

    def play(self) -> None:
        """Do all steps."""
        for action, numbers in SCENARIO:
            getattr(self, f"_{action}")(numbers)
        self._journal.close()

    def _open(self) -> Journal:
        opened: list[Journal] = []
        self._try(lambda: opened.append(Journal(self._path, "uav-1")))
        self._note(f"opened {opened[0].id}")
        return opened[0]

    def _record(self, numbers: Sequence[int]) -> None:
        self._announced("record", numbers, lambda: self._journal.record([frame(number) for number in numbers]))

    def _deliver(self, sequences: Sequence[int]) -> None:
        self._announced("deliver", sequences, lambda: self._journal.alerts.deliver(sequences))

    def _announced(self, action: str, numbers: Sequence[int], step: Callable[[], object]) -> None:
        words = " ".join(map(str, (action, *numbers)))
        self._note(f"begin {words}")
        self._try(step)
        self._note(f"done {words}")

    def _checkpoint(self, _: Sequence[int]) -> None:
        """Write the log back into the file beside the journal, as it does itself only after a thousand pages."""
        with closing(sqlite3.connect(self._path)) as database:
            try:
                database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.OperationalError as error:
                self._note(f"refused {error}")

    def _reopen(self, _: Sequence[int]) -> None:
        self._journal.close()
        self._journal = self._open()

    def _try(self, step: Callable[[], object]) -> None:
        for _ in range(TRIES):
            try:
                step()
            except JournalError as error:
                self._note(f"refused {error}")
            else:
                return
        raise RuntimeError(f"still refused after {TRIES} times")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in a journal.

    Attributes:
        frames: Number of the frame → how many observations it has.
        alerts: Number of the frame and whether it was delivered, in the order of the alerts.
    """

    journal: str
    frames: dict[int, int]
    alerts: list[tuple[int, bool]]


def read(path: Path) -> Kept:
    """Read a closed journal, past its class, and see that it agrees with itself."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        (journal,) = database.execute("SELECT value FROM facts WHERE name = 'journal'").fetchone()
        frames = database.execute(
            "SELECT name, (SELECT count(*) FROM observations AS o WHERE o.frame = f.frame)"
            " + (SELECT count(*) FROM alerts AS a WHERE a.frame = f.frame) FROM frames AS f"
        ).fetchall()
        rows = database.execute("SELECT sequence, message, delivered FROM alerts ORDER BY sequence").fetchall()
    messages = [decode_alert(unpack(message)) for _, message, _ in rows]
    # Numbered without gaps, in the table as in the messages; and no alert is there twice.
    assert [sequence for sequence, _, _ in rows] == list(range(1, len(rows) + 1))
    assert [message.properties.sequence for message in messages] == list(range(1, len(rows) + 1))
    assert {message.properties.journal for message in messages} <= {journal}
    assert len({message.id for message in messages}) == len(rows)
    assert len({name for name, _ in frames}) == len(frames)
    alerts = [(_number(message.properties.frame.name), bool(row[2])) for message, row in zip(messages, rows, strict=True)]
    return Kept(journal, {_number(name): count for name, count in frames}, alerts)


def _number(name: str) -> int:
    return int(name.removesuffix(".jpeg"))


def check(path: Path, notes: Sequence[str], *, power_cut: bool, extra: int = EXTRA_FRAME) -> Kept:
    """See that a journal opens, has what it acknowledged and nothing that it was not given, and goes on.

    Args:
        power_cut: What was marked as delivered may be forgotten: then it is sent again.
        extra: A frame with an alert that is recorded then.

    Raises:
        AssertionError: It does not.
    """
    with closing(Journal(path, "uav-1")) as journal:
        before = journal.alerts.last_sequence
        assert journal.record([frame(extra)]) == 1
        assert journal.alerts.last_sequence == before + 1
    kept = read(path)
    words = [note.split() for note in notes]
    assert {id_ for verb, id_, *_ in words if verb == "opened"} <= {kept.journal}, "a journal was given up for a new one"
    begun, done = ([line[1:] for line in words if line[0] == verb] for verb in ("begin", "done"))

    assert kept.frames == {number: observations_of(number) for number in kept.frames}
    acknowledged = _numbers(done, "record")
    assert acknowledged <= kept.frames.keys(), f"lost: {acknowledged - kept.frames.keys()}"
    assert kept.frames.keys() <= _numbers(begun, "record") | {extra}, "there is what was not recorded"
    for action, *numbers in begun:
        if action == "record":
            assert len(kept.frames.keys() & set(map(int, numbers))) in (0, len(numbers)), "a transaction is there by half"
    alerted = [number for number, _ in kept.alerts]
    order = [int(number) for action, *numbers in begun if action == "record" for number in numbers]
    assert alerted == [number for number in (*order, extra) if number in kept.frames and has_alert(number)]

    delivered = {sequence for sequence, (_, is_delivered) in enumerate(kept.alerts, 1) if is_delivered}
    assert delivered <= _numbers(begun, "deliver"), "an alert that waits was taken for delivered"
    if not power_cut:
        assert _numbers(done, "deliver") <= delivered, "a delivery was forgotten"
    return kept


def _numbers(lines: Iterable[Sequence[str]], action: str) -> set[int]:
    return {int(number) for verb, *numbers in lines if verb == action for number in numbers}
