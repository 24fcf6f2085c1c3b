"""What every engine can do: take a batch of equally large images and, some time later, give their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from edge.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge.bundle.selftest import Weights
    from edge.records import Image

Mode = Literal["throughput", "latency"]

# Tiles in one request when many wait. Larger requests are no faster (measured: 8 against 16 tiles, 128x128, 2 cores).
BATCH = 8
# An answer takes milliseconds; a device that needs seconds hangs.
ANSWER_S = 5.0


class EngineError(Exception):
    """An engine cannot be loaded or cannot run; the message is the reason, in one line."""


class NoAnswerError(EngineError):
    """An engine was silent for longer than it may be. The machine may have been too busy, or the device may hang."""


class WrongAnswerError(EngineError):
    """An engine gave an answer, and not the one that it must give."""


class NoEngineError(EngineError):
    """The last engine was left before this was asked of it."""


def as_engine_error(error: Exception) -> EngineError:
    """What a runtime raised as the reason why it cannot be used, in one line."""
    return error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {one_line(error)}")


@dataclass(frozen=True, slots=True)
class Result:
    """What an engine computed.

    Attributes:
        probabilities: (images, labels) float32.
        elapsed_ms: Wall time of the request.
    """

    probabilities: NDArray[np.float32]
    elapsed_ms: float


class Request(Protocol):
    """A request that runs."""

    def result(self) -> Result:
        """Wait for the end of the request; call it once.

        Raises:
            EngineError: The model failed, or gave no answer in time.
        """


class Engine(Protocol):
    """A runtime that executes a model on a device. Any thread may start requests.

    Attributes:
        weights: What it computes with: the network as it was trained, or quantized.
    """

    name: str
    device: str
    weights: Weights

    def start(self, images: Sequence[Image]) -> Request:
        """Begin to classify images of one size, `BATCH` at most.

        Raises:
            EngineError: The request cannot be started.
        """

    def close(self) -> None:
        """Let go of what lies outside of this process; requests that still run on that fail. Any number of times."""


Loader = Callable[[], Engine]
"""Loads an engine. Raises `EngineError` when it cannot be."""
