"""Asks a network for probabilities, whatever form it has: a run folder, an export or a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.bundle import ANYONE, MANIFEST, Bundle
from edge.text import one_line
from trainer.errors import TrainerError
from trainer.export.record import EXPORT_RECORD, ExportRecord
from trainer.run import RECORD, Run

Precision = Literal["fp32", "fp16", "int8"]
IR_FILES: dict[str, str] = {
    "fp32": "ir/model-fp32.xml",
    "fp16": "ir/model.xml",
    "int8": "ir/model-int8.xml",
}
_BATCH = 64


class PredictError(TrainerError):
    """What was named is no network; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """A network that can be asked.

    Attributes:
        name: For people: the path, and the precision where there are several.
        labels: In the order of its output.
        call: (n, side, side, 3) uint8 RGB → (n, labels) float32, rows sum to 1.
    """

    name: str
    labels: tuple[str, ...]
    call: Callable[[NDArray[np.uint8]], NDArray[np.float32]]

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Of any number of images, batch by batch."""
        return np.concatenate([self.call(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)])


def open_predictor(subject: Path, precision: Precision | None = None) -> Predictor:
    """Open a run folder, an export or a bundle.

    Args:
        precision: Of an export or a bundle; None: INT8 where it is there, else FP16. A run folder is FP32.

    Raises:
        PredictError: It is none of them, or has no such precision.
        RunError, ExportError, BundleError: It is damaged.
    """
    wanted: Sequence[Precision] = ("int8", "fp16") if precision is None else (precision,)
    if (subject / MANIFEST).is_file():
        return _open_bundle(subject, wanted)
    if (subject / RECORD).is_file():
        if precision not in {None, "fp32"}:
            raise PredictError(f"{subject}: a run folder is fp32, not {precision}; export it first")
        run = Run.open(subject)
        return Predictor(str(subject), run.labels, keras_call(run.network()))
    if not (subject / EXPORT_RECORD).is_file():
        raise PredictError(f"{subject}: expected a run folder (with {RECORD}), an export (with {EXPORT_RECORD}) or a bundle")
    labels = ExportRecord.open(subject).labels
    for name in wanted:
        if (subject / IR_FILES[name]).is_file():
            return Predictor(f"{subject} {name}", labels, openvino_call(subject / IR_FILES[name]))
    raise PredictError(f"{subject}: has no {IR_FILES[wanted[0]]}")


def _open_bundle(subject: Path, wanted: Sequence[Precision]) -> Predictor:
    """What a device would run: only files that the manifest names, and the very bytes that were checked."""
    bundle = Bundle.open(subject, ANYONE)
    for name in wanted:
        xml = IR_FILES[name]
        if bundle.has(xml):
            content = (bundle.read(xml), bundle.read(str(Path(xml).with_suffix(".bin"))))
            return Predictor(f"{subject} {name}", bundle.manifest.labels, openvino_call(subject / xml, content))
    raise PredictError(f"{subject}: has no {IR_FILES[wanted[0]]}")


def keras_call(model: Any) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What a Keras network of RGB pixels says."""
    return lambda images: np.asarray(model(images.astype(np.float32), training=False), np.float32)


def openvino_call(xml: Path, content: tuple[bytes, bytes] | None = None) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What an IR of BGR pixels says, computed in FP32 except where it is quantized, as on the device.

    Args:
        content: Of the graph and of the weights; None: they are read from the file and the one beside it.

    Raises:
        PredictError: It cannot be read.
    """
    import openvino

    properties = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        core = openvino.Core()
        model = xml if content is None else core.read_model(content[0], openvino.Tensor(np.frombuffer(content[1], np.uint8)))
        compiled = core.compile_model(model, "CPU", properties)
    except RuntimeError as error:
        raise PredictError(f"{xml}: no IR that can be read: {one_line(error)}") from error

    def call(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array(compiled(np.ascontiguousarray(images[..., ::-1]))[0], np.float32)

    return call
