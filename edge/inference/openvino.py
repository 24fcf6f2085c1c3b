"""The OpenVINO engine: asynchronous requests on one device, made once and used again for every frame."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.bundle import Bundle, BundleError
from edge.inference.bound import begin, no_answer, within
from edge.inference.engine import ANSWER_S, BATCH, EngineError, Mode, Request, Result

if TYPE_CHECKING:
    from edge.bundle.selftest import Weights
    from edge.records import Image

IR = ("ir/model.xml", "ir/model.bin")
# In a bundle where quantization cost no accuracy worth naming; CPUs run it at about twice the speed.
IR_INT8 = ("ir/model-int8.xml", "ir/model-int8.bin")
_CONVERTER = "openvino.tools.ovc"


class OpenVinoEngine:
    """Runs a bundle's IR. Tiles of the model's own size go through a graph of their own, which is made for that shape and is
    up to twice as fast: in batches where frames wait in line, singly where the newest frame counts.

    Colour, size and scale are the graph's business: pixels go in as they were decoded.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, device: str, mode: Mode, cache: Path | None, answer_s: float = ANSWER_S) -> None:
        """
        Args:
            device: OpenVINO's name of it: CPU, GPU, NPU.
            mode: Throughput where frames wait in line, latency where the newest frame counts.
            cache: Folder for compiled models.
            answer_s: A request that takes longer has failed.

        Raises:
            EngineError: OpenVINO is not installed, or the model cannot be loaded on this device.
        """
        self.device = device
        self._size = (bundle.manifest.input.height, bundle.manifest.input.width)
        try:
            openvino = import_openvino()
            core = openvino.Core()
            if cache is not None:
                core.set_property({"CACHE_DIR": str(cache)})
            self.weights: Weights = "int8" if device == "CPU" and bundle.has(IR_INT8[0]) else "float"
            xml_name, weights_name = IR_INT8 if self.weights == "int8" else IR
            xml, weights = bundle.read(xml_name), bundle.read(weights_name)
            model = core.read_model(xml, openvino.Tensor(np.frombuffer(weights, np.uint8)))
            # FP32 everywhere: by itself a CPU would choose the precision, and two machines would answer differently.
            properties = {"PERFORMANCE_HINT": mode.upper(), "INFERENCE_PRECISION_HINT": "f32"}
            self._any = _Requests(core.compile_model(model, device, properties), openvino, answer_s, None)
            self._count = BATCH if mode == "throughput" else 1
            fix_shape(model, (self._count, *self._size, 3))
            self._fixed = _Requests(core.compile_model(model, device, properties), openvino, answer_s, self._count)
        except (ImportError, RuntimeError, OSError, BundleError) as error:
            raise EngineError(f"OpenVINO on {device}: {_last_line(error)}") from error

    def start(self, images: Sequence[Image]) -> Request:
        """As in `Engine`."""
        # Two tiles and more go in a full batch, in which the rest is nothing: in a graph of any size they would not be faster,
        # and for each number of tiles it keeps what it computed with: megabytes.
        fits = images[0].shape[:2] == self._size and (len(images) > 1 or self._count == 1)
        return (self._fixed if fits and len(images) <= self._count else self._any).start(images)

    def close(self) -> None:
        """As in `Engine`: all of it lies in this process."""


class _Requests:
    """The requests of one compiled model. As many are made as are ever in flight at once, and used again."""

    def __init__(self, compiled: Any, openvino: Any, answer_s: float, count: int | None) -> None:
        """
        Args:
            count: So many images go into each request, of which the last may be nothing; None: as many as there are.
        """
        self._count = count
        self._compiled = compiled
        self._openvino = openvino
        self._answer_s = answer_s
        self._free: deque[_Request] = deque()

    def start(self, images: Sequence[Image]) -> _Request:
        try:
            request = self._free.pop()
        except IndexError:
            request = _Request(self._create(), self._openvino, self._free, self._answer_s, self._count)
        request.start(images)
        return request

    def _create(self) -> Any:
        """Make a request, which waits for others that run, and so for one that hangs."""
        try:
            return within(self._answer_s, self._compiled.create_infer_request, "request")
        except RuntimeError as error:
            raise EngineError(f"OpenVINO: {_last_line(error)}") from error


class _Request:
    """A request, the memory that its input lies in, and the pool that it goes back to."""

    def __init__(self, request: Any, openvino: Any, free: deque[_Request], answer_s: float, count: int | None) -> None:
        self._count = count
        self._asked = 0
        self._answer_s = answer_s
        self._request = request
        self._openvino = openvino
        self._free = free
        self._pixels = np.empty(0, np.uint8)

    def start(self, images: Sequence[Image]) -> None:
        self._asked = len(images)
        shape = (self._count or len(images), *images[0].shape)
        try:
            if self._pixels.shape != shape:
                self._pixels = np.zeros(shape, np.uint8)
                self._request.set_input_tensor(self._openvino.Tensor(self._pixels, shared_memory=True))
            for index, image in enumerate(images):
                self._pixels[index] = image
            self._request.start_async()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO: {_last_line(error)}") from error

    def result(self) -> Result:
        try:
            if not self._request.wait_for(round(self._answer_s * 1000)):
                # Whoever lets go of a request waits for its end, and so would the end of the process.
                begin(self._see_off, "given up")
                raise no_answer(self._answer_s)
            probabilities = self._request.get_output_tensor(0).data[: self._asked]
            result = Result(np.array(probabilities, np.float32), self._request.latency)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO: {_last_line(error)}") from error
        self._free.append(self)
        return result

    def _see_off(self) -> None:
        """Wait for the end, however late, with the memory in hand that the request reads."""
        self._request.wait()


def offered_devices() -> list[str]:
    """The devices of this machine that OpenVINO has a plugin and a driver for, by its names: CPU, GPU.0, NPU.

    Raises:
        EngineError: OpenVINO is not installed.
    """
    try:
        return [str(device) for device in import_openvino().Core().available_devices]
    except (ImportError, RuntimeError, OSError) as error:
        raise EngineError(f"OpenVINO: {_last_line(error)}") from error


def import_openvino() -> Any:
    """Import OpenVINO's runtime alone.

    Without its telemetry, which would look up a host and write into the home folder; and without its model converter, whose
    import takes longer than all the rest and which is there again for whoever asks for it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if _CONVERTER in sys.modules:
        import openvino
    else:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules[_CONVERTER]
    return openvino


def fix_shape(model: Any, shape: tuple[int, ...]) -> None:
    """Make a model of any size one of this input shape, (n, height, width, 3).

    A resize to the size that the image then has is taken out: the CPU would copy every pixel through it.
    """
    model.reshape(list(shape))
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Interpolate" and operation.get_input_shape(0) == operation.get_output_shape(0):
            operation.output(0).replace(operation.input_value(0))


def _last_line(error: BaseException) -> str:
    """The line of an OpenVINO message that says what happened: those before it are places in its source code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
