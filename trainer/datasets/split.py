"""Splits data sets into what is learned from and what is measured on.

Neighbouring tiles show the same roofs, so a random split measures memory. Where places are known, whole blocks of ground go
to one side or the other (Roberts et al., 2017, doi 10.1111/ecog.02881).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.tiles import Dataset, DatasetError, Tiles

Kind = Literal["auto", "place", "random", "given"]

_METRES_A_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How data sets are split.

    Attributes:
        kind: ``place``: by blocks of ground; ``random``: each label on its own; ``given``: as the data set itself says, where
            it does; ``auto``: by place where all places are known, else as the data set says, else random.
        block_m: Side of a block.
        folds: The held-out part is one of so many of about the same size.
        fold: Which one, from 0.
        seed: Deals blocks and tiles to folds.
    """

    kind: Kind = "auto"
    block_m: float = 2000.0
    folds: int = 5
    fold: int = 0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A data set after the split.

    Attributes:
        how: In words, for people and for the record: "by place, blocks of 2000 m, fold 1 of 5".
    """

    dataset: Dataset
    train: Tiles
    held_out: Tiles
    how: str


def split_all(datasets: Sequence[Dataset], rule: SplitRule) -> list[Part]:
    """Split data sets that are learned from together.

    Raises:
        DatasetError: A side would have no tile of some label, a picture would be on both sides, or places are unknown.
    """
    parts = [_split(dataset, rule) for dataset in datasets]
    learned = {
        digest: f"{part.dataset.name}/{name}"
        for part in parts
        for digest, name in zip(part.train.digests(), part.train.names, strict=True)
    }
    for part in parts:
        for digest, name in zip(part.held_out.digests(), part.held_out.names, strict=True):
            if digest in learned:
                raise DatasetError(f"{part.dataset.name}/{name} is held out, but {learned[digest]} is the same picture")
    return parts


def blocks(places: NDArray[np.float64], block_m: float) -> NDArray[np.int64]:
    """The block of ground in which each place lies.

    Args:
        places: (n, 2), longitude and latitude in degrees, none NaN.

    Returns:
        (n,), a number for each block; along a parallel the blocks are as wide as at the middle of the places.
    """
    middle = math.radians(float(np.mean(places[:, 1])))
    east_m = places[:, 0] * _METRES_A_DEGREE * math.cos(middle)
    north_m = places[:, 1] * _METRES_A_DEGREE
    cells = np.floor(np.stack([east_m, north_m], axis=1) / block_m).astype(np.int64)
    return np.asarray(np.unique(cells, axis=0, return_inverse=True)[1], np.int64).reshape(-1)


def _split(dataset: Dataset, rule: SplitRule) -> Part:
    tiles = dataset.tiles
    by_place = rule.kind == "auto" and bool(np.isfinite(tiles.places).all())
    if rule.kind in {"given", "auto"} and dataset.given_held_out is not None and not by_place:
        held_out, how = dataset.given_held_out, "as the data set says"
    else:
        folds, how = _folds(dataset, rule)
        held_out, how = folds == rule.fold, f"{how}, fold {rule.fold + 1} of {rule.folds}"
    part = Part(dataset, tiles.take(np.flatnonzero(~held_out)), tiles.take(np.flatnonzero(held_out)), how)
    for side, has in (("learn from", part.train), ("measure on", part.held_out)):
        for index, label in enumerate(dataset.labels):
            if index not in has.labels:
                raise DatasetError(
                    f"{dataset.name}: no tile of {label!r} left to {side} ({how}); fewer folds or smaller blocks?"
                )
    return part


def _folds(dataset: Dataset, rule: SplitRule) -> tuple[NDArray[np.int64], str]:
    """The fold of each tile, and how it came about."""
    tiles = dataset.tiles
    known = np.isfinite(tiles.places).all(axis=1)
    rng = np.random.default_rng(rule.seed)
    if rule.kind == "place" and not known.all():
        name = tiles.names[int(np.argmin(known))]
        raise DatasetError(f"{dataset.name}: the place of {name} is unknown ({np.sum(~known)} in all), so no split by place")
    if rule.kind != "random" and known.all():
        return _deal_blocks(blocks(tiles.places, rule.block_m), rule.folds, rng), f"by place, blocks of {rule.block_m:g} m"
    folds = np.empty(len(tiles), np.int64)
    for label in range(len(dataset.labels)):
        indices = rng.permutation(np.flatnonzero(tiles.labels == label))
        folds[indices] = np.arange(len(indices)) % rule.folds
    return folds, "at random"


def _deal_blocks(block: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal whole blocks to folds, the largest first, each to the fold that has the fewest tiles."""
    sizes = np.bincount(block)
    shuffled = rng.permutation(len(sizes))
    fold_of_block = np.empty(len(sizes), np.int64)
    filled = np.zeros(folds, np.int64)
    for index in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold = int(np.argmin(filled))
        fold_of_block[index] = fold
        filled[fold] += sizes[index]
    return fold_of_block[block]
