"""From what a device brought back to folders that a person labels."""

from trainer.harvest.errors import HarvestError
from trainer.harvest.harvest import Harvested, harvest

__all__ = ["HarvestError", "Harvested", "harvest"]
