"""The frames that a device kept: where each lies, what it looks like, and how unlike the others that is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.capture.directory import DONE, REJECTED
from edge.capture.image import SUFFIXES, decode
from edge.text import printable
from trainer.datasets import TILE_PX
from trainer.harvest.errors import HarvestError
from trainer.harvest.observed import Observed

_MAX_PIXELS = 1 << 28
_LOOKED_AT_PX = 64
_NEIGHBOURS = 5
# Of fewer nothing can be said to be unusual.
_LEAST = 4 * _NEIGHBOURS


@dataclass(frozen=True, slots=True)
class Look:
    """What a frame looks like.

    Attributes:
        whole: The tile that is all of it, as a journal has it.
        digest: Equal if and only if the pixels are.
        features: (7,) mean and standard deviation of L*, a*, b* and the mean steepness of L*.
    """

    whole: str
    digest: bytes
    features: NDArray[np.float64]


class Kept:
    """The image files below a folder, found by the names that they had on the device."""

    def __init__(self, root: Path) -> None:
        """
        Raises:
            HarvestError: It is no folder, or cannot be read.
        """
        if not root.is_dir():
            raise HarvestError(f"{root}: no such folder")
        self._files: dict[str, Path] = {}
        try:
            for file in sorted(root.rglob("*")):
                if file.suffix.lower() in SUFFIXES and file.is_file() and not file.is_symlink():
                    # As `edge.capture.directory.key_of` writes a name.
                    name = os.fsencode(file.relative_to(root)).decode("utf-8", "backslashreplace")
                    self._files[printable(name)] = file
        except OSError as error:
            raise HarvestError(f"{error.filename}: {error.strerror}") from error

    def find(self, observed: Observed) -> Path | None:
        """The file of a frame, where it was or where the device moved it; None: it is not there, or is another by now."""
        for folder in ("", DONE, REJECTED):
            for name in self._numbered(str(PurePosixPath(folder, observed.name))):
                if self._files[name].stat().st_size == observed.size_bytes:
                    return self._files[name]
        return None

    def _numbered(self, name: str) -> Iterable[str]:
        """The name, and those that a device gives when another file of that name was moved before."""
        path = PurePosixPath(name)
        number = 0
        while name in self._files:
            yield name
            number += 1
            name = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


def look(file: Path) -> Look:
    """Decode a frame as the device does and sum up what it looks like.

    Raises:
        ImageError: It is no image.
        OSError: It cannot be read.
    """
    decoded = decode(file.read_bytes(), (TILE_PX, TILE_PX), _MAX_PIXELS)
    pixels = decoded.pixels
    digest = hashlib.blake2b(str(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
    small = cv2.resize(pixels, (_LOOKED_AT_PX, _LOOKED_AT_PX), interpolation=cv2.INTER_AREA)
    colours = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_BGR2LAB).astype(np.float64)
    down, right = np.gradient(colours[..., 0])
    features = [*colours.mean(axis=(0, 1)), *colours.std(axis=(0, 1)), float(np.hypot(down, right).mean())]
    return Look(f"0,0,{decoded.width},{decoded.height}", digest, np.array(features))


def oddness(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each frame lies from those that are most like it, above what is usual; 0: not unusual.

    The mean distance to the 5 nearest neighbours (Ramaswamy et al., 2000, doi 10.1145/342009.335437) of features in units
    of their interquartile range; unusual is what lies above the upper fence of Tukey (1977): the third quartile and one and a
    half interquartile ranges.

    Args:
        features: (n, 7), as of `Look`.

    Returns:
        (n,), distance above the fence.
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import RobustScaler

    if len(features) < _LEAST:
        return np.zeros(len(features))
    scaled = RobustScaler().fit_transform(features)
    # Asked about the points that it holds, it leaves each itself out.
    distances = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(scaled).kneighbors()[0].mean(axis=1)
    first, third = np.quantile(distances, [0.25, 0.75])
    return np.asarray(np.maximum(distances - (third + 1.5 * (third - first)), 0.0), np.float64)
