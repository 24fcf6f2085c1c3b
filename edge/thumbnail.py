"""The picture that follows an alert through the thin link: the tile and what lies around it, in as few bytes as asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge.records import Image, Tile

# Tried in this order until the picture fits: first it loses detail, then size. Below 40 a JPEG is blocks, and the same
# bytes say more in a smaller picture.
_QUALITIES = (85, 70, 55, 40)
_SIDES_PX = (256, 192, 128, 96, 64, 48, 32, 16)


def thumbnail(pixels: Image, frame_size: tuple[int, int], tile: Tile, max_bytes: int) -> bytes | None:
    """The tile with half its size around it on each side, as far as the frame goes; as JPEG without metadata.

    Args:
        pixels: The decoded frame; may have been decoded at a smaller scale.
        frame_size: Width and height of the frame as encoded, pixels.
        tile: In the frame's pixels as encoded.
        max_bytes: The JPEG is at most as large; its longest side is at most 256 pixels.

    Returns:
        None: not even the smallest picture fits.

    Raises:
        ValueError: The tile lies outside of the frame.
    """
    part = _surroundings(pixels, frame_size, tile)
    longest = max(part.shape[:2])
    for side in (min(longest, _SIDES_PX[0]), *(side for side in _SIDES_PX[1:] if side < longest)):
        picture = _shrink(part, side)
        for quality in _QUALITIES:
            encoded = _jpeg(picture, quality)
            if len(encoded) <= max_bytes:
                return encoded
    return None


def _surroundings(pixels: Image, frame_size: tuple[int, int], tile: Tile) -> Image:
    """The part of the pixels that shows the tile and what lies around it."""
    height, width = pixels.shape[:2]
    columns = _span(tile.left, tile.width, frame_size[0], width)
    rows = _span(tile.top, tile.height, frame_size[1], height)
    if columns.start >= columns.stop or rows.start >= rows.stop:
        raise ValueError(f"{tile} lies outside of a frame of {frame_size[0]}x{frame_size[1]} pixels")
    return pixels[rows, columns]


def _span(start: int, length: int, frame_px: int, decoded_px: int) -> slice:
    """Where a side of the tile with its surroundings lies among the decoded pixels, rounded outwards."""
    margin = length // 2
    first, end = max(0, start - margin), min(frame_px, start + length + margin)
    return slice(first * decoded_px // frame_px, -(-end * decoded_px // frame_px))


def _shrink(pixels: Image, side_px: int) -> Image:
    """Make the longest side so long; both keep at least one pixel."""
    # The decoder reads its settings from the environment when it is loaded: that is left to the room that decodes.
    import cv2

    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= side_px:
        return pixels
    size = (max(1, round(width * side_px / longest)), max(1, round(height * side_px / longest)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(pixels: Image, quality: int) -> bytes:
    import cv2

    # Tables made for the picture save about 300 bytes, which is much of a small one.
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", pixels, settings)[1].tobytes()
