"""Draws a town from above, with one quarter in ruins, so that the truth of every picture is known.

The pictures stand in for a flight where there is no drone: the demo flies over such a town and counts what the daemon got
right. The trainer draws towns of other seeds, so the demo's town is never one that a model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GROUND_SAMPLE_DISTANCE_M = 0.25
BLOCK_PX = 256
BLOCK_M = BLOCK_PX * GROUND_SAMPLE_DISTANCE_M

_STREET_PX = 30
_LAWN = (72, 104, 84)
_ASPHALT = (118, 120, 122)
_DUST = (168, 180, 190)
_ROOFS = ((96, 98, 108), (70, 82, 124), (150, 152, 150), (84, 90, 96), (112, 130, 158), (190, 194, 196))

Image = NDArray[np.uint8]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Town:
    """A rendered town of equal blocks.

    Attributes:
        image: Picture of the whole town, north up, (rows * BLOCK_PX, columns * BLOCK_PX, 3) uint8, BGR.
        damaged: Truth of each block, (rows, columns) bool.
    """

    image: Image
    damaged: NDArray[np.bool_]


def render_town(seed: int, rows: int, columns: int, damaged: NDArray[np.bool_] | None = None) -> Town:
    """Draw a town.

    Args:
        seed: The same seed draws the same town on every machine.
        rows: Blocks from north to south.
        columns: Blocks from west to east.
        damaged: Which blocks lie in ruins, (rows, columns); by default one connected quarter of about 30 % of the town.
    """
    rng = np.random.default_rng(seed)
    truth = _quarter(rng, rows, columns) if damaged is None else damaged
    brush = _Brush(_meadow(rng, rows * BLOCK_PX, columns * BLOCK_PX), rng)
    for row in range(rows):
        for column in range(columns):
            brush.block(column * BLOCK_PX, row * BLOCK_PX, ruined=bool(truth[row, column]))
    return Town(_haze(rng, brush.canvas), truth)


def _quarter(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.bool_]:
    """The blocks inside an ellipse around a random centre: destruction has an epicentre, not a checkerboard."""
    centre_row, centre_column = rng.uniform(0.3, 0.7, 2) * (rows, columns)
    row, column = np.mgrid[0:rows, 0:columns] + 0.5
    distance = np.hypot((row - centre_row) / rows, (column - centre_column) / columns)
    return np.asarray(distance <= np.quantile(distance, 0.3))


def _meadow(rng: np.random.Generator, height: int, width: int) -> Image:
    """Grass with soft patches and grain."""
    patches = cv2.resize(
        rng.normal(0, 14, (height // 32 + 2, width // 32 + 2)).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    grain = rng.normal(0, 5, (height, width)).astype(np.float32)
    tint = np.array(_LAWN, np.float32) + rng.normal(0, 8, 3).astype(np.float32)
    return np.clip(tint + (patches + grain)[..., None], 0, 255).astype(np.uint8)


def _haze(rng: np.random.Generator, image: Image) -> Image:
    """What air, lens and sensor do to the picture: a little blur, gain, offset and noise."""
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 1.4))).astype(np.float32)
    soft = soft * rng.uniform(0.8, 1.15) + rng.uniform(-8, 14)
    soft += rng.normal(0, 3, image.shape).astype(np.float32)
    return np.clip(soft, 0, 255).astype(np.uint8)


class _Brush:
    """Draws blocks on one canvas; holds what all of them share: the random state, the sun and the canvas."""

    def __init__(self, canvas: Image, rng: np.random.Generator) -> None:
        self.canvas = canvas
        self._rng = rng
        angle = rng.uniform(0, 2 * np.pi)
        self._shadow = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(6, 14)

    def block(self, left: int, top: int, *, ruined: bool) -> None:
        """One block: the streets around it, then houses, a hall or a park; in ruins there is always a building that fell."""
        self._streets(left, top)
        kind = self._rng.choice(["houses", "hall", "park"], p=[0.85, 0.15, 0.0] if ruined else [0.75, 0.13, 0.12])
        if kind == "park":
            for _ in range(int(self._rng.integers(14, 30))):
                self._tree(*self._rng.uniform(_STREET_PX, BLOCK_PX - _STREET_PX, 2) + np.array((left, top)))
        elif kind == "hall":
            self._building(left + 128, top + 128, float(self._rng.uniform(120, 165)), float(self._rng.uniform(80, 150)), ruined)
        else:
            self._houses(left, top, ruined=ruined)
        if not ruined:
            self._cars(left, top)

    def _streets(self, left: int, top: int) -> None:
        half = _STREET_PX // 2
        for x0, y0, x1, y1 in (
            (left, top, left + BLOCK_PX, top + half),
            (left, top + BLOCK_PX - half, left + BLOCK_PX, top + BLOCK_PX),
            (left, top, left + half, top + BLOCK_PX),
            (left + BLOCK_PX - half, top, left + BLOCK_PX, top + BLOCK_PX),
        ):
            noise = self._rng.normal(0, 4, (y1 - y0, x1 - x0, 1))
            self.canvas[y0:y1, x0:x1] = np.clip(np.array(_ASPHALT) + noise, 0, 255)

    def _houses(self, left: int, top: int, *, ruined: bool) -> None:
        columns = int(self._rng.integers(3, 5))
        pitch = (BLOCK_PX - 2 * _STREET_PX) / columns
        for row in range(2):
            for column in range(columns):
                x = left + _STREET_PX + pitch * (column + 0.5) + self._rng.normal(0, 3)
                y = top + _STREET_PX + (BLOCK_PX - 2 * _STREET_PX) * (0.27 + 0.46 * row) + self._rng.normal(0, 4)
                width, depth = self._rng.uniform(0.62, 0.85) * pitch, self._rng.uniform(38, 62)
                # Not every house of a ruined block falls: real ruins stand beside houses that hold.
                self._building(x, y, width, depth, ruined and self._rng.random() < 0.85)
                if self._rng.random() < (0.3 if ruined else 0.6):
                    self._tree(x + self._rng.normal(0, 20), top + BLOCK_PX / 2 + self._rng.normal(0, 10))

    def _building(self, x: float, y: float, width: float, depth: float, ruined: bool) -> None:
        roof = np.array(_ROOFS[int(self._rng.integers(len(_ROOFS)))]) + self._rng.normal(0, 8, 3)
        if ruined:
            self._rubble(x, y, width, depth, roof)
            return
        angle = np.deg2rad(self._rng.normal(0, 3))
        corners = _rectangle(x, y, width, depth, angle)
        self._fill(corners + self._shadow, (38, 40, 40))
        self._fill(corners, roof)
        # The side of a gable roof that is turned away from the sun is darker.
        self._fill(_rectangle(x, y + depth / 4, width, depth / 2, angle), roof * 0.78)
        if width > 100:
            for seam in np.linspace(-0.4, 0.4, 7):
                self._fill(_rectangle(x + seam * width, y, 2, depth, angle), roof * 0.9)

    def _rubble(self, x: float, y: float, width: float, depth: float, roof: NDArray[np.float64]) -> None:
        """A collapsed building: a field of dust, and slabs and splinters of wall and roof that lie over its outline."""
        spread = np.array([width, depth]) * 0.36
        for _ in range(14):
            offset = self._rng.normal(0, 0.8, 2) * spread
            self._fill(
                self._shard(x + offset[0], y + offset[1], float(self._rng.uniform(9, 20))),
                np.array(_DUST) * self._rng.uniform(0.7, 1.05),
            )
        for _ in range(int(width * depth / 22)):
            offset = self._rng.normal(0, 1, 2) * spread
            shard = self._shard(x + offset[0], y + offset[1], float(self._rng.uniform(1.5, 8)))
            colour = roof if self._rng.random() < 0.3 else np.array(_DUST) * self._rng.choice([0.25, 0.55, 0.8, 1.0, 1.25])
            self._fill(shard + self._shadow * 0.2, (34, 36, 36))
            self._fill(shard, colour)

    def _shard(self, x: float, y: float, radius: float) -> NDArray[np.float64]:
        angles = np.sort(self._rng.uniform(0, 2 * np.pi, int(self._rng.integers(3, 7))))
        radii = radius * self._rng.uniform(0.5, 1.4, angles.size)
        return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)

    def _tree(self, x: float, y: float) -> None:
        radius = float(self._rng.uniform(8, 17))
        cv2.circle(self.canvas, _pixel(np.array([x, y]) + self._shadow * 0.7), int(radius), (34, 44, 38), -1, cv2.LINE_AA)
        for _ in range(7):
            at = np.array([x, y]) + self._rng.normal(0, radius / 3, 2)
            green = np.array([44, 84, 58]) * self._rng.uniform(0.7, 1.2)
            cv2.circle(self.canvas, _pixel(at), int(radius * 0.55), _colour(green), -1, cv2.LINE_AA)

    def _cars(self, left: int, top: int) -> None:
        for _ in range(int(self._rng.integers(0, 5))):
            x = left + self._rng.uniform(_STREET_PX, BLOCK_PX - _STREET_PX)
            y = top + (8 if self._rng.random() < 0.5 else BLOCK_PX - 8)
            self._fill(_rectangle(x, y, 17, 8, 0.0), self._rng.choice([40.0, 120.0, 220.0]) + self._rng.normal(0, 14, 3))

    def _fill(self, corners: NDArray[np.float64], colour: NDArray[np.float64] | Colour) -> None:
        # Sixteenths of a pixel, so that edges are smooth at any angle.
        cv2.fillPoly(self.canvas, [np.round(corners * 16).astype(np.int32)], _colour(colour), cv2.LINE_AA, 4)


def _rectangle(x: float, y: float, width: float, depth: float, angle: float) -> NDArray[np.float64]:
    corners = np.array([[-width, -depth], [width, -depth], [width, depth], [-width, depth]]) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    turned: NDArray[np.float64] = corners @ np.array([[cos, sin], [-sin, cos]])
    turned += np.array((x, y))
    return turned


def _pixel(at: NDArray[np.float64]) -> tuple[int, int]:
    return int(at[0]), int(at[1])


def _colour(colour: NDArray[np.float64] | Colour) -> Colour:
    blue, green, red = np.clip(colour, 0, 255)
    return float(blue), float(green), float(red)
