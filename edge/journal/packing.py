"""How messages lie in the journal: deflated (RFC 1951) with what all alerts have in common as the dictionary.

A memory card lives as long as few of its blocks are written: an alert of 850 bytes takes about 250.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

# Neither ever changes: what older programs wrote must stay readable. What comes most often stands last. The first is that of
# schemas 1 and 2, which knew no footprints.
_FIRST_DICTIONARY = (
    b'"prediction":"footprint":{"type":"Polygon","coordinates":[[["horizon":true,"count":1,'
    b'"source":"filename","source":"gpsd","source":"mavlink","source":"fixed","altitude_m":"accuracy_m":0.0,'
    b'"engine":"tensorflow","on":"MYRIAD","engine":"litert","on":"GPU","name":"image.png",".jpg",".jpeg","tile":[0,0,256,256]},'
    b'{"type":"Feature","id":"0198f1c2-0000-7000-8000-","geometry":null,"geometry":{"type":"Point","coordinates":[-95.,29.]},'
    b'"properties":{"schema":1,"captured_at":"2026-01-01T00:00:00.000Z","label":"undamaged","label":"damaged","confidence":0.9,'
    b'"probabilities":{"damaged":0.9,"undamaged":0.0},"frame":{"source":"/var/lib/overflight/inbox","name":"","tile":[0,0,128,128]},'
    b'"footprint":null,"fix":null,"fix":{"source":"exif","age_s":0.0,"accuracy_m":null},'
    b'"model":{"name":"terrain-damage","version":3,"sha256":""},"engine":"openvino","on":"CPU","inference_ms":0.,'
    b'"device":"uav-1","journal":"0198f1c2-0000-7000-8000-","sequence":1}}'
)
_DICTIONARY = (
    b'"first_at":"2026-01-01T00:00:00.000Z","last_at":"2026-01-01T00:00:00.000Z","revision":1,"count":2,'
    b'"footprint":{"type":"MultiPolygon","coordinates":[[[[-180.0,"clock":"unsynchronised","clock":"name","clock":"system",'
    b'"source":"filename","source":"fixed","source":"nmea","source":"gpx","source":"gpsd","is_2d":true,'
    b'"engine":"tensorflow","on":"MYRIAD","engine":"litert","on":"GPU","name":"image.png",".jpg",".jpeg","tile":[0,0,256,256]},'
    b'"footprint":null,"fix":null,"place":"device","accuracy_m":null,"height_m":0.,"point":[-95.,29.,0.]},'
    b'"footprint":{"type":"Polygon","coordinates":[[[-95.,29.],[-95.,29.]]]},"fix":{"source":"mavlink","age_s":0.0,"accuracy_m":1.0,'
    b'{"type":"Feature","id":"0198f1c2-0000-7000-8000-","geometry":null,"geometry":{"type":"Point","coordinates":[-95.,29.]},'
    b'"properties":{"schema":1,"captured_at":"2026-01-01T00:00:00.000Z","label":"undamaged","label":"damaged","confidence":0.9,'
    b'"probabilities":{"damaged":0.9,"undamaged":0.0},"frame":{"source":"/var/lib/overflight/inbox","name":"","tile":[0,0,128,128]},'
    b'"footprint":null,"fix":{"source":"exif","age_s":0.0,"accuracy_m":null},'
    b'"model":{"name":"terrain-damage","version":3,"sha256":""},"engine":"openvino","on":"CPU","inference_ms":0.,'
    b'"clock":"gps","place":"ground","clock":"image","place":"device","device":"uav-1","journal":"0198f1c2-0000-7000-8000-",'
    b'"sequence":1}}'
)
# What begins so is of the second dictionary: no deflated stream does, for the second and third bit name a kind of block that
# there is not (RFC 1951, 3.2.3).
_SECOND = b"\x06"
_RAW = -15
_CORNERS = struct.Struct("<8i")
_PER_DEGREE = 10_000_000
MAX_MESSAGE_BYTES = 1 << 20


def pack(message: bytes) -> bytes:
    """Make a message small."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _RAW, zdict=_DICTIONARY)
    return _SECOND + packer.compress(message) + packer.flush()


def unpack(packed: bytes) -> bytes:
    """The message again, to the byte.

    Raises:
        zlib.error: It is damaged.
    """
    is_second = packed.startswith(_SECOND)
    unpacker = zlib.decompressobj(_RAW, zdict=_DICTIONARY if is_second else _FIRST_DICTIONARY)
    message = unpacker.decompress(packed.removeprefix(_SECOND), MAX_MESSAGE_BYTES)
    if not unpacker.eof:
        raise zlib.error("message is cut off, or too large")
    return message


def pack_corners(corners: Sequence[tuple[float, float]]) -> bytes:
    """The four corners of a footprint, longitude and latitude in degrees, to the centimetre in 32 bytes."""
    return _CORNERS.pack(*(round(degrees * _PER_DEGREE) for corner in corners for degrees in corner))


def unpack_corners(packed: bytes) -> list[tuple[float, float]]:
    """The corners again.

    Raises:
        ValueError: They are damaged.
    """
    try:
        numbers = [number / _PER_DEGREE for number in _CORNERS.unpack(packed)]
    except struct.error as error:
        raise ValueError(f"no corners of a footprint: {error}") from error
    return list(zip(numbers[::2], numbers[1::2], strict=True))
