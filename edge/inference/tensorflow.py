"""The fallback engines: LiteRT where it is installed, else TensorFlow. Slower to start or to run, but not OpenVINO."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.bundle import Bundle, BundleError
from edge.inference.engine import Engine, EngineError, Request, Result
from edge.text import one_line

if TYPE_CHECKING:
    from edge.records import Image

LITERT_MODEL = "tensorflow/model.tflite"
SAVED_MODEL = "tensorflow/saved_model"


def load_tensorflow(bundle: Bundle) -> Engine:
    """LiteRT if it is installed, else TensorFlow.

    Raises:
        EngineError: Neither is there, or the model cannot be loaded.
    """
    reasons = []
    for engine in (LiteRtEngine, TensorFlowEngine):
        try:
            return engine(bundle)
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError("; ".join(reasons))


@dataclass(frozen=True, slots=True)
class _Finished:
    """A request of an engine that computes while it is asked."""

    outcome: Result

    def result(self) -> Result:
        return self.outcome


class LiteRtEngine:
    """Runs a bundle's ``model.tflite`` with ai-edge-litert."""

    name = "litert"
    device = "CPU"

    def __init__(self, bundle: Bundle) -> None:
        """
        Raises:
            EngineError: LiteRT is not installed, or the model cannot be loaded.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter

            # The interpreter may read the model for as long as it lives.
            self._content = bundle.read(LITERT_MODEL)
            self._interpreter = Interpreter(model_content=self._content, num_threads=len(os.sched_getaffinity(0)))
        except (ImportError, BundleError, ValueError, RuntimeError) as error:
            raise EngineError(f"LiteRT: {one_line(error)}") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._shape: tuple[int, ...] = ()
        # An interpreter has one set of tensors.
        self._lock = threading.Lock()

    def start(self, images: Sequence[Image]) -> Request:
        """As in `Engine`."""
        started = time.perf_counter()
        batch = np.stack(images)
        try:
            with self._lock:
                if batch.shape != self._shape:
                    self._interpreter.resize_tensor_input(self._input, batch.shape)
                    self._interpreter.allocate_tensors()
                    self._shape = batch.shape
                self._interpreter.set_tensor(self._input, batch)
                self._interpreter.invoke()
                probabilities = self._interpreter.get_tensor(self._output)
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"LiteRT: {one_line(error)}") from error
        return _Finished(Result(probabilities, (time.perf_counter() - started) * 1000))


class TensorFlowEngine:
    """Runs a bundle's SavedModel with TensorFlow."""

    name = "tensorflow"
    device = "CPU"

    def __init__(self, bundle: Bundle) -> None:
        """
        Raises:
            EngineError: TensorFlow is not installed, or the model cannot be loaded.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            import tensorflow as tf

            # TensorFlow reads the files itself; they were checked when the bundle was opened.
            self._model = tf.saved_model.load(str(bundle.path / SAVED_MODEL))
            self._serve: Any = self._model.signatures["serving_default"]
            self._tensor = tf.constant
        except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise EngineError(f"TensorFlow: {one_line(error)}") from error

    def start(self, images: Sequence[Image]) -> Request:
        """As in `Engine`."""
        started = time.perf_counter()
        try:
            outputs = self._serve(images=self._tensor(np.stack(images)))
            probabilities = outputs["probabilities"].numpy()
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"TensorFlow: {one_line(error)}") from error
        return _Finished(Result(probabilities, (time.perf_counter() - started) * 1000))
