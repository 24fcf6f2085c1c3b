"""Asks the providers of a position in order of trust; the first that knows is believed, and none is ever guessed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from edge.config import ConfigError
from edge.position.exif import ExifPosition
from edge.position.filename import FilenamePosition
from edge.position.fixed import FixedPosition
from edge.records import Fix, Frame
from edge.text import printable

_log = logging.getLogger(__name__)


class Provider(Protocol):
    """A source of positions."""

    name: str

    def locate(self, frame: Frame) -> Fix | None:
        """Where the device was when the frame was taken; None if this provider does not know.

        Raises:
            ValueError: It says something that cannot be; the message is the reason.
        """


_PROVIDERS: dict[str, Callable[[str], Provider]] = {
    "exif": ExifPosition.parse,
    "filename": FilenamePosition.parse,
    "fixed": FixedPosition.parse,
}


class Locator:
    """Providers in order of trust."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)

    @classmethod
    def from_config(cls, sources: Sequence[str]) -> Locator:
        """Build the providers that ``position.sources`` names.

        Raises:
            ConfigError: One of them is unknown or wrongly written.
        """
        return cls([_provider(source) for source in sources])

    def locate(self, frame: Frame) -> Fix | None:
        """The fix of the first provider that knows, or None. What cannot be a position is refused and logged."""
        for provider in self._providers:
            try:
                fix = provider.locate(frame)
            except ValueError as error:
                _log.warning("%a: position from %s refused: %s", frame.key.name, provider.name, error)
                continue
            if fix is not None:
                return fix
        return None


def _provider(source: str) -> Provider:
    kind, _, argument = source.partition(":")
    if kind not in _PROVIDERS:
        raise ConfigError(f"position.sources: {printable(source)}: expected one of {', '.join(_PROVIDERS)}")
    try:
        return _PROVIDERS[kind](argument)
    except ValueError as error:
        raise ConfigError(f"position.sources: {printable(source)}: {printable(str(error))}") from error
