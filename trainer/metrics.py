"""What is measured of a model's probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def recalls(decided: NDArray[np.integer[Any]], labels: NDArray[np.int32]) -> list[float]:
    """Of each label that occurs, the share of its tiles that was decided for it, 0..1."""
    return [float((decided[labels == label] == label).mean()) for label in np.unique(labels)]


def balanced_accuracy(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int32]) -> float:
    """The mean of the labels' recalls, 0..1; arguments as of `score`."""
    return float(np.mean(recalls(probabilities.argmax(axis=1), labels)))


def score(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int32]) -> dict[str, Any]:
    """Number of tiles, accuracy, and balanced accuracy (the mean of the labels' recalls), both 0..1.

    Args:
        probabilities: (n, labels).
        labels: (n,), the true one of each tile.
    """
    decided = probabilities.argmax(axis=1)
    return {
        "tiles": len(labels),
        "accuracy": round(float((decided == labels).mean()), 4),
        "balanced_accuracy": round(balanced_accuracy(probabilities, labels), 4),
    }
