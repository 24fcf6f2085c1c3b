"""Asks networks about the tiles that they did not learn from, and keeps every answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets import Dataset, SplitRule, Tiles, split_all
from trainer.evaluate.checks import EvaluateError
from trainer.evaluate.floor import floor_probabilities
from trainer.evaluate.places import distances_m
from trainer.evaluate.subject import Fold, Subject
from trainer.predict import Precision, Predictor, open_predictor

ALL_TOGETHER = "all together"

_AT_ONCE = 512

Progress = Callable[[str, int, int], None]
"""Told what is going on, how many tiles are done, and of how many."""


def no_progress(what: str, done: int, of: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a network said of the tiles of one data set.

    Attributes:
        dataset: Name.
        how: How these tiles came to be measured on, in words.
        fold: Number of the fold, from 1; None where there is only one network.
        tiles: With labels in the order of the network's output.
        probabilities: (n, labels).
        distances: (n,), metres to the nearest tile that was learned from; NaN where unknown.
        floor: (n, labels), what the trivial floor says; None: nothing was left to learn it from.
    """

    dataset: str
    how: str
    fold: int | None
    tiles: Tiles
    probabilities: NDArray[np.float64]
    distances: NDArray[np.float64]
    floor: NDArray[np.float64] | None

    @property
    def decided(self) -> NDArray[np.intp]:
        """(n,), the most probable label of each tile."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @classmethod
    def pooled(cls, parts: Sequence[Measured], name: str) -> Measured:
        """All tiles of all parts as those of one data set."""
        floors = [part.floor for part in parts if part.floor is not None]
        return cls(
            name,
            "; ".join(dict.fromkeys(part.how for part in parts)),
            None,
            Tiles.concatenate([part.tiles for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.distances for part in parts]),
            np.concatenate(floors) if len(floors) == len(parts) else None,
        )


def pools(measured: Sequence[Measured]) -> list[Measured]:
    """What was measured of each data set over all folds, and of all together where there are several data sets."""
    names = dict.fromkeys(part.dataset for part in measured)
    each = [Measured.pooled([part for part in measured if part.dataset == name], name) for name in names]
    return [*each, Measured.pooled(each, ALL_TOGETHER)] if len(each) > 1 else each


@dataclass(frozen=True, slots=True)
class _Side:
    """What a network is measured on of a data set, and what is left to learn from."""

    dataset: Dataset
    learned: Tiles | None
    measured: Tiles
    how: str


def measure(
    subject: Subject,
    datasets: Sequence[Dataset],
    rule: SplitRule | None,
    precision: Precision | None,
    progress: Progress = no_progress,
) -> list[Measured]:
    """Ask every network of the subject about its held-out tiles.

    Args:
        datasets: With the labels of the subject, in its order.
        rule: How they are split, for all networks of the subject but those of a cross-validation, which have their own;
            None: all tiles are measured on, by one network.
        precision: As `open_predictor`.

    Raises:
        DatasetError: The data cannot be split.
        PredictError: There is no such precision.
        EvaluateError: A network answers NaN.
    """
    if rule is None and len(subject.folds) > 1:
        raise ValueError(f"{subject.name}: all tiles would be measured once by each fold")
    measured = []
    for fold in subject.folds:
        predictor = open_predictor(fold.path, precision)
        used = fold.rule if fold.number is not None and fold.rule is not None else rule
        is_split_known = used is not None and used == fold.rule
        trained_on = {dataset.name for dataset in datasets if is_split_known and subject.learned_from(dataset.fingerprint())}
        measured += _measure_fold(fold, predictor, _sides(datasets, used), trained_on, progress)
    return measured


def _measure_fold(
    fold: Fold, predictor: Predictor, sides: Sequence[_Side], trained_on: Collection[str], progress: Progress
) -> list[Measured]:
    """Ask one network about all data sets, of which it learned from the other side of those in `trained_on`."""
    count = len(predictor.labels)
    measured = []
    for side in sides:
        floor = None if side.learned is None else floor_probabilities(side.learned, side.measured, count)
        name, places = side.dataset.name, side.measured.places
        distances = np.full(len(places), np.nan)
        if name in trained_on and side.learned is not None and np.isfinite(side.dataset.tiles.places).all():
            distances = distances_m(places, side.learned.places)
        what = name if fold.number is None else f"{name}, fold {fold.number}"
        probabilities = _ask(predictor, side.measured.images, what, progress)
        measured.append(Measured(name, side.how, fold.number, side.measured, probabilities, distances, floor))
    return measured


def _sides(datasets: Sequence[Dataset], rule: SplitRule | None) -> list[_Side]:
    if rule is None:
        return [_Side(dataset, None, dataset.tiles, "all tiles") for dataset in datasets]
    return [_Side(part.dataset, part.train, part.held_out, part.how) for part in split_all(datasets, rule)]


def _ask(predictor: Predictor, images: NDArray[np.uint8], what: str, progress: Progress) -> NDArray[np.float64]:
    answers = []
    for at in range(0, len(images), _AT_ONCE):
        progress(what, at, len(images))
        answers.append(predictor.probabilities(images[at : at + _AT_ONCE]))
    progress(what, len(images), len(images))
    probabilities = np.concatenate(answers).astype(np.float64)
    if not np.isfinite(probabilities).all():
        broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise EvaluateError(f"{predictor.name}: answers NaN or infinity for {broken} of {len(images)} tiles of {what}")
    return probabilities
