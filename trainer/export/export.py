"""Writes an export folder: one network in all formats, with what was measured of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import json, structs
from numpy.typing import NDArray

from edge.text import one_line
from trainer.datasets import Part
from trainer.evaluate.calibration import cross_fitted_calibration
from trainer.export.formats import saved_model_to_ir, write_ir, write_litert, write_onnx, write_saved_model
from trainer.export.onnx_source import onnx_to_ir
from trainer.export.quantize import quantize, weigh
from trainer.export.record import EXPORT_RECORD, ExportCalibration, ExportError, ExportRecord, Gate
from trainer.export.sources import Foreign, Source, open_foreign, open_run
from trainer.files import replaced_folder
from trainer.metrics import score
from trainer.predict import IR_FILES, Precision, Predictor, keras_call, open_predictor, openvino_call
from trainer.run import Run
from trainer.start import TRAINABLE

MOST_LOST = 0.003

_Writers = Mapping[str, Callable[[Path], None]]


def export_run(
    run: Run, parts: Sequence[Part], target: Path, most_lost: float = MOST_LOST, *, force: bool = False
) -> ExportRecord:
    """Export a network that `trainer.fit` made.

    Args:
        parts: The data of the run, split as it was: held-out tiles fit the temperature and weigh INT8, tiles that were learned
            from scale its activations. Empty: neither is done.
        target: Folder to write; an older export there is replaced, anything else is refused.
        most_lost: Balanced accuracy that INT8 may cost, 0..1; if it costs more, it is left out unless `force`.

    Raises:
        ExportError: The target is something else.
        RunError: The network cannot be read.
    """
    _check_target(target)
    calibration = _calibrate(run, parts)
    source = open_run(run, calibration.temperature if calibration else 1.0)
    with replaced_folder(target) as folder:
        (folder / TRAINABLE).parent.mkdir()
        shutil.copyfile(str(source.keras_file), folder / TRAINABLE)
        begun = _begin(source, calibration)
        return _write(
            folder, begun, writers=_writers(source), to_ir=saved_model_to_ir, parts=parts, most_lost=most_lost, force=force
        )


def export_foreign(
    path: Path, foreign: Foreign, parts: Sequence[Part], target: Path, most_lost: float = MOST_LOST, *, force: bool = False
) -> ExportRecord:
    """Export a model that was made elsewhere: a SavedModel, a ``.keras`` or an ``.onnx`` file; arguments as of `export_run`.

    Raises:
        ExportError: It cannot be read or is no classifier of these labels, or the target is something else.
    """
    _check_target(target)
    if path.suffix != ".onnx":
        source = open_foreign(path, foreign)
        with replaced_folder(target) as folder:
            return _write(
                folder,
                _begin(source, None),
                writers=_writers(source),
                to_ir=saved_model_to_ir,
                parts=parts,
                most_lost=most_lost,
                force=force,
            )
    model, height, width = onnx_to_ir(path, foreign)
    none = dict.fromkeys(("saved_model", "litert"), "cannot be made of an ONNX file")
    none["onnx"] = "the original has no preprocessing inside, the IR has"
    begun = ExportRecord(str(path), "", foreign.labels, height, width, (), none, None, None, {}, {})
    with replaced_folder(target) as folder:
        return _write(folder, begun, writers={}, to_ir=lambda _: model, parts=parts, most_lost=most_lost, force=force)


def _begin(source: Source, calibration: ExportCalibration | None) -> ExportRecord:
    return ExportRecord(
        source.name, source.network, source.labels, source.height, source.width, (), {}, None, calibration, {}, source.run
    )


def _writers(source: Source) -> _Writers:
    return {
        "saved_model": partial(write_saved_model, source),
        "litert": partial(write_litert, source),
        "onnx": partial(write_onnx, source),
    }


def _write(
    folder: Path,
    begun: ExportRecord,
    *,
    writers: _Writers,
    to_ir: Callable[[Path], Any],
    parts: Sequence[Part],
    most_lost: float,
    force: bool,
) -> ExportRecord:
    """Write all formats and the record."""
    left_out = dict(begun.left_out)
    formats: list[str] = []
    for name, write in writers.items():
        try:
            write(folder)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a converter that cannot do it costs its own format; it promises no closed set
            left_out[name] = one_line(error)
        else:
            formats.append(name)
    if "saved_model" in left_out and writers:
        raise ExportError(f"{begun.source}: cannot be written as a SavedModel: {left_out['saved_model']}")
    model = to_ir(folder)
    for precision in ("fp32", "fp16"):
        write_ir(model, folder, precision)
        formats.append(precision)
    gate = None
    if parts:
        write_ir(quantize(model, _learned(parts)), folder, "int8")
        gate = _weigh(folder, begun.labels, parts, most_lost)
    if gate is None:
        left_out["int8"] = "no data were given to quantize with"
    elif gate.passed or force:
        formats.append("int8")
    else:
        left_out["int8"] = f"costs more balanced accuracy than {most_lost:.1%}"
        for path in (folder / IR_FILES["int8"], (folder / IR_FILES["int8"]).with_suffix(".bin")):
            path.unlink()
    record = structs.replace(begun, formats=tuple(formats), left_out=left_out, gate=gate)
    _write_record(record, folder)
    predictor = open_predictor(folder)
    metrics = {part.dataset.name: score(predictor.probabilities(part.held_out.images), part.held_out.labels) for part in parts}
    record = structs.replace(record, metrics=metrics)
    _write_record(record, folder)
    return record


def _write_record(record: ExportRecord, folder: Path) -> None:
    (folder / EXPORT_RECORD).write_bytes(json.format(json.encode(record), indent=2) + b"\n")


def _weigh(folder: Path, labels: Sequence[str], parts: Sequence[Part], most_lost: float) -> Gate:
    """FP32 against INT8 on what is held out, both as OpenVINO runs them."""

    def probabilities(precision: Precision) -> dict[str, NDArray[np.float32]]:
        predictor = Predictor(precision, tuple(labels), openvino_call(folder / IR_FILES[precision]))
        return {part.dataset.name: predictor.probabilities(part.held_out.images) for part in parts}

    true = {part.dataset.name: part.held_out.labels for part in parts}
    return weigh(probabilities("fp32"), probabilities("int8"), true, most_lost)


def _calibrate(run: Run, parts: Sequence[Part]) -> ExportCalibration | None:
    """The temperature that makes the network's probabilities those that its held-out tiles show, photos if there are any."""
    if not parts:
        return None
    parts = [part for part in parts if not part.dataset.rendered] or parts
    predictor = Predictor("", run.labels, keras_call(run.network()))
    probabilities = np.concatenate([predictor.probabilities(part.held_out.images) for part in parts])
    labels = np.concatenate([part.held_out.labels for part in parts])
    temperature, _, after = cross_fitted_calibration(probabilities, labels, run.split.seed)
    names = tuple(part.dataset.name for part in parts)
    return ExportCalibration(round(temperature, 4), round(after, 4), names)


def _learned(parts: Sequence[Part]) -> NDArray[np.uint8]:
    """Tiles that were learned from, of each data set as many."""
    fewest = min(len(part.train) for part in parts)
    chosen = [part.train.images[np.linspace(0, len(part.train) - 1, fewest).astype(int)] for part in parts]
    return np.concatenate(chosen)


def _check_target(target: Path) -> None:
    if target.exists() and not (target / EXPORT_RECORD).is_file():
        raise ExportError(f"{target}: exists and is not an export; it is not replaced")
