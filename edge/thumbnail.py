"""The picture that follows an alert through the thin link: the tile and what lies around it, in as few bytes as asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.scaling import resize

if TYPE_CHECKING:
    from edge.records import Image, Tile

# Tried in this order until the picture fits: first it loses detail, then size. Below 40 a JPEG is blocks, and the same
# bytes say more in a smaller picture.
_QUALITIES = (85, 70, 55, 40)
_SIDES_PX = (256, 192, 128, 96, 64, 48, 32, 16)


def thumbnail(pixels: Image, frame_size: tuple[int, int], tile: Tile, max_bytes: int) -> bytes | None:
    """The tile with half its size around it on each side, as far as the frame goes; as JPEG without metadata.

    Args:
        pixels: The decoded frame; may have been scaled, also by more on one side than on the other, which is undone.
        frame_size: Width and height of the frame as encoded, pixels.
        tile: In the frame's pixels as encoded.
        max_bytes: The JPEG is at most as large; its longest side is at most 256 pixels.

    Returns:
        None: not even the smallest picture fits.

    Raises:
        ValueError: The tile lies outside of the frame.
    """
    part = _surroundings(pixels, frame_size, tile)
    # How much higher a pixel is on the frame than it is wide.
    height_of_one = (frame_size[1] * pixels.shape[1]) / (frame_size[0] * pixels.shape[0])
    longest = max(part.shape[:2])
    for side in (min(longest, _SIDES_PX[0]), *(side for side in _SIDES_PX[1:] if side < longest)):
        picture = _fit(part, height_of_one, side)
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


def _fit(pixels: Image, height_of_one: float, side_px: int) -> Image:
    """Make the longest side so long, in the frame's own proportions; both keep at least one pixel.

    Args:
        height_of_one: Of a pixel, in its widths.
    """
    height, width = pixels.shape[0] * height_of_one, pixels.shape[1]
    scale = side_px / max(height, width)
    to_px = max(1, round(height * scale)), max(1, round(width * scale))
    # A frame whose sides were halved and rounded is as good as in proportion.
    is_fit = abs(to_px[0] - pixels.shape[0]) <= 1 and abs(to_px[1] - pixels.shape[1]) <= 1
    return pixels if is_fit else resize(pixels, to_px)


def _jpeg(pixels: Image, quality: int) -> bytes:
    import cv2

    # Tables made for the picture save about 300 bytes, which is much of a small one.
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", pixels, settings)[1].tobytes()
