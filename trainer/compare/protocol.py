"""What a comparison and its workers say to each other: one line of JSON for each request, and one for each answer.

Pixels and probabilities do not travel in it: both sides name ``.npy`` files.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Import the runtime, load the model, and compute a first result; to be asked once and first.

    Attributes:
        engine: A key of `trainer.compare.engines.ENGINES`.
        model: Path of the file or folder that the engine reads.
        pixels: Path of an ``.npy`` file: (images, height, width, 3) uint8, BGR.
        threads: That the runtime may compute with; the process keeps to as many cores.
        temperature: That the model's logits are to be divided by, where it is not in the model already.
    """

    engine: str
    model: str
    pixels: str
    threads: int
    temperature: float


class Latency(msgspec.Struct, frozen=True, tag="latency"):
    """Classify single images, one call after the other.

    Attributes:
        least: So many calls at least, and `most` at most.
        enough_s: Between the two, stop after so long.
    """

    least: int
    most: int
    enough_s: float


class Throughput(msgspec.Struct, frozen=True, tag="throughput"):
    """Classify so many samples as fast as the engine can: the images in turn, from the first again where there are fewer."""

    samples: int


class Probabilities(msgspec.Struct, frozen=True, tag="probabilities"):
    """Classify every image once and write (images, labels) float32 as an ``.npy`` file of this name."""

    path: str


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The answer to `Load`.

    Attributes:
        versions: Of the runtime, by name of the package.
        load_s: To import the runtime and load the model.
        first_result_s: To import, load, and classify the first image.
        loaded_bytes: Resident memory of the process then.
        peak_bytes: The most until it had also classified in full batches.
    """

    versions: dict[str, str]
    load_s: float
    first_result_s: float
    loaded_bytes: int
    peak_bytes: int


class Timed(msgspec.Struct, frozen=True, tag="timed"):
    """The answer to `Latency` and `Throughput`: what each call took, in seconds."""

    seconds: list[float]


class Written(msgspec.Struct, frozen=True, tag="written"):
    """The answer to `Probabilities`."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The answer to anything that cannot be done; the reason is one line."""

    reason: str


Request: TypeAlias = Load | Latency | Throughput | Probabilities
Answer: TypeAlias = Loaded | Timed | Written | Failed

_REQUESTS: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_ANSWERS: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def encode(message: Request | Answer) -> bytes:
    """The line of a message, with its end."""
    return msgspec.json.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """The request of a line.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _REQUESTS.decode(line)


def decode_answer(line: bytes) -> Answer:
    """The answer of a line.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _ANSWERS.decode(line)
