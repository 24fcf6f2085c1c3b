"""What an export says of itself, in ``export.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edge.text import one_line
from trainer.errors import TrainerError

EXPORT_RECORD = "export.json"


class ExportError(TrainerError):
    """A network cannot be exported, or an export cannot be used; the message is the reason in one line."""


class Gate(msgspec.Struct, frozen=True):
    """What quantization to INT8 did.

    Attributes:
        fp32: Balanced accuracy of the FP32 network by data set, 0..1; `int8`: of the INT8 one.
        allowed: Largest loss that was allowed, by data set, 0..1: what was asked for, or one tile where that is more.
        passed: Whether it stayed within that on every data set, so that the INT8 IR was kept.
    """

    fp32: dict[str, float]
    int8: dict[str, float]
    allowed: dict[str, float]
    passed: bool


class ExportCalibration(msgspec.Struct, frozen=True):
    """How far probabilities can be taken as such (Guo et al., 2017, arXiv:1706.04599).

    Attributes:
        temperature: By which the logits were divided; it is in the weights of every exported form already.
        expected_calibration_error: After that, 0..1, 15 bins, with the temperature fitted on the other half of the tiles.
        fitted_on: Names of the data sets whose held-out tiles it was fitted on.
    """

    temperature: float
    expected_calibration_error: float
    fitted_on: tuple[str, ...]


class ExportRecord(msgspec.Struct, frozen=True):
    """The content of ``export.json``.

    Attributes:
        source: What was exported.
        network: Name of the kind of network; empty if it was made elsewhere.
        labels: In the order of the output.
        height: Of the tiles inside, pixels; images of any size go in.
        width: As height.
        formats: Names of what is there: saved_model, litert, onnx, fp32, fp16, int8.
        left_out: By name of a format why it is not there.
        gate: What quantization did; None if it was not tried.
        calibration: None where nothing was held out to fit it on.
        metrics: By data set what was measured of the best IR on held-out tiles.
        run: The record of the run folder that it came from, without its history; empty if it was made elsewhere.
    """

    source: str
    network: str
    labels: tuple[str, ...]
    height: int
    width: int
    formats: tuple[str, ...]
    left_out: dict[str, str]
    gate: Gate | None
    calibration: ExportCalibration | None
    metrics: dict[str, Any]
    run: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> ExportRecord:
        """Read the record of an export.

        Raises:
            ExportError: It is missing or damaged.
        """
        try:
            return msgspec.json.decode((folder / EXPORT_RECORD).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise ExportError(f"{folder}: {EXPORT_RECORD} cannot be read: {one_line(error)}") from error
