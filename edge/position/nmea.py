"""Position from a receiver that speaks NMEA 0183, on a serial line or USB, or from a file of what one said."""

from __future__ import annotations

import os
import re
import stat
import termios
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import reduce
from operator import xor

from edge.position.nmea_epoch import Epochs
from edge.position.recorded_file import open_recording
from edge.position.report import LOOK_S, Report, StreamError
from edge.text import one_line, printable

BAUD = 9_600
"""What most receivers begin with; the 4800 of the standard are for ships. USB does not care."""

SENTENCE_BYTES = 1_024
"""The standard allows 82, and receivers say more; longer is no sentence."""

_CHUNK_BYTES = 65_536
_KINDS = {b"RMC", b"GGA", b"GNS", b"GLL", b"ZDA", b"GSA", b"GST", b"VTG"}

_SENTENCE = re.compile(rb"([A-Z][A-Z0-9]{3,},.*?)(?:\*([0-9A-Fa-f]{2}))?\s*", re.DOTALL)
"""What follows the dollar: the address, whose last three letters are the kind, the fields and the checksum."""


class NmeaStream:
    """The fixes of a receiver. What is said in other formats on the same line is passed over."""

    name = "nmea"

    def __init__(self, path: str, baud: int = BAUD) -> None:
        self._path = path
        self._baud = baud
        self.is_recording = not _is_device(path)

    @classmethod
    def parse(cls, argument: str) -> NmeaStream:
        """Build from the config's text behind ``nmea:``.

        Raises:
            ValueError: It is not a device with or without a baud rate, or a file.
        """
        path, colon, baud = argument.rpartition(":")
        # The names under /dev/serial/by-path have colons of their own.
        if not colon or not re.fullmatch(r"[0-9]{3,7}", baud, re.ASCII):
            path, baud = argument, str(BAUD)
        if not path or "\0" in path or int(baud) < 300:
            raise ValueError("expected nmea:<device>[:<baud>] or nmea:<file>")
        return cls(path, int(baud))

    def reports(self) -> Generator[Report | None, None, None]:
        """Read; see `Stream.reports`.

        Raises:
            StreamError: It cannot be opened or read, was unplugged, or is a file larger than `MAX_RECORDING_BYTES`.
        """
        epochs = Epochs(is_recording=self.is_recording)
        pending = b""
        with closing(self._file() if self.is_recording else self._device()) as chunks:
            for chunk in chunks:
                received_s = None if self.is_recording else time.monotonic()
                *lines, pending = re.split(rb"[\r\n]+", pending + chunk)
                pending = pending[-SENTENCE_BYTES:]
                is_silent = True
                for report in _reports(lines, received_s, epochs):
                    is_silent = False
                    yield report
                if not chunk and (rest := epochs.finish()) is not None:
                    is_silent = False
                    yield rest
                if is_silent and not self.is_recording:
                    yield None
        yield from _reports([pending], None, epochs)
        if (rest := epochs.finish()) is not None:
            yield rest

    def _file(self) -> Generator[bytes, None, None]:
        try:
            with open_recording(self._path) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise StreamError(f"{printable(self._path)}: {one_line(error)}") from error

    def _device(self) -> Generator[bytes, None, None]:
        """What came at once; nothing after `LOOK_S` of silence."""
        # Here, because a file needs none.
        import serial

        try:
            with serial.Serial(self._path, self._baud, timeout=LOOK_S) as port:
                while True:
                    # The first byte is waited for; what is there beside it comes with it.
                    first = port.read(1)
                    yield first + port.read(min(port.in_waiting, _CHUNK_BYTES)) if first else b""
        # SerialException is an OSError; ValueError: a speed that the device has not.
        except (OSError, ValueError, termios.error) as error:
            raise StreamError(f"{printable(self._path)}: {printable(one_line(error))}") from error


def _reports(lines: list[bytes], received_s: float | None, epochs: Epochs) -> Iterator[Report]:
    """What the sentences in these lines complete, and one refusal for each that is damaged."""
    # Here, because most devices have no such receiver.
    from pynmeagps import NMEAReader
    from pynmeagps.exceptions import NMEAMessageError, NMEAParseError, NMEATypeError

    # Behind a dollar, because a sentence may come behind other bytes, or behind one that was cut off. #: what gpsd's logs say
    # of themselves.
    for part in (part for line in lines if not line.startswith(b"#") for part in line.split(b"$")[1:]):
        match = _SENTENCE.fullmatch(part) if len(part) <= SENTENCE_BYTES else None
        if match is None:
            continue
        body, checksum = match.groups()
        if checksum is None or reduce(xor, body) != int(checksum, 16):
            yield Report(received_s, refused="checksum")
            continue
        address = body.partition(b",")[0]
        # A proprietary one, of a maker, may end in the same letters.
        if address[-3:] not in _KINDS or len(address) != 5 or address[:1] == b"P":
            continue
        try:
            sentence = NMEAReader.parse(match[0], validate=0)
        except (NMEAMessageError, NMEAParseError, NMEATypeError):
            sentence = None
        if sentence is None:
            yield Report(received_s, refused="garbage")
        elif (report := epochs.add(sentence, received_s)) is not None:
            yield report


def _is_device(path: str) -> bool:
    """A device that is not there yet is still one."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return path.startswith("/dev/")
