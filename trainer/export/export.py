"""Turns a run folder into the bundle that a device runs: IR, fallback models and manifest.

Preprocessing goes into the graph: what comes out of here takes uint8 pixels of any size as a decoder gives them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edge.bundle import Bundle, FileEntry, InputSpec, Manifest
from edge.inference import Classifier
from edge.inference.engine import BATCH
from edge.inference.openvino import IR
from edge.inference.tensorflow import LITERT_MODEL, SAVED_MODEL
from edge.text import one_line
from trainer.datasets import Dataset, Tiles
from trainer.fold import fold
from trainer.metrics import score


class ExportError(Exception):
    """A run cannot be exported; the message is the reason in one line."""


class _Served(tf.Module):  # type: ignore[misc]
    """A folded network with its preprocessing: (n, height, width, 3) uint8 BGR in, (n, labels) probabilities out."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self._size = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])  # type: ignore[untyped-decorator]
    def serve(self, images: Any) -> dict[str, Any]:
        pixels = tf.image.resize(tf.cast(images, tf.float32), self._size)
        return {"probabilities": self.model(pixels, training=False)}


def export(run: Path, name: str, version: int, datasets: Sequence[Dataset], target: Path) -> Bundle:
    """Write a bundle and measure it, as a device would run it, on what each data set holds out.

    Args:
        run: A folder that `fit` wrote.
        target: Folder of the bundle; replaced if it is there, and not touched unless everything succeeds.

    Raises:
        ExportError: The run folder is incomplete, or the target is something other than a bundle.
    """
    try:
        record = json.loads((run / "run.json").read_text())
        labels = tuple(record["labels"])
        model = keras.models.load_model(run / "model.keras", compile=False)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ExportError(f"{run}: not a folder that fit wrote: {one_line(error)}") from error
    if target.exists() and not (target / "manifest.json").is_file():
        raise ExportError(f"{target}: exists and is not a bundle; it is not replaced")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as temporary:
        folder = Path(temporary) / target.name
        _write_models(fold(model), folder)
        height, width = model.input_shape[1:3]
        manifest = Manifest(
            schema=1,
            name=name,
            version=version,
            labels=labels,
            alert_labels=("damaged",),
            input=InputSpec(height, width, "BGR", None),
            threshold=0.5,
            metrics={},
            files=_entries(folder),
        )
        _write_manifest(manifest, folder)
        metrics = _measure(Bundle.open(folder), datasets)
        _write_manifest(msgspec.structs.replace(manifest, metrics=metrics), folder)
        if target.exists():
            shutil.rmtree(target)
        os.rename(folder, target)
    return Bundle.open(target)


def _write_models(model: keras.Model, folder: Path) -> None:
    import openvino
    from openvino.tools.ovc import convert_model

    served = _Served(model)
    saved_model = folder / SAVED_MODEL
    function = served.serve.get_concrete_function()
    tf.saved_model.save(served, str(saved_model), signatures=function)
    # Weights become constants: LiteRT's interpreter would not initialize variables.
    frozen = convert_variables_to_constants_v2(function)
    lite = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    (folder / LITERT_MODEL).write_bytes(lite)
    (folder / IR[0]).parent.mkdir(parents=True)
    ir = convert_model(str(saved_model))
    # By itself it would keep the path on the machine that converted it.
    ir.set_rt_info(SAVED_MODEL, ["conversion_parameters", "input_model"])
    openvino.save_model(ir, str(folder / IR[0]), compress_to_fp16=True)


def _entries(folder: Path) -> dict[str, FileEntry]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {
        path.relative_to(folder).as_posix(): FileEntry(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in files
    }


def _write_manifest(manifest: Manifest, folder: Path) -> None:
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / "manifest.json").write_bytes(text + b"\n")


def _measure(bundle: Bundle, datasets: Sequence[Dataset]) -> dict[str, Any]:
    classifier = Classifier(bundle, ["CPU"])
    return {dataset.name: _measure_tiles(classifier, bundle.manifest.labels, dataset.held_out) for dataset in datasets}


def _measure_tiles(classifier: Classifier, labels: Sequence[str], tiles: Tiles) -> dict[str, Any]:
    decided = np.empty(len(tiles), np.int32)
    for start in range(0, len(tiles), BATCH):
        images = np.ascontiguousarray(tiles.images[start : start + BATCH, ..., ::-1])
        decided[start : start + BATCH] = [labels.index(item.label) for item in classifier.classify(list(images))]
    return score(decided, tiles.labels)
