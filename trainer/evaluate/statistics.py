"""Figures of a network's probabilities, each share with the interval in which it would lie in 95 of 100 repetitions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.evaluate.checks import LEAST_PROBABILITY, check

_SEED = 1
_DRAWS = 4000
_TWO_SIDED_95 = 1.959963984540054
_ENDS = (2.5, 97.5)

INDEPENDENT_TILES = "taking tiles as independent"


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % confidence interval, all 0..1."""

    value: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class OfLabel:
    """What was measured of one label.

    Attributes:
        tiles: How many truly have it.
        precision: Share of the tiles decided for it that have it; None: none was decided for it.
        recall: Share of the tiles that have it that were decided for it; None: none has it.
        f1: Harmonic mean of both; None: there are not both.
    """

    label: str
    tiles: int
    precision: float | None
    recall: Share | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of some tiles.

    Attributes:
        accuracy: Share that was right, with Wilson's interval.
        balanced_accuracy: Mean recall of the labels that occur.
        interval: How the interval of the balanced accuracy came about, in words.
        confusion: [true label][decided label], tiles.
        roc_auc: Area under the ROC curve, 0..1; of more than two labels the mean of each against the others. None: there
            are tiles of one label only.
        log_loss: Mean of −ln of the true label's probability.
        brier: Mean squared distance of the probabilities from the truth, halved, so 0..1; of two labels the usual one.
    """

    tiles: int
    accuracy: Share
    balanced_accuracy: Share
    interval: str
    by_label: tuple[OfLabel, ...]
    confusion: tuple[tuple[int, ...], ...]
    roc_auc: float | None
    log_loss: float
    brier: float


def figures(
    probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    names: tuple[str, ...],
    blocks: NDArray[np.integer[Any]] | None = None,
) -> Figures:
    """Measure.

    Args:
        probabilities: (n, labels), 0..1.
        labels: (n,), the true one of each tile.
        names: Of the labels.
        blocks: (n,), the number of the block of ground in which each tile lies; None: unknown.

    Raises:
        EvaluateError: As `check`.
    """
    from sklearn.metrics import confusion_matrix

    exact = check(probabilities, labels)
    decided = exact.argmax(axis=1)
    right = decided == labels
    confusion = confusion_matrix(labels, decided, labels=np.arange(len(names)))
    own = np.maximum(exact[np.arange(len(labels)), labels], LEAST_PROBABILITY)
    balanced, interval = balanced_accuracy(right, labels, blocks)
    return Figures(
        len(labels),
        wilson(int(right.sum()), len(right)),
        balanced,
        interval,
        tuple(_of_label(name, confusion, index) for index, name in enumerate(names)),
        tuple(tuple(int(count) for count in row) for row in confusion),
        roc_auc(exact, labels),
        float(-np.log(own).mean()),
        float(np.square(exact - np.eye(len(names))[labels]).sum(axis=1).mean() / 2),
    )


def wilson(right: int, count: int) -> Share:
    """A share of independent tiles with Wilson's interval, which stays within 0..1 and is none too narrow near the ends.

    Wilson (1927), doi 10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta (2001), doi 10.1214/ss/1009213286.

    Args:
        count: At least 1.
    """
    value, square = right / count, _TWO_SIDED_95**2
    middle = (value + square / (2 * count)) / (1 + square / count)
    reach = _TWO_SIDED_95 / (1 + square / count) * math.sqrt(value * (1 - value) / count + square / (4 * count**2))
    # Rounding alone could leave the value outside.
    return Share(value, min(max(middle - reach, 0.0), value), max(min(middle + reach, 1.0), value))


def balanced_accuracy(
    right: NDArray[np.bool_], labels: NDArray[np.integer[Any]], blocks: NDArray[np.integer[Any]] | None
) -> tuple[Share, str]:
    """Mean recall of the labels that occur, with its interval, and how that came about.

    For independent tiles it is the posterior of Brodersen et al. (2010), doi 10.1109/ICPR.2010.764, with Jeffreys' prior: it
    leaves room for doubt even where all is right, where a bootstrap of tiles would leave none. Neighbouring tiles are not
    independent, so where their blocks are known whole blocks are drawn again with replacement (bootstrap of clusters, Field
    and Welsh, 2007, doi 10.1111/j.1467-9868.2007.00593.x), and the interval spans both. Fixed seed.

    Args:
        right: (n,), whether the decision was.
        labels: (n,), the true one of each tile.
        blocks: (n,), numbers of blocks; None: unknown.
    """
    occurring, index = np.unique(labels, return_inverse=True)
    tiles = np.bincount(index, minlength=len(occurring))
    hits = np.bincount(index, weights=right, minlength=len(occurring))
    value = float((hits / tiles).mean())
    rng = np.random.default_rng(_SEED)
    draws = rng.beta(hits + 0.5, tiles - hits + 0.5, (_DRAWS, len(occurring))).mean(axis=1)
    least, most = np.percentile(draws, _ENDS)
    how = INDEPENDENT_TILES
    number = 1 if blocks is None else len(np.unique(blocks))
    if blocks is not None and number > 1:
        ends = np.nanpercentile(_drawn_again(right, index, blocks, rng), _ENDS)
        least, most = min(least, ends[0]), max(most, ends[1])
        how = f"by drawing {number} blocks of ground again"
    return Share(value, float(min(least, value)), float(max(most, value))), how


def _drawn_again(
    right: NDArray[np.bool_], label: NDArray[np.intp], blocks: NDArray[np.integer[Any]], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Balanced accuracy of as many blocks, drawn with replacement, many times."""
    numbers, block = np.unique(blocks, return_inverse=True)
    tiles = np.zeros((len(numbers), int(label.max()) + 1))
    hits = np.zeros_like(tiles)
    np.add.at(tiles, (block, label), 1)
    np.add.at(hits, (block, label), right)
    drawn = rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), _DRAWS)
    with np.errstate(invalid="ignore"):
        # A label that none of the drawn blocks has is NaN, and so left out of the mean.
        recalls = (drawn @ hits) / (drawn @ tiles)
    return np.asarray(np.nanmean(recalls, axis=1))


def roc_auc(probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]]) -> float | None:
    """Area under the ROC curve; of more than two labels the mean of each that occurs against the others (Fawcett, 2006)."""
    from sklearn.metrics import roc_auc_score

    occurring = np.unique(labels)
    if len(occurring) < 2:
        return None
    each = [roc_auc_score(labels == label, probabilities[:, label]) for label in occurring]
    return float(np.mean(each))


def _of_label(name: str, confusion: NDArray[np.integer[Any]], index: int) -> OfLabel:
    hits, true, decided = int(confusion[index, index]), int(confusion[index].sum()), int(confusion[:, index].sum())
    return OfLabel(
        name,
        true,
        hits / decided if decided else None,
        wilson(hits, true) if true else None,
        2 * hits / (true + decided) if true and decided else None,
    )
