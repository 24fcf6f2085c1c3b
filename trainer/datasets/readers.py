"""One reader for each kind of data; each gives a `Dataset`."""

from __future__ import annotations

from pathlib import Path

from edge.text import printable
from trainer.datasets.files import images_in, load
from trainer.datasets.tiles import Dataset, DatasetError

DAMAGE_LABELS = ("damaged", "undamaged")

_TRAIN_FOLDER = "train"
_HELD_OUT_FOLDERS = ("validation", "val", "test")
# What harvest lays out and nobody has labelled yet.
UNLABELLED = "unlabelled"


def read_harvey(location: str, repeats: int) -> Dataset:
    """Tiles of Greater Houston after Hurricane Harvey (Cao and Choe, 2018, doi 10.17603/ds2-3cca-f398).

    The file name is ``<longitude>_<latitude>.jpeg``. Published with its own validation split, whose tiles lie beside
    training tiles.
    """
    root = Path(location)
    classes = ("damage", "no_damage")
    parts = {
        part: [images_in(root / folder / name) for name in classes]
        for part, folder in (("train", "train"), ("held_out", "validation"))
    }
    return load("harvey", root, parts, DAMAGE_LABELS, repeats)


def read_haiti(location: str, repeats: int) -> Dataset:
    """Grey tiles of Port-au-Prince after the earthquake of 2010, without coordinates."""
    root = Path(location)
    return load("haiti", root, {"train": [images_in(root / name) for name in DAMAGE_LABELS]}, DAMAGE_LABELS, repeats)


def read_folder(location: str, repeats: int) -> Dataset:
    """A tree with one folder for each label; or such trees side by side, ``train`` to learn from and ``validation``, ``val`` or
    ``test``, or several of them, to measure on.
    """
    root = Path(location)
    train = root / _TRAIN_FOLDER
    held_out = [root / name for name in _HELD_OUT_FOLDERS if (root / name).is_dir()]
    if not train.is_dir() or not held_out:
        labels = _label_folders(root)
        parts = {"train": [images_in(root / label) for label in labels]}
    else:
        labels = _label_folders(train)
        for folder in held_out:
            if _label_folders(folder) != labels:
                raise DatasetError(f"{folder}: its folders are not those of {train} ({', '.join(labels)})")
        parts = {
            "train": [images_in(train / label) for label in labels],
            "held_out": [[image for folder in held_out for image in images_in(folder / label)] for label in labels],
        }
    return load(printable(root.resolve().name) or "root", root, parts, labels, repeats)


def _label_folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    labels = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".") and entry.name != UNLABELLED
    )
    for label in labels:
        if not label.isprintable():
            raise DatasetError(f"{root}: the folder {label!r} has a name that cannot be a label")
    if len(labels) < 2:
        raise DatasetError(f"{root}: expected a folder for each label, two at least; found {', '.join(labels) or 'none'}")
    return labels
