"""The process that measures one engine: ``python -m trainer.compare.worker``, spoken to over its standard streams.

It imports the runtime that it measures and no other, and ends when its standard input does, so that it never outlives the
comparison. What runtimes print goes to standard error.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from edge.text import one_line
from trainer.compare.engines import ENGINES, Answers, Engine, Pixels
from trainer.compare.protocol import (
    Answer,
    Failed,
    Latency,
    Load,
    Loaded,
    Probabilities,
    Request,
    Throughput,
    Timed,
    Written,
    decode_request,
    encode,
)

# Memory is measured with so many images, few enough that their own pixels do not count.
_WARM_UP_IMAGES = 64
_WARM_UP_CALLS = 8


class Measured:
    """A loaded engine, and the images that it classifies."""

    def __init__(self, engine: Engine, pixels: Pixels) -> None:
        self._engine = engine
        self._pixels = pixels
        self._warm: set[int] = set()

    def latency(self, request: Latency) -> Timed:
        """Single images."""
        seconds: list[float] = []
        stop = time.perf_counter() + request.enough_s
        while len(seconds) < request.least or (len(seconds) < request.most and time.perf_counter() < stop):
            at = len(seconds) % len(self._pixels)
            seconds.append(_seconds(self._engine.classify, self._pixels[at : at + 1]))
        return Timed(seconds)

    def throughput(self, request: Throughput) -> Timed:
        """Many images."""
        images = self._samples(request.samples)
        self._warm_up(request.samples)
        return Timed([_seconds(self._engine.classify_many, images)])

    def probabilities(self, request: Probabilities) -> Written:
        """Every image once."""
        np.save(request.path, self._engine.classify_many(self._pixels).astype(np.float32), allow_pickle=False)
        return Written()

    def warm_up(self) -> None:
        """Single images and full batches: what was made for them once is there, and the memory is taken."""
        for at in range(_WARM_UP_CALLS):
            self._engine.classify(self._samples(_WARM_UP_CALLS)[at : at + 1])
        for _ in range(2):
            self._engine.classify_many(self._samples(_WARM_UP_IMAGES))

    def _samples(self, count: int) -> Pixels:
        if count <= len(self._pixels):
            return self._pixels[:count]
        return np.asarray(self._pixels[np.arange(count) % len(self._pixels)])

    def _warm_up(self, samples: int) -> None:
        """Runtimes compile for the size of a batch when they first see it: have seen what remains after the full ones."""
        rest = samples % self._engine.batch
        if rest not in self._warm:
            self._engine.classify_many(self._samples(rest + self._engine.batch))
            self._warm.add(rest)


def main() -> int:
    """Answer requests until there are no more."""
    requests, answers = _streams()
    measured: Measured | None = None
    for line in requests:
        answer: Answer
        try:
            request = decode_request(line)
            if isinstance(request, Load) and measured is None:
                measured, answer = _load(request)
            elif measured is None:
                answer = Failed(f"{type(request).__name__} before Load")
            else:
                answer = _answer(measured, request)
        except ModuleNotFoundError as error:
            answer = Failed(f"not installed: {error.name}")
        except Exception as error:  # noqa: BLE001 - runtimes raise what they like; whatever it is, it is this engine's result
            answer = Failed(one_line(error))
        answers.write(encode(answer))
        answers.flush()
    return 0


def _answer(measured: Measured, request: Request) -> Answer:
    match request:
        case Latency():
            return measured.latency(request)
        case Throughput():
            return measured.throughput(request)
        case Probabilities():
            return measured.probabilities(request)
        case _:
            return Failed(f"{type(request).__name__} a second time")


def _load(request: Load) -> tuple[Measured, Loaded]:
    form = ENGINES[request.engine]
    # Threads that a runtime starts beyond those it was asked for share the cores with them.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request.threads])
    pixels = np.load(request.pixels, mmap_mode="r", allow_pickle=False)
    first = np.array(pixels[:1])
    started = time.perf_counter()
    engine = form.engine(Path(request.model), request.threads, request.temperature)
    load_s = time.perf_counter() - started
    engine.classify(first)
    first_result_s = time.perf_counter() - started
    loaded_bytes = _resident_bytes("VmRSS")
    measured = Measured(engine, pixels)
    measured.warm_up()
    return measured, Loaded(form.engine.versions(), load_s, first_result_s, loaded_bytes, _resident_bytes("VmHWM"))


def _seconds(call: Callable[[Pixels], Answers], images: Pixels) -> float:
    started = time.perf_counter()
    call(images)
    return time.perf_counter() - started


def _resident_bytes(name: str) -> int:
    """From the kernel's own account: what `resource` tells includes the peak of the process that started this one."""
    match = re.search(rf"^{name}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"/proc/self/status has no {name}")
    return int(match[1]) * 1024


def _streams() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input, and standard output for answers alone: what others print from now on goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, answers


if __name__ == "__main__":
    raise SystemExit(main())
