"""Asks the providers of a position in order of trust; the first that knows is believed, and none is ever guessed."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module

from edge.clock import Clock
from edge.config import ConfigError, PositionConfig
from edge.position.exif import ExifPosition
from edge.position.filename import FilenamePosition
from edge.position.fixed import FixedPosition
from edge.position.live import LiveProvider, Told
from edge.position.provider import Provider, ProviderHealth, TrackedProvider
from edge.position.recording import RecordedProvider
from edge.position.report import Stream, StreamError
from edge.records import Fix, Frame
from edge.text import printable

_log = logging.getLogger(__name__)

_CLOSE_S = 1.0

_OF_FRAME: dict[str, Callable[[str], Provider]] = {
    "exif": ExifPosition.parse,
    "filename": FilenamePosition.parse,
    "fixed": FixedPosition.parse,
}
# Imported by who is asked for: a device without one starts sooner.
_STREAMS = {
    "gpsd": "GpsdStream",
    "gpx": "GpxStream",
    "mavlink": "MavlinkStream",
    "nmea": "NmeaStream",
}


class Locator:
    """Providers in order of trust."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)
        self._tracked: list[TrackedProvider] = [
            provider for provider in providers if isinstance(provider, LiveProvider | RecordedProvider)
        ]
        self._lock = threading.Lock()
        self._fixes: Counter[str] = Counter()
        self._twodimensional: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    @classmethod
    def from_config(cls, config: PositionConfig, clock: Clock | None = None, told: Told | None = None) -> Locator:
        """Build the providers that ``position.sources`` names; recordings are read.

        Args:
            clock: Without it, sources that come live are left out: they know nothing of what was taken before.
            told: Is told which live source does not work, and why.

        Raises:
            ConfigError: One of them is unknown, wrongly written, or a file that cannot be read.
        """
        providers = (_provider(source, config, clock, told or _log_reason) for source in config.sources)
        return cls([provider for provider in providers if provider is not None])

    def start(self) -> None:
        """Begin to listen to what comes live."""
        for provider in self._tracked:
            provider.start()

    def close(self) -> None:
        """Stop to listen; waits for a second at most."""
        for provider in self._tracked:
            provider.stop()
        deadline_s = time.monotonic() + _CLOSE_S
        for provider in self._tracked:
            provider.close(max(0.0, deadline_s - time.monotonic()))

    def locate(self, frame: Frame) -> Fix | None:
        """The fix of the first provider that knows, or None. What cannot be a position is refused, counted and logged."""
        for provider in self._providers:
            try:
                fix = provider.locate(frame)
            except ValueError as error:
                _log.warning("%a: position from %s refused: %s", frame.key.name, provider.name, error)
                with self._lock:
                    self._refused[provider.name] += 1
                continue
            if fix is not None:
                with self._lock:
                    self._fixes[provider.name] += 1
                    self._twodimensional[provider.name] += fix.is_2d
                return fix
        return None

    def health(self) -> dict[str, ProviderHealth]:
        """How the providers do, by how the config writes them; those that look at the frame by their name."""
        with self._lock:
            fixes, flat, refused = dict(self._fixes), dict(self._twodimensional), dict(self._refused)
        health: dict[str, ProviderHealth] = {}
        for provider in self._providers:
            if isinstance(provider, LiveProvider | RecordedProvider):
                health[printable(provider.title)] = provider.health()
            else:
                marked = {"2D": flat[provider.name]} if flat.get(provider.name) else {}
                unusable = {"unusable": refused[provider.name]} if provider.name in refused else {}
                health[provider.name] = ProviderHealth(fixes=fixes.get(provider.name, 0), marked=marked, refused=unusable)
        return health


def check_sources(sources: Sequence[str]) -> None:
    """See that sources are rightly written, without opening any.

    Raises:
        ConfigError: One of them is unknown or wrongly written.
    """
    for source in sources:
        _parse(source)


def _stream_of(kind: str) -> Callable[[str], Stream] | None:
    if kind not in _STREAMS:
        return None
    parse: Callable[[str], Stream] = getattr(import_module(f"edge.position.{kind}"), _STREAMS[kind]).parse
    return parse


def _parse(source: str) -> Provider | Stream:
    kind, _, argument = source.partition(":")
    parse: Callable[[str], Provider | Stream] | None = _OF_FRAME.get(kind) or _stream_of(kind)
    if parse is None:
        kinds = ", ".join([*_OF_FRAME, *_STREAMS])
        raise ConfigError(f"position.sources: {printable(source)}: expected one of {kinds}")
    try:
        return parse(argument)
    except ValueError as error:
        raise ConfigError(f"position.sources: {printable(source)}: {printable(str(error))}") from error


def _provider(source: str, config: PositionConfig, clock: Clock | None, told: Told) -> Provider | None:
    parsed = _parse(source)
    if isinstance(parsed, ExifPosition):
        parsed.max_age_s = config.max_age_s
    if not isinstance(parsed, Stream):
        return parsed
    max_age_s, max_speed_m_s = config.max_age_s, config.max_speed_m_s
    if not parsed.is_recording:
        if clock is None:
            return None
        return LiveProvider(parsed, source, clock, told, max_age_s=max_age_s, max_speed_m_s=max_speed_m_s)
    try:
        return RecordedProvider(parsed, source, max_age_s=max_age_s, max_speed_m_s=max_speed_m_s)
    except StreamError as error:
        raise ConfigError(f"position.sources: {printable(source)}: {printable(str(error))}") from error


def _log_reason(title: str, reason: str | None) -> None:
    _log.warning("position %s: %s", printable(title), reason or "works")
