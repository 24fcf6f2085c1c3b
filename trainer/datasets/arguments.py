"""Data sets as the command line names them: ``READER[*TIMES]:LOCATION``, or a folder alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from trainer.datasets.readers import read_folder, read_haiti, read_harvey
from trainer.datasets.rendered import read_rendered
from trainer.datasets.tiles import Dataset, DatasetError

_READERS: dict[str, Callable[[str, int], Dataset]] = {
    "folder": read_folder,
    "haiti": read_haiti,
    "harvey": read_harvey,
    "rendered": read_rendered,
}
_NAMED = re.compile(r"(?P<reader>[a-z]+)(?:\*(?P<repeats>\d{1,4}))?:(?P<location>.+)", re.DOTALL)


def read(argument: str) -> Dataset:
    """Read the data set that an argument names.

    ``haiti*12:FOLDER`` lets every training tile come up twelve times in an epoch. Without a reader it is a folder with one
    folder for each label.

    Raises:
        DatasetError: The reader is unknown, or the location does not hold what the reader expects.
    """
    if not argument:
        raise DatasetError("the name of a data set is empty, expected a folder or READER:LOCATION")
    match = _NAMED.fullmatch(argument)
    if match is None:
        return read_folder(argument, 1)
    if match["reader"] not in _READERS:
        raise DatasetError(f"{argument}: no reader {match['reader']}, expected one of {', '.join(_READERS)}")
    repeats = int(match["repeats"] or 1)
    if repeats < 1:
        raise DatasetError(f"{argument}: each tile must come up at least once in an epoch")
    return _READERS[match["reader"]](match["location"], repeats)


def read_all(arguments: Sequence[str], labels: Sequence[str] | None = None) -> list[Dataset]:
    """Read data sets that are used together.

    Args:
        labels: What their labels must be, in this order; None: those of the first.

    Raises:
        DatasetError: One cannot be read, two have one name, or their labels differ.
    """
    datasets = [read(argument) for argument in arguments]
    names = [dataset.name for dataset in datasets]
    for name in names:
        if names.count(name) > 1:
            raise DatasetError(f"{name}: two data sets have this name, expected a different one for each")
    expected = tuple(labels) if labels is not None else datasets[0].labels if datasets else ()
    for dataset in datasets:
        if set(dataset.labels) != set(expected):
            raise DatasetError(f"{dataset.name}: has the labels {', '.join(dataset.labels)}, expected {', '.join(expected)}")
    return [_in_order(dataset, expected) for dataset in datasets]


def _in_order(dataset: Dataset, labels: tuple[str, ...]) -> Dataset:
    """The same data set with its labels in the order of a network's output."""
    index = np.array([labels.index(label) for label in dataset.labels], np.int32)
    return replace(dataset, labels=labels, tiles=replace(dataset.tiles, labels=index[dataset.tiles.labels]))
