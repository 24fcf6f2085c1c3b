"""The picture of an explanation: the image, beside it the same under its heat map, and a line that says what it shows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_STRIP_PX, _FONT, _FONT_SCALE = 22, cv2.FONT_HERSHEY_SIMPLEX, 0.45
# Of a large image the line must still be readable when the whole is seen at once.
_STRIP_SHARE = 24
_BACKGROUND, _INK = (32, 32, 32), (240, 240, 240)


def draw(image: NDArray[np.uint8], heat: NDArray[np.float32], caption: str, opacity: float) -> NDArray[np.uint8]:
    """Draw image and overlay side by side.

    The colours are matplotlib's inferno: perceptually uniform, so that no edge is seen where there is none in the heat map.

    Args:
        image: (height, width, 3) uint8, BGR.
        heat: (rows, columns), 0..1; it is scaled to the image.
        caption: Letters other than ASCII's are shown as question marks, because the font has no others.
        opacity: Of the heat map over the image, 0..1.

    Returns:
        BGR, twice as wide as the image and higher by the line; wider if the line needs it.
    """
    overlay = overlaid(image, heat, opacity)
    height, width = image.shape[:2]
    strip_px = max(_STRIP_PX, height // _STRIP_SHARE)
    scale = _FONT_SCALE * strip_px / _STRIP_PX
    text = caption.encode("ascii", "replace").decode("ascii")
    text_px = cv2.getTextSize(text, _FONT, scale, 1)[0][0]
    canvas = np.full((height + strip_px, max(2 * width, text_px + strip_px // 2), 3), _BACKGROUND, np.uint8)
    canvas[:height, :width] = image
    canvas[:height, width : 2 * width] = overlay
    baseline = (strip_px // 4, height + round(0.7 * strip_px))
    cv2.putText(canvas, text, baseline, _FONT, scale, _INK, max(1, strip_px // _STRIP_PX), cv2.LINE_AA)
    return canvas


def overlaid(image: NDArray[np.uint8], heat: NDArray[np.float32], opacity: float) -> NDArray[np.uint8]:
    """The image in grey under its heat map, so that colour means heat and nothing else; arguments as of `draw`.

    Returns:
        BGR, of the image's shape.
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    scaled = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(np.rint(255 * scaled).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.addWeighted(grey, 1 - opacity, colours, opacity, 0), np.uint8)
