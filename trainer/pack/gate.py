"""What keeps a worse model from being packed: the new network and a bundle in use decide the same held-out tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets import Part
from trainer.evaluate.threshold import Threshold, threshold_for_recall
from trainer.metrics import score
from trainer.pack.errors import PackError
from trainer.predict import open_predictor

# Figures have four digits; what arithmetic adds to their differences is none.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Compared:
    """Two networks on the held-out tiles of one data set.

    Attributes:
        new: Balanced accuracy of the one to pack, 0..1; `reference`: of the bundle in use.
    """

    dataset: str
    tiles: int
    new: float
    reference: float


class Measurements:
    """What a network says of held-out tiles, asked once.

    Attributes:
        labels: In the order of its output.
        probabilities: By data set, (n, labels).
        true: By data set, (n,), index into `labels`.
    """

    def __init__(self, subject: Path, parts: Sequence[Part]) -> None:
        """
        Args:
            subject: An export or a bundle; as on a device its INT8 network is asked, or its FP16 one.

        Raises:
            PredictError, BundleError, ExportError: It has no such network or is damaged.
            PackError: Its labels are not those of the data.
        """
        predictor = open_predictor(subject)
        self.labels = predictor.labels
        self.probabilities: dict[str, NDArray[np.float32]] = {}
        self.true: dict[str, NDArray[np.int32]] = {}
        for part in parts:
            given, wanted = part.dataset.labels, self.labels
            if set(given) != set(wanted):
                raise PackError(f"{part.dataset.name}: has the labels {_list(given)}, {subject} has {_list(wanted)}")
            place = np.array([wanted.index(label) for label in given], np.int32)
            name = part.dataset.name
            self.probabilities[name] = predictor.probabilities(part.held_out.images)
            self.true[name] = place[part.held_out.labels]

    def balanced_accuracy(self, dataset: str) -> float:
        """On one data set, 0..1."""
        return float(score(self.probabilities[dataset], self.true[dataset])["balanced_accuracy"])

    def threshold(self, alert_labels: Sequence[str], recall: float) -> Threshold:
        """The threshold that finds a wanted share of the tiles to alert of, over all data sets.

        Raises:
            EvaluateError: No tile has one of these labels.
        """
        alert = [self.labels.index(label) for label in alert_labels]
        probabilities = np.concatenate([*self.probabilities.values()])[:, alert].max(axis=1)
        return threshold_for_recall(probabilities, np.isin(np.concatenate([*self.true.values()]), alert), recall)


def compare(new: Measurements, reference: Measurements) -> list[Compared]:
    """Both on the same tiles of each data set."""
    return [
        Compared(name, len(true), new.balanced_accuracy(name), reference.balanced_accuracy(name))
        for name, true in new.true.items()
    ]


def worse(compared: Sequence[Compared], most_lost: float) -> list[Compared]:
    """Where the new one lost more balanced accuracy than allowed (0..1)."""
    return [each for each in compared if each.reference - each.new > most_lost + _ROUNDING]


def _list(labels: Sequence[str]) -> str:
    return ", ".join(labels)
