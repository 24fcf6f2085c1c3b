"""What every figure needs before it is computed: probabilities that are some, and a true label for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError

LEAST_PROBABILITY = 1e-7
"""What a probability below it counts as in a logarithm, for 0 has none; FP32 cannot tell 1 from 1 less than that."""

# Networks answer in FP16 or FP32, so a row need not sum to exactly 1.
_SUM_TOLERANCE = 0.01


class EvaluateError(TrainerError):
    """Something cannot be measured; the message is the reason in one line."""


def check(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Refuse what no figure can be computed of.

    Args:
        probabilities: (n, labels), 0..1, rows that sum to 1 (within 0.01).
        labels: (n,), the true one of each row.

    Returns:
        The probabilities in float64, each row divided by its sum.

    Raises:
        EvaluateError: There is no row, shapes do not fit, a label is out of range, or a row is no probabilities.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or labels.shape != probabilities.shape[:1]:
        raise EvaluateError(f"probabilities {probabilities.shape} of labels {labels.shape}: expected (n, 2 or more) and (n,)")
    if not len(labels):
        raise EvaluateError("there is no tile to measure on, expected one at least")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise EvaluateError(f"label {labels.min()} to {labels.max()}: expected 0 to {probabilities.shape[1] - 1}")
    exact = probabilities.astype(np.float64)
    if not np.isfinite(exact).all():
        broken = ~np.isfinite(exact).all(axis=1)
        raise EvaluateError(f"{broken.sum()} of {len(labels)} tiles got NaN or infinity, expected probabilities")
    sums = exact.sum(axis=1)
    if exact.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise EvaluateError(
            f"least {exact.min():g}, sums {sums.min():g} to {sums.max():g}: expected probabilities that sum to 1"
        )
    return np.asarray(exact / sums[:, None])
