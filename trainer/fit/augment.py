"""Changes to a tile that leave its label true: what flight, light, lens and sensor do to a picture from above.

OpenCV on bytes: a tenth of the time that TensorFlow takes for the same on a CPU, where it would slow the training down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often, as a probability, and how much a tile is changed.

    There is no up in a picture from above, so all eight turns and flips are as likely, whatever is set here.

    Attributes:
        scale: Zoom by ``exp(±zoom)`` and shift by ``±shift`` of the side; what lies outside is the mirrored inside.
        turn: Turn by any angle up to 45 degrees.
        light: Change saturation by ±30 %, contrast by ``exp(±contrast)``, brightness by ±brightness and tint by ±tint levels.
        grey: Take the colour away, and change the light: panchromatic sensors have none, and no label may hang on the tint of
            one flight.
        blur: Gaussian, 0.4 to 1.1 pixels: motion and focus.
        jpeg: Save with a quality of 50 to 95.
    """

    scale: float = 0.0
    zoom: float = 0.18
    shift: float = 0.06
    turn: float = 0.0
    light: float = 0.0
    contrast: float = 0.25
    brightness: float = 20.0
    tint: float = 5.0
    grey: float = 0.0
    blur: float = 0.0
    jpeg: float = 0.0


# Light for thousands of tiles: the more of them are resampled, the less is learned in the same time, because much of what
# tells ruins from roofs is in the finest detail (12 epochs on harvey, measured on blocks of ground that were held out: light
# 90.7 %, changing half of the tiles 89.5 %). Strong for a few hundred, which would else be learned by heart.
LEVELS: Mapping[str, Augmentation] = {
    "turns": Augmentation(),
    "light": Augmentation(scale=0.2, light=0.2, grey=0.02, blur=0.02, jpeg=0.02),
    "strong": Augmentation(
        scale=1.0, zoom=0.2, shift=0.15, turn=0.5, light=0.8, contrast=0.3, brightness=25.0, grey=0.1, blur=0.1, jpeg=0.1
    ),
}


class AugmentationError(TrainerError):
    """There is no such level, or no such data set; the message says what there is."""


def levels(text: str, names: Sequence[str]) -> list[Augmentation]:
    """How the tiles of each data set are changed.

    Args:
        text: A level for all, then others for some: ``light,haiti=strong``.
        names: Of the data sets.

    Raises:
        AugmentationError: A level or a data set is unknown.
    """
    general, *others = text.split(",")
    chosen = dict.fromkeys(names, general)
    for other in others:
        name, _, level = other.partition("=")
        if name not in chosen:
            raise AugmentationError(f"augmentation {text}: no data set {name}, expected one of {', '.join(names)}")
        chosen[name] = level
    for level in (general, *chosen.values()):
        if level not in LEVELS:
            raise AugmentationError(f"augmentation {text}: no level {level!r}, expected one of {', '.join(LEVELS)}")
    return [LEVELS[level] for level in chosen.values()]


def augment(image: Image, how: Augmentation, rng: np.random.Generator) -> Image:
    """Change a tile at random.

    Args:
        image: (side, side, 3) uint8, RGB.

    Returns:
        A tile of the same shape; not the one that was given.
    """
    chance = rng.random(6)
    if chance[0] < how.scale or chance[1] < how.turn:
        image = _warp(image, how, rng, scaled=chance[0] < how.scale, turned=chance[1] < how.turn)
    image = _flip(image, int(rng.integers(8)))
    if chance[2] < how.light or chance[3] < how.grey:
        image = _relight(image, how, rng, grey=chance[3] < how.grey)
    if chance[4] < how.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 + 0.7 * rng.random()), np.uint8)
    if chance[5] < how.jpeg:
        encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return image


def _flip(image: Image, which: int) -> Image:
    if which & 1:
        image = image[:, ::-1]
    if which & 2:
        image = image[::-1]
    if which & 4:
        image = image.transpose(1, 0, 2)
    return np.array(image, order="C")


def _warp(image: Image, how: Augmentation, rng: np.random.Generator, *, scaled: bool, turned: bool) -> Image:
    side = image.shape[0]
    middle = side / 2 - 0.5
    zoom = math.exp(how.zoom * rng.uniform(-1, 1)) if scaled else 1.0
    angle = rng.uniform(-math.pi / 4, math.pi / 4) if turned else 0.0
    centre = middle + (how.shift * side * rng.uniform(-1, 1, 2) if scaled else 0.0)
    turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = np.hstack([turn, (middle - turn @ np.broadcast_to(centre, 2))[:, None]]).astype(np.float32)
    warped = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def _relight(image: Image, how: Augmentation, rng: np.random.Generator, *, grey: bool) -> Image:
    saturation = 0.0 if grey else 1.0 + 0.3 * rng.uniform(-1, 1)
    contrast = math.exp(how.contrast * rng.uniform(-1, 1))
    offset = how.brightness * rng.uniform(-1, 1) + how.tint * rng.uniform(-1, 1, 3)
    colours = contrast * (saturation * np.eye(3) + (1 - saturation) / 3)
    offset += (1 - contrast) * float(image.mean())
    return np.asarray(cv2.transform(image, np.hstack([colours, offset[:, None]]).astype(np.float32)), np.uint8)
