"""What every room of the trainer raises when the caller is to be told something in one line."""

from __future__ import annotations

from edge.text import printable


class TrainerError(Exception):
    """A mistake of the caller's: the message is one line that names what is wrong and what is allowed."""

    def __init__(self, message: str) -> None:
        # Names of files may hold line breaks, and bytes that are no text.
        super().__init__(printable(message))
