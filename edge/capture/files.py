"""One file becomes a frame, in two steps: what it says of itself first, its pixels when it is known how many are needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from edge.capture.headers import ImageError
from edge.capture.image import EncodedImage, open_image
from edge.capture.times import CaptureTimes
from edge.config import CaptureConfig
from edge.records import Frame, FrameKey
from edge.text import printable

_LAST_NS = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


class FileChangedError(Exception):
    """The file was written to between listing and reading; it comes up again when it has settled."""


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """A frame that was read and not decoded yet.

    Attributes:
        frame: All of it but the pixels, of which there are none.
    """

    frame: Frame
    image: EncodedImage


def key_of(path: str, root: str, status: os.stat_result) -> FrameKey:
    """What tells a file below `root` from any other; bytes of its name that are no UTF-8 are written out."""
    name = os.fsencode(_below(os.path.normpath(path), root)).decode("utf-8", "backslashreplace")
    return FrameKey(root, printable(name), *signature_of(status))


def _below(path: str, root: str) -> str:
    """As `os.path.relpath`, which takes several times as long where it need not look any further."""
    prefix = f"{root}{os.sep}"
    return path[len(prefix) :] if path.startswith(prefix) else os.path.relpath(path, root)


def signature_of(status: os.stat_result) -> tuple[int, int]:
    """Size and modification time, ns; a time that no calendar reaches, which file systems can hold, is brought into it."""
    return status.st_size, min(max(status.st_mtime_ns, 0), _LAST_NS)


def read_frame(path: str, key: FrameKey, limits: CaptureConfig, times: CaptureTimes) -> OpenedFrame:
    """Read a file, if it still is the one that `key` says.

    Raises:
        FileChangedError: It is another one.
        IncompleteImageError: It ends too early.
        ImageError: It is no image that can be used.
        OSError: The system does not let it be read.
    """
    if key.size_bytes > limits.max_bytes:
        raise ImageError(f"{key.size_bytes} bytes, more than max_bytes ({limits.max_bytes})")
    # Without waiting for who writes into a pipe that took the file's place.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if signature_of(os.fstat(file)) != (key.size_bytes, key.modified_ns):
            raise FileChangedError(path)
        content = os.read(file, key.size_bytes + 1)
    finally:
        os.close(file)
    if len(content) != key.size_bytes:
        raise FileChangedError(path)
    image = open_image(content, limits.max_pixels)
    moment = times.of(key, image.exif)
    frame = Frame(
        key,
        moment.utc,
        image.width,
        image.height,
        _NO_PIXELS,
        image.exif,
        image.xmp,
        moment.clock,
        moment.monotonic_s,
    )
    return OpenedFrame(frame, image)
