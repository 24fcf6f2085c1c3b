"""From an export to a bundle that a device can trust."""

from trainer.pack.errors import PackError
from trainer.pack.pack import Packed, Recipe, check_target, choose_alert_labels, pack

__all__ = ["PackError", "Packed", "Recipe", "check_target", "choose_alert_labels", "pack"]
