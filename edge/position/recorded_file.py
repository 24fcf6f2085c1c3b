"""Opens what was recorded: a file that is all there, and no larger than anybody records."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from edge.position.report import StreamError
from edge.text import printable

MAX_RECORDING_BYTES = 2_000_000_000
"""Days of an autopilot that says everything, months of a receiver. What is larger is another file, or was never cut."""


def open_recording(path: str) -> BinaryIO:
    """Open a file to be read from its beginning to its end. A pipe of that name would be waited for until somebody writes.

    Raises:
        OSError: It cannot be opened.
        StreamError: It is something else than a file, or is larger than `MAX_RECORDING_BYTES`.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise StreamError(f"{printable(path)}: not a file")
    if status.st_size > MAX_RECORDING_BYTES:
        raise StreamError(
            f"{printable(path)}: {status.st_size} bytes, expected at most {MAX_RECORDING_BYTES}: cut out what is needed"
        )
    return open(path, "rb")
