"""Lays out the frames that a device brought back as folders to label."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.capture.headers import ImageError
from edge.text import one_line
from trainer.datasets import UNLABELLED
from trainer.files import replaced_folder
from trainer.harvest.errors import HarvestError
from trainer.harvest.frames import Kept, Look, look, oddness
from trainer.harvest.observed import Observed, read_observations
from trainer.harvest.queue import Candidate, Queued, each_once, sort_by_usefulness, with_oddness
from trainer.harvest.verdicts import Verdicts, read_verdicts

QUEUE, README = "queue.csv", "README.txt"

_COLUMNS = (
    *("rank", "reason", "file", "frame", "decided", "probability", "margin", "true_label"),
    *("longitude", "latitude", "captured_at", "sequence", "alert"),
)
_LONGEST_NAME = 150

Progress = Callable[[Sequence[Observed]], Iterable[Observed]]
"""Passes on what it is given, and may show how far that is."""


@dataclass(frozen=True, slots=True)
class Harvested:
    """What was laid out, and what was not.

    Attributes:
        counts: Frames by reason.
        missing: Names of frames that are not there, or are others by now; of no use are also those that cannot be read
            (`unreadable`), show what another shows (`duplicates`), or were classified in tiles (`in_tiles`).
        unknown: Alerts and frames of which an operator spoke and the journal does not know.
    """

    counts: dict[str, int]
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    duplicates: tuple[str, ...]
    in_tiles: tuple[str, ...]
    unknown: tuple[str, ...]


def harvest(
    journal: Path,
    frames: Path,
    target: Path,
    *,
    limit: int = 500,
    contradicted: Path | None = None,
    progress: Progress = lambda observed: observed,
) -> Harvested:
    """Write a folder to label, or nothing.

    Args:
        journal: SQLite, with its ``-wal`` beside it if there is one.
        frames: Where the frames lie by their names, or below ``done`` or ``rejected``.
        limit: Frames to lay out at most.
        contradicted: True labels that operators said; None: there are none.

    Raises:
        HarvestError: The target is there already, the journal cannot be read, or no frame is there.
        OSError: It cannot be written.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise HarvestError(f"{target}: exists; it is not replaced, somebody's labels may be in it")
    observations = read_observations(journal)
    verdicts = read_verdicts(contradicted, observations.labels) if contradicted is not None else Verdicts({}, {})
    kept = Kept(frames)
    candidates: list[Candidate] = []
    looks: list[Look] = []
    missing, unreadable, in_tiles = [], [], list(observations.in_tiles)
    for observed in progress(observations.frames):
        file = kept.find(observed)
        if file is None:
            missing.append(observed.name)
            continue
        try:
            seen = look(file)
        except (ImageError, OSError) as error:
            unreadable.append(f"{observed.name}: {one_line(error)}")
            continue
        if observed.tile != seen.whole:
            in_tiles.append(observed.name)
            continue
        looks.append(seen)
        candidates.append(Candidate(observed, file, verdicts.of(observed)))
    if not candidates:
        raise HarvestError(
            f"{frames}: none of the {len(observations.frames)} frames that the journal knows can be used: {len(missing)} are "
            f"missing, {len(unreadable)} unreadable, {len(in_tiles)} were classified in tiles"
        )
    indices, duplicates = each_once(candidates, [each.digest for each in looks])
    strange = oddness(np.stack([looks[at].features for at in indices]))
    queue = sort_by_usefulness(with_oddness([candidates[at] for at in indices], strange), limit)
    with replaced_folder(target) as folder:
        _lay_out(folder, queue, observations.labels)
    return Harvested(
        dict(Counter(queued.reason for queued in queue)),
        tuple(missing),
        tuple(unreadable),
        tuple(duplicates),
        tuple(in_tiles),
        tuple(verdicts.unknown(observations.frames)),
    )


def _lay_out(folder: Path, queue: Sequence[Queued], labels: Sequence[str]) -> None:
    for name in (*labels, UNLABELLED):
        (folder / name).mkdir()
    with (folder / QUEUE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for queued in queue:
            path = f"{queued.candidate.true_label or UNLABELLED}/{_file_name(queued)}"
            shutil.copyfile(queued.candidate.file, folder / path)
            writer.writerow(_row(queued, path))
    (folder / README).write_text(_readme(labels), encoding="utf-8")


def _file_name(queued: Queued) -> str:
    # A hyphen before the name would turn a longitude in it from east to west.
    name = queued.candidate.observed.name.replace("/", "_")
    return f"{queued.rank:04}-{queued.reason}_{name[-_LONGEST_NAME:]}"


def _row(queued: Queued, path: str) -> tuple[object, ...]:
    observed = queued.candidate.observed
    return (
        *(queued.rank, queued.reason, path, observed.name, observed.label),
        *(f"{observed.probability:.6f}", f"{observed.margin:.6f}", queued.candidate.true_label),
        *(observed.longitude, observed.latitude, observed.captured_at, observed.sequence, observed.alert),
    )


def _readme(labels: Sequence[str]) -> str:
    folders = "\n".join(f"  {label}/" for label in labels)
    return f"""\
Frames to label, the most useful first.

1. Look at each file in {UNLABELLED}/ and move it into the folder of what it shows:
{folders}
   Leave what you are not sure of in {UNLABELLED}/: it is not learned from. Files that lie in a label's folder already were
   labelled by an operator.
2. Every label needs one file at least; without, take frames of that label from elsewhere.
3. Learn on from the bundle that the device runs, best together with the data that it learned from:

   overflight-train fit --from BUNDLE --data THIS_FOLDER --data OTHER_DATA --out RUN

A name begins with the rank and the reason: contradicted (an operator said that the device was wrong), confirmed (an operator
said that it was right), uncertain (the device hardly preferred its label to the next), odd (looks like little else), ordinary
(the rest). {QUEUE} says for each frame what the device decided, how sure it was, and where and when it was taken.
"""
