"""How messages lie in the journal: deflated (RFC 1951) with what all alerts have in common as the dictionary.

A memory card lives as long as few of its blocks are written: an alert of 850 bytes takes about 250.
"""

from __future__ import annotations

import zlib

# Never changes: what older programs wrote must stay readable. What comes most often stands last.
_DICTIONARY = (
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
_RAW = -15
MAX_MESSAGE_BYTES = 1 << 20


def pack(message: bytes) -> bytes:
    """Make a message small."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _RAW, zdict=_DICTIONARY)
    return packer.compress(message) + packer.flush()


def unpack(packed: bytes) -> bytes:
    """The message again, to the byte.

    Raises:
        zlib.error: It is damaged.
    """
    unpacker = zlib.decompressobj(_RAW, zdict=_DICTIONARY)
    message = unpacker.decompress(packed, MAX_MESSAGE_BYTES)
    if not unpacker.eof:
        raise zlib.error("message is cut off, or too large")
    return message
