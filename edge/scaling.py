"""Pictures in other sizes. Where one shrinks all its pixels count: leaving some out makes patterns that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge.records import Image


def resize(pixels: Image, to_px: tuple[int, int]) -> Image:
    """Scale a picture: sides that shrink are averaged, those that grow interpolated.

    Args:
        to_px: Height and width, at least one pixel each.
    """
    # The decoder reads its settings from the environment when it is loaded: that is left to the room that decodes.
    import cv2

    height, width = min(pixels.shape[0], to_px[0]), min(pixels.shape[1], to_px[1])
    for size, how in (((height, width), cv2.INTER_AREA), (to_px, cv2.INTER_LINEAR)):
        if pixels.shape[:2] != size:
            pixels = np.asarray(cv2.resize(pixels, size[::-1], interpolation=how), np.uint8)
    return pixels
