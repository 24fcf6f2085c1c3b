"""Calibration: the error, the temperature, and what it is worth where it was not fitted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.evaluate.calibration import (
    LEAST_TEMPERATURE,
    MOST_TEMPERATURE,
    apply_temperature,
    cross_fitted_calibration,
    cross_fitted_probabilities,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from trainer.evaluate.checks import EvaluateError


def drawn(count: int, labels: int = 3) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Probabilities, and true labels drawn by just these: perfectly calibrated."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2, (count, labels))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = [rng.choice(labels, p=row) for row in probabilities]
    return probabilities, np.array(truth, np.int32)


def test_error_is_the_mean_gap_of_confidence_and_accuracy_weighted_by_tiles() -> None:
    # Three tiles at 0.9, of which two are right; one at 0.6, which is right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.4)


def test_diagram_leaves_out_empty_bins_and_counts_every_tile_once() -> None:
    diagram = reliability(np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]]), np.array([0, 0, 1]))
    assert diagram.tiles == (1, 2)
    assert diagram.confidence == pytest.approx((0.6, 0.9))
    assert diagram.accuracy == (1.0, 0.5)
    assert [(round(low * 15), round(high * 15)) for low, high in zip(diagram.lower, diagram.upper, strict=True)] == [
        (8, 9),
        (13, 14),
    ]


def test_probabilities_of_exactly_0_and_1_fall_into_the_last_bin() -> None:
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert reliability(probabilities, np.array([0, 1])).upper == (1.0,)
    assert expected_calibration_error(probabilities, np.array([0, 1])) == 0
    assert expected_calibration_error(probabilities, np.array([1, 0])) == 1


def test_what_is_calibrated_needs_no_temperature() -> None:
    probabilities, labels = drawn(20_000)
    assert fit_temperature(probabilities, labels) == pytest.approx(1, abs=0.03)
    assert expected_calibration_error(probabilities, labels) < 0.01


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_temperature_undoes_what_makes_too_sure_or_too_unsure(factor: float) -> None:
    probabilities, labels = drawn(20_000)
    skewed = apply_temperature(probabilities, factor)
    temperature = fit_temperature(skewed, labels)
    assert temperature == pytest.approx(1 / factor, rel=0.03)
    calibrated = cross_fitted_calibration(skewed, labels, 1)
    assert calibrated.temperature == temperature
    assert calibrated.before == expected_calibration_error(skewed, labels)
    assert calibrated.before > 0.05
    assert calibrated.after < 0.015


def test_temperature_is_that_of_the_logits() -> None:
    logits = np.array([[2.0, -1.0, 0.5]])
    softmax = np.exp(logits) / np.exp(logits).sum()
    cooled = np.exp(logits / 3) / np.exp(logits / 3).sum()
    assert apply_temperature(softmax, 3) == pytest.approx(cooled)
    assert apply_temperature(softmax, 1) == pytest.approx(softmax)


def test_temperature_changes_no_decision_and_keeps_the_sum() -> None:
    probabilities, _ = drawn(500)
    for temperature in (0.1, 1.7, 10):
        scaled = apply_temperature(probabilities, temperature)
        assert (scaled.argmax(axis=1) == probabilities.argmax(axis=1)).all()
        assert scaled.sum(axis=1) == pytest.approx(1)


def test_probabilities_of_exactly_0_and_1_stay_finite() -> None:
    probabilities, labels = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 1, 1])
    assert np.isfinite(apply_temperature(probabilities, 0.1)).all()
    assert LEAST_TEMPERATURE <= fit_temperature(probabilities, labels) <= MOST_TEMPERATURE


def test_always_right_gives_the_least_temperature_and_always_wrong_the_most() -> None:
    probabilities = np.array([[0.8, 0.2], [0.3, 0.7]] * 10)
    right = probabilities.argmax(axis=1)
    assert fit_temperature(probabilities, right) == pytest.approx(LEAST_TEMPERATURE, rel=1e-3)
    assert fit_temperature(probabilities, 1 - right) == pytest.approx(MOST_TEMPERATURE, rel=1e-3)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_temperature_that_is_none_is_refused(temperature: float) -> None:
    with pytest.raises(EvaluateError, match="expected a number above 0"):
        apply_temperature(np.array([[0.5, 0.5]]), temperature)


def test_halves_are_scaled_by_each_other_and_the_same_seed_gives_the_same() -> None:
    probabilities, labels = drawn(400)
    skewed = apply_temperature(probabilities, 0.3)
    one, other = (cross_fitted_probabilities(skewed, labels, 3) for _ in range(2))
    assert (one == other).all()
    # Every row was scaled by one of two temperatures, neither of them the one fitted on all.
    of_all = apply_temperature(skewed, fit_temperature(skewed, labels))
    assert not np.isclose(one, of_all, atol=1e-12).all(axis=1).any()
    assert one == pytest.approx(of_all, abs=0.05)
    assert cross_fitted_calibration(skewed, labels, 3).after == expected_calibration_error(one, labels)


def test_halves_have_the_same_number_of_each_label() -> None:
    # With two tiles of each label, each half must have one of each: both temperatures are then the same.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    scaled = cross_fitted_probabilities(probabilities, np.array([0, 0, 1, 1]), 8)
    assert np.unique(scaled.max(axis=1).round(9)).size == 1


def test_one_tile_cannot_be_halved() -> None:
    with pytest.raises(EvaluateError, match="expected two at least"):
        cross_fitted_calibration(np.array([[0.9, 0.1]]), np.array([0]), 1)


@pytest.mark.parametrize(
    ("probabilities", "labels", "said"),
    [
        ([[0.5, float("nan")]], [0], "1 of 1 tiles got NaN"),
        ([[0.5, float("inf")]], [0], "1 of 1 tiles got NaN or infinity"),
        ([[1.5, -0.5]], [0], "sum to 1"),
        ([[0.5, 0.2]], [0], "sum to 1"),
        ([[0.5, 0.5]], [2], "expected 0 to 1"),
        ([[0.5, 0.5]], [-1], "expected 0 to 1"),
        ([[0.5, 0.5]], [0, 1], r"expected \(n, 2 or more\)"),
        ([[1.0]], [0], r"expected \(n, 2 or more\)"),
        (np.zeros((0, 2)), [], "no tile to measure on"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities: object, labels: list[int], said: str) -> None:
    for figure in (expected_calibration_error, fit_temperature):
        with pytest.raises(EvaluateError, match=said):
            figure(np.array(probabilities, np.float64), np.array(labels, np.int32))
