"""Where on the ground a network errs: in which blocks, and how far from what it learned.

Near a training tile a network may answer from memory; a drone flies where nobody trained (Roberts et al., 2017, doi
10.1111/ecog.02881).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.split import blocks
from trainer.evaluate.statistics import Share, balanced_accuracy, wilson

LEAST_TILES = 20
"""Fewer tiles say nothing of a block."""

_EARTH_RADIUS_M = 6_371_008.8
_DISTANCES_M = (0.0, 20.0, 60.0, 200.0, 1000.0, math.inf)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of ground.

    Attributes:
        longitude: Of the middle of its tiles, degrees; `latitude`, too.
        error_rate: Share of its tiles that was decided wrongly, 0..1.
    """

    longitude: float
    latitude: float
    tiles: int
    errors: int
    error_rate: float


@dataclass(frozen=True, slots=True)
class Places:
    """Errors by block.

    Attributes:
        block_m: Side of a block.
        blocks: Those with 20 tiles at least, the worst first.
        too_small: How many blocks have fewer.
    """

    block_m: float
    blocks: tuple[Block, ...]
    too_small: int


@dataclass(frozen=True, slots=True)
class Distance:
    """Tiles whose nearest training tile is between so and so far away.

    Attributes:
        from_m: Included.
        to_m: Not included; None: however far.
        balanced_accuracy: None where a label is missing.
    """

    from_m: float
    to_m: float | None
    tiles: int
    accuracy: Share
    balanced_accuracy: Share | None


def errors_by_block(places: NDArray[np.float64], right: NDArray[np.bool_], block_m: float) -> Places:
    """Count the errors in each block.

    Args:
        places: (n, 2), longitude and latitude in degrees, none NaN.
        right: (n,), whether the decision was.
        block_m: Side of a block.
    """
    block = blocks(places, block_m)
    ranked = []
    for number in np.unique(block):
        here = block == number
        tiles, errors = int(here.sum()), int((~right[here]).sum())
        if tiles >= LEAST_TILES:
            longitude, latitude = places[here].mean(axis=0)
            ranked.append(Block(float(longitude), float(latitude), tiles, errors, errors / tiles))
    ranked.sort(key=lambda one: (-one.error_rate, -one.tiles, one.longitude, one.latitude))
    return Places(block_m, tuple(ranked), len(np.unique(block)) - len(ranked))


def distances_m(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far it is along the ground from each place to the nearest of the others, in metres.

    Args:
        places: (n, 2), longitude and latitude in degrees, none NaN.
        others: (m, 2), the same, one at least.
    """
    from sklearn.neighbors import BallTree

    # The haversine metric wants latitude first, in radians.
    tree = BallTree(np.radians(others[:, ::-1]), metric="haversine")
    return np.asarray(tree.query(np.radians(places[:, ::-1]))[0][:, 0] * _EARTH_RADIUS_M)


def accuracy_by_distance(
    distances: NDArray[np.float64], right: NDArray[np.bool_], labels: NDArray[np.integer[Any]], count: int
) -> tuple[Distance, ...]:
    """Measure near the training tiles and far from them: 0–20, 20–60, 60–200, 200–1000 m and beyond; empty bins are left out.

    Args:
        distances: (n,), metres.
        right: (n,), whether the decision was.
        labels: (n,), the true one of each tile.
        count: How many labels there are.
    """
    bins = []
    for from_m, to_m in pairwise(_DISTANCES_M):
        here = (distances >= from_m) & (distances < to_m)
        tiles = int(here.sum())
        if tiles:
            balanced = balanced_accuracy(right[here], labels[here], None)[0] if len(np.unique(labels[here])) == count else None
            to = None if math.isinf(to_m) else to_m
            bins.append(Distance(from_m, to, tiles, wilson(int(right[here].sum()), tiles), balanced))
    return tuple(bins)
