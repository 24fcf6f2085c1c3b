"""Where the device was when a frame was taken: providers in order of trust."""

from edge.position.locator import Locator, Provider

__all__ = ["Locator", "Provider"]
