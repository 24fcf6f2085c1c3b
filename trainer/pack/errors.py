"""What packing raises."""

from __future__ import annotations

from trainer.errors import TrainerError


class PackError(TrainerError):
    """A bundle cannot be packed; the message is the reason in one line."""
