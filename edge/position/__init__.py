"""Where the device was when a frame was taken: providers in order of trust."""

from edge.position.locator import Locator, check_sources
from edge.position.provider import Provider, ProviderHealth

__all__ = ["Locator", "Provider", "ProviderHealth", "check_sources"]
