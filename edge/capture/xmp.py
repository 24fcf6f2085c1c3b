"""Finds the XMP packet of an image file, in which drones say how high and which way they and their camera were.

The packet is XML from a file that anybody can have written: it is parsed without entities, without a DTD, and up to a size.
What is broken costs the packet and not the picture.
"""

from __future__ import annotations

import logging
import struct

_log = logging.getLogger(__name__)

# A packet of a drone holds 3 kB; a JPEG segment cannot hold more than 64 kB.
MAX_BYTES = 262_144

# ISO 16684-3 (XMP specification part 3): where each format keeps the packet.
_JPEG_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_KEYWORD = b"XML:com.adobe.xmp\0"
_TIFF_TAG = 700
_WEBP_CHUNK = b"XMP "

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
# The first that has a name wins. That of senseFly, which counts roll the other way round without saying so, is left out.
_NAMESPACES = (
    "http://www.dji.com/drone-dji/1.0/",
    "http://www.parrot.com/drone-parrot/1.0/",
    "http://pix4d.com/camera/1.0/",
    "http://pix4d.com/camera/1.0",
    "http://ns.adobe.com/exif/1.0/",
    "http://ns.adobe.com/tiff/1.0/",
)


def read_xmp(content: bytes) -> dict[str, str]:
    """What an image file says in XMP, by local name ("GimbalYawDegree"); empty where it says nothing or nothing legible.

    Simple properties are read, as attributes or as elements; structures and lists are passed over.

    Args:
        content: The whole file: JPEG, PNG, TIFF or WebP.
    """
    try:
        packet = _packet(content)
        if packet is None:
            return {}
        if len(packet) > MAX_BYTES:
            raise ValueError(f"{len(packet)} bytes, more than {MAX_BYTES}")
        return _properties(packet)
    except (ValueError, LookupError, struct.error, RecursionError) as error:
        # LookupError: an encoding that does not exist.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        _log.warning("XMP cannot be read and is passed over: %s", ascii(reason)[1:-1])
        return {}


def _properties(packet: bytes) -> dict[str, str]:
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(packet.strip(b"\0 \r\n\t"), forbid_dtd=True)
    except ParseError as error:
        raise ValueError(f"no XML: {error}") from error
    by_namespace: dict[str, dict[str, str]] = {}
    for description in root.iter(f"{_RDF}Description"):
        simple = [(child.tag, child.text or "") for child in description if not len(child)]
        for tag, text in (*description.attrib.items(), *simple):
            namespace, _, name = tag.removeprefix("{").rpartition("}")
            by_namespace.setdefault(namespace, {}).setdefault(name, text.strip())
    found: dict[str, str] = {}
    for namespace in reversed(_NAMESPACES):
        found |= by_namespace.get(namespace, {})
    return found


def _packet(content: bytes) -> bytes | None:
    if content.startswith(b"\xff\xd8"):
        return _packet_of_jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _packet_of_png(content)
    if content.startswith((b"II*\0", b"MM\0*")):
        return _packet_of_tiff(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _packet_of_webp(content)
    return None


def _packet_of_jpeg(content: bytes) -> bytes | None:
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            break
        length = max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
        if marker == 0xE1 and content.startswith(_JPEG_HEADER, at + 4):
            return content[at + 4 + len(_JPEG_HEADER) : at + 2 + length]
        at += 2 + length
    return None


def _packet_of_png(content: bytes) -> bytes | None:
    at = 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"iTXt" and content.startswith(_PNG_KEYWORD, at + 8):
            start = at + 8 + len(_PNG_KEYWORD)
            if content[start] != 0:
                raise ValueError("it is compressed, which the XMP specification does not allow")
            # Two flags, then language and translated keyword, each ended by a zero.
            texts = content[start + 2 : at + 8 + length].split(b"\0", 2)
            return texts[-1]
        at += 12 + length
    return None


def _packet_of_tiff(content: bytes) -> bytes | None:
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, _kind, length, offset = struct.unpack_from(order + "HHII", content, at)
        if tag == _TIFF_TAG:
            return content[offset : offset + length]
    return None


def _packet_of_webp(content: bytes) -> bytes | None:
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        if kind == _WEBP_CHUNK:
            return content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return None
