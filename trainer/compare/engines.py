"""The runtimes that are compared, as a worker process runs them: each is imported only where it is measured.

All take the same pixels, BGR as OpenCV decodes them; what a runtime needs beyond that (Keras: RGB) is part of its time.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.inference.openvino import fix_shape, import_openvino

Pixels = NDArray[np.uint8]
Answers = NDArray[np.float32]


class Engine(ABC):
    """A model in a runtime, ready to classify.

    Attributes:
        batch: Images that it computes at once when there are many.
        packages: Whose versions say what was measured.
    """

    batch = 64
    packages: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, model: Path, threads: int, temperature: float) -> None:
        """
        Args:
            model: What it reads.
            threads: That it may compute with.
            temperature: That logits are to be divided by where the model does not do it: of Keras alone.

        Raises:
            ImportError: The runtime is not installed.
        """

    @abstractmethod
    def classify(self, images: Pixels) -> Answers:
        """Images that come at once, `batch` at most: (n, height, width, 3) → (n, labels)."""

    def classify_many(self, images: Pixels) -> Answers:
        """Any number of images, as fast as it can."""
        return np.concatenate([self.classify(images[at : at + self.batch]) for at in range(0, len(images), self.batch)])

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Of the runtime, by name of the package."""
        return {name: version(name) for name in cls.packages}


class KerasPredict(Engine):
    """``keras.Model.predict``: what most people begin with. Keras compiles the network by XLA."""

    packages = ("keras", "tensorflow")

    def __init__(self, model: Path, threads: int, temperature: float) -> None:
        self._tensorflow = _import_tensorflow(threads)
        import keras

        self._model = keras.models.load_model(model, compile=False)
        self._size = tuple(self._model.input_shape[1:3])
        if temperature != 1.0:
            logits = self._model.get_layer("logits")
            logits.set_weights([weight / temperature for weight in logits.get_weights()])

    def classify(self, images: Pixels) -> Answers:
        return self.classify_many(images)

    def classify_many(self, images: Pixels) -> Answers:
        rgb: Any = images[..., ::-1]
        if images.shape[1:3] != self._size:
            rgb = self._tensorflow.image.resize(rgb, self._size)
        return np.asarray(self._model.predict(rgb, batch_size=self.batch, verbose=0), np.float32)


class SavedModel(Engine):
    """A SavedModel's own signature, called from Python."""

    packages = ("tensorflow",)

    def __init__(self, model: Path, threads: int, temperature: float) -> None:
        self._tensorflow = _import_tensorflow(threads)
        self._model = self._tensorflow.saved_model.load(str(model))
        self._serve = self._model.signatures["serving_default"]

    def classify(self, images: Pixels) -> Answers:
        return np.asarray(self._serve(images=self._tensorflow.constant(images))["probabilities"].numpy(), np.float32)


class LiteRt(Engine):
    """LiteRT, which was TensorFlow Lite, with XNNPACK."""

    packages = ("ai-edge-litert",)

    def __init__(self, model: Path, threads: int, temperature: float) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(model), num_threads=threads)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._shape: tuple[int, ...] = ()

    def classify(self, images: Pixels) -> Answers:
        if images.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, images.shape)
            self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output), np.float32)


class OpenVino(Engine):
    """OpenVINO as `edge.inference.openvino` runs it: in graphs that are made for their shape, single images at the lowest
    latency, many in as many asynchronous requests of full batches as it wants; what is left over in a graph of any shape.
    """

    batch = 8
    packages = ("openvino",)

    def __init__(self, model: Path, threads: int, temperature: float) -> None:
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        self._properties = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self._path = model
        self._any = self._compile("LATENCY").create_infer_request()
        self._single: Any = None
        self._queue: Any = None

    def classify(self, images: Pixels) -> Answers:
        if len(images) == 1 and self._single is None:
            self._single = self._compile("LATENCY", images.shape).create_infer_request()
        request = self._single if len(images) == 1 else self._any
        request.infer({0: np.ascontiguousarray(images)}, share_inputs=True)
        return np.array(request.get_output_tensor(0).data, np.float32)

    def classify_many(self, images: Pixels) -> Answers:
        full = len(images) // self.batch * self.batch
        found: dict[int, Answers] = {}
        if full:
            if self._queue is None:
                compiled = self._compile("THROUGHPUT", (self.batch, *images.shape[1:]))
                self._queue = self._openvino.AsyncInferQueue(compiled)
            self._queue.set_callback(lambda request, at: found.update({at: np.array(request.get_output_tensor(0).data)}))
            for at in range(0, full, self.batch):
                self._queue.start_async({0: images[at : at + self.batch]}, at, share_inputs=True)
            self._queue.wait_all()
        if full < len(images):
            found[full] = self.classify(images[full:])
        return np.concatenate([found[at] for at in sorted(found)])

    def _compile(self, hint: str, shape: tuple[int, ...] = ()) -> Any:
        model = self._core.read_model(self._path)
        if shape:
            fix_shape(model, shape)
        return self._core.compile_model(model, "CPU", {**self._properties, "PERFORMANCE_HINT": hint})


class OnnxRuntime(Engine):
    """ONNX Runtime on the CPU."""

    packages = ("onnxruntime",)

    def __init__(self, model: Path, threads: int, temperature: float) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Else its threads go on spinning after a run, in the time of the next engine.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def classify(self, images: Pixels) -> Answers:
        return np.asarray(self._session.run(["probabilities"], {"images": images})[0], np.float32)


@dataclass(frozen=True, slots=True)
class Form:
    """An engine and what it reads of an export.

    Attributes:
        title: For people.
        format: As `trainer.export.ExportRecord` names it; empty for the network itself, which no list of formats names.
        path: In the export.
        engine: The class that runs it.
    """

    title: str
    format: str
    path: str
    engine: type[Engine]


ENGINES: Mapping[str, Form] = MappingProxyType(
    {
        "keras": Form("Keras predict", "", "trainer/model.keras", KerasPredict),
        "savedmodel": Form("TensorFlow SavedModel", "saved_model", "tensorflow/saved_model", SavedModel),
        "litert": Form("LiteRT", "litert", "tensorflow/model.tflite", LiteRt),
        "openvino-fp32": Form("OpenVINO FP32", "fp32", "ir/model-fp32.xml", OpenVino),
        "openvino-fp16": Form("OpenVINO FP16", "fp16", "ir/model.xml", OpenVino),
        "openvino-int8": Form("OpenVINO INT8", "int8", "ir/model-int8.xml", OpenVino),
        "onnxruntime": Form("ONNX Runtime", "onnx", "onnx/model.onnx", OnnxRuntime),
    }
)
"""By the name that the command line has for it."""


def _import_tensorflow(threads: int) -> Any:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # All engines are compared on the CPU.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf
