"""Reads what the first bytes of an image file claim, before a decoder believes it.

Decoders take the memory that a file claims before they look for its bytes, and fill what is missing with grey: so size and
end are looked up here. Nothing is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_JPEG_START = b"\xff\xd8"
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_XMP_TIFF_TAG = 700
# Markers without a length (T.81, B.1.1.3): TEM, RST0..7, and a second SOI.
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class ImageError(ValueError):
    """The bytes are not an image that can be used; the message is the reason, in one line."""


class IncompleteImageError(ImageError):
    """The image ends too early: the file may still be growing."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes say; 0 where they are of no format that is read here.

    Attributes:
        width: As claimed, pixels.
        height: As claimed, pixels.
        has_xmp: Somewhere there is an XMP packet (ISO 16684-1).
        orientation_at: Where in the file the tag stands that would turn a TIFF's pixels; 0 if it would not.
    """

    width: int = 0
    height: int = 0
    is_jpeg: bool = False
    has_exif: bool = False
    has_xmp: bool = False
    orientation_at: int = 0


def read_header(content: bytes) -> Header:
    """What an image file claims to be.

    Raises:
        IncompleteImageError: It ends before its format's end.
        ImageError: It is damaged.
    """
    if content.startswith(_JPEG_START):
        return _read_jpeg_header(content)
    if content.startswith(_PNG_START):
        return _read_png_header(content)
    if content.startswith(_TIFF_STARTS):
        return _read_tiff_header(content)
    if content.startswith(b"BM") and len(content) >= 26:
        width, height = struct.unpack_from("<ii", content, 18)
        return Header(abs(width), abs(height))
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _read_webp_header(content)
    return Header()


def _read_png_header(content: bytes) -> Header:
    """Walk the chunks (ISO/IEC 15948): the decoder takes the memory that a chunk claims before it looks for its bytes."""
    at, has_exif, has_xmp = len(_PNG_START), False, False
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        has_exif = has_exif or kind == b"eXIf"
        has_xmp = has_xmp or (kind == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0", at + 8))
        at += 12 + length
        if kind == b"IEND" and at <= len(content):
            width, height = struct.unpack_from(">II", content, 16)
            return Header(width, height, has_exif=has_exif, has_xmp=has_xmp)
    raise IncompleteImageError("truncated PNG: its last chunk is missing")


def _read_tiff_header(content: bytes) -> Header:
    """The first directory (TIFF 6.0, section 2): width, height, and where the orientation stands."""
    order = "<" if content.startswith(b"II") else ">"
    found = {}
    try:
        start = struct.unpack_from(order + "I", content, 4)[0]
        for at in range(start + 2, start + 2 + 12 * struct.unpack_from(order + "H", content, start)[0], 12):
            tag, kind = struct.unpack_from(order + "HH", content, at)
            if tag in {256, 257, 274, _XMP_TIFF_TAG}:
                found[tag] = at + 8, struct.unpack_from(order + ("H" if kind == 3 else "I"), content, at + 8)[0]
    except struct.error as error:
        raise IncompleteImageError("truncated TIFF: it ends within its directory") from error
    width, height = (found.get(tag, (0, 0))[1] for tag in (256, 257))
    orientation = found[274][0] + (order == ">") if 274 in found and found[274][1] > 1 else 0
    return Header(width, height, has_exif=True, has_xmp=_XMP_TIFF_TAG in found, orientation_at=orientation)


def _read_webp_header(content: bytes) -> Header:
    width = height = 0
    kind = content[12:16]
    if kind == b"VP8X" and len(content) >= 30:
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L" and len(content) >= 25:
        bits = int.from_bytes(content[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and len(content) >= 30:
        width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return Header(width, height, has_exif=b"EXIF" in content, has_xmp=b"XMP " in content)


def _read_jpeg_header(content: bytes) -> Header:
    """Walk the segments up to the first scan (ITU-T T.81, annex B) and see that the scan ends.

    The decoder fills the missing part of a truncated photo with grey and calls it a success: only the end marker tells.
    """
    width = height = 0
    has_exif = has_xmp = False
    at, size = 2, len(content)
    while at + 4 <= size:
        prefix, marker, high, low = content[at : at + 4]
        if prefix != 0xFF:
            raise ImageError("not a JPEG: a segment does not start where the one before it ends")
        if marker == 0xFF:
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        length = high << 8 | low
        if marker in _FRAME_MARKERS and at + 9 <= size:
            height, width = struct.unpack_from(">HH", content, at + 5)
        elif marker == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0":
            has_exif = True
        elif marker == 0xE1 and content.startswith(_XMP_START, at + 4):
            has_xmp = True
        elif marker == _START_OF_SCAN:
            if content.find(_END_OF_IMAGE, at) < 0:
                raise IncompleteImageError("truncated JPEG: its end is missing")
            return Header(width, height, is_jpeg=True, has_exif=has_exif, has_xmp=has_xmp)
        at += 2 + max(length, 2)
    raise IncompleteImageError("truncated JPEG: it ends within its header")


def why_unreadable(content: bytes) -> ImageError:
    """What is wrong with a file that a decoder gave up on."""
    starts = (_JPEG_START, _PNG_START, *_TIFF_STARTS, b"BM", b"RIFF")
    if content.startswith(starts) or any(start.startswith(content) for start in starts):
        return IncompleteImageError("damaged or truncated image")
    return ImageError("not an image: its first bytes are of no known format")
