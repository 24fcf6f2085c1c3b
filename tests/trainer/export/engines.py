"""Asks every form of an export with the runtime that it is for, as a user of it would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

FORMS = ("saved_model", "litert", "onnx", "fp32", "fp16", "int8")
_IR = {"fp32": "model-fp32", "fp16": "model", "int8": "model-int8"}


def ask(folder: Path, form: str, images: Images) -> Probabilities:
    """What a form says of (n, height, width, 3) BGR images: (n, labels)."""
    match form:
        case "saved_model":
            served = tf.saved_model.load(str(folder / "tensorflow" / "saved_model")).signatures["serving_default"]
            return served(images=tf.constant(images))["probabilities"].numpy()
        case "litert":
            return _litert(folder / "tensorflow" / "model.tflite", images)
        case "onnx":
            session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
            return session.run(["probabilities"], {"images": images})[0]
        case _:
            return openvino_says(folder / "ir" / f"{_IR[form]}.xml", images)


def openvino_says(model: Path | openvino.Model, images: NDArray[np.generic]) -> Probabilities:
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(images)[0])


def _litert(path: Path, images: Images) -> Probabilities:
    interpreter = Interpreter(str(path))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(given["index"])
