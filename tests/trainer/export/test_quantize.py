"""The gate that INT8 has to pass: what it may cost, and that one tile of few is no evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from trainer.export.quantize import weigh
from trainer.export.record import Gate


def says(*decided: int) -> np.ndarray:
    """Probabilities of two labels that decide so."""
    return np.eye(2, dtype=np.float32)[list(decided)]


def gate(true: Sequence[int], fp32_wrong: int, int8_wrong: int, most_lost: float = 0.003) -> Gate:
    """Of a data set where both get everything right but the first tiles, which are of label 0."""
    labels = np.array(true, np.int32)
    fp32, int8 = labels.copy(), labels.copy()
    fp32[:fp32_wrong] = 1
    int8[:int8_wrong] = 1
    return weigh({"tiles": says(*fp32)}, {"tiles": says(*int8)}, {"tiles": labels}, most_lost)


MANY = [0] * 1000 + [1] * 1000


def test_int8_that_decides_alike_passes_and_its_figures_are_kept() -> None:
    assert gate(MANY, 100, 100) == Gate({"tiles": 0.95}, {"tiles": 0.95}, {"tiles": 0.003}, True)


@pytest.mark.parametrize(("lost", "passed"), [(0, True), (6, True), (7, False), (500, False)])
def test_int8_may_lose_as_much_balanced_accuracy_as_allowed(lost: int, passed: bool) -> None:
    # Of 1000 tiles of a label, six are 0.6 points of its recall and 0.3 of balanced accuracy.
    assert gate(MANY, 0, lost).passed is passed


def test_int8_that_is_better_passes() -> None:
    assert gate(MANY, 500, 0, most_lost=0).passed


@pytest.mark.parametrize(("lost", "passed"), [(1, True), (2, False)])
def test_of_few_tiles_one_that_changes_sides_says_nothing(lost: int, passed: bool) -> None:
    of_twenty = gate([0] * 10 + [1] * 10, 0, lost, most_lost=0)
    assert of_twenty.passed is passed
    assert of_twenty.allowed == {"tiles": 0.05}


def test_one_tile_counts_by_the_rarest_label() -> None:
    # One of two is half a recall; so many of the others are more than that one tile's worth.
    labels = [0] * 100 + [1] * 2
    assert gate(labels, 0, 50, most_lost=0).passed
    assert not gate(labels, 0, 51, most_lost=0).passed


def test_every_data_set_must_pass() -> None:
    good, bad = np.array(MANY, np.int32), np.array(MANY, np.int32)
    spoilt = bad.copy()
    spoilt[:50] = 1
    fp32 = {"good": says(*good), "bad": says(*bad)}
    weighed = weigh(fp32, {"good": says(*good), "bad": says(*spoilt)}, {"good": good, "bad": bad}, 0.003)
    assert not weighed.passed
    assert weighed.int8 == {"good": 1.0, "bad": 0.975}


def test_label_that_was_not_held_out_counts_for_nothing() -> None:
    assert gate([1] * 10, 0, 0) == Gate({"tiles": 1.0}, {"tiles": 1.0}, {"tiles": 0.1}, True)
