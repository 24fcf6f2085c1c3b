"""Labelled tiles in memory, and the data set that they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError

TILE_PX = 128


class DatasetError(TrainerError):
    """A data set cannot be used; the message names the place and what was expected there."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Labelled tiles in memory.

    Attributes:
        images: (n, side, side, 3) uint8, RGB.
        labels: (n,) int32, index into the labels of their data set.
        names: For people: path below the data set's folder.
        places: (n, 2) float64, longitude and latitude in degrees; NaN where unknown.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    names: tuple[str, ...]
    places: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.intp]) -> Tiles:
        """Those at the indices, in their order."""
        return Tiles(self.images[indices], self.labels[indices], tuple(self.names[i] for i in indices), self.places[indices])

    @classmethod
    def concatenate(cls, parts: Sequence[Tiles]) -> Tiles:
        """All tiles of all parts, in their order."""
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            tuple(name for part in parts for name in part.names),
            np.concatenate([part.places for part in parts]),
        )

    def digests(self) -> list[bytes]:
        """One for each tile: equal if and only if the pixels are."""
        return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in self.images]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named data set.

    Attributes:
        labels: Names, in the order of the network's output; as read, sorted.
        tiles: All that could be read, each picture once.
        given_held_out: (n,) bool, what the data set itself keeps apart to measure on; None: it does not.
        repeats: How often each training tile comes up in one epoch; lifts a set of few tiles beside one of many.
        unreadable: ``name: reason`` of what could not be read.
        duplicates: Names of what was dropped because another tile has the same pixels.
        resized: How many tiles had another size than the one they are learned at.
        rendered: Whether they are drawings: how sure a network is of those says nothing about photos.
    """

    name: str
    labels: tuple[str, ...]
    tiles: Tiles
    given_held_out: NDArray[np.bool_] | None = None
    repeats: int = 1
    unreadable: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    resized: int = 0
    rendered: bool = False

    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels, whatever their order: the same data give the same fingerprint everywhere."""
        rows = sorted(
            digest + self.labels[label].encode() for digest, label in zip(self.tiles.digests(), self.tiles.labels, strict=True)
        )
        return hashlib.sha256(b"\0".join(rows)).hexdigest()
