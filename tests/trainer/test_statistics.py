"""The figures of an evaluation, against values computed by hand and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from trainer.datasets import Tiles
from trainer.evaluate.checks import EvaluateError
from trainer.evaluate.floor import colour_features, floor_probabilities
from trainer.evaluate.places import accuracy_by_distance, distances_m, errors_by_block
from trainer.evaluate.statistics import INDEPENDENT_TILES, balanced_accuracy, figures, wilson
from trainer.evaluate.threshold import threshold_for_recall

NAMES = ("damaged", "undamaged")
THREE = ("field", "roof", "water")
METRES_A_DEGREE = 111_320


def some(labels: int, count: int = 300) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Probabilities that are better than chance, and true labels."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, labels, count).astype(np.int32)
    logits = rng.normal(0, 1, (count, labels)) + 1.5 * np.eye(labels)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth


@pytest.mark.parametrize("names", [NAMES, THREE])
def test_figures_are_those_of_scikit_learn(names: tuple[str, ...]) -> None:
    probabilities, labels = some(len(names))
    decided = probabilities.argmax(axis=1)
    measured = figures(probabilities, labels, names)
    assert measured.tiles == 300
    assert measured.accuracy.value == pytest.approx(metrics.accuracy_score(labels, decided))
    assert measured.balanced_accuracy.value == pytest.approx(metrics.balanced_accuracy_score(labels, decided))
    assert np.array(measured.confusion).tolist() == metrics.confusion_matrix(labels, decided).tolist()
    assert measured.log_loss == pytest.approx(metrics.log_loss(labels, probabilities))
    precision, recall, f1, tiles = metrics.precision_recall_fscore_support(labels, decided)
    for index, label in enumerate(measured.by_label):
        assert label.recall is not None
        assert (label.label, label.tiles) == (names[index], tiles[index])
        assert (label.precision, label.recall.value, label.f1) == pytest.approx((precision[index], recall[index], f1[index]))
    if len(names) == 2:
        assert measured.roc_auc == pytest.approx(metrics.roc_auc_score(labels, probabilities[:, 1]))
        assert measured.brier == pytest.approx(metrics.brier_score_loss(labels, probabilities[:, 1]))
    else:
        assert measured.roc_auc == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))


def test_figures_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.3, 0.7]])
    measured = figures(probabilities, np.array([0, 0, 1, 1]), NAMES)
    assert measured.accuracy.value == 0.75
    assert measured.balanced_accuracy.value == 0.75
    assert measured.confusion == ((1, 1), (0, 2))
    damaged, undamaged = measured.by_label
    assert (damaged.precision, damaged.f1) == (1.0, pytest.approx(2 / 3))
    assert undamaged.precision == pytest.approx(2 / 3)
    assert measured.roc_auc == 1
    assert measured.log_loss == pytest.approx(-np.log([0.8, 0.4, 0.9, 0.7]).mean())
    assert measured.brier == pytest.approx(np.mean([0.04, 0.36, 0.01, 0.09]))


def test_always_right_still_leaves_room_for_doubt() -> None:
    labels = np.array([0, 1] * 20)
    measured = figures(np.eye(2)[labels], labels, NAMES)
    assert measured.accuracy.value == measured.balanced_accuracy.value == measured.roc_auc == 1
    assert measured.log_loss == measured.brier == 0
    assert measured.accuracy.most == measured.balanced_accuracy.most == 1
    assert 0.85 < measured.balanced_accuracy.least < 1
    assert 0.85 < measured.accuracy.least < 1


def test_always_wrong_with_probabilities_of_0_and_1_stays_finite() -> None:
    labels = np.array([0, 1] * 20)
    measured = figures(np.eye(2)[1 - labels], labels, NAMES)
    assert measured.accuracy.value == measured.balanced_accuracy.value == measured.roc_auc == 0
    assert measured.accuracy.least == measured.balanced_accuracy.least == 0
    assert measured.brier == 1
    assert measured.log_loss == pytest.approx(-math.log(1e-7))
    assert [label.f1 for label in measured.by_label] == [0, 0]


def test_label_that_no_tile_has_has_no_recall_and_counts_for_nothing() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])
    measured = figures(probabilities, np.array([0, 1, 1]), THREE)
    assert measured.balanced_accuracy.value == 0.75
    water = measured.by_label[2]
    assert (water.tiles, water.precision, water.recall, water.f1) == (0, None, None, None)
    assert measured.confusion == ((1, 0, 0), (1, 1, 0), (0, 0, 0))
    assert measured.roc_auc == 1


def test_tiles_of_one_label_only_have_no_roc() -> None:
    measured = figures(np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 0]), NAMES)
    assert measured.roc_auc is None
    assert measured.balanced_accuracy.value == 0.5


def test_nan_is_refused() -> None:
    with pytest.raises(EvaluateError, match="1 of 2 tiles got NaN"):
        figures(np.array([[0.8, 0.2], [np.nan, 0.7]]), np.array([0, 0]), NAMES)


def test_wilson_interval_is_the_published_one() -> None:
    # Newcombe (1998), doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3.
    for right, count, least, most in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        share = wilson(right, count)
        assert (share.value, share.least, share.most) == pytest.approx((right / count, least, most), abs=5e-5)
    assert wilson(29, 29).least == pytest.approx(0.8830, abs=5e-5)
    assert wilson(29, 29).most == 1


def test_interval_of_independent_tiles_is_near_the_normal_one_for_many_and_the_same_twice() -> None:
    labels = np.repeat([0, 1], [2000, 500])
    right = np.concatenate([np.arange(2000) >= 200, np.arange(500) >= 100])
    share, how = balanced_accuracy(right, labels, None)
    assert share.value == pytest.approx(0.85)
    reach = 1.96 * math.sqrt(0.9 * 0.1 / 2000 + 0.8 * 0.2 / 500) / 2
    assert (share.least, share.most) == pytest.approx((0.85 - reach, 0.85 + reach), abs=0.002)
    assert how == INDEPENDENT_TILES
    assert balanced_accuracy(right, labels, None)[0] == share


def test_interval_is_wider_where_whole_blocks_are_wrong_together() -> None:
    labels = np.tile([0, 1], 500)
    blocks = np.arange(1000) // 50
    by_block, how = balanced_accuracy(blocks % 4 != 0, labels, blocks)
    alone, _ = balanced_accuracy(blocks % 4 != 0, labels, None)
    assert how == "by drawing 20 blocks of ground again"
    assert by_block.most - by_block.least > 3 * (alone.most - alone.least)


def test_interval_is_never_narrower_than_that_of_independent_tiles() -> None:
    # Each block has the same errors, so that drawing blocks again changes nothing.
    labels = np.tile([0, 1], 500)
    right = np.arange(1000) % 50 >= 10
    by_block, _ = balanced_accuracy(right, labels, np.arange(1000) // 50)
    alone, _ = balanced_accuracy(right, labels, None)
    assert by_block == alone
    assert by_block.most - by_block.least > 0.04


def test_one_block_says_nothing_of_the_spread_over_blocks() -> None:
    assert balanced_accuracy(np.array([True, False]), np.array([0, 1]), np.array([7, 7]))[1] == INDEPENDENT_TILES


def test_blocks_without_some_label_are_no_obstacle() -> None:
    share, _ = balanced_accuracy(np.ones(6, bool), np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert np.isfinite([share.least, share.most]).all()


def test_threshold_is_the_largest_that_finds_the_wanted_share() -> None:
    probabilities = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.65, 0.1, 0.05])
    is_alert = np.array([True, True, True, True, False, False, False, False])
    chosen = threshold_for_recall(probabilities, is_alert, 0.75)
    assert (chosen.threshold, chosen.recall.value, chosen.precision) == (0.6, 0.75, 0.6)
    assert chosen.false_alarms_per_1000 == 500
    assert chosen.recall == wilson(3, 4)
    assert threshold_for_recall(probabilities, is_alert, 0.76).threshold == 0.2
    assert threshold_for_recall(probabilities, is_alert, 1).recall.value == 1
    assert threshold_for_recall(probabilities, is_alert, 0.5).false_alarms_per_1000 == 0
    assert threshold_for_recall(probabilities, is_alert, 0).threshold == 0.9


@pytest.mark.parametrize("wanted", [0.07, 0.5, 0.9, 0.98, 0.995, 1.0])
def test_threshold_keeps_its_promise_and_no_larger_one_does(wanted: float) -> None:
    probabilities, labels = some(2)
    is_alert = labels == 0
    chosen = threshold_for_recall(probabilities[:, 0], is_alert, wanted)
    assert chosen.recall.value >= wanted
    # It is rounded down to 6 digits.
    assert (probabilities[is_alert, 0] >= chosen.threshold + 2e-6).mean() < max(wanted, 1e-9)


def test_threshold_of_tied_probabilities_finds_all_of_them() -> None:
    chosen = threshold_for_recall(np.array([1.0, 1.0, 1.0, 0.0]), np.array([True, True, False, False]), 0.5)
    assert (chosen.threshold, chosen.recall.value, chosen.false_alarms_per_1000) == (1.0, 1.0, 500)


def test_threshold_without_anything_else_has_no_false_alarms_to_count() -> None:
    assert threshold_for_recall(np.array([0.5]), np.array([True]), 0.98).false_alarms_per_1000 is None
    with pytest.raises(EvaluateError, match="no tile has the label to alert of"):
        threshold_for_recall(np.array([0.5]), np.array([False]), 0.98)


def test_blocks_are_ranked_by_their_errors_and_small_ones_are_not() -> None:
    # Three blocks of 1000 m on the equator, 30 tiles in two of them and 19 in the third.
    east_m = np.concatenate([np.full(30, 500.0), np.full(30, 2500.0), np.full(19, 4500.0)])
    places = np.stack([east_m / METRES_A_DEGREE, np.full(79, 0.001)], axis=1)
    right = np.concatenate([np.arange(30) >= 3, np.arange(30) >= 6, np.zeros(19, bool)])
    found = errors_by_block(places, right, 1000)
    assert [(block.tiles, block.errors, block.error_rate) for block in found.blocks] == [(30, 6, 0.2), (30, 3, 0.1)]
    assert found.blocks[0].longitude == pytest.approx(2500 / METRES_A_DEGREE)
    assert found.too_small == 1


def test_distance_is_along_the_ground() -> None:
    # A degree of a meridian, and one of the parallel at 60° north, which is half as long; the nearest counts.
    places = np.array([[10.0, 61.0], [11.0, 60.0]])
    north, east = distances_m(places, np.array([[10.0, 60.0], [-100.0, 0.0]]))
    assert north == pytest.approx(111_195, rel=1e-4)
    assert east == pytest.approx(111_195 / 2, rel=1e-3)


def test_accuracy_by_distance_leaves_out_empty_bins_and_one_label_is_not_balanced() -> None:
    distances = np.array([0, 19.9, 20, 59, 5000, 6000, 7000])
    right = np.array([True, True, False, True, True, False, True])
    labels = np.array([0, 1, 0, 0, 0, 0, 1])
    near, middle, far = accuracy_by_distance(distances, right, labels, 2)
    assert [(one.from_m, one.to_m, one.tiles) for one in (near, middle, far)] == [(0, 20, 2), (20, 60, 2), (1000, None, 3)]
    assert near.balanced_accuracy is not None
    assert near.balanced_accuracy.value == 1
    assert middle.balanced_accuracy is None
    assert middle.accuracy.value == 0.5
    assert far.balanced_accuracy is not None
    assert far.balanced_accuracy.value == 0.75


def test_colour_features_are_means_and_deviations_of_red_green_and_blue() -> None:
    images = np.zeros((300, 2, 2, 3), np.uint8)
    images[:, 0, :, 0] = 200
    images[:, :, :, 2] = 7
    features = colour_features(images)
    assert features.shape == (300, 6)
    assert features[299] == pytest.approx([100, 0, 7, 100, 0, 0])


def test_floor_tells_colours_apart_and_nothing_else() -> None:
    rng = np.random.default_rng(4)
    labels = np.tile(np.array([0, 1], np.int32), 40)

    def tiles(brightness: NDArray[np.float64]) -> Tiles:
        images = np.clip(brightness[:, None, None, None] + rng.normal(0, 10, (80, 8, 8, 3)), 0, 255).astype(np.uint8)
        return Tiles(images, labels, tuple(map(str, range(80))), np.full((80, 2), np.nan))

    by_colour, alike = tiles(np.where(labels == 0, 60.0, 180.0)), tiles(np.full(80, 120.0))
    told = floor_probabilities(by_colour, by_colour, 2)
    assert (told.argmax(axis=1) == labels).all()
    assert told.sum(axis=1) == pytest.approx(1)
    # Where only an unseen set differs, it cannot help.
    confused = floor_probabilities(alike, tiles(np.full(80, 120.0)), 2)
    assert (confused.argmax(axis=1) == labels).mean() < 0.75
