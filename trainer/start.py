"""What a training may learn on from: the network that a bundle carries beside the forms that a device runs."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras

from edge.bundle import ANYONE, Bundle
from edge.text import one_line
from trainer.errors import TrainerError

TRAINABLE = "trainer/model.keras"


class StartError(TrainerError):
    """A bundle cannot be learned on from; the message is one line that names it."""


@dataclass(frozen=True, slots=True)
class Start:
    """A network that has learned already.

    Attributes:
        name: Of the bundle, with version and hash, for the record.
        network: Name of the kind of network.
        labels: In the order of its output.
        content: The Keras file.
    """

    name: str
    network: str
    labels: tuple[str, ...]
    content: bytes

    def build(self) -> keras.Model:
        """A copy of the network, with its weights.

        Raises:
            StartError: It cannot be read.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(self.content)
            try:
                return keras.models.load_model(path, compile=False)
            except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                raise StartError(f"{self.name}: its network cannot be read: {one_line(error)}") from error


def start_from(folder: Path) -> Start:
    """Open a bundle to learn on from.

    Raises:
        BundleError: It is no bundle.
        StartError: It carries no network that can learn.
    """
    bundle = Bundle.open(folder, ANYONE)
    if not bundle.has(TRAINABLE):
        raise StartError(f"bundle {folder}: holds no {TRAINABLE}, so it cannot learn on")
    name = f"{bundle.model.name}-{bundle.model.version} {bundle.model.sha256[:12]}"
    start = Start(name, "", bundle.manifest.labels, bundle.read(TRAINABLE))
    return Start(name, start.build().name, start.labels, start.content)
