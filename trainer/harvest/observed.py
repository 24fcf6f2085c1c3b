"""What a device's journal says of the frames that it observed. The journal is only read, and never locked."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge.journal import JournalError, is_open
from edge.journal.packing import unpack
from edge.journal.schema import VERSION
from edge.messages import decode_alert, rfc3339
from edge.text import one_line
from trainer.datasets import UNLABELLED
from trainer.harvest.errors import HarvestError

_QUERY = """
SELECT frames.frame, path, frames.name, size_bytes, modified_ns, captured_ms,
       tile, label, probabilities, latitude, longitude, sequence, message
FROM frames JOIN sources USING (source) JOIN (
    SELECT frame, tile, label, probabilities, latitude, longitude, NULL AS sequence, NULL AS message FROM observations
    UNION ALL
    SELECT frame, tile, label, probabilities, latitude, longitude, sequence, message FROM alerts
    WHERE sequence > 0 AND NOT repeats
) USING (frame)
ORDER BY frames.frame
"""

# Alerts that tell of a result which is a row of its own: that of an earlier frame, which others have confirmed.
_REPEATED = "SELECT sequence, message FROM alerts WHERE sequence > 0 AND repeats ORDER BY sequence DESC"

_NAMES_A_FOLDER = re.compile(r"[^./][^/]{0,63}")

_Tile = tuple[str, str, str]
"""Source and name of its frame, and left, top, width and height."""

_probabilities = msgspec.json.Decoder(dict[str, float])


@dataclass(frozen=True, slots=True)
class Observed:
    """A frame, and what the device said of it.

    Attributes:
        name: Path below the folder that the device took it from.
        captured_at: RFC 3339, UTC; None: unknown.
        label: The most probable one.
        tile: The part of the frame that it is about, as the journal has it: left, top, width and height as encoded, pixels.
        probabilities: By label, 0..1.
        longitude: Degrees east, WGS 84; `latitude`: degrees north. None: unknown.
        sequence: Number of the alert about it in this journal, and `alert` its id; None: there was none.
    """

    name: str
    size_bytes: int
    modified_ns: int
    captured_at: str | None
    tile: str
    label: str
    probabilities: dict[str, float]
    longitude: float | None
    latitude: float | None
    sequence: int | None
    alert: str | None

    @property
    def probability(self) -> float:
        """Of the label that was decided for, 0..1."""
        return self.probabilities[self.label]

    @property
    def margin(self) -> float:
        """By how much the most probable label leads the second, 0..1 (margin sampling: Settles, 2009, section 3.1)."""
        first, second = sorted(self.probabilities.values(), reverse=True)[:2]
        return first - second


@dataclass(frozen=True, slots=True)
class Observations:
    """What a journal holds.

    Attributes:
        frames: Those of which one tile from the top left corner was classified: the whole, if it is as large as the image.
        labels: All that occur, sorted.
        in_tiles: Names of those that were classified in tiles: no one label is that of the whole.
    """

    frames: Sequence[Observed]
    labels: tuple[str, ...]
    in_tiles: tuple[str, ...]


def read_observations(journal: Path) -> Observations:
    """Read a journal.

    Raises:
        HarvestError: It is none, a daemon is writing it, or it holds no observation.
    """
    if not journal.is_file():
        raise HarvestError(f"{journal}: no such journal")
    frames: dict[int, list[Observed]] = {}
    try:
        if is_open(journal):
            raise HarvestError(f"{journal}: a daemon has it open; stop it, or harvest a copy that was made after it stopped")
        with _opened(journal) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                raise HarvestError(f"{journal}: no journal of schema {VERSION}")
            repeated = dict(map(_repeated, database.execute(_REPEATED)))
            for number, *row in database.execute(_QUERY):
                frames.setdefault(number, []).append(_observed(row, repeated))
    except (sqlite3.Error, OSError, JournalError, msgspec.DecodeError, zlib.error, KeyError) as error:
        raise HarvestError(f"{journal}: cannot be read: {one_line(error)}") from error
    if not frames:
        raise HarvestError(f"{journal}: holds no observation, so there is nothing to harvest")
    whole, in_tiles = [], []
    for tiles in frames.values():
        # Of the tiles of a frame one alone may have got an answer.
        if len(tiles) == 1 and tiles[0].tile.startswith("0,0,"):
            whole.append(tiles[0])
        else:
            in_tiles.append(tiles[0].name)
    labels = sorted({label for tiles in frames.values() for label in tiles[0].probabilities})
    for label in labels:
        # A label becomes the name of a folder, and a journal can come from anywhere.
        if not _NAMES_A_FOLDER.fullmatch(label) or not label.isprintable() or label == UNLABELLED:
            raise HarvestError(f"{journal}: the label {label!a} cannot be the name of a folder")
    return Observations(whole, tuple(labels), tuple(in_tiles))


@contextmanager
def _opened(journal: Path) -> Iterator[sqlite3.Connection]:
    """The journal's content with that of its write-ahead log; the original is not touched, not even by a lock."""
    log = Path(f"{journal}-wal")
    if not log.exists():
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            yield database
        return
    with tempfile.TemporaryDirectory(prefix="overflight-harvest-") as folder:
        copy = Path(folder) / "journal.db"
        shutil.copyfile(journal, copy)
        shutil.copyfile(log, f"{copy}-wal")
        with closing(sqlite3.connect(copy)) as database:
            yield database


def _repeated(row: tuple[int, bytes]) -> tuple[_Tile, tuple[int, str]]:
    """Which tile an alert tells of, its number and its id."""
    sequence, message = row
    alert = decode_alert(unpack(message))
    frame = alert.properties.frame
    return (frame.source, frame.name, ",".join(map(str, frame.tile))), (sequence, alert.id)


def _observed(row: Sequence[object], repeated: Mapping[_Tile, tuple[int, str]]) -> Observed:
    """
    Args:
        repeated: Alerts by the tile that they tell of, for what has none of its own.
    """
    path, name, size_bytes, modified_ns, captured_ms, tile, label, text, latitude, longitude, sequence, message = row
    probabilities = _probabilities.decode(str(text))
    if len(probabilities) < 2:
        raise KeyError(f"{name}: one probability alone")
    alert = None
    if isinstance(message, bytes):
        alert = decode_alert(unpack(message)).id
    else:
        sequence, alert = repeated.get((str(path), str(name), str(tile)), (None, None))
    return Observed(
        str(name),
        _integer(size_bytes),
        _integer(modified_ns),
        rfc3339(datetime.fromtimestamp(captured_ms / 1000, UTC)) if isinstance(captured_ms, int) else None,
        str(tile),
        str(label) if str(label) in probabilities else max(probabilities, key=lambda each: probabilities[each]),
        probabilities,
        _number(longitude),
        _number(latitude),
        None if sequence is None else _integer(sequence),
        alert,
    )


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
