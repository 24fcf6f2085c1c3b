"""The public data sets: where each comes from, under which terms, what it consists of, and how its repository lays it out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from trainer.fetch.pickled import read_pickled_tiles

NOTICE = "LICENCE-NOTICE.txt"

Found = Mapping[str, Path | bytes]
"""By path below the data set, the file that holds an image or its content."""

_HARVEY_NOTICE = """\
Satellite tiles of Greater Houston after Hurricane Harvey, 2017: Quoc Dung Cao and Youngjun Choe.
From the repository qcao10/DamageDetection; doi 10.17603/ds2-3cca-f398 leads to the publication and its terms of use.
The repository carries no licence text. Name the authors and the doi where you use the tiles.
"""
_HAITI_NOTICE = """\
GeoEye-1 tiles of Haiti after the earthquake of 2010, from the final degree work of Andrés Ortiz Loaiza, 2020.
From the repository A-Ortiz-L/multispectral-imaging-cnn-final-degree-work, CC0 1.0 Universal.
See the repository for its present licence text.
"""

# Of the tiles in the original repository, by their number there, those that this version of the set does not have.
_HAITI_TILES = 240
# fmt: off
_HAITI_ABSENT = frozenset((
    2, 5, 9, 21, 23, 26, 29, 31, 33, 36, 42, 49, 51, 57, 60, 64, 66, 69, 72, 84, 85, 91, 95, 99, 101, 102, 108, 111, 114, 115,
    123, 132, 136, 138, 141, 145, 149, 151, 153, 154, 157, 162, 164, 166, 172, 176, 179, 183, 185, 191, 194, 197, 202, 207, 210,
    212, 216, 220, 225, 232, 238,
))
# fmt: on


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A public data set.

    Attributes:
        url: Of the git repository that it comes from.
        notice: What is to be known before it is used.
        counts: Number of images by folder.
        digest: SHA-256 over the sorted lines ``<sha256>  <path>`` of its images.
        identity: What of an image's content is hashed.
        find: The images below a folder, which has the layout of the reader or that of the repository; told whether to take
            also those that the known version does not have. Empty: it has neither.
    """

    name: str
    url: str
    notice: str
    counts: Mapping[str, int]
    digest: str
    identity: Callable[[bytes], bytes]
    find: Callable[[Path, bool], Found]


def _pixels(content: bytes) -> bytes:
    """The pixels of an image: how they are compressed depends on the version of who wrote it."""
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    # What cannot be decoded is not what is expected, whatever it is.
    return content if decoded is None else hashlib.sha256(str(decoded.shape).encode()).digest() + decoded.tobytes()


def _find_harvey(root: Path, _: bool) -> Found:
    # The repository has a second split of the same tiles into train and test sets; this is the published balanced one.
    for parts in (
        {"train": "train_another", "validation": "validation_another"},
        {"train": "train", "validation": "validation"},
    ):
        if all((root / folder).is_dir() for folder in parts.values()):
            return {
                f"{part}/{label}/{file.name}": file
                for part, folder in parts.items()
                for label in ("damage", "no_damage")
                for file in _images(root / folder / label)
            }
    return {}


def _find_haiti(root: Path, take_all: bool) -> Found:
    labels = ("damaged", "undamaged")
    if all((root / label).is_dir() for label in labels):
        return {f"{label}/{file.name}": file for label in labels for file in _images(root / label)}
    for x in sorted(root.rglob("x.pickle")):
        y = x.with_name("y.pickle")
        if y.is_file():
            found: dict[str, Path | bytes] = {}
            for number, (tile, label) in enumerate(read_pickled_tiles(x, y)):
                if take_all or (number < _HAITI_TILES and number not in _HAITI_ABSENT):
                    found[f"{labels[label]}/haiti_{number:03}.png"] = cv2.imencode(".png", tile)[1].tobytes()
            return found
    return {}


def _images(folder: Path) -> list[Path]:
    """The image files of a folder; a link could lead anywhere, so none is followed."""
    if not folder.is_dir():
        return []
    suffixes = {".jpeg", ".jpg", ".png"}
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in suffixes and file.is_file() and not file.is_symlink()
    )


SETS: Mapping[str, PublicSet] = {
    "harvey": PublicSet(
        "harvey",
        "https://github.com/qcao10/DamageDetection.git",
        _HARVEY_NOTICE,
        {
            "train/damage": 5000,
            "train/no_damage": 5000,
            "validation/damage": 1000,
            "validation/no_damage": 1000,
        },
        "194212d685b406b1a50ea71ef538b91acf1cae82c74d8672b36159a142d6260d",
        bytes,
        _find_harvey,
    ),
    "haiti": PublicSet(
        "haiti",
        "https://github.com/A-Ortiz-L/multispectral-imaging-cnn-final-degree-work.git",
        _HAITI_NOTICE,
        {"damaged": 78, "undamaged": 101},
        "e0ace3fab99d90ff76dfe86c24477d48f2b1fcd90a0c0a3f702b54f6c1899a30",
        _pixels,
        _find_haiti,
    ),
}
