"""Decoding: what a camera, a bad card or an attacker can put into an image file, and what must come of it."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from edge.capture.headers import read_header
from edge.capture.image import Decoded, ImageError, IncompleteImageError, decode
from edge.exif_time import capture_time

SERVE_PX = (128, 128)
MAX_PIXELS = 100_000_000

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
ORIGINAL, OFFSET_ORIGINAL, SUBSECOND_ORIGINAL, GPS_TIME, GPS_DATE = 0x9003, 0x9011, 0x9291, 7, 29

# Four plain quarters, so that any turn or mirroring shows, in colours that no codec changes much.
QUARTERS = np.zeros((80, 120, 3), np.uint8)
QUARTERS[:40, :60] = (20, 30, 220)
QUARTERS[:40, 60:] = (220, 40, 30)
QUARTERS[40:, :60] = (40, 200, 60)
QUARTERS[40:, 60:] = (230, 230, 230)

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")


def encode(format_: str, pixels: np.ndarray = QUARTERS, **options: Any) -> bytes:
    """An image file as another program writes it; pixels are BGR or grey."""
    shown = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    file = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(shown)).save(file, format_, **options)
    return file.getvalue()


def exif_of(main: dict[int, Any] | None = None, exif: dict[int, Any] | None = None, gps: dict[int, Any] | None = None) -> bytes:
    tags = Pillow.Exif()
    tags.update(main or {})
    tags.get_ifd(EXIF_IFD).update(exif or {})
    tags.get_ifd(GPS_IFD).update(gps or {})
    return tags.tobytes()


def gps_clock(hours: int, minutes: int, seconds: Fraction | int) -> tuple[Fraction, Fraction, Fraction]:
    return Fraction(hours), Fraction(minutes), Fraction(seconds)


def png_chunk(kind: bytes, content: bytes, claimed_bytes: int | None = None) -> bytes:
    length = len(content) if claimed_bytes is None else claimed_bytes
    return struct.pack(">I", length) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_that_claims(width: int, height: int) -> bytes:
    content = bytearray(encode("JPEG"))
    struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, height, width)
    return bytes(content)


def bmp_that_claims(width: int, height: int) -> bytes:
    content = bytearray(encode("BMP"))
    struct.pack_into("<ii", content, 18, width, height)
    return bytes(content)


def tiff_that_claims(width: int, height: int) -> bytes:
    content = bytearray(encode("TIFF", compression="tiff_lzw"))
    directory = struct.unpack_from("<I", content, 4)[0]
    claims = {256: width, 257: height, 278: height}
    for at in range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", content, directory)[0], 12):
        tag = struct.unpack_from("<H", content, at)[0]
        if tag in claims:
            struct.pack_into("<HHII", content, at, tag, 4, 1, claims[tag])
    return bytes(content)


def webp_that_claims(width: int, height: int) -> bytes:
    content = bytearray(encode("WEBP"))
    struct.pack_into("<HH", content, content.find(b"\x9d\x01\x2a") + 3, width, height)
    return bytes(content)


# Decodes a file in a process of its own and says by how much that raised the peak of its memory. The kernel's VmHWM is that
# of this program alone, where ru_maxrss of getrusage begins with the peak of the process that started it.
MEASURE = """
import json, sys
import cv2, numpy
from edge.capture.image import ImageError, decode
def peak_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
decode(cv2.imencode(".png", numpy.zeros((64, 64, 3), numpy.uint8))[1].tobytes(), (128, 128), 10_000)
content = open(sys.argv[1], "rb").read()
before = peak_kib()
try:
    outcome = str(decode(content, (128, 128), int(sys.argv[2])).pixels.shape)
except ImageError as error:
    outcome = f"ImageError: {error}"
print(json.dumps({"outcome": outcome, "grown_mib": (peak_kib() - before) / 1024}))
"""


def decode_apart(folder: Path, content: bytes, max_pixels: int) -> tuple[str, float]:
    """What became of a file, and by how many MiB its decoding raised the peak of memory."""
    file = folder / "image"
    file.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, file, str(max_pixels)], capture_output=True, text=True, timeout=60, check=True
    )
    said = json.loads(done.stdout)
    return said["outcome"], said["grown_mib"]


def assert_shows(decoded: Decoded, pixels: np.ndarray) -> None:
    assert decoded.pixels.shape == pixels.shape
    assert np.abs(decoded.pixels.astype(int) - pixels).mean() < 4


def test_empty_file_is_incomplete() -> None:
    with pytest.raises(IncompleteImageError, match="empty"):
        decode(b"", SERVE_PX, MAX_PIXELS)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_cut_anywhere_is_incomplete_and_gives_no_pixels(progressive: bool) -> None:
    exif = exif_of(exif={ORIGINAL: "2024:05:06 07:08:09"})
    content = encode("JPEG", progressive=progressive, exif=exif)
    assert_shows(decode(content, SERVE_PX, MAX_PIXELS), QUARTERS)
    # The decoder alone would fill what is missing with grey, so every single cut counts.
    for end in range(2, len(content)):
        with pytest.raises(IncompleteImageError):
            decode(content[:end], SERVE_PX, MAX_PIXELS)


def test_real_photo_cut_at_a_hundred_places_is_incomplete(data: Path) -> None:
    content = (data / "drone-photos" / "DJI_0018.JPG").read_bytes()
    # Its EXIF holds a thumbnail, a whole JPEG with an end marker of its own, which must not count; a preview follows the
    # photo (CIPA DC-007), without which the photo is whole.
    whole = content.rfind(b"\xff\xd9\xff\xd8") + 2
    assert decode(content[:whole], SERVE_PX, MAX_PIXELS).width == 4000
    for end in np.linspace(2, whole - 1, 100, dtype=int):
        with pytest.raises(IncompleteImageError):
            decode(content[:end], SERVE_PX, MAX_PIXELS)


@pytest.mark.parametrize("format_", FORMATS)
def test_file_too_short_to_tell_its_format_is_incomplete(format_: str) -> None:
    content = encode(format_)
    for end in range(1, 12):
        with pytest.raises(IncompleteImageError):
            decode(content[:end], SERVE_PX, MAX_PIXELS)


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "BMP", "WEBP"])
def test_image_of_another_format_cut_anywhere_is_incomplete(format_: str) -> None:
    # Small, so that every cut behind the first bytes, by which the format is known, can be tried.
    content = encode(format_, QUARTERS[30:50, 50:70])
    for end in range(12, len(content)):
        with pytest.raises(IncompleteImageError):
            decode(content[:end], SERVE_PX, MAX_PIXELS)


@pytest.mark.parametrize("content", [b"this is a text that was given the name of a picture\n" * 20, b"\0" * 5000])
def test_what_is_no_image_is_refused_with_a_reason_in_one_line(content: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content, SERVE_PX, MAX_PIXELS)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("claim", "width", "height"),
    [
        (png_that_claims, 50_000, 50_000),
        (jpeg_that_claims, 60_000, 60_000),
        (bmp_that_claims, 50_000, 50_000),
        (tiff_that_claims, 50_000, 50_000),
        (tiff_that_claims, 12_000, 12_000),
        (webp_that_claims, 16_383, 16_383),
    ],
)
def test_absurd_claim_of_size_is_refused_without_the_memory_for_it(
    tmp_path: Path, claim: Callable[[int, int], bytes], width: int, height: int
) -> None:
    outcome, grown_mib = decode_apart(tmp_path, claim(width, height), MAX_PIXELS)
    assert outcome.startswith("ImageError: ")
    # The least of these images would need 412 MiB.
    assert grown_mib < 64


@pytest.mark.parametrize(("claim", "width", "height"), [(png_that_claims, 50_000, 50_000), (jpeg_that_claims, 60_000, 60_001)])
def test_refusal_of_a_claim_names_its_numbers_and_the_limit(
    claim: Callable[[int, int], bytes], width: int, height: int
) -> None:
    with pytest.raises(ImageError, match=rf"{width}x{height}.*max_pixels.*{MAX_PIXELS}"):
        decode(claim(width, height), SERVE_PX, MAX_PIXELS)


@pytest.mark.parametrize("format_", FORMATS)
def test_valid_image_over_max_pixels_is_refused_before_it_is_decoded(tmp_path: Path, format_: str) -> None:
    # One plain colour: a few kilobytes that unfold to 48 MB (all but BMP, which is as large as it looks).
    content = encode(
        format_, np.full((4000, 4000, 3), 90, np.uint8), **{"compression": "tiff_lzw"} if format_ == "TIFF" else {}
    )
    outcome, grown_mib = decode_apart(tmp_path, content, 1_000_000)
    assert outcome.startswith("ImageError: ")
    assert "4000x4000" in outcome
    assert grown_mib < 24


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt"])
def test_png_chunk_that_claims_gigabytes_is_refused_without_the_memory_for_it(tmp_path: Path, kind: bytes) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + png_chunk(kind, bytes(1000), claimed_bytes=1 << 30) + png_chunk(b"IEND", b"")
    outcome, grown_mib = decode_apart(tmp_path, content, MAX_PIXELS)
    assert outcome.startswith("ImageError: ")
    assert grown_mib < 64


def test_jpeg_cannot_hide_its_size_behind_a_marker_without_a_length(tmp_path: Path) -> None:
    small, large = encode("JPEG"), jpeg_that_claims(12_000, 12_000)
    frame = large.find(b"\xff\xc0")
    # TEM (FF 01) has no length field (T.81, B.1.1.3). A reader that takes the next two bytes for one, here the marker of
    # the large frame, jumps to the small frame behind it, while the decoder goes on with the large one.
    hidden = large[frame:-2].ljust(0xFFC0, b"\0")
    content = large[:frame] + b"\xff\x01" + hidden + small[small.find(b"\xff\xc0") :]
    outcome, grown_mib = decode_apart(tmp_path, content, 1_000_000)
    assert outcome.startswith("ImageError: ")
    assert grown_mib < 64


@pytest.mark.parametrize("format_", FORMATS)
def test_image_of_just_max_pixels_is_decoded_and_of_one_more_is_not(format_: str) -> None:
    content = encode(format_)
    pixels = QUARTERS.shape[0] * QUARTERS.shape[1]
    assert_shows(decode(content, SERVE_PX, pixels), QUARTERS)
    with pytest.raises(ImageError, match=rf"120x80.*max_pixels.*{pixels - 1}"):
        decode(content, SERVE_PX, pixels - 1)


def test_real_photo_is_decoded_small_and_keeps_its_size_as_encoded(data: Path) -> None:
    for file in sorted((data / "drone-photos").glob("*.JPG")):
        decoded = decode(file.read_bytes(), SERVE_PX, MAX_PIXELS)
        assert (decoded.width, decoded.height) == (4000, 2250)
        assert decoded.pixels.shape == (282, 500, 3)


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [
        (4000, 2250, (282, 500, 3)),
        (1024, 1024, (128, 128, 3)),
        (4000, 1023, (256, 1000, 3)),
        (256, 4000, (2000, 128, 3)),
        (255, 4000, (4000, 255, 3)),
        (127, 90, (90, 127, 3)),
    ],
)
def test_jpeg_is_reduced_as_far_as_both_sides_still_serve(
    make_jpeg: Callable[..., bytes], width: int, height: int, shape: tuple[int, int, int]
) -> None:
    decoded = decode(make_jpeg(width=width, height=height), SERVE_PX, MAX_PIXELS)
    assert decoded.pixels.shape == shape
    assert (decoded.width, decoded.height) == (width, height)
    # Neither side may fall below what is served, nor below the image itself.
    assert shape[0] >= min(SERVE_PX[0], height)
    assert shape[1] >= min(SERVE_PX[1], width)


def test_reduced_pixels_are_averages_of_the_image() -> None:
    large = cv2.resize(QUARTERS, None, fx=10, fy=10, interpolation=cv2.INTER_NEAREST)
    decoded = decode(encode("JPEG", large, quality=95), (100, 100), MAX_PIXELS)
    assert_shows(decoded, QUARTERS if decoded.pixels.shape == QUARTERS.shape else cv2.resize(QUARTERS, (150, 100)))


@pytest.mark.parametrize("format_", FORMATS)
def test_colours_come_out_as_they_went_in(format_: str) -> None:
    decoded = decode(encode(format_), SERVE_PX, MAX_PIXELS)
    assert_shows(decoded, QUARTERS)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.width, decoded.height) == (120, 80)


@pytest.mark.parametrize("format_", FORMATS)
def test_grey_image_gives_three_equal_channels(format_: str) -> None:
    grey = np.tile(np.arange(0, 240, 2, dtype=np.uint8), (80, 1))
    decoded = decode(encode(format_, grey), SERVE_PX, MAX_PIXELS)
    assert decoded.pixels.dtype == np.uint8
    assert_shows(decoded, np.repeat(grey[..., None], 3, axis=2))
    assert np.ptp(decoded.pixels.astype(int), axis=2).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_become_the_upper_eight(suffix: str) -> None:
    deep = QUARTERS.astype(np.uint16) * 257
    decoded = decode(cv2.imencode(suffix, deep)[1].tobytes(), SERVE_PX, MAX_PIXELS)
    assert decoded.pixels.dtype == np.uint8
    assert_shows(decoded, QUARTERS)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_alpha_is_left_out(suffix: str) -> None:
    transparent = np.dstack([QUARTERS, np.full(QUARTERS.shape[:2], 128, np.uint8)])
    decoded = decode(cv2.imencode(suffix, transparent)[1].tobytes(), SERVE_PX, MAX_PIXELS)
    assert decoded.pixels.dtype == np.uint8
    assert_shows(decoded, QUARTERS)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_orientation_tag_turns_nothing(format_: str, orientation: int) -> None:
    # The footprint is computed with the axes of the sensor, which are those of the pixels as they are stored.
    tag = {"tiffinfo": {ORIENTATION: orientation}} if format_ == "TIFF" else {"exif": exif_of({ORIENTATION: orientation})}
    decoded = decode(encode(format_, **tag), SERVE_PX, MAX_PIXELS)
    assert (decoded.width, decoded.height) == (120, 80)
    assert_shows(decoded, QUARTERS)


def test_orientation_tag_turns_nothing_in_a_reduced_photo_either() -> None:
    large = cv2.resize(QUARTERS, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    decoded = decode(encode("JPEG", large, exif=exif_of({ORIENTATION: 6})), (80, 120), MAX_PIXELS)
    assert (decoded.width, decoded.height) == (960, 640)
    assert_shows(decoded, QUARTERS)


def test_real_photo_gives_the_gps_position_of_its_exif(data: Path) -> None:
    exif = decode((data / "drone-photos" / "DJI_0018.JPG").read_bytes(), SERVE_PX, MAX_PIXELS).exif
    assert {"GPS GPSLatitude", "GPS GPSLongitude", "GPS GPSAltitude"} <= set(exif)


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_exif_of_another_format_is_read_too(format_: str) -> None:
    gps = {GPS_DATE: "2024:02:28", GPS_TIME: gps_clock(1, 2, 3)}
    decoded = decode(encode(format_, exif=exif_of(gps=gps)), SERVE_PX, MAX_PIXELS)
    assert capture_time(decoded.exif) == datetime(2024, 2, 28, 1, 2, 3, tzinfo=UTC)


def test_damaged_exif_costs_its_tags_and_not_the_picture() -> None:
    content = bytearray(encode("JPEG", exif=exif_of(gps={GPS_DATE: "2024:02:28"})))
    start = content.find(b"Exif\0\0") + 14
    content[start : start + 30] = b"\xff" * 30
    decoded = decode(bytes(content), SERVE_PX, MAX_PIXELS)
    assert_shows(decoded, QUARTERS)
    assert capture_time(decoded.exif) is None


_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def with_xmp(format_: str) -> bytes:
    if format_ == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", _XMP.decode())
        return encode("PNG", pnginfo=text)
    return encode("TIFF", tiffinfo={700: _XMP}) if format_ == "TIFF" else encode(format_, xmp=_XMP)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_header_tells_whether_there_is_xmp(format_: str) -> None:
    assert read_header(with_xmp(format_)).has_xmp
    assert not read_header(encode(format_)).has_xmp


def test_header_of_a_real_photo_tells_of_its_xmp(data: Path) -> None:
    header = read_header((data / "drone-photos" / "DJI_0018.JPG").read_bytes())
    assert (header.has_xmp, header.has_exif) == (True, True)


_TAGS = exif_of(
    {ORIENTATION: 6},
    {ORIGINAL: "2024:05:06 07:08:09", OFFSET_ORIGINAL: "+01:00"},
    {GPS_DATE: "2024:02:28", GPS_TIME: gps_clock(1, 2, 3)},
)
_SMALL = QUARTERS[32:48, 52:68]
_VALID = {
    "JPEG": encode("JPEG", _SMALL, exif=_TAGS),
    "PNG": encode("PNG", _SMALL, exif=_TAGS),
    "TIFF": encode("TIFF", _SMALL, exif=_TAGS),
}
# Bytes with a meaning in these formats come up more often than by chance.
_BYTES = st.one_of(st.sampled_from([0x00, 0x01, 0x7F, 0x80, 0xC0, 0xD8, 0xD9, 0xDA, 0xFF]), st.integers(0, 255))


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    content = bytearray(_VALID[draw(st.sampled_from(sorted(_VALID)))])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content)))
        removed = draw(st.integers(0, 4))
        content[at : at + removed] = bytes(draw(st.lists(_BYTES, max_size=4)))
    return bytes(content)


@settings(max_examples=400, deadline=None)
@given(_damaged())
def test_damaged_bytes_give_pixels_or_an_image_error_and_nothing_else(content: bytes) -> None:
    try:
        decoded = decode(content, SERVE_PX, 1_000_000)
    except ImageError as error:
        assert "\n" not in str(error)
        return
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape[2:] == (3,)
    assert decoded.pixels.size <= 3_000_000
    moment = capture_time(decoded.exif)
    assert moment is None or moment.tzinfo is UTC


def test_large_png_is_shrunk_as_a_jpeg_of_its_size_would_be() -> None:
    content = cv2.imencode(".png", np.full((1200, 1600, 3), 90, np.uint8))[1].tobytes()
    decoded = decode(content, SERVE_PX, MAX_PIXELS)
    assert (decoded.width, decoded.height) == (1600, 1200)
    assert decoded.pixels.shape == (150, 200, 3)
    assert (decoded.pixels == 90).all()
