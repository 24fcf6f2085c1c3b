"""The daemon's end of `edge.inference.worker`: starts the process, asks it, and kills it when it does not answer.

Nothing that the worker does or leaves undone harms the daemon: each call is bounded, an answer is used after it was found to be
one, the memory that both see cannot be made smaller under the daemon's feet, and what is printed is dropped while nobody reads.
"""

from __future__ import annotations

import fcntl
import logging
import math
import mmap
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from edge.bundle.limits import MAX_LABELS
from edge.inference import worker
from edge.inference.bound import no_answer
from edge.inference.engine import EngineError
from edge.text import one_line, printable

_log = logging.getLogger(__name__)

# No proxy, no credentials and no path of the daemon's modules; a program that wraps the interpreter can set what it needs.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_LINE_BYTES = 500
_CHUNK_BYTES = 65536
_CHUNKS_AT_END = 16
# A stick that is let go of can be opened again at once; one whose process was killed takes a while to notice.
_QUIT_S = 3.0
# A process that was killed, or hung up, is gone within milliseconds, unless it waits for a driver that never comes back.
_REAP_S = 0.5
_LOOK_S = 0.01

_Text = Annotated[str, Meta(max_length=1000)]
# FP16 rounds some sums to a little more than 1.
_Probability = Annotated[float, Meta(ge=0, le=1.01)]


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag=str.lower):
    number: int


class Hello(_Answer, frozen=True):
    """What the worker is, said by itself."""

    python: _Text
    runtime: _Text
    devices: Annotated[tuple[_Text, ...], Meta(max_length=100)]


class Loaded(_Answer, frozen=True):
    """The model is on the device."""


class Probabilities(_Answer, frozen=True):
    """What the model says of an image."""

    values: Annotated[tuple[_Probability, ...], Meta(max_length=MAX_LABELS)]


class Failed(_Answer, frozen=True):
    """What the runtime says is wrong."""

    reason: _Text


_T = TypeVar("_T", Hello, Loaded, Probabilities)
_decoder = msgspec.json.Decoder(Hello | Loaded | Probabilities | Failed)


class Worker:
    """A running worker. One thread at a time may use it; any may kill it."""

    def __init__(self, python: Path, memory_bytes: int) -> None:
        """
        Args:
            python: Interpreter that has numpy and OpenVINO: its path, or a name to be looked for as a shell does.
            memory_bytes: Size of the memory that is shared with it, for the model and for one image.

        Raises:
            EngineError: It cannot be started.
        """
        program = shutil.which(python)
        if program is None:
            raise EngineError(f"{python} is no program that can be run")
        self._ending = threading.Lock()
        self._closed = False
        self._number = 0
        self._received = bytearray()
        self._line = b""
        self._last_line = ""
        try:
            with ExitStack() as ours, ExitStack() as theirs:
                self._start(os.path.abspath(program), memory_bytes, ours, theirs)
                self._open = ours.pop_all()
        except (OSError, ValueError) as error:
            raise EngineError(f"{python} cannot be started: {one_line(error)}") from error
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._poll.register(self._printed, select.POLLIN)

    def _start(self, program: str, memory_bytes: int, ours: ExitStack, theirs: ExitStack) -> None:
        memory = os.memfd_create("overflight", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        theirs.callback(os.close, memory)
        os.ftruncate(memory, memory_bytes)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self._memory = ours.enter_context(mmap.mmap(memory, memory_bytes))
        alive, self._alive = _pipe(theirs, ours)
        requests, self._requests = _pipe(theirs, ours)
        self._answers, answers = _pipe(ours, theirs)
        self._printed, printed = _pipe(ours, theirs)
        # Whoever does not read must never be waited for: neither the worker in here, nor the daemon out there.
        for descriptor in (self._requests, self._printed, printed):
            os.set_blocking(descriptor, False)
        self._process = subprocess.Popen(
            # -s: no packages of the user's own. -B: none of our folders is written to.
            [program, "-s", "-B", worker.__file__, str(requests), str(answers), str(memory)],
            stdin=alive,
            stdout=printed,
            stderr=printed,
            pass_fds=(requests, answers, memory),
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    def load(self, device: str, xml: bytes, weights: bytes, seconds: float) -> Hello:
        """Wait until it is there, and have it load a model.

        Args:
            seconds: For both.

        Raises:
            EngineError: It says that it cannot; or it fails, and is ended.
        """
        deadline = time.monotonic() + seconds
        hello = self._answer(Hello, seconds, deadline)
        self._request(xml + weights, type="load", device=device, xml_bytes=len(xml), weights_bytes=len(weights))
        self._answer(Loaded, seconds, deadline)
        return hello

    def infer(self, pixels: bytes, shape: tuple[int, ...], seconds: float) -> tuple[float, ...]:
        """The probabilities of an image.

        Raises:
            EngineError: It says that it cannot tell; or it fails, and is ended.
        """
        self._request(pixels, type="infer", shape=shape)
        return self._answer(Probabilities, seconds, time.monotonic() + seconds).values

    def quit(self) -> None:
        """Let it end by itself, for a moment; then end it."""
        try:
            self._request(b"", type="quit")
            self._has_ended(_QUIT_S)
        except EngineError as error:
            _log.debug("worker: %s", error)
        self.close()

    def kill(self) -> None:
        """End the process and what it started. Whoever waits for its answer gets an error."""
        with self._ending:
            # Its number is nobody else's before it was waited for.
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and let go of everything. Any number of times."""
        self.kill()
        with self._ending:
            if self._closed:
                return
            self._closed = True
            if self._has_ended(_REAP_S):
                self._process.wait()
            else:
                # It is reaped by whoever starts the next one.
                _log.warning("worker %d waits for a driver and cannot be killed", self._process.pid)
            for _ in range(_CHUNKS_AT_END):
                if not self._read_printed():
                    break
            self._open.close()

    def _request(self, shared: bytes, **request: object) -> None:
        """Write a request, and what it is about into the memory."""
        if self._closed:
            raise EngineError("the worker has ended")
        self._memory[: len(shared)] = shared
        self._number += 1
        content = msgspec.json.encode({"number": self._number, **request})
        try:
            # Far less than a pipe holds, and it is empty when the request before was answered.
            os.write(self._requests, worker.LENGTH.pack(len(content)) + content)
        except BlockingIOError:
            self.close()
            raise EngineError("the worker takes no requests") from None
        except BrokenPipeError:
            raise self._ended() from None

    def _answer(self, kind: type[_T], seconds: float, deadline: float) -> _T:
        """Wait for the answer to the request that was written last."""
        try:
            answer = _decoder.decode(self._frame(seconds, deadline))
            if answer.number != self._number:
                raise msgspec.ValidationError(f"the number {answer.number} instead of {self._number}")
            if isinstance(answer, Failed):
                raise EngineError(printable(answer.reason))
            if not isinstance(answer, kind):
                raise msgspec.ValidationError(f"{type(answer).__name__} instead of {kind.__name__}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.close()
            raise EngineError(f"the worker answers nonsense: {one_line(error)}") from error
        return answer

    def _frame(self, seconds: float, deadline: float) -> bytes:
        while (frame := self._take_frame()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.close()
                raise no_answer(seconds)
            for descriptor, _ in self._poll.poll(math.ceil(left_s * 1000)):
                if descriptor == self._printed:
                    if not self._read_printed():
                        self._poll.unregister(descriptor)
                elif chunk := os.read(self._answers, _CHUNK_BYTES):
                    self._received += chunk
                else:
                    raise self._ended()
        return frame

    def _take_frame(self) -> bytes | None:
        """What was received, as soon as it is a frame; there is never more than one."""
        head = worker.LENGTH.size
        if len(self._received) < head:
            return None
        (length,) = worker.LENGTH.unpack_from(self._received)
        if length > worker.MAX_FRAME_BYTES:
            raise msgspec.DecodeError(f"{length} bytes, at most {worker.MAX_FRAME_BYTES} are allowed")
        if len(self._received) < head + length:
            return None
        frame = bytes(self._received[head : head + length])
        del self._received[: head + length]
        return frame

    def _read_printed(self) -> bool:
        """Log some of what was printed; whether there may be more."""
        try:
            chunk = os.read(self._printed, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        *lines, self._line = (self._line + chunk).split(b"\n")
        if not chunk or len(self._line) > _LINE_BYTES:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            if line.strip():
                self._last_line = printable(line[:_LINE_BYTES].decode(errors="replace").strip())
                _log.debug("worker: %s", self._last_line)
        return bool(chunk)

    def _has_ended(self, seconds: float) -> bool:
        """Wait for the process to end; it keeps its number until it is reaped."""
        deadline = time.monotonic() + seconds
        while os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_S)
        return True

    def _ended(self) -> EngineError:
        """The reason why there is no more to be read, of a process that ends or has ended."""
        by_itself = self._has_ended(_REAP_S)
        self.close()
        status = self._process.returncode
        if not by_itself:
            how = "hung up"
        elif status < 0:
            how = f"was ended by a signal ({signal.strsignal(-status)})"
        else:
            how = f"ended with status {status}"
        return EngineError(f"the worker {how}" + (f": {self._last_line}" if self._last_line else ""))


def _pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """A pipe, whose ends are closed with what they belong to."""
    ends = os.pipe()
    for owner, descriptor in zip((reading, writing), ends, strict=True):
        owner.callback(os.close, descriptor)
    return ends
