"""A worker process as the comparison sees it: asked one thing at a time, and gone when it fails, hangs or is not needed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar, cast

import msgspec

import trainer
from edge.text import printable
from trainer.compare.protocol import Answer, Failed, Request, decode_answer, encode

AnswerT = TypeVar("AnswerT", bound=Answer)

_ENDS_WITHIN_S = 5.0
_MOST_SAID_BYTES = 4096


class WorkerError(Exception):
    """A worker cannot measure its engine, and is gone; the message is the reason in one line."""


class Worker:
    """A worker process. It has a session of its own, so that Ctrl-C reaches it only through the comparison."""

    def __init__(self, limit_s: float) -> None:
        """
        Args:
            limit_s: Longest time that an answer may take.
        """
        self._limit_s = limit_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._received = b""
        # The folder that this package came from, so that both sides of the pipe are of one version.
        root = str(Path(trainer.__file__).parents[1])
        paths = [path for path in (os.environ.get("PYTHONPATH"), root) if path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trainer.compare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            bufsize=0,
            start_new_session=True,
        )
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, request: Request, expected: type[AnswerT]) -> AnswerT:
        """Send a request and wait for its answer.

        Raises:
            WorkerError: It cannot be done, or the worker died, or gave no answer in time; the worker is gone then.
        """
        try:
            answer = self._exchange(request)
            if isinstance(answer, Failed):
                raise WorkerError(answer.reason)
            if not isinstance(answer, expected):
                raise WorkerError(f"answered {type(request).__name__} by {type(answer).__name__}")
        except WorkerError:
            self.close()
            raise
        return answer

    def close(self) -> None:
        """End the process at once: what it computes nobody waits for, and it has nothing that it must put away."""
        self._process.kill()
        self._process.wait(_ENDS_WITHIN_S)
        for stream in (self._requests, self._answers, self._said):
            stream.close()

    def _exchange(self, request: Request) -> Answer:
        if self._requests.closed:
            raise WorkerError("is gone")
        try:
            self._requests.write(encode(request))
        except BrokenPipeError as error:
            raise WorkerError(self._last_words()) from error
        line = self._line()
        try:
            return decode_answer(line)
        except msgspec.DecodeError as error:
            raise WorkerError(f"answered {printable(line[:80].decode(errors='replace'))}, which is no answer") from error

    def _line(self) -> bytes:
        stop = time.monotonic() + self._limit_s
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, stop - time.monotonic()))
            if not ready:
                raise WorkerError(f"gave no answer within {self._limit_s:g} s")
            received = os.read(self._answers.fileno(), 1 << 16)
            if not received:
                raise WorkerError(self._last_words())
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """How the process ended, and the last line that it wrote to standard error."""
        try:
            status = self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "closed its output"
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _MOST_SAID_BYTES))
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((printable(line.strip()) for line in reversed(lines) if line.strip()), "")
        ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{ended}: {last}" if last and status > 0 else ended
