"""The run folder: what a training was given, what came of it, and the network.

``run.json`` says it for people and programs, ``model.keras`` holds the averaged weights, ``tensorboard/`` the curves. While
the training goes on there is ``checkpoint.npz``, from which the same command goes on after a power cut.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras

from edge.text import one_line
from trainer.datasets import SplitRule
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
        if record is None or "metrics" not in record or not isinstance(record.get("labels"), list):
            raise RunError(f"{folder}: not the folder of a finished fit: {RECORD} is missing or incomplete")
        return cls(folder, record)

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the network's output."""
        return tuple(self.record["labels"])

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets as the command line named them."""
        return tuple(data["argument"] for data in self.record["data"])

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


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Replace ``run.json``."""
    replace_file(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())


def write_network(folder: Path, model: keras.Model) -> None:
    """Replace the network; what is kept computes in float32 and has no optimizer, however it was trained."""
    plain = keras.models.clone_model(model, clone_function=_in_float32)
    plain.set_weights(model.get_weights())
    temporary = folder / f".{MODEL}"
    # Keras goes by the end of the name.
    plain.save(temporary)
    os.replace(temporary, folder / MODEL)


def _in_float32(layer: Any) -> Any:
    config = layer.get_config()
    return layer.__class__.from_config(config | {"dtype": "float32"} if "dtype" in config else config)
