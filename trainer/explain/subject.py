"""What can be explained: the network of a run folder, of an export or of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras

from edge.bundle import ANYONE, MANIFEST, Bundle
from trainer.explain.gradcam import ExplainError
from trainer.run import RECORD, Run
from trainer.start import TRAINABLE, Start, start_from


@dataclass(frozen=True, slots=True)
class Subject:
    """A network that can be explained.

    Attributes:
        name: For people.
        labels: In the order of its output.
        model: RGB pixels in 0..255 to probabilities, before calibration.
        temperature: By which its logits are divided in what a device runs; 1 of a run folder, and where none is known.
    """

    name: str
    labels: tuple[str, ...]
    model: keras.Model
    temperature: float = 1.0


def open_subject(folder: Path) -> Subject:
    """Open a run folder, or an export or a bundle that carries the network that can learn.

    Raises:
        ExplainError: It is none of them, or carries no such network.
        RunError, ExportError, BundleError, StartError: It is damaged.
    """
    from trainer.export.record import EXPORT_RECORD, ExportRecord

    if (folder / RECORD).is_file():
        run = Run.open(folder)
        return Subject(str(folder), run.labels, run.network())
    if (folder / MANIFEST).is_file():
        calibration = Bundle.open(folder, ANYONE).manifest.calibration
        start = start_from(folder)
        return Subject(start.name, start.labels, start.build(), calibration.temperature if calibration else 1.0)
    if (folder / EXPORT_RECORD).is_file():
        record = ExportRecord.open(folder)
        try:
            content = (folder / TRAINABLE).read_bytes()
        except FileNotFoundError:
            raise ExplainError(f"{folder}: holds no {TRAINABLE}; only a network that can learn has gradients") from None
        model = Start(str(folder), record.network, record.labels, content).build()
        return Subject(str(folder), record.labels, model, record.calibration.temperature if record.calibration else 1.0)
    raise ExplainError(f"{folder}: expected a run folder (with {RECORD}), an export (with {EXPORT_RECORD}) or a bundle")
