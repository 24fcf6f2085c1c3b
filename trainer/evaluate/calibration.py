"""How far probabilities can be taken as such, and how one number puts most of it right.

Of the tiles that a network is 90 % sure of it should get 90 % right. Modern networks do not, and dividing their logits by a
temperature helps without changing a single decision (Guo et al., 2017, arXiv:1706.04599).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.evaluate.checks import LEAST_PROBABILITY, EvaluateError, check

BINS = 15
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.1, 10.0
"""Of what is always right the best temperature is 0, and of what is no better than chance it is infinite: neither is used."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability diagram: what is behind each bin of confidence; bins without a tile are left out.

    Attributes:
        lower: Lower ends of the bins, 0..1; all lists have an entry for each bin.
        upper: Upper ends, which belong to the bin.
        tiles: How many tiles fall into it.
        confidence: Mean confidence of these, 0..1.
        accuracy: Share of these that were right, 0..1.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    tiles: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]


class CrossFitted(NamedTuple):
    """A temperature, and what it is worth on tiles that it was not fitted on.

    Attributes:
        temperature: Fitted on all tiles.
        before: Expected calibration error of the probabilities as they are, 0..1.
        after: The same when each half of the tiles is scaled by the temperature fitted on the other half.
    """

    temperature: float
    before: float
    after: float


def reliability(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = BINS) -> Reliability:
    """Sort tiles into bins of the same width by the confidence in their decided label.

    Args:
        probabilities: (n, labels), 0..1.
        labels: (n,), the true one of each tile.

    Raises:
        EvaluateError: As `check`.
    """
    exact = check(probabilities, labels)
    confidence = exact.max(axis=1)
    right = exact.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    used = np.unique(index)
    return Reliability(
        tuple(float(at / bins) for at in used),
        tuple(float((at + 1) / bins) for at in used),
        tuple(int((index == at).sum()) for at in used),
        tuple(float(confidence[index == at].mean()) for at in used),
        tuple(float(right[index == at].mean()) for at in used),
    )


def expected_calibration_error(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], bins: int = BINS
) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by their tiles, 0..1 (Guo et al., 2017, equation 3).

    Args:
        probabilities: (n, labels), 0..1.
        labels: (n,), the true one of each tile.

    Raises:
        EvaluateError: As `check`.
    """
    diagram = reliability(probabilities, labels, bins)
    gaps = np.abs(np.array(diagram.confidence) - np.array(diagram.accuracy))
    return float(np.average(gaps, weights=diagram.tiles))


def apply_temperature(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """What a softmax would have said of logits divided by a temperature.

    The logarithms of probabilities are the logits but for an offset that a softmax does not see, so no logits are needed.

    Args:
        probabilities: (n, labels), 0..1.
        temperature: Above 1 makes less sure, below 1 surer.

    Returns:
        (n, labels), rows that sum to 1, in which the same label is decided for.

    Raises:
        EvaluateError: The temperature is not above 0.
    """
    if not 0 < temperature < float("inf"):
        raise EvaluateError(f"temperature {temperature:g}: expected a number above 0")
    return np.asarray(np.exp(_scaled_logarithms(probabilities, temperature)))


def fit_temperature(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """The temperature at which the true labels are likeliest, from 0.1 to 10 (Guo et al., 2017, section 4.2).

    The log loss is convex in 1/T, so it falls and then rises along log T, which is searched between the ends.

    Args:
        probabilities: (n, labels), 0..1, of tiles that the network did not learn from.
        labels: (n,), the true one of each tile.

    Raises:
        EvaluateError: As `check`.
    """
    from scipy.optimize import minimize_scalar

    exact = check(probabilities, labels)
    rows = np.arange(len(labels))

    def log_loss(log_temperature: float) -> float:
        return float(-_scaled_logarithms(exact, float(np.exp(log_temperature)))[rows, labels].mean())

    ends = (float(np.log(LEAST_TEMPERATURE)), float(np.log(MOST_TEMPERATURE)))
    found = minimize_scalar(log_loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def cross_fitted_calibration(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], seed: int
) -> CrossFitted:
    """Fit a temperature, and say honestly what it is worth: on tiles that it was not fitted on.

    Args:
        probabilities: (n, labels), 0..1, of tiles that the network did not learn from.
        labels: (n,), the true one of each tile.
        seed: Deals the tiles of each label to the two halves.

    Raises:
        EvaluateError: As `check`, or there is only one tile.
    """
    scaled = cross_fitted_probabilities(probabilities, labels, seed)
    return CrossFitted(
        fit_temperature(probabilities, labels),
        expected_calibration_error(probabilities, labels),
        expected_calibration_error(scaled, labels),
    )


def cross_fitted_probabilities(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], seed: int
) -> NDArray[np.float64]:
    """Each half of the tiles, scaled by the temperature fitted on the other half: (n, labels).

    Args and errors as for `cross_fitted_calibration`.
    """
    exact = check(probabilities, labels)
    if len(labels) < 2:
        raise EvaluateError("one tile cannot be halved to fit a temperature, expected two at least")
    first = _half(labels, seed)
    scaled = np.empty_like(exact)
    scaled[first] = apply_temperature(exact[first], fit_temperature(exact[~first], labels[~first]))
    scaled[~first] = apply_temperature(exact[~first], fit_temperature(exact[first], labels[first]))
    return scaled


def _half(labels: NDArray[np.integer[Any]], seed: int) -> NDArray[np.bool_]:
    """Every other tile of each label in turn, in random order: (n,), true for one half."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    half = np.zeros(len(labels), bool)
    half[order[::2]] = True
    return half


def _scaled_logarithms(probabilities: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    from scipy.special import log_softmax

    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY)) / temperature
    return np.asarray(log_softmax(logits, axis=1), np.float64)
