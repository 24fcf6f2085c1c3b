"""The fallback engines: LiteRT where it is installed, else TensorFlow. Slower to start or to run, but not OpenVINO."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.bundle import Bundle, BundleError
from edge.inference.bound import Background, Pending
from edge.inference.engine import ANSWER_S, Engine, EngineError, Request, Result
from edge.text import one_line

if TYPE_CHECKING:
    from edge.bundle.selftest import Weights
    from edge.records import Image

LITERT_MODEL = "tensorflow/model.tflite"
SAVED_MODEL = "tensorflow/saved_model"


def load_tensorflow(bundle: Bundle, answer_s: float = ANSWER_S) -> Engine:
    """LiteRT if it is installed, else TensorFlow.

    Args:
        answer_s: A request that takes longer has failed.

    Raises:
        EngineError: Neither is there, or the model cannot be loaded.
    """
    reasons = []
    for engine in (LiteRtEngine, TensorFlowEngine):
        try:
            return engine(bundle, answer_s)
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError("; ".join(reasons))


@dataclass(frozen=True, slots=True)
class _Running:
    """A request of an engine that computes while it is called, on the thread that its engine has for that."""

    pending: Pending[Result]
    answer_s: float

    def result(self) -> Result:
        return self.pending.result(self.answer_s)


class LiteRtEngine:
    """Runs a bundle's ``model.tflite`` with ai-edge-litert."""

    name = "litert"
    device = "CPU"
    weights: Weights = "float"

    def __init__(self, bundle: Bundle, answer_s: float = ANSWER_S) -> None:
        """
        Args:
            answer_s: A request that takes longer has failed.

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
        self._answer_s = answer_s
        # An interpreter has one set of tensors: its calls come one after the other.
        self._thread = Background(self.name)

    def start(self, images: Sequence[Image]) -> Request:
        """As in `Engine`."""
        batch = np.stack(images)
        return _Running(self._thread.start(lambda: self._infer(batch)), self._answer_s)

    def close(self) -> None:
        """As in `Engine`: all of it lies in this process."""

    def _infer(self, batch: Image) -> Result:
        started = time.perf_counter()
        try:
            if batch.shape != self._shape:
                self._interpreter.resize_tensor_input(self._input, batch.shape)
                self._interpreter.allocate_tensors()
                self._shape = batch.shape
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            probabilities = self._interpreter.get_tensor(self._output)
        except Exception as error:
            raise EngineError(f"LiteRT: {one_line(error)}") from error
        return Result(probabilities, (time.perf_counter() - started) * 1000)


class TensorFlowEngine:
    """Runs a bundle's SavedModel with TensorFlow."""

    name = "tensorflow"
    device = "CPU"
    weights: Weights = "float"

    def __init__(self, bundle: Bundle, answer_s: float = ANSWER_S) -> None:
        """
        Args:
            answer_s: A request that takes longer has failed.

        Raises:
            EngineError: TensorFlow is not installed, or the model cannot be loaded.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            import tensorflow as tf

            self._model = _load_saved_model(tf, bundle)
            self._serve: Any = self._model.signatures["serving_default"]
            self._tensor = tf.constant
            self._answer_s = answer_s
            self._thread = Background(self.name)
        except (ImportError, OSError, BundleError, ValueError, KeyError, RuntimeError) as error:
            raise EngineError(f"TensorFlow: {one_line(error)}") from error

    def start(self, images: Sequence[Image]) -> Request:
        """As in `Engine`."""
        batch = np.stack(images)
        return _Running(self._thread.start(lambda: self._infer(batch)), self._answer_s)

    def close(self) -> None:
        """As in `Engine`: all of it lies in this process."""

    def _infer(self, batch: Image) -> Result:
        started = time.perf_counter()
        try:
            probabilities = self._serve(images=self._tensor(batch))["probabilities"].numpy()
        except Exception as error:
            raise EngineError(f"TensorFlow: {one_line(error)}") from error
        return Result(probabilities, (time.perf_counter() - started) * 1000)


def _load_saved_model(tensorflow: Any, bundle: Bundle) -> Any:
    """Load the SavedModel from a copy: TensorFlow reads files by itself, and what was verified must be what it reads."""
    with tempfile.TemporaryDirectory(prefix="overflight-") as temporary:
        for name in bundle.manifest.files:
            if name.startswith(f"{SAVED_MODEL}/"):
                file = Path(temporary) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(bundle.read(name))
        return tensorflow.saved_model.load(os.path.join(temporary, SAVED_MODEL))
