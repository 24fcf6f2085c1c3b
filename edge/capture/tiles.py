"""How a frame is cut into tiles, so that each shows as much ground as those that the model learned from.

A model knows a roof as so many pixels. Where it is known how much ground a pixel of the frame shows, the frame is scaled to
the model's ground sample distance and cut into tiles of the model's input size, which overlap, because what lies on a border
is whole in neither of its neighbours.

One scale serves a whole frame: that of its middle. Seen from straight above it is the right one everywhere; the more a camera
looks ahead, the more ground a tile at the far edge shows, and the less one at the near edge. At 100 m height, 74 degrees wide
and the camera 60 degrees down, a tile that should show 60 m square shows 78 by 92 m at the far edge and 55 by 52 m at the near
one; 35 degrees down, 156 by 450 m and 33 by 40 m. Each tile's footprint says what it shows. A scale for each row would not do:
with the horizon tilted the far edge is no row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from edge.config import CaptureConfig
from edge.records import Tile
from edge.scaling import resize

if TYPE_CHECKING:
    from edge.records import Image

ENLARGED_AT_MOST = 2.0
"""A frame is enlarged no further. Twice is what an interpolation can do without inventing much: detail that was not recorded
does not come back, and a tile that shows more ground than the model knows is nearer to the truth than one that is a blur."""

# More steps change the scale by less than a millionth.
_STEPS = 20


class ModelInput(Protocol):
    """The pixels that a model takes, and how much ground each of them shows; None: mixed or unknown."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def ground_sample_distance_m(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How a frame is cut.

    Attributes:
        tiles: In the frame's pixels as encoded, row by row.
        corners: Left and top of each tile in the frame once it is scaled.
        scaled_px: Height and width that the frame is scaled to before it is cut; None: it is one tile, as it was decoded.
        tile_px: Height and width of a tile once the frame is scaled.
        serve_px: Height and width that decoding must leave.
    """

    tiles: tuple[Tile, ...]
    corners: tuple[tuple[int, int], ...]
    scaled_px: tuple[int, int] | None
    tile_px: tuple[int, int]
    serve_px: tuple[int, int]


def plan_tiles(
    size: tuple[int, int], ground_sample_distance_m: float | None, model: ModelInput, capture: CaptureConfig
) -> Plan:
    """Decide how a frame is cut.

    With both ground sample distances: into tiles of the model's ground, evenly spread from edge to edge, each of which shows
    `capture.tile_overlap` of the next one at least. A frame that shows less ground than a tile in one direction is cut into
    tiles of its shorter side, which are square on the ground. More than `capture.max_tiles`: each shows more ground. A frame
    that cannot be cut so, because it is narrower than half the model's input, or would still be too many tiles, is one.

    Without: into the equal parts of `capture.tiles`, or none.

    Args:
        size: Width and height as encoded, pixels.
        ground_sample_distance_m: Of the frame as encoded; None: unknown.
    """
    wanted_m = model.ground_sample_distance_m
    if ground_sample_distance_m is not None and wanted_m is not None:
        plan = _by_ground(size, ground_sample_distance_m / wanted_m, model, capture)
        return plan or _whole(size, (model.height, model.width))
    return _by_parts(size, model, capture)


def cut(pixels: Image, plan: Plan) -> tuple[Image, list[Image]]:
    """Scale a decoded frame as planned.

    Returns:
        The scaled pixels of all of it, and those of each tile, which are views of them.
    """
    if plan.scaled_px is None:
        return pixels, [pixels]
    scaled = resize(pixels, plan.scaled_px)
    height, width = plan.tile_px
    return scaled, [scaled[top : top + height, left : left + width] for left, top in plan.corners]


@lru_cache(maxsize=16)
def _whole(size: tuple[int, int], tile_px: tuple[int, int]) -> Plan:
    """One tile, which the model scales by itself. Frames of one source mostly are of one size."""
    return Plan((Tile(0, 0, *size),), ((0, 0),), None, tile_px, tile_px)


def _by_parts(size: tuple[int, int], model: ModelInput, capture: CaptureConfig) -> Plan:
    if capture.tiles is None:
        return _whole(size, (model.height, model.width))
    rows, columns = (int(part) for part in capture.tiles.split("x"))
    rows, columns = min(rows, size[1]), min(columns, size[0])
    while rows * columns > capture.max_tiles:
        rows, columns = (rows - 1, columns) if rows >= columns else (rows, columns - 1)
    if rows * columns == 1:
        return _whole(size, (model.height, model.width))
    scaled = (rows * model.height, columns * model.width)
    lefts = [at * model.width for at in range(columns)]
    tops = [at * model.height for at in range(rows)]
    return _plan(size, scaled, lefts, tops, model)


def _by_ground(size: tuple[int, int], scale: float, model: ModelInput, capture: CaptureConfig) -> Plan | None:
    """
    Args:
        scale: Pixels of the model for one of the frame.

    Returns:
        None: It cannot be cut so.
    """
    # Below, the frame would be smaller than a tile.
    least = max(model.width / size[0], model.height / size[1])
    scale = max(least, min(scale, ENLARGED_AT_MOST))
    if least > ENLARGED_AT_MOST or _count(size, least, model, capture.tile_overlap) > capture.max_tiles:
        return None
    if _count(size, scale, model, capture.tile_overlap) > capture.max_tiles:
        too_many = scale
        scale = least
        for _ in range(_STEPS):
            between = (scale + too_many) / 2
            if _count(size, between, model, capture.tile_overlap) > capture.max_tiles:
                too_many = between
            else:
                scale = between
    height, width = _scaled(size, scale, model)
    lefts = _spread(width, model.width, capture.tile_overlap)
    tops = _spread(height, model.height, capture.tile_overlap)
    return _plan(size, (height, width), lefts, tops, model)


def _scaled(size: tuple[int, int], scale: float, model: ModelInput) -> tuple[int, int]:
    """Height and width of a frame at a scale."""
    return max(model.height, round(size[1] * scale)), max(model.width, round(size[0] * scale))


def _count(size: tuple[int, int], scale: float, model: ModelInput, overlap: float) -> int:
    height, width = _scaled(size, scale, model)
    return _along(width, model.width, overlap) * _along(height, model.height, overlap)


def _along(length: int, tile: int, overlap: float) -> int:
    """How many tiles cover a length."""
    return 1 + math.ceil((length - tile) / _step(tile, overlap))


def _step(tile: int, overlap: float) -> int:
    """Most pixels from one tile to the next."""
    return max(1, math.floor(tile * (1 - overlap)))


def _spread(length: int, tile: int, overlap: float) -> list[int]:
    """Where the tiles that cover a length begin: the first at one end, the last to the other."""
    last = _along(length, tile, overlap) - 1
    return [at * (length - tile) // last for at in range(last + 1)] if last else [0]


def _plan(size: tuple[int, int], scaled: tuple[int, int], lefts: Sequence[int], tops: Sequence[int], model: ModelInput) -> Plan:
    """The plan of tiles that begin there in the scaled frame."""
    columns = [_encoded(left, model.width, scaled[1], size[0]) for left in lefts]
    rows = [_encoded(top, model.height, scaled[0], size[1]) for top in tops]
    return Plan(
        tuple(Tile(left, top, width, height) for top, height in rows for left, width in columns),
        tuple((left, top) for top in tops for left in lefts),
        scaled,
        (model.height, model.width),
        # Half of an odd number of pixels, rounded up, is what a decoder leaves of them.
        (max(1, scaled[0] - 1), max(1, scaled[1] - 1)),
    )


def _encoded(start: int, length: int, scaled: int, size: int) -> tuple[int, int]:
    """A stretch of the scaled frame in pixels as encoded: its start and length."""
    first, end = round(start * size / scaled), round((start + length) * size / scaled)
    return first, max(1, end - first)
