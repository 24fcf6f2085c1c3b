"""From the bytes of an image file to pixels, without trusting a byte of it.

An image is decoded at the smallest scale that still serves the model: the JPEG decoder averages blocks of pixels by
itself, which costs a third of the time and a sixty-fourth of the memory. What serves depends on where the image was taken,
so the file is looked into first, and decoded when that is known.
"""

from __future__ import annotations

import errno
import io
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.capture.headers import Header, ImageError, IncompleteImageError, read_header, why_unreadable
from edge.capture.xmp import read_xmp

if TYPE_CHECKING:
    from edge.records import Image

# The decoder's own guard must be set before it is loaded; `open_image` checks the configured limit on top.
_DECODER_MAX_PIXELS = 1 << 28
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(_DECODER_MAX_PIXELS))
# A damaged file is named in our own log with its reason; the decoder's lines on stderr would only say it twice.
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

import cv2  # noqa: E402

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}

# exifread logs what it cannot parse; a frame without EXIF is no event.
logging.getLogger("exifread").setLevel(logging.CRITICAL)
cv2.setNumThreads(1)


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file that was looked into and not decoded yet.

    Attributes:
        content: The whole file.
        width: Pixels; height likewise.
        exif: Tags by exifread's names; empty where there are none.
        xmp: Properties as `read_xmp` gives them; empty where there are none.
        max_pixels: It is refused if it turns out to have more.
    """

    content: bytes = field(repr=False)
    header: Header
    width: int
    height: int
    exif: dict[str, Any]
    xmp: dict[str, str]
    max_pixels: int

    def decode(self, serve_px: tuple[int, int]) -> Image:
        """The pixels, BGR; fewer than the image has by a factor of 2, 4 or 8 on each side where that still serves.

        Args:
            serve_px: Height and width below which neither side of the pixels may fall by decoding at a smaller scale.

        Raises:
            IncompleteImageError: It ends too early.
            ImageError: It is no image, or too large.
        """
        factor = _reduction(self.header, serve_px)
        pixels = _decode(self.content, self.header, factor)
        height, width = pixels.shape[:2]
        if height * width > self.max_pixels:
            raise ImageError(f"has {width}x{height} pixels, more than max_pixels ({self.max_pixels})")
        return _shrink(pixels, serve_px) if factor == 1 else pixels


def open_image(content: bytes, max_pixels: int) -> EncodedImage:
    """Look into an image file.

    Args:
        content: The whole file.
        max_pixels: An image that claims more is refused before it is decoded.

    Raises:
        IncompleteImageError: It ends too early.
        ImageError: It is empty, no image, or too large.
    """
    if not content:
        raise IncompleteImageError("empty file")
    header = read_header(content)
    if header.width * header.height > max_pixels:
        raise ImageError(f"claims {header.width}x{header.height} pixels, more than max_pixels ({max_pixels})")
    exif = _read_exif(content) if header.has_exif else {}
    xmp = read_xmp(content) if header.has_xmp else {}
    width, height = header.width, header.height
    if not width or not height:
        # A format that only the decoder knows.
        height, width = _decode(content, header, 1).shape[:2]
    return EncodedImage(content, header, width, height, exif, xmp, max_pixels)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: BGR; may be smaller than the image by a factor of 2, 4 or 8.
        width: Of the image as encoded, pixels.
        height: Of the image as encoded, pixels.
        exif: Tags by exifread's names; empty where there are none.
    """

    pixels: Image
    width: int
    height: int
    exif: dict[str, Any] = field(default_factory=dict)


def decode(content: bytes, serve_px: tuple[int, int], max_pixels: int) -> Decoded:
    """Look into an image file and decode it; raises as `open_image` and `EncodedImage.decode`."""
    image = open_image(content, max_pixels)
    return Decoded(image.decode(serve_px), image.width, image.height, image.exif)


def _decode(content: bytes, header: Header, factor: int) -> Image:
    """The pixels, BGR, at 1/`factor` of the image's size."""
    # The axes of the pixels are those of the sensor, which is what a footprint needs: orientation tags are left alone.
    flags = _REDUCED.get(factor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    encoded = content
    if header.orientation_at:
        # The decoder turns a TIFF whatever the flags say.
        encoded = content[: header.orientation_at] + b"\1" + content[header.orientation_at + 1 :]
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise ImageError(f"claims more than {_DECODER_MAX_PIXELS} pixels") from error
        if error.code == cv2.Error.StsNoMem:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error
        raise ImageError(f"not an image that can be decoded ({error.err})") from error
    if pixels is None:
        raise why_unreadable(content)
    return np.asarray(pixels, np.uint8)


def _shrink(pixels: Image, serve_px: tuple[int, int]) -> Image:
    """Average blocks of pixels as the JPEG decoder would have done, for formats whose decoder does not."""
    height, width = pixels.shape[:2]
    factor = _factor(min(height // serve_px[0], width // serve_px[1]))
    if factor == 1:
        return pixels
    size = (-(-width // factor), -(-height // factor))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _factor(room: int) -> int:
    return next((factor for factor in (8, 4, 2) if room >= factor), 1)


def _reduction(header: Header, serve_px: tuple[int, int]) -> int:
    """The largest of 1, 2, 4, 8 by which a JPEG can shrink and still serve."""
    room = min(header.height // serve_px[0], header.width // serve_px[1])
    return _factor(room) if header.is_jpeg else 1


def _read_exif(content: bytes) -> dict[str, Any]:
    """EXIF tags without maker notes; damaged EXIF costs its tags and not the picture."""
    import exifread

    if content.startswith(b"RIFF"):
        # The parser skips a prefix that WebP does not have.
        at = content.find(b"EXIF")
        content = content[at + 8 :].removeprefix(b"Exif\0\0")
    try:
        return dict(exifread.process_file(io.BytesIO(content), details=False))
    except Exception as error:  # noqa: BLE001 - the parser promises no closed set of errors for hostile input
        logging.getLogger(__name__).warning("EXIF cannot be read and is passed over: %s", error)
        return {}
