"""The process that runs a model where the daemon's own interpreter cannot: on a Movidius stick.

The stick's plugin lives in runtimes from 2021 and 2022 only, for Pythons that the daemon left behind, and a stick can hang the
process that talks to it. So this is one file that any Python from 3.6 on runs by itself, with numpy and OpenVINO and nothing
else, in a process that the daemon kills when it must:

    worker.py REQUESTS ANSWERS MEMORY

The arguments are file descriptors. Over the two pipes go frames: the length in 4 bytes, the highest first, then JSON. Models
and pixels lie in the shared memory. Each request has a number, which its answer repeats:

    {"number": 1, "type": "load", "device": "MYRIAD", "xml_bytes": X, "weights_bytes": W}   X and then W bytes of the memory
    {"number": 2, "type": "infer", "shape": [1, 128, 128, 3]}                               that many bytes: one image, BGR
    {"number": 3, "type": "quit"}

    {"number": 0, "type": "hello", "python": "3.9.18", "runtime": "2021.4.2-…", "devices": ["CPU"]}   comes by itself
    {"number": 1, "type": "loaded"}
    {"number": 2, "type": "probabilities", "values": [0.99, 0.01]}
    {"number": 2, "type": "failed", "reason": "one line"}

Standard output and standard error are the runtime's, which prints what it likes. Standard input is never read: it is a pipe
whose other end only the daemon holds, and when that goes, so does this process, whatever it is busy with.
"""
# ruff: noqa: UP006, UP035, UP045 - Python 3.6 knows no other spelling.

import sys

if __name__ == "__main__":
    # Python looks for modules beside a script first, and finds a file openvino.py here.
    del sys.path[0]

import fcntl
import importlib.util
import json
import mmap
import os
import platform
import select
import signal
import struct
from typing import Any, Callable, Dict, List, Optional

import numpy as np

MAX_FRAME_BYTES = 65536
LENGTH = struct.Struct(">I")

_MAX_REASON = 500
# By itself a CPU of the newer kinds would compute in bfloat16, much coarser than a stick's FP16.
_OLD_CPU, _NEW_CPU = {"ENFORCE_BF16": "NO"}, {"INFERENCE_PRECISION_HINT": "f32"}

Message = Dict[str, Any]
Infer = Callable[[Any], Any]
"""Takes pixels, (1, height, width, 3) uint8, and gives probabilities."""


class InferenceEngine:
    """OpenVINO 2021.4 to 2022.3 by the interface that all of them have."""

    def __init__(self) -> None:
        from openvino.inference_engine import IECore, get_version

        self.version = str(get_version())
        self._core = IECore()

    def devices(self) -> List[str]:
        """The devices that the runtime sees."""
        return list(self._core.available_devices)

    def load(self, device: str, xml: bytes, weights: bytes) -> Infer:
        """Compile a model."""
        network = self._core.read_network(model=xml, weights=weights, init_from_buffer=True)
        (name,), (output,) = network.input_info, network.outputs
        # The device takes bytes and makes of them the FP16 that the model asks for.
        network.input_info[name].precision = "U8"
        network.outputs[output].precision = "FP32"
        compiled = self._core.load_network(network, device, _OLD_CPU if device == "CPU" else {}, 1)
        return lambda pixels: compiled.infer({name: pixels})[output]


class Runtime:
    """OpenVINO from 2022.1 on, where it was built without the interface of before."""

    def __init__(self) -> None:
        try:
            from openvino import runtime
        except ImportError:
            import openvino as runtime
        self.version = str(runtime.get_version())
        self._core = runtime.Core()
        self._u8 = runtime.Type.u8

    def devices(self) -> List[str]:
        """The devices that the runtime sees."""
        return list(self._core.available_devices)

    def load(self, device: str, xml: bytes, weights: bytes) -> Infer:
        """Compile a model."""
        from openvino.preprocess import PrePostProcessor

        steps = PrePostProcessor(self._core.read_model(xml, weights))
        steps.input().tensor().set_element_type(self._u8)
        compiled = self._core.compile_model(steps.build(), device, _NEW_CPU if device == "CPU" else {})
        request = compiled.create_infer_request()
        return lambda pixels: next(iter(request.infer({0: pixels}).values()))


def open_runtime() -> Any:
    """The OpenVINO of this interpreter.

    Raises:
        ImportError: There is none.
    """
    # Later runtimes would look up a host through it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return InferenceEngine() if importlib.util.find_spec("openvino.inference_engine") else Runtime()


class Server:
    """Answers requests, one after the other."""

    def __init__(self, runtime: Any, memory: Any) -> None:
        self._runtime = runtime
        self._memory = memory
        self._infer: Optional[Infer] = None

    def answer(self, request: Message) -> Message:
        """What to answer to a request other than quit.

        Raises:
            Exception: Whatever the runtime raises, and what is wrong with the request.
        """
        if request["type"] == "load":
            return self._load(str(request["device"]), int(request["xml_bytes"]), int(request["weights_bytes"]))
        if request["type"] == "infer":
            return self._probabilities([int(side) for side in request["shape"]])
        raise ValueError(f"unknown request {request['type']!r}")

    def _load(self, device: str, xml_bytes: int, weights_bytes: int) -> Message:
        self._infer = None
        if min(xml_bytes, weights_bytes) < 0 or xml_bytes + weights_bytes > len(self._memory):
            raise ValueError("the model is larger than the memory")
        content = self._memory[: xml_bytes + weights_bytes]
        self._infer = self._runtime.load(device, content[:xml_bytes], content[xml_bytes:])
        return {"type": "loaded"}

    def _probabilities(self, shape: List[int]) -> Message:
        if self._infer is None:
            raise ValueError("no model is loaded")
        count = 1
        for side in shape:
            count *= side
        if min(shape) < 1 or count > len(self._memory):
            raise ValueError("the image is larger than the memory")
        # A copy: a view would keep the memory from being closed.
        pixels = np.frombuffer(self._memory[:count], np.uint8).reshape(shape)
        values = np.asarray(self._infer(pixels), np.float32).ravel()
        if not np.isfinite(values).all():
            raise ValueError("gave a probability that is no number")
        return {"type": "probabilities", "values": values.tolist()}


def serve(requests: int, answers: int, memory: Any) -> None:
    """Answer until the daemon says quit or is gone."""
    try:
        runtime = open_runtime()
        hello = {"type": "hello", "python": platform.python_version(), "runtime": runtime.version, "devices": runtime.devices()}
    except Exception as error:  # noqa: BLE001 - whatever it is, the daemon is told
        send(answers, dict(_failed(error), number=0))
        return
    send(answers, dict(hello, number=0))
    server = Server(runtime, memory)
    while True:
        request = receive(requests)
        if request is None or request.get("type") == "quit":
            return
        try:
            answer = server.answer(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon is told
            answer = _failed(error)
        send(answers, dict(answer, number=request.get("number")))


def send(descriptor: int, message: Message) -> None:
    """Write a frame.

    Raises:
        ValueError: The message is too long.
        OSError: Nobody reads.
    """
    content = json.dumps(message).encode()
    if len(content) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(content)} bytes, at most {MAX_FRAME_BYTES} are allowed")
    frame = LENGTH.pack(len(content)) + content
    while frame:
        frame = frame[os.write(descriptor, frame) :]


def receive(descriptor: int) -> Optional[Message]:
    """Read a frame; None: there is no more.

    Raises:
        ValueError: It is too long, or no JSON object.
    """
    head = _read(descriptor, LENGTH.size)
    if head is None:
        return None
    (length,) = LENGTH.unpack(head)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {length} bytes, at most {MAX_FRAME_BYTES} are allowed")
    content = _read(descriptor, length)
    if content is None:
        return None
    message = json.loads(content.decode())
    if not isinstance(message, dict):
        raise ValueError("a message that is no object")
    return message


def _read(descriptor: int, count: int) -> Optional[bytes]:
    content = b""
    while len(content) < count:
        chunk = os.read(descriptor, count - len(content))
        if not chunk:
            return None
        content += chunk
    return content


def _failed(error: Exception) -> Message:
    """An error in one line: the last of what it says, since a runtime puts places in its source code before."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return {"type": "failed", "reason": lines[-1][:_MAX_REASON] if lines else type(error).__name__}


def end_with(descriptor: int) -> None:
    """Have the kernel end this process when the other end of a pipe is closed.

    No thread could promise that: a runtime that hangs can hold the interpreter, and then no Python runs any more.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    closed_before = select.poll()
    closed_before.register(descriptor, 0)
    if closed_before.poll(0):
        sys.exit(0)


def main() -> None:
    """Serve over the descriptors that the command line names."""
    try:
        requests, answers, memory = (int(argument) for argument in sys.argv[1:])
    except ValueError:
        sys.exit("usage: worker.py REQUESTS ANSWERS MEMORY, three file descriptors; the daemon starts it")
    end_with(0)
    serve(requests, answers, mmap.mmap(memory, os.fstat(memory).st_size))


if __name__ == "__main__":
    main()
