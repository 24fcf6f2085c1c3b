"""Writes a network in the formats that runtimes read."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from edge.inference.tensorflow import LITERT_MODEL, SAVED_MODEL
from trainer.export.sources import INPUT, OUTPUT, Source
from trainer.predict import IR_FILES, Precision
from trainer.quiet import kept_back

ONNX_MODEL = "onnx/model.onnx"
# TensorRT 10 and ONNX Runtime read it, and it has all that is needed.
_ONNX_OPSET = 17
_LEAST_ROOM_BYTES = 1 << 20


def write_saved_model(source: Source, folder: Path) -> None:
    """A SavedModel with the signature ``serving_default``.

    Raises:
        OSError: There is no room on the disk.
    """
    # Graphs that came from TensorFlow 1 have gradients that cannot be saved; nobody learns from a SavedModel.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    signature = source.served.serve.get_concrete_function()
    try:
        tf.saved_model.save(source.served, str(folder / SAVED_MODEL), signatures=signature, options=options)
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / SAVED_MODEL)) from error


def write_litert(source: Source, folder: Path) -> None:
    """A LiteRT (TensorFlow Lite) file in FP32."""
    # Its native part talks to those who wrote graphs by hand, past every log level.
    with kept_back(shown_on_failure=False):
        content = tf.lite.TFLiteConverter.from_concrete_functions([source.function], source.served).convert()
    path = folder / LITERT_MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_onnx(source: Source, folder: Path) -> None:
    """An ONNX file, for TensorRT and ONNX Runtime."""
    import onnx
    import tf2onnx

    taken, given = source.function.inputs[0].name, source.function.outputs[0].name
    model, _ = tf2onnx.convert.from_graph_def(
        source.function.graph.as_graph_def(), input_names=[taken], output_names=[given], opset=_ONNX_OPSET
    )
    renamed = {taken: INPUT, given: OUTPUT}
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = INPUT, OUTPUT
    onnx.checker.check_model(model)
    path = folder / ONNX_MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def saved_model_to_ir(folder: Path) -> Any:
    """The OpenVINO model of the SavedModel that `write_saved_model` wrote."""
    from openvino.tools.ovc import convert_model

    model = convert_model(str(folder / SAVED_MODEL))
    # By itself it would keep the path on the machine that converted it.
    model.set_rt_info(SAVED_MODEL, ["conversion_parameters", "input_model"])
    return model


def write_ir(model: Any, folder: Path, precision: Precision) -> None:
    """An OpenVINO IR; ``fp16`` keeps weights in FP16, the others as they are.

    Raises:
        OSError: There is no room on the disk.
    """
    import openvino

    path = folder / IR_FILES[precision]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        openvino.save_model(model, str(path), compress_to_fp16=precision == "fp16")
    except RuntimeError as error:
        # It only says that a stream failed; by then it has taken what room there was.
        if shutil.disk_usage(path.parent).free < _LEAST_ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
