"""What every room of the trainer raises when the caller is to be told something in one line."""

from __future__ import annotations


class TrainerError(Exception):
    """A mistake of the caller's: the message is one line that names what is wrong and what is allowed."""
