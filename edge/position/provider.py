"""What every source of positions can do, whether it looks at the frame or knows the flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from edge.position.track import Place
from edge.records import Fix, Frame


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """How a provider does.

    Attributes:
        connected: Whether it can say anything now.
        fixes: Positions that it gave.
        marked: How many of these were less than they should be, by what they lack: "2D".
        refused: How many were not used, by reason.
        reason: Why it does not work; None: it does.
    """

    connected: bool = True
    fixes: int = 0
    marked: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    reason: str | None = None


class Provider(Protocol):
    """A source of positions.

    Attributes:
        name: Goes with each fix: "exif".
    """

    name: str

    def locate(self, frame: Frame) -> Fix | None:
        """Where the device was when the frame was taken; None if this provider does not know.

        Raises:
            ValueError: It says something that cannot be; the message is the reason.
        """


class TrackedProvider(Provider, Protocol):
    """One that knows the flight.

    Attributes:
        title: As the config writes it.
    """

    title: str

    def start(self) -> None:
        """Begin to listen."""

    def stop(self) -> None:
        """Stop to listen, soon."""

    def close(self, within_s: float = 1.0) -> None:
        """Stop to listen, and wait for the end for so long at most."""

    def health(self) -> ProviderHealth:
        """How it does."""


def fix_of(place: Place, source: str, captured_at: datetime) -> Fix:
    """What a track says of the moment of an exposure."""
    position = place.position
    return Fix(
        position.latitude,
        position.longitude,
        source,
        captured_at - timedelta(seconds=place.age_s),
        altitude_m=position.altitude_m,
        height_m=position.height_m,
        attitude=place.attitude,
        camera=place.camera,
        accuracy_m=position.accuracy_m,
        age_s=round(place.age_s, 3),
        is_2d=position.is_2d,
    )
