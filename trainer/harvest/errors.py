"""What harvesting raises."""

from __future__ import annotations

from trainer.errors import TrainerError


class HarvestError(TrainerError):
    """Nothing can be harvested; the message is the reason in one line."""
