"""What pruning does to size and speed, measured of the network before and the one after."""

from __future__ import annotations

import gzip
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_ROUNDS, _WARM_UP = 200, 20


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a network.

    Attributes:
        keras_file: Of a Keras file without the state of an optimizer.
        keras_file_gzip: Of that, compressed.
        weights_gzip: Of all weights in FP32, compressed.
        ir_fp16: Of the OpenVINO IR with weights in FP16, .xml and .bin.
        ir_fp16_gzip: Of that, each file compressed.
    """

    keras_file: int
    keras_file_gzip: int
    weights_gzip: int
    ir_fp16: int
    ir_fp16_gzip: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Time for one image with OpenVINO on one thread of this machine's CPU, medians of runs that took turns.

    Attributes:
        before_ms: Of the network before, milliseconds; `after_ms`: of the pruned one.
        ratio: `after_ms` / `before_ms`.
        ratio_of_equals: The same of two compiled copies of one network, of either the one that is farther from 1: what chance
            alone does.
        rounds: How often each of the two copies of each network ran.
    """

    before_ms: float
    after_ms: float
    ratio: float
    ratio_of_equals: float
    rounds: int


def to_ir(model: keras.Model) -> Any:
    """The OpenVINO model of a network, by way of a SavedModel."""
    from openvino.tools.ovc import convert_model

    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converted = convert_model(folder)
    shape = model.input_shape
    converted.reshape([1, *shape[1:]])
    return converted


def size(model: keras.Model, ir: Any) -> Size:
    """Measure a network.

    Args:
        model: Not compiled, so that it has no optimizer.
        ir: The same by `to_ir`.
    """
    import openvino

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "model.keras")
        openvino.save_model(ir, str(folder / "model.xml"), compress_to_fp16=True)
        keras_file = (folder / "model.keras").read_bytes()
        files = [(folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes()]
    weights = b"".join(np.asarray(weight, np.float32).tobytes() for weight in model.get_weights())
    return Size(
        len(keras_file), _gzip(keras_file), _gzip(weights), sum(map(len, files)), sum(_gzip(content) for content in files)
    )


def speed(before: Any, after: Any, rounds: int = _ROUNDS) -> Speed:
    """Compare two OpenVINO models of one image; each takes its turn in every round, so that a busy machine slows all alike."""
    import openvino

    core = openvino.Core()
    # One thread: several would wait for each other as often as something else is running.
    properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    image = np.random.default_rng(0).uniform(0, 255, tuple(before.inputs[0].shape)).astype(np.float32)
    # Two copies of each: where its weights happen to lie in memory, too, makes a network faster or slower.
    models = (before, after, before, after)
    requests = [core.compile_model(model, "CPU", properties).create_infer_request() for model in models]
    times_ms: list[list[float]] = [[] for _ in requests]
    for number in range(-_WARM_UP, rounds):
        # Each comes first as often as the others.
        for turn in range(len(requests)):
            index = (number + turn) % len(requests)
            taken_ms = _infer_ms(requests[index], image)
            if number >= 0:
                times_ms[index].append(taken_ms)
    before_ms, after_ms = (statistics.median(times_ms[index] + times_ms[index + 2]) for index in range(2))
    one, other = ([statistics.median(times) for times in times_ms[at : at + 2]] for at in (0, 2))
    equals = max((b / a for a, b in zip(one, other, strict=True)), key=lambda ratio: abs(ratio - 1))
    return Speed(round(before_ms, 4), round(after_ms, 4), round(after_ms / before_ms, 3), round(equals, 3), rounds)


def _infer_ms(request: Any, image: NDArray[np.float32]) -> float:
    begun = time.perf_counter()
    request.infer([image])
    return 1000 * (time.perf_counter() - begun)


def _gzip(content: bytes) -> int:
    return len(gzip.compress(content, mtime=0))
