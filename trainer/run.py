"""The run folder: what a training was given, what came of it, and the network.

``run.json`` says it for people and programs, ``model.keras`` holds the averaged weights, ``tensorboard/`` the curves. While
the training goes on there is ``checkpoint.npz``, from which the same command goes on after a power cut.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from edge.text import one_line
from trainer.datasets import Dataset, SplitRule
from trainer.errors import TrainerError
from trainer.files import replace_file

RECORD, MODEL, CHECKPOINT, CURVES = "run.json", "model.keras", "checkpoint.npz", "tensorboard"


class RunError(TrainerError):
    """A run folder cannot be used; the message is one line that names it."""


class Run:
    """A run folder."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the folder of a training that came to its end.

        Raises:
            RunError: It is no such folder.
        """
        record = read_record(folder)
        if record is None or "metrics" not in record:
            raise RunError(f"{folder}: not the folder of a finished fit: {RECORD} is missing or incomplete")
        return cls.of_record(folder, record)

    @classmethod
    def of_record(cls, folder: Path, record: dict[str, Any]) -> Run:
        """A run as a record of it says, which may lie elsewhere.

        Raises:
            RunError: The record is not what `fit` writes.
        """
        run = cls(folder, record)
        try:
            well_formed = (
                all(isinstance(text, str) for text in (*run.labels, *run.data, *run.fingerprints.values())) and run.split
            )
        except (KeyError, TypeError, AttributeError):
            well_formed = False
        if not well_formed:
            raise RunError(f"{folder}: what it says of its training is not what fit writes")
        return run

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the network's output."""
        return tuple(self.record["labels"])

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets as the command line named them."""
        return tuple(data["argument"] for data in self.record["data"])

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of what it learned from, by name of the data set."""
        return {data["name"]: data["fingerprint"] for data in self.record["data"]}

    def check_same(self, datasets: Sequence[Dataset]) -> None:
        """Refuse other data than the run's: what was held out of those need not be held out of these.

        Raises:
            RunError: One is missing, is another one, or has changed since.
        """
        missing = set(self.fingerprints) - {dataset.name for dataset in datasets}
        if missing:
            raise RunError(f"{self.folder}: also learned from {', '.join(sorted(missing))}; name all of its data or none")
        for dataset in datasets:
            if self.fingerprints.get(dataset.name) != dataset.fingerprint():
                raise RunError(
                    f"{dataset.name}: not, or no longer, the data that {self.folder} was trained on: "
                    "what was held out then is not known"
                )

    @property
    def split(self) -> SplitRule:
        """How the data were split."""
        return SplitRule(**self.record["split"])

    def network(self) -> keras.Model:
        """Load the network, not compiled.

        Raises:
            RunError: It is missing or damaged.
        """
        try:
            return keras.models.load_model(self.folder / MODEL, compile=False)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise RunError(f"{self.folder}: {MODEL} cannot be read: {one_line(error)}") from error


def read_record(folder: Path) -> dict[str, Any] | None:
    """The content of ``run.json``; None if there is none.

    Raises:
        RunError: It cannot be read.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: {RECORD} cannot be read: {one_line(error)}") from error
    if not isinstance(record, dict):
        raise RunError(f"{folder}: {RECORD} cannot be read: expected an object")
    return record


def is_finished(folder: Path) -> bool:
    """Whether a training came to its end here.

    Raises:
        RunError: What says so cannot be read.
    """
    record = read_record(folder)
    return record is not None and "metrics" in record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Replace ``run.json``.

    Raises:
        ValueError: A number in it is NaN or infinite, which JSON does not have.
    """
    replace_file(folder / RECORD, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


def write_network(folder: Path, model: keras.Model) -> None:
    """Replace the network; what is kept computes in float32 and has no optimizer, however it was trained."""
    plain = keras.models.clone_model(model, clone_function=_in_float32)
    plain.set_weights(model.get_weights())
    with tempfile.TemporaryDirectory() as temporary:
        # Keras goes by the end of the name.
        path = Path(temporary) / MODEL
        plain.save(path)
        replace_file(folder / MODEL, path.read_bytes())


def _in_float32(layer: Any) -> Any:
    config = layer.get_config()
    return layer.__class__.from_config(config | {"dtype": "float32"} if "dtype" in config else config)
