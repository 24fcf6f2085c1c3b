"""Finds MAVLink messages, version 1 and 2, in bytes that may hold anything else as well.

pymavlink's own parser throws away as many bytes as a damaged length says, and with them the good messages therein. Here
only the frames are found, and a frame that fails is left byte by byte; pymavlink says what is in those that hold.
https://mavlink.io/en/guide/serialization.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

_MARKER = re.compile(b"[\xfd\xfe]")
_V2 = 0xFD
_V1_HEADER_BYTES = 6
_V2_HEADER_BYTES = 10
_CHECKSUM_BYTES = 2
_SIGNED = 1
_SIGNATURE_BYTES = 13


def load_dialect() -> Any:
    """pymavlink's module of the messages of ArduPilot, which holds the common ones, too; 12 MB and 0.03 s, without lxml."""
    from pymavlink.dialects.v20 import ardupilotmega

    return ardupilotmega


@dataclass(frozen=True, slots=True)
class Packet:
    """A message that was found, or why there is none.

    Attributes:
        stamp: The bytes before it that belong to it.
        message: pymavlink's; None: nobody wants to know it, or it is refused.
        refused: "checksum": a message was damaged; "garbage": bytes that are no message, once for all that lie together.
    """

    stamp: bytes = b""
    message: Any = None
    refused: str | None = None


class Packets:
    """The messages of one sender, or of one log."""

    def __init__(self, names: Collection[str], stamp_bytes: int = 0) -> None:
        """
        Args:
            names: The messages that are wanted; the others are checked and passed over.
            stamp_bytes: How many bytes before each message belong to it: 8 in a log.
        """
        self._dialect = load_dialect()
        self._wanted = {number for number, kind in self._dialect.mavlink_map.items() if kind.msgname in names}
        self._decoder = self._dialect.MAVLink(None)
        self._stamp_bytes = stamp_bytes
        self._buffer = b""
        self._in_garbage = False

    def feed(self, data: bytes, *, is_end: bool = False) -> Iterator[Packet]:
        """Take more bytes, give the messages that are complete.

        Args:
            is_end: Nothing follows: what is still incomplete is no message, but one may lie within it.
        """
        buffer, position = self._buffer + data, 0
        while (found := _MARKER.search(buffer, position + self._stamp_bytes)) is not None:
            start = found.start() - self._stamp_bytes
            packet, length = self._look(buffer, start, is_end)
            if start > position or (packet is None and length):
                yield from self._garbage()
            position = start + length
            if packet is not None:
                self._in_garbage = packet.refused is not None  # what is left of it is not refused again
                yield packet
            elif not length:
                break
        else:
            # No marker: all but what may be the stamp of the next message is garbage.
            if len(buffer) - self._stamp_bytes > position:
                yield from self._garbage()
                position = len(buffer) - self._stamp_bytes
        self._buffer = buffer[position:]

    def _garbage(self) -> Iterator[Packet]:
        if not self._in_garbage:
            self._in_garbage = True
            yield Packet(refused="garbage")

    def _look(self, buffer: bytes, start: int, is_end: bool) -> tuple[Packet | None, int]:
        """The packet whose stamp starts here, and its length; no packet and 1: there is none; and 0: more must come to tell."""
        end = _frame_end(buffer, start + self._stamp_bytes)
        if end == 0 or end > len(buffer):
            return None, 0 if end and not is_end else 1
        stamp, frame = buffer[start : start + self._stamp_bytes], buffer[start + self._stamp_bytes : end]
        number = int.from_bytes(frame[7:10], "little") if frame[0] == _V2 else frame[5]
        kind = self._dialect.mavlink_map.get(number)
        if kind is not None and self._checksum_holds(frame, kind.crc_extra):
            message = self._decoder.decode(bytearray(frame)) if number in self._wanted else None
            return Packet(stamp, message), end - start
        # What cannot be verified is believed to be a message if another follows right behind it.
        following = end + self._stamp_bytes
        if following >= len(buffer) and not is_end:
            return None, 0
        if end != len(buffer) and (following >= len(buffer) or buffer[following] not in b"\xfd\xfe"):
            return None, 1
        if kind is None:
            return Packet(stamp), end - start
        # Its length may be what was damaged: then others lie within it.
        return Packet(stamp, refused="checksum"), 1

    def _checksum_holds(self, frame: bytes, extra: int) -> bool:
        payload_end = (_V2_HEADER_BYTES if frame[0] == _V2 else _V1_HEADER_BYTES) + frame[1]
        said = int.from_bytes(frame[payload_end : payload_end + _CHECKSUM_BYTES], "little")
        return bool(said == self._dialect.x25crc(frame[1:payload_end] + bytes([extra])).crc)


def _frame_end(buffer: bytes, marker: int) -> int:
    """Where the frame at a marker ends, which may be behind the end of the buffer; 0: it is no frame."""
    if len(buffer) < marker + 3:
        return marker + 3
    is_v2 = buffer[marker] == _V2
    flags = buffer[marker + 2] if is_v2 else 0
    if flags & ~_SIGNED:
        return 0  # whoever does not know a flag must drop the message
    header_bytes = _V2_HEADER_BYTES if is_v2 else _V1_HEADER_BYTES
    return marker + header_bytes + buffer[marker + 1] + _CHECKSUM_BYTES + (_SIGNATURE_BYTES if flags else 0)
