"""Changes to tiles: of any kind that flight, light, lens and sensor make, and of no other; and the batches they come in."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.datasets import Tiles
from trainer.errors import TrainerError
from trainer.fit.augment import LEVELS, Augmentation, AugmentationError, augment, levels
from trainer.fit.batches import Batches

SIDE = 128
TURNS_ONLY = Augmentation()


@pytest.fixture(scope="module")
def tile(town_tiles: list[tuple[np.ndarray, bool]]) -> NDArray[np.uint8]:
    """A rendered block, RGB."""
    image = cv2.resize(town_tiles[0][0], (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., ::-1]
    return np.ascontiguousarray(image, np.uint8)


@pytest.fixture(scope="module")
def two_halves() -> NDArray[np.uint8]:
    """Dark on one side and bright on the other, of no colour."""
    image = np.full((SIDE, SIDE, 3), 70, np.uint8)
    image[:, SIDE // 2 :] = 170
    return image


def changed(image: NDArray[np.uint8], how: Augmentation, count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [augment(image, how, rng) for _ in range(count)]


def turns(image: NDArray[np.uint8]) -> list[bytes]:
    """The eight turns and flips of a square."""
    return [np.rot90(side, quarter).tobytes() for side in (image, image[:, ::-1]) for quarter in range(4)]


@pytest.mark.parametrize("level", LEVELS)
def test_tile_stays_a_tile_of_bytes_and_the_one_given_is_left_alone(tile: NDArray[np.uint8], level: str) -> None:
    before = tile.copy()
    for image in changed(tile, LEVELS[level], 60):
        assert (image.shape, image.dtype) == ((SIDE, SIDE, 3), np.uint8)
        assert not np.shares_memory(image, tile)
    assert (tile == before).all()


@pytest.mark.parametrize("level", LEVELS)
def test_same_seed_makes_the_same_changes_and_another_seed_others(tile: NDArray[np.uint8], level: str) -> None:
    first, again, other = (np.stack(changed(tile, LEVELS[level], 20, seed)) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


def test_level_turns_changes_nothing_else_and_all_eight_come_up_as_often(tile: NDArray[np.uint8]) -> None:
    expected = turns(tile)
    assert len(set(expected)) == 8
    found = Counter(image.tobytes() for image in changed(tile, LEVELS["turns"], 800))
    assert set(found) == set(expected)
    assert min(found.values()) > 70


@pytest.mark.parametrize("level", ["light", "strong"])
def test_other_levels_change_pixels_too_and_turn_all_the_same(two_halves: NDArray[np.uint8], level: str) -> None:
    images = changed(two_halves, LEVELS[level], 200)
    assert sum(image.tobytes() not in turns(two_halves) for image in images) > 40
    # On which side it is bright: four of the eight turns look alike here.
    sides = Counter(
        int(np.argmax([image[:, -9:].mean(), image[:, :9].mean(), image[-9:].mean(), image[:9].mean()])) for image in images
    )
    assert min(sides[side] for side in range(4)) > 25


def test_strong_leaves_a_picture_of_the_same_scene(two_halves: NDArray[np.uint8]) -> None:
    how = LEVELS["strong"]
    for image in changed(two_halves, how, 300):
        bright = image.mean(axis=2) > image.mean()
        # A shift by a tenth of the side and a zoom leave both halves in sight, and neither fades away.
        assert 0.25 < bright.mean() < 0.75
        assert 60 < image[bright].mean() - image[~bright].mean() < 140
        assert abs(image.mean() - 120) < how.brightness + how.tint + 30


def test_strong_makes_no_two_tiles_alike(tile: NDArray[np.uint8]) -> None:
    images = changed(tile, LEVELS["strong"], 100)
    assert len({image.tobytes() for image in images}) > 95


def test_light_and_strong_change_more_the_stronger(tile: NDArray[np.uint8]) -> None:
    light, strong = (
        sum(image.tobytes() not in turns(tile) for image in changed(tile, LEVELS[at], 300)) for at in LEVELS if at != "turns"
    )
    assert 50 < light < strong


def test_zoom_and_turn_by_nothing_move_no_pixel(tile: NDArray[np.uint8]) -> None:
    for image in changed(tile, Augmentation(scale=1.0, zoom=0.0, shift=0.0), 20):
        assert image.tobytes() in turns(tile)


def centre_of(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Row and column of what is bright, in parts of a pixel."""
    bright = image[..., 0] / image[..., 0].sum(dtype=float)
    row, column = np.mgrid[:SIDE, :SIDE]
    return float((bright * row).sum()), float((bright * column).sum())


def test_zoom_enlarges_and_shrinks_around_the_middle() -> None:
    disk = np.zeros((SIDE, SIDE, 3), np.uint8)
    cv2.circle(disk, (SIDE * 8 // 2 - 4, SIDE * 8 // 2 - 4), 30 * 8, (200, 200, 200), -1, shift=3)
    sizes = []
    for image in changed(disk, Augmentation(scale=1.0, zoom=0.25, shift=0.0), 60):
        assert centre_of(image) == pytest.approx(centre_of(disk), abs=0.1)
        sizes.append(((image[..., 0] > 100).sum() / (np.pi * 30**2)) ** 0.5)
    assert 0.75 < min(sizes) < 0.85
    assert 1.15 < max(sizes) < 1.30


def test_turn_is_by_up_to_45_degrees_around_the_middle() -> None:
    line = np.zeros((SIDE, SIDE, 3), np.uint8)
    line[SIDE // 2 - 2 : SIDE // 2 + 2, 24:-24] = 200
    angles = []
    for image in changed(line, Augmentation(turn=1.0), 200):
        assert centre_of(image) == pytest.approx(centre_of(line), abs=0.1)
        rows, columns = np.nonzero(image[..., 0] > 100)
        direction = np.linalg.eigh(np.cov(columns, rows))[1][:, 1]
        angles.append(np.degrees(np.arctan2(direction[1], direction[0])) % 180)
    # With the quarter turns, every direction there is.
    assert np.histogram(angles, 6, (0, 180))[0].min() > 8


def test_what_comes_into_view_at_the_edge_is_the_mirrored_inside(two_halves: NDArray[np.uint8]) -> None:
    for image in changed(two_halves, Augmentation(scale=1.0, turn=1.0, zoom=0.25, shift=0.1), 60):
        assert image.min() >= 70
        assert image.max() <= 170


def test_grey_has_no_colour(tile: NDArray[np.uint8]) -> None:
    for image in changed(tile, Augmentation(grey=1.0, tint=0.0), 20):
        assert np.ptp(image.astype(int), axis=2).max() <= 1


def test_light_changes_brightness_contrast_and_tint_within_their_bounds(two_halves: NDArray[np.uint8]) -> None:
    how = Augmentation(light=1.0)
    images = np.stack(changed(two_halves, how, 400)).astype(float)
    brightness = images.mean(axis=(1, 2, 3)) - 120
    contrast = images.std(axis=(1, 2)).mean(axis=1) / 50
    tint = images.mean(axis=(1, 2)) - images.mean(axis=(1, 2, 3))[:, None]
    assert np.abs(brightness).max() < how.brightness + how.tint + 1
    assert brightness.min() < -12
    assert brightness.max() > 12
    assert np.exp(-how.contrast) - 0.03 < contrast.min() < 0.85
    assert 1.15 < contrast.max() < np.exp(how.contrast) + 0.03
    assert 3 < np.abs(tint).max() < 2 * how.tint


def test_light_does_not_wrap_around(tile: NDArray[np.uint8]) -> None:
    white, black = np.full_like(tile, 255), np.zeros_like(tile)
    how = Augmentation(light=1.0, brightness=60.0)
    assert min(image.min() for image in changed(white, how, 100)) > 180
    assert max(image.max() for image in changed(black, how, 100)) < 75


def test_blur_takes_detail_and_keeps_brightness(tile: NDArray[np.uint8]) -> None:
    for image in changed(tile, Augmentation(blur=1.0), 20):
        assert abs(image.mean() - tile.mean()) < 1
        assert cv2.Laplacian(image, cv2.CV_64F).std() < 0.8 * cv2.Laplacian(tile, cv2.CV_64F).std()


def test_jpeg_keeps_the_colours_apart() -> None:
    red = np.full((SIDE, SIDE, 3), (200, 30, 10), np.uint8)
    for image in changed(red, Augmentation(jpeg=1.0), 20):
        assert np.abs(image.astype(int) - (200, 30, 10)).max() < 12


def test_jpeg_changes_a_little_of_everything(tile: NDArray[np.uint8]) -> None:
    for image in changed(tile, Augmentation(jpeg=1.0), 20):
        assert image.tobytes() not in turns(tile)
        assert abs(image.mean() - tile.mean()) < 2


# Levels


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("turns", ("turns", "turns")),
        ("light", ("light", "light")),
        ("light,haiti=strong", ("light", "strong")),
        ("strong,haiti=turns,harvey=light", ("light", "turns")),
        ("turns,haiti=light,haiti=strong", ("turns", "strong")),
    ],
)
def test_level_is_for_all_data_sets_but_those_that_have_their_own(text: str, chosen: tuple[str, ...]) -> None:
    assert levels(text, ["harvey", "haiti"]) == [LEVELS[level] for level in chosen]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no level '', expected one of turns, light, strong"),
        ("extreme", "no level 'extreme', expected one of turns, light, strong"),
        ("light,haiti=extreme", "no level 'extreme', expected one of turns, light, strong"),
        ("light,haiti", "no level '', expected one of turns, light, strong"),
        ("haiti=strong", "no level 'haiti=strong', expected one of turns, light, strong"),
        ("extreme,haiti=strong,harvey=light", "no level 'extreme', expected one of turns, light, strong"),
        ("light,paris=strong", "no data set paris, expected one of harvey, haiti"),
    ],
)
def test_unknown_level_or_data_set_is_an_error_that_names_the_known_ones(text: str, said: str) -> None:
    with pytest.raises(AugmentationError) as caught:
        levels(text, ["harvey", "haiti"])
    assert str(caught.value) == f"augmentation {text}: {said}"


# Batches


def numbered(count: int, first: int = 0, side: int = 4) -> Tiles:
    """Tiles whose pixels are their number; every other one has the label 1."""
    number = np.arange(first, first + count, dtype=np.uint8)
    images = np.tile(number[:, None, None, None], (1, side, side, 3))
    return Tiles(images, (number % 2).astype(np.int32), tuple(map(str, number)), np.full((count, 2), np.nan))


def batches(
    *tiles: Tiles,
    repeats: tuple[int, ...] = (1,),
    batch: int = 8,
    how: tuple[Augmentation, ...] = (TURNS_ONLY,),
    seed: int = 1,
    worker: tuple[int, int] = (0, 1),
    devices: int = 1,
    labels: int = 2,
) -> Batches:
    each = len(tiles) // len(repeats), len(tiles) // len(how)
    options: dict[str, Any] = {"labels": labels, "batch": batch, "seed": seed, "worker": worker, "devices": devices}
    return Batches(tiles, repeats * each[0], how=how * each[1], **options)


def steps_of(made: Batches, epoch: int = 0) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    return [(images.numpy(), labels.numpy()) for images, labels in made.epoch(epoch)]


def numbers_of(made: Batches, epoch: int = 0) -> list[list[int]]:
    """Of each step, which tiles it has."""
    return [images[:, 0, 0, 0].tolist() for images, _ in steps_of(made, epoch)]


def test_epoch_has_as_many_steps_as_it_says_of_as_many_tiles() -> None:
    made = batches(numbered(50))
    assert (made.steps, made.shape) == (6, (8, 4, 4, 3))
    steps = steps_of(made)
    assert len(steps) == 6
    for images, labels in steps:
        assert (images.shape, images.dtype) == ((8, 4, 4, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((8, 2), np.float32)


def test_epoch_has_each_tile_once_but_for_the_rest_that_makes_no_batch() -> None:
    made = batches(numbered(50))
    left_out = set()
    for epoch in range(8):
        numbers = [number for step in numbers_of(made, epoch) for number in step]
        assert len(set(numbers)) == len(numbers) == 48
        left_out |= set(range(50)) - set(numbers)
    # Not the same ones each time.
    assert len(left_out) > 4


def test_label_belongs_to_its_tile() -> None:
    for images, labels in steps_of(batches(numbered(50), labels=3)):
        assert (labels == np.eye(3, dtype=np.float32)[images[:, 0, 0, 0] % 2]).all()


def test_same_epoch_has_the_same_batches_whatever_came_before_and_another_has_others() -> None:
    rng = np.random.default_rng(1)
    tiles = Tiles(rng.integers(0, 256, (40, 16, 16, 3), np.uint8), np.zeros(40, np.int32), ("",) * 40, np.full((40, 2), np.nan))
    how = (Augmentation(scale=0.5, turn=0.5, light=0.5, blur=0.5, jpeg=0.5),)
    made = batches(tiles, how=how)
    first = [steps_of(made, epoch) for epoch in (0, 1, 2)]
    again = steps_of(batches(tiles, how=how), 2)
    for (images, labels), (same_images, same_labels) in zip(first[2], again, strict=True):
        assert (images == same_images).all()
        assert (labels == same_labels).all()
    assert (first[0][0][0] != first[1][0][0]).any()
    assert (steps_of(batches(tiles, how=how, seed=2))[0][0] != first[0][0][0]).any()


def test_epochs_are_shuffled() -> None:
    made = batches(numbered(64))
    orders = [tuple(number for step in numbers_of(made, epoch) for number in step) for epoch in range(4)]
    assert len({*orders, tuple(range(64))}) == 5


def test_tiles_of_a_data_set_come_up_as_often_as_it_says_among_the_others() -> None:
    made = batches(numbered(20), numbered(5, first=100), repeats=(1, 4))
    assert made.steps == 5
    counts = Counter(number for step in numbers_of(made) for number in step)
    assert counts == Counter(dict.fromkeys(range(20), 1) | dict.fromkeys(range(100, 105), 4))
    assert sum(any(number >= 100 for number in step) for step in numbers_of(made)) > 2


@pytest.mark.parametrize("count", [1, 5, 8])
def test_small_set_is_one_batch(count: int) -> None:
    made = batches(numbered(count))
    assert (made.steps, made.shape[0]) == (1, count)
    assert sorted(numbers_of(made)[0]) == list(range(count))


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_workers_take_shares_that_are_apart_and_together_the_whole_batch(workers: int) -> None:
    shares = [batches(numbered(53), batch=12, worker=(index, workers)) for index in range(workers)]
    whole = batches(numbered(53), batch=12)
    assert {share.steps for share in shares} == {whole.steps} == {4}
    assert {share.shape[0] for share in shares} == {12 // workers}
    steps_of_workers = zip(*(numbers_of(share, 3) for share in shares), strict=True)
    for all_numbers, parts in zip(numbers_of(whole, 3), steps_of_workers, strict=True):
        assert sorted(number for part in parts for number in part) == sorted(all_numbers)
        assert [all_numbers[index::workers] for index in range(workers)] == list(parts)


@pytest.mark.parametrize("workers", [1, 2])
def test_devices_of_a_worker_share_its_part_of_each_batch(workers: int) -> None:
    shares = [batches(numbered(53), batch=12, worker=(index, workers), devices=3) for index in range(workers)]
    whole = batches(numbered(53), batch=12)
    assert {(share.steps, share.shape[0]) for share in shares} == {(whole.steps, 12 // workers // 3)}
    for step, all_numbers in enumerate(numbers_of(whole)):
        parts = [part for share in shares for part in numbers_of(share)[3 * step : 3 * step + 3]]
        assert [all_numbers[index :: 3 * workers] for index in range(3 * workers)] == parts


def test_batch_that_cannot_be_shared_equally_is_made_smaller() -> None:
    shares = [batches(numbered(53), batch=12, worker=(index, 5)) for index in range(5)]
    assert {(share.steps, share.shape[0]) for share in shares} == {(5, 2)}
    small = [batches(numbered(5), batch=12, worker=(index, 2)) for index in range(2)]
    assert {(share.steps, share.shape[0]) for share in small} == {(1, 2)}


@pytest.mark.parametrize(("count", "batch"), [(50, 1), (1, 8)])
def test_batch_of_fewer_tiles_than_workers_is_an_error(count: int, batch: int) -> None:
    with pytest.raises(TrainerError, match=r"^batches of 1 tiles for 2 workers: expected one tile for each at least$"):
        batches(numbered(count), batch=batch, worker=(1, 2))


def test_workers_change_their_tiles_in_ways_of_their_own() -> None:
    ramp = np.tile(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), (16, 1, 1, 1))
    tiles = Tiles(ramp, np.zeros(16, np.int32), ("",) * 16, np.full((16, 2), np.nan))
    one, other = (np.concatenate([images for images, _ in steps_of(batches(tiles, worker=(index, 2)))]) for index in (0, 1))
    assert (one != other).any()


def test_tiles_of_each_data_set_are_changed_as_it_says() -> None:
    dark, bright = numbered(40), numbered(40, first=150)
    how = (TURNS_ONLY, Augmentation(light=1.0, tint=0.0))
    seen = np.concatenate([images[:, 0, 0, 0] for images, _ in steps_of(batches(dark, bright, how=how))]).tolist()
    assert sorted(number for number in seen if number < 100) == list(range(40))
    assert sorted(number for number in seen if number > 100) != list(range(150, 190))


def test_labels_are_0_or_1_whatever_is_changed() -> None:
    for _, labels in steps_of(batches(numbered(64), how=(LEVELS["strong"],))):
        assert set(labels.ravel().tolist()) == {0, 1}
        assert (labels.sum(axis=1) == 1).all()
