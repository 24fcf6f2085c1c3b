"""A comparison that was made: the figures, and all that is needed to judge them."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.compare.figures import Figures
from trainer.compare.machine import Machine
from trainer.compare.measure import Measurements, Plan


@dataclass(frozen=True, slots=True)
class Images:
    """What was classified, of one data set.

    Attributes:
        how: How these came to be measured on, in words.
    """

    name: str
    images: int
    how: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is reported.

    Attributes:
        command: That made it.
        size: Height and width of the images, pixels.
        base: Label of the row that the others are set in relation to.
    """

    command: str
    machine: Machine
    plan: Plan
    images: tuple[Images, ...]
    size: tuple[int, int]
    base: str
    measured: tuple[Measurements, ...]
    figures: tuple[Figures, ...]

    @property
    def versions(self) -> dict[str, str]:
        """Of all runtimes, by name of the package."""
        found: dict[str, str] = {}
        for one in self.measured:
            if one.loaded is not None:
                found |= one.loaded.versions
        return dict(sorted(found.items()))
