"""From a file that was read to tiles that can be classified, and from what a model says of them to observations with a place.

The daemon's lanes and `overflight classify` take the same steps: where was the device, what did the camera show of the
ground, how is the frame cut so that the model sees what it knows, and which ground does each tile show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from edge.capture.files import OpenedFrame
from edge.capture.tiles import ModelInput, cut, plan_tiles
from edge.config import CaptureConfig, Config, ConfigError
from edge.position import Locator
from edge.position.footprint import view_of
from edge.position.terrain import Terrain
from edge.records import Fix, Footprint, Frame, Observation, Prediction, Tile

if TYPE_CHECKING:
    from edge.records import Image


class View(Protocol):
    """The ground that a frame shows."""

    @property
    def ground_sample_distance_m(self) -> float | None:
        """Of the frame as encoded."""

    def footprints(self, tiles: Sequence[Tile]) -> Sequence[Footprint | None]:
        """The ground that tiles show."""


ViewOf = Callable[[Frame, Fix], View | None]


def no_view(frame: Frame, fix: Fix) -> View | None:
    """What is known of the ground without a camera: nothing."""
    del frame, fix
    return None


@dataclass(frozen=True, slots=True)
class Survey:
    """A frame that is ready to be classified.

    Attributes:
        frame: With the pixels that its tiles were cut from.
        seen: The same without pixels and tags, as observations have it.
        footprints: Of each tile.
        images: The pixels of each tile.
    """

    frame: Frame
    seen: Frame
    fix: Fix | None
    tiles: tuple[Tile, ...]
    footprints: Sequence[Footprint | None] = field(repr=False)
    images: list[Image] = field(repr=False)

    def observation(self, index: int, prediction: Prediction) -> Observation:
        """What was said of a tile, and where that is."""
        return Observation(self.seen, self.tiles[index], prediction, self.fix, self.footprints[index])


class Surveyor:
    """Takes the steps before a model is asked. Any thread may."""

    def __init__(self, locator: Locator, capture: CaptureConfig, view_of: ViewOf = no_view) -> None:
        """
        Args:
            view_of: What a frame shows of the ground, by the fix of its exposure.
        """
        self._locator = locator
        self._capture = capture
        self._view_of = view_of

    @classmethod
    def from_config(cls, config: Config, locator: Locator) -> Surveyor:
        """Build it as the configuration says.

        Raises:
            ConfigError: A value of it cannot be used.
        """
        terrain = _terrain(config.position.terrain)
        return cls(locator, config.capture, lambda frame, fix: view_of(frame, fix, config.camera, terrain))

    def survey(self, opened: OpenedFrame, model: ModelInput) -> Survey:
        """Locate a frame, decode it as far as the model needs, and cut it.

        Raises:
            IncompleteImageError: It ends too early.
            ImageError: It cannot be decoded.
            OSError: There is no memory left.
        """
        frame = opened.frame
        fix = self._locator.locate(frame)
        view = None if fix is None else self._view_of(frame, fix)
        ground_m = None if view is None else view.ground_sample_distance_m
        plan = plan_tiles((frame.width, frame.height), ground_m, model, self._capture)
        # What was decoded is let go of: pictures for the ground need no more than the model.
        pixels, images = cut(opened.image.decode(plan.serve_px), plan)
        footprints = [None] * len(plan.tiles) if view is None else view.footprints(plan.tiles)
        return Survey(replace(frame, pixels=pixels), _without_tags(frame), fix, plan.tiles, footprints, images)


def _without_tags(frame: Frame) -> Frame:
    return replace(frame, exif={}, xmp={}) if frame.exif or frame.xmp else frame


def _terrain(path: str) -> Terrain | None:
    """
    Raises:
        ConfigError: It is no elevation file.
    """
    try:
        return Terrain.open(path) if path else None
    except ValueError as error:
        raise ConfigError(f"position.terrain: {path}: {error}") from error
