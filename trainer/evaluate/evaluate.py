"""Puts together what is to be said of a network: figures for each data set, for each fold, and what to be wary of."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets import Dataset, SplitRule
from trainer.datasets.split import blocks
from trainer.evaluate.calibration import (
    CrossFitted,
    Reliability,
    cross_fitted_calibration,
    cross_fitted_probabilities,
    expected_calibration_error,
    reliability,
)
from trainer.evaluate.checks import EvaluateError
from trainer.evaluate.measure import Measured, pools
from trainer.evaluate.places import Distance, Places, accuracy_by_distance, errors_by_block
from trainer.evaluate.statistics import Figures, figures
from trainer.evaluate.subject import Subject
from trainer.evaluate.threshold import Threshold, threshold_for_recall

_SEED = 1
_DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error before and after a temperature.

    Attributes:
        fitted: The temperature, and what it is worth where it was not fitted.
        before: Reliability diagram of the probabilities as they are.
        after: The same when each half is scaled by the temperature fitted on the other half.
    """

    fitted: CrossFitted
    before: Reliability
    after: Reliability


@dataclass(frozen=True, slots=True)
class Section:
    """What was measured on one data set, or on all together.

    Attributes:
        how: How these tiles came to be measured on, in words.
        learned_from: Whether the network learned from (another part of) this data set; None: unknown.
        calibration: None: there are too few tiles.
        alert: The threshold for the wanted recall; None: no tile has the alert label.
        places: None: some place is unknown, or it is not one data set.
        distances: Empty: it is not known what was learned from, or where that lies.
        floor: What a linear model on colours gets; None: there is nothing to learn it from.
    """

    name: str
    how: str
    learned_from: bool | None
    figures: Figures
    calibration: Calibration | None
    alert: Threshold | None
    places: Places | None
    distances: tuple[Distance, ...]
    floor: Figures | None


@dataclass(frozen=True, slots=True)
class FoldFigures:
    """What one network of a cross-validation gets on its own held-out tiles; shares 0..1."""

    fold: int
    name: str
    tiles: int
    accuracy: float
    balanced_accuracy: float
    expected_calibration_error: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Balanced accuracy over the folds, 0..1; the standard deviation is that of a sample."""

    name: str
    mean: float
    least: float
    most: float
    standard_deviation: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that is said of a network.

    Attributes:
        subject: Name of the folder that was evaluated; `kind`: what it is.
        precision: Of the numbers that it was computed with.
        alert: The label to alert of.
        fingerprints: By data set, of what was measured on.
        sections: One for each data set, and one for all together where there are several.
        folds: Of a cross-validation, else empty; so is `spreads`.
        warnings: What to be wary of, one sentence each.
    """

    subject: str
    kind: str
    precision: str
    labels: tuple[str, ...]
    alert: str
    fingerprints: dict[str, str]
    sections: tuple[Section, ...]
    folds: tuple[FoldFigures, ...]
    spreads: tuple[Spread, ...]
    warnings: tuple[str, ...]

    @property
    def overall(self) -> Section:
        """What was measured of all tiles."""
        return self.sections[-1]


def alert_label(labels: Sequence[str], wanted: str | None) -> str:
    """The label to alert of: the wanted one, else "damaged" if there is one, else the first.

    Raises:
        EvaluateError: The wanted one is none of the labels.
    """
    if wanted is None:
        return _DAMAGED if _DAMAGED in labels else labels[0]
    if wanted not in labels:
        raise EvaluateError(f"--alert {wanted}: expected one of {', '.join(labels)}")
    return wanted


def evaluate(
    subject: Subject,
    measured: Sequence[Measured],
    datasets: Sequence[Dataset],
    *,
    rule: SplitRule | None,
    block_m: float,
    alert: str,
    recall: float,
    precision: str,
) -> Evaluation:
    """Compute all figures of what was measured.

    Args:
        measured: Of `measure`.
        datasets: What was measured on.
        rule: How it was split; None: it was not.
        block_m: Side of the blocks that errors are counted in.
        alert: One of the labels.
        recall: Wanted of it, 0..1.
        precision: For the record.
    """
    fingerprints = {dataset.name: dataset.fingerprint() for dataset in datasets}
    index = subject.labels.index(alert)
    pooled = pools(measured)
    each = pooled[: len(datasets)]
    sections = [
        _section(
            pool,
            subject,
            _known_blocks(pool, block_m),
            alert=index,
            recall=recall,
            block_m=block_m,
            fingerprint=fingerprints[pool.dataset],
        )
        for pool in each
    ]
    sections += [
        _section(everything, subject, _all_blocks(each, block_m), alert=index, recall=recall)
        for everything in pooled[len(datasets) :]
    ]
    folds = tuple(_fold(part) for part in measured if part.fold is not None)
    return Evaluation(
        subject.name,
        subject.kind,
        precision,
        subject.labels,
        alert,
        fingerprints,
        tuple(sections),
        folds,
        tuple(_spread(dataset.name, folds) for dataset in datasets) if folds else (),
        tuple(_warnings(subject, fingerprints, rule)),
    )


def _section(
    pool: Measured,
    subject: Subject,
    block: NDArray[np.int64] | None,
    *,
    alert: int,
    recall: float,
    block_m: float | None = None,
    fingerprint: str | None = None,
) -> Section:
    labels, probabilities = pool.tiles.labels, pool.probabilities
    right = pool.decided == labels
    known = np.isfinite(pool.distances)
    is_alert = labels == alert
    return Section(
        pool.dataset,
        pool.how,
        subject.learned_from(fingerprint) if fingerprint is not None and subject.fingerprints else None,
        figures(probabilities, labels, subject.labels, block),
        _calibration(probabilities, labels) if len(labels) > 1 else None,
        threshold_for_recall(probabilities[:, alert], is_alert, recall) if is_alert.any() else None,
        errors_by_block(pool.tiles.places, right, block_m) if block is not None and block_m is not None else None,
        accuracy_by_distance(pool.distances[known], right[known], labels[known], len(subject.labels)),
        figures(pool.floor, labels, subject.labels, block) if pool.floor is not None else None,
    )


def _calibration(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Calibration:
    return Calibration(
        cross_fitted_calibration(probabilities, labels, _SEED),
        reliability(probabilities, labels),
        reliability(cross_fitted_probabilities(probabilities, labels, _SEED), labels),
    )


def _known_blocks(pool: Measured, block_m: float) -> NDArray[np.int64] | None:
    return blocks(pool.tiles.places, block_m) if np.isfinite(pool.tiles.places).all() else None


def _all_blocks(pools: Sequence[Measured], block_m: float) -> NDArray[np.int64]:
    """Numbers of blocks over several data sets; a tile of unknown place is a block of its own."""
    numbers: list[NDArray[np.int64]] = []
    used = 0
    for pool in pools:
        block = _known_blocks(pool, block_m)
        numbers.append((np.arange(len(pool.tiles)) if block is None else block) + used)
        used = int(numbers[-1].max()) + 1
    return np.concatenate(numbers)


def _fold(part: Measured) -> FoldFigures:
    labels = part.tiles.labels
    right = part.decided == labels
    recalls = [float(right[labels == label].mean()) for label in np.unique(labels)]
    error = expected_calibration_error(part.probabilities, labels)
    return FoldFigures(part.fold or 0, part.dataset, len(labels), float(right.mean()), statistics.fmean(recalls), error)


def _spread(name: str, folds: Sequence[FoldFigures]) -> Spread:
    values = [fold.balanced_accuracy for fold in folds if fold.name == name]
    return Spread(
        name, statistics.fmean(values), min(values), max(values), statistics.stdev(values) if len(values) > 1 else 0.0
    )


def _warnings(subject: Subject, fingerprints: dict[str, str], rule: SplitRule | None) -> list[str]:
    """What makes the figures flatter, or less than they seem."""
    if not subject.fingerprints:
        return ["It is not known what this model learned from: where it learned from these very tiles, the figures flatter it."]
    warnings = []
    is_own_split = len(subject.folds) > 1 or subject.folds[0].rule == rule
    for name, fingerprint in fingerprints.items():
        if subject.learned_from(fingerprint):
            if rule is None:
                warnings.append(
                    f"{name}: measured on all tiles, those that the model learned from too: the figures flatter it."
                )
            elif not is_own_split:
                warnings.append(
                    f"{name}: not split as for training, so it learned from some of these tiles: figures flatter it."
                )
        elif name in subject.fingerprints:
            warnings.append(
                f"{name}: not the very data that the model learned from under this name: it may have seen some of these tiles."
            )
        elif rule is not None:
            warnings.append(
                f"{name}: the model did not learn from it, so nothing need be kept apart: --all measures on all tiles."
            )
    return warnings
