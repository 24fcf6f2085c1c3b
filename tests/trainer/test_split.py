"""The split: nothing that is measured on was learned from, and where places are known, nothing beside it either."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.datasets import Dataset, DatasetError, Part, SplitRule, Tiles, read, split_all
from trainer.datasets.split import blocks

FLIGHT_TILES = 600


def dataset(
    labels: Sequence[int], places: NDArray[np.float64] | None = None, given: Sequence[bool] | None = None, name: str = "some"
) -> Dataset:
    """Small tiles, no two the same, with these labels."""
    count = len(labels)
    # Another name makes other pictures.
    images = np.random.default_rng(list(name.encode())).integers(0, 256, (count, 4, 4, 3), np.uint8)
    where = np.full((count, 2), np.nan) if places is None else places
    tiles = Tiles(images, np.array(labels, np.int32), tuple(f"{index}" for index in range(count)), where)
    names = tuple(f"label {label}" for label in range(max(labels, default=0) + 1))
    return Dataset(name, names, tiles, None if given is None else np.array(given))


def flight(seed: int = 1, name: str = "flight") -> Dataset:
    """Tiles scattered over 20 km by 20 km near Houston, as thick in its middle as a town is, a third of them of label 0."""
    rng = np.random.default_rng(seed)
    places = np.array([-95.4, 29.8]) + rng.normal(0, 0.05, (FLIGHT_TILES, 2))
    return dataset((rng.random(FLIGHT_TILES) > 1 / 3).astype(int).tolist(), places, name=name)


def split(one: Dataset, rule: SplitRule) -> Part:
    (part,) = split_all([one], rule)
    return part


def held_out_of(one: Dataset, rule: SplitRule) -> list[tuple[str, ...]]:
    """Of each fold, the names of what is held out."""
    return [split(one, replace(rule, fold=fold)).held_out.names for fold in range(rule.folds)]


def error_of(one: Dataset, rule: SplitRule) -> str:
    """Why a data set cannot be split, which must be one line."""
    with pytest.raises(DatasetError) as caught:
        split_all([one], rule)
    assert str(caught.value).isprintable()
    return str(caught.value)


# Folds

SPLITS: dict[str, Callable[[], tuple[Dataset, SplitRule]]] = {
    "by place": lambda: (flight(), SplitRule("place")),
    "by place, 3 folds": lambda: (flight(), SplitRule("place", block_m=500, folds=3)),
    "at random": lambda: (flight(), SplitRule("random")),
    "at random, 7 folds": lambda: (dataset([0] * 50 + [1] * 13 + [2] * 8), SplitRule("random", folds=7)),
    "2 folds": lambda: (dataset([0, 1, 0, 1]), SplitRule(folds=2)),
}


@pytest.mark.parametrize("how", SPLITS)
def test_folds_cover_every_tile_exactly_once_and_what_is_not_held_out_is_learned_from(how: str) -> None:
    one, rule = SPLITS[how]()
    held_out = [name for names in held_out_of(one, rule) for name in names]
    assert sorted(held_out) == sorted(one.tiles.names)
    for fold in range(rule.folds):
        part = split(one, replace(rule, fold=fold))
        assert sorted((*part.train.names, *part.held_out.names)) == sorted(one.tiles.names)


@pytest.mark.parametrize("how", SPLITS)
def test_tiles_keep_their_pictures_labels_and_places(how: str) -> None:
    one, rule = SPLITS[how]()
    part = split(one, rule)
    assert part.dataset is one
    for side in (part.train, part.held_out):
        index = np.array([int(name) for name in side.names])
        assert (side.images == one.tiles.images[index]).all()
        assert (side.labels == one.tiles.labels[index]).all()
        np.testing.assert_array_equal(side.places, one.tiles.places[index])


@pytest.mark.parametrize("how", SPLITS)
def test_same_seed_deals_the_same_folds_and_another_seed_others(how: str) -> None:
    one, rule = SPLITS[how]()
    assert held_out_of(one, rule) == held_out_of(one, rule)
    others = [held_out_of(one, replace(rule, seed=seed)) for seed in range(2, 8)]
    assert any(other != held_out_of(one, rule) for other in others)


def test_folds_by_place_are_about_equal() -> None:
    sizes = [len(names) for names in held_out_of(flight(), SplitRule("place"))]
    assert max(sizes) - min(sizes) <= 0.1 * FLIGHT_TILES / 5


@pytest.mark.parametrize("seed", range(5))
def test_folds_by_place_are_about_equal_where_most_tiles_lie_in_few_blocks(seed: int) -> None:
    tiles_of_block = np.repeat(np.arange(6), [20, 60, 30, 20, 30, 20])
    places = np.stack([11.5 + tiles_of_block, np.full(180, 48.1)], axis=1)
    held_out = held_out_of(dataset([0, 1] * 90, places), SplitRule("place", folds=3, seed=seed))
    assert sorted(len(names) for names in held_out) == [50, 60, 70]


def test_folds_at_random_have_as_many_tiles_of_each_label_as_can_be() -> None:
    one = dataset([0] * 50 + [1] * 13 + [2] * 8)
    rule = SplitRule("random", folds=7)
    for fold in range(7):
        part = split(one, replace(rule, fold=fold))
        counts = np.bincount(part.held_out.labels)
        assert (np.abs(counts - np.array([50, 13, 8]) / 7) < 1).all()
        assert counts.sum() + len(part.train) == 71


def test_split_at_random_mixes_what_lies_together() -> None:
    # A file of one place after the other would else be cut into pieces of ground.
    held_out = [int(name) for name in split(dataset([0] * 100 + [1] * 100), SplitRule("random")).held_out.names]
    gaps = np.diff(held_out)
    assert len(set(gaps.tolist())) > 3


def test_split_says_how_it_was_made() -> None:
    assert split(flight(), SplitRule("place", fold=2)).how == "by place, blocks of 2000 m, fold 3 of 5"
    assert split(flight(), SplitRule("place", block_m=512.5, folds=4)).how == "by place, blocks of 512.5 m, fold 1 of 4"
    assert split(flight(), SplitRule("random", folds=3)).how == "at random, fold 1 of 3"
    assert split(dataset([0, 1] * 3, given=[False] * 4 + [True] * 2), SplitRule("given")).how == "as the data set says"


# Blocks of ground


@pytest.mark.parametrize("block_m", [500.0, 2000.0])
def test_no_block_is_on_both_sides(block_m: float) -> None:
    one = flight()
    block = blocks(one.tiles.places, block_m)
    for fold in range(5):
        part = split(one, SplitRule("place", block_m, fold=fold))
        learned, held_out = ({int(block[int(name)]) for name in names} for names in (part.train.names, part.held_out.names))
        assert len(learned) > 4
        assert held_out
        assert not learned & held_out


def metres_a_degree(latitude: float) -> tuple[float, float]:
    """Of longitude and of latitude on the ellipsoid of WGS 84 (a = 6378137 m, f = 1/298.257223563)."""
    flattening = 1 / 298.257223563
    eccentricity_squared = flattening * (2 - flattening)
    phi = math.radians(latitude)
    shrunk = 1 - eccentricity_squared * math.sin(phi) ** 2
    across = 6378137 / math.sqrt(shrunk)
    along = 6378137 * (1 - eccentricity_squared) / shrunk**1.5
    return math.radians(across * math.cos(phi)), math.radians(along)


@pytest.mark.parametrize("latitude", [0.0, 60.0, -60.0])
@pytest.mark.parametrize("block_m", [250.0, 2000.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_blocks_are_as_wide_and_as_high_as_they_are_said_to_be(latitude: float, block_m: float, axis: int) -> None:
    # A line of places, each a hundredth of a block from the one before, along a parallel or a meridian.
    steps = np.arange(1000)
    places = np.tile([-72.3, latitude], (len(steps), 1))
    places[:, axis] += (steps - 500) * block_m / 100 / metres_a_degree(latitude)[axis]
    block = blocks(places, block_m)
    turns = np.flatnonzero(np.diff(block)) + 1
    assert len(turns) >= 9
    # A sphere is wrong by less than a hundredth.
    assert np.diff(turns).min() >= 99
    assert np.diff(turns).max() <= 101
    assert len(np.unique(block)) == len(turns) + 1


def test_block_is_one_piece_of_ground_whatever_the_order_of_its_places() -> None:
    rng = np.random.default_rng(3)
    places = flight().tiles.places
    order = rng.permutation(len(places))
    block, shuffled = blocks(places, 2000), blocks(places[order], 2000)
    assert (shuffled == block[order]).all()
    assert block.shape == (len(places),)
    assert set(block.tolist()) == set(range(block.max() + 1))


def test_blocks_across_the_equator_and_the_prime_meridian_are_no_larger() -> None:
    places = np.array([[-0.001, -0.001], [-0.001, 0.001], [0.001, -0.001], [0.001, 0.001]])
    assert len(set(blocks(places, 2000).tolist())) == 4


def test_one_place_is_one_block() -> None:
    assert blocks(np.array([[11.5, 48.1]]), 2000).tolist() == [0]


# Which rule applies where


def given_of(count: int) -> list[bool]:
    return [index % 4 == 3 for index in range(count)]


def test_auto_splits_by_place_where_every_place_is_known_even_if_a_split_is_given() -> None:
    one = replace(flight(), given_held_out=np.array(given_of(FLIGHT_TILES)))
    assert split(one, SplitRule()).how.startswith("by place")


def test_auto_takes_the_given_split_where_a_place_is_unknown() -> None:
    one = replace(flight(), given_held_out=np.array(given_of(FLIGHT_TILES)))
    one.tiles.places[17, 0] = np.nan
    part = split(one, SplitRule())
    assert part.how == "as the data set says"
    assert [int(name) % 4 for name in part.held_out.names] == [3] * (FLIGHT_TILES // 4)


def test_auto_splits_at_random_where_there_is_nothing_else() -> None:
    one = flight()
    one.tiles.places[17] = np.nan
    assert split(one, SplitRule()).how.startswith("at random")


def test_random_and_given_are_taken_at_their_word() -> None:
    one = replace(flight(), given_held_out=np.array(given_of(FLIGHT_TILES)))
    assert split(one, SplitRule("random")).how.startswith("at random")
    assert split(one, SplitRule("given")).how == "as the data set says"
    assert split(one, SplitRule("place")).how.startswith("by place")


def test_given_is_like_auto_where_the_data_set_says_nothing() -> None:
    assert split(flight(), SplitRule("given")).how.startswith("by place")
    assert split(dataset([0, 1] * 5), SplitRule("given")).how.startswith("at random")


def test_given_split_has_no_folds() -> None:
    one = dataset([0, 1] * 4, given=[False] * 4 + [True] * 4)
    assert [split(one, SplitRule("given", fold=fold)).held_out.names for fold in (0, 4)] == [("4", "5", "6", "7")] * 2


def test_place_where_some_are_unknown_is_an_error_that_names_one_and_counts_them() -> None:
    one = flight()
    one.tiles.places[[17, 30]] = np.nan
    one.tiles.places[40, 1] = np.nan
    assert error_of(one, SplitRule("place")) == "flight: the place of 17 is unknown (3 in all), so no split by place"


def test_each_data_set_is_split_by_its_own_places() -> None:
    parts = split_all([flight(), dataset([0, 1] * 10, name="indoors")], SplitRule())
    assert [part.how.split(",")[0] for part in parts] == ["by place", "at random"]


# What cannot be split


def test_fewer_tiles_than_folds_are_an_error_that_says_what_may_help() -> None:
    assert error_of(dataset([0, 0, 0, 1, 1, 1]), SplitRule("random", folds=5, fold=4)) == (
        "some: no tile of 'label 0' left to measure on (at random, fold 5 of 5); fewer folds or smaller blocks?"
    )


def test_label_of_one_tile_leaves_nothing_to_learn_from_or_to_measure_on() -> None:
    one = dataset([0] * 20 + [1])
    said = {error_of(one, SplitRule("random", folds=2, fold=fold)).split(" (")[0] for fold in (0, 1)}
    assert said == {"some: no tile of 'label 1' left to learn from", "some: no tile of 'label 1' left to measure on"}


def test_fewer_blocks_than_folds_are_an_error() -> None:
    one = dataset([0, 1] * 20, np.tile([11.5, 48.1], (40, 1)))
    assert "no tile of 'label 0' left to learn from (by place, blocks of 2000 m, fold 1 of 5)" in error_of(one, SplitRule())
    assert "left to measure on" in error_of(one, SplitRule(fold=1))


def test_given_split_without_a_tile_of_some_label_is_an_error() -> None:
    one = dataset([0, 0, 1, 1], given=[False, True, False, False])
    assert error_of(one, SplitRule("given")).startswith("some: no tile of 'label 1' left to measure on (as the data set says)")


def test_same_picture_on_both_sides_is_an_error_that_names_both() -> None:
    one = dataset([0, 1] * 4, given=[False] * 4 + [True] * 4)
    one.tiles.images[6] = one.tiles.images[2]
    assert error_of(one, SplitRule("given")) == "some/6 is held out, but some/2 is the same picture"


def test_same_picture_of_two_data_sets_may_be_on_one_side_only() -> None:
    given = [False] * 4 + [True] * 4
    one, two = dataset([0, 1] * 4, given=given, name="one"), dataset([0, 1] * 4, given=given, name="two")
    one.tiles.images[1] = two.tiles.images[1]
    one.tiles.images[7] = two.tiles.images[7]
    assert len(split_all([one, two], SplitRule("given"))) == 2
    one.tiles.images[0] = two.tiles.images[6]
    with pytest.raises(DatasetError, match=r"^two/6 is held out, but one/0 is the same picture$"):
        split_all([one, two], SplitRule("given"))


# The real tiles of Houston


@pytest.fixture(scope="module")
def houston(data: Path) -> Dataset:
    return read(f"harvey:{data / 'harvey'}")


def test_houston_has_all_its_tiles_but_five_duplicates_and_each_has_a_place(houston: Dataset) -> None:
    assert houston.given_held_out is not None
    assert np.bincount(houston.given_held_out).tolist() == [9995, 2000]
    assert (len(houston.duplicates), houston.unreadable, houston.resized) == (5, (), 0)
    assert np.isfinite(houston.tiles.places).all()
    assert len(np.unique(houston.tiles.places, axis=0)) > 7000
    # Texas and Louisiana.
    assert (houston.tiles.places.min(axis=0) > [-98, 28]).all()
    assert (houston.tiles.places.max(axis=0) < [-93, 31.5]).all()


def test_houston_is_split_as_published_when_asked(houston: Dataset) -> None:
    part = split(houston, SplitRule("given"))
    assert np.bincount(part.held_out.labels).tolist() == [1000, 1000]
    assert all(name.startswith("validation/") for name in part.held_out.names)


def test_houston_is_split_by_blocks_of_2_km_into_folds_of_a_fifth_and_of_both_labels(houston: Dataset) -> None:
    tiles = houston.tiles
    block = dict(zip(tiles.names, blocks(tiles.places, 2000).tolist(), strict=True))
    parts = [split(houston, SplitRule(fold=fold)) for fold in (0, 4)]
    assert not set(parts[0].held_out.names) & set(parts[1].held_out.names)
    for part in parts:
        assert (len(part.train), len(part.held_out)) == (9596, 2399)
        learned, held_out = ({block[name] for name in names} for names in (part.train.names, part.held_out.names))
        assert not learned & held_out
        assert np.bincount(part.held_out.labels).min() > 800
