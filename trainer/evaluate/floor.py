"""The trivial floor: what a linear model makes of the colours alone. A network that is no better has learned nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.datasets import Tiles

_AT_ONCE = 256
_MOST_ITERATIONS = 1000


def floor_probabilities(learned: Tiles, held_out: Tiles, count: int) -> NDArray[np.float64]:
    """Fit a logistic regression on `colour_features`, and ask it.

    Each data set has its own, which is the harder floor: the colours of one say nothing about another. Each label counts as
    much as any other, as in balanced accuracy.

    Args:
        learned: The training side of a data set.
        held_out: What to ask it about.
        count: How many labels there are; each occurs in what is learned from.

    Returns:
        (n, labels).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=_MOST_ITERATIONS))
    model.fit(colour_features(learned.images), learned.labels)
    if len(model.classes_) != count:
        raise ValueError(f"the training side has {len(model.classes_)} labels, expected {count}")
    return np.asarray(model.predict_proba(colour_features(held_out.images)), np.float64)


def colour_features(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and standard deviation of red, green and blue: (n, side, side, 3) → (n, 6)."""
    rows = []
    for at in range(0, len(images), _AT_ONCE):
        pixels = images[at : at + _AT_ONCE].astype(np.float32)
        rows.append(np.concatenate([pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2))], axis=1))
    return np.concatenate(rows).astype(np.float64)
