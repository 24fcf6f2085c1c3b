"""What is measured of a model's decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def score(decided: NDArray[np.integer[Any]], labels: NDArray[np.int32]) -> dict[str, Any]:
    """Accuracy and balanced accuracy (the mean of the labels' recalls), both 0..1.

    Args:
        decided: (n,), the label decided for each tile.
        labels: (n,), the true one.
    """
    recalls = [float((decided[labels == label] == label).mean()) for label in np.unique(labels)]
    return {
        "tiles": len(labels),
        "accuracy": round(float((decided == labels).mean()), 4),
        "balanced_accuracy": round(float(np.mean(recalls)), 4),
    }
