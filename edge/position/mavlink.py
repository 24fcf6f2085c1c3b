"""Position, attitude and camera from an autopilot that speaks MAVLink: by UDP, TCP, a serial line, or from its log.

Nothing is ever sent: no heartbeat, no request. The autopilot must be set to send GLOBAL_POSITION_INT, ATTITUDE, GPS_RAW_INT
and SYSTEM_TIME on this link by itself (ArduPilot: SRx_POSITION, SRx_EXTRA1, SRx_EXT_STAT and SRx_EXTRA3; five a second and
more for the first two, one for the others), or a ground station on the same link must ask for them. Without GPS_RAW_INT no
position is believed: it alone says whether there is a fix. Signatures are not verified: a link that others can write to must
be protected otherwise.

pymavlink is only the parser. Its connections would print, call sys.exit, write into the environment and send heartbeats.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any

from edge.position.mavlink_link import SerialAddress, TcpAddress, UdpAddress
from edge.position.mavlink_packets import Packet, Packets
from edge.position.mavlink_vehicle import MESSAGES, Vehicle
from edge.position.recorded_file import open_recording
from edge.position.report import LOOK_S, Report, StreamError
from edge.position.utc import plausible_utc
from edge.text import one_line, printable

_EXPECTED = "expected mavlink:udp:<host>:<port>, tcp:<host>:<port>, <device>[:<baud>] or <file>.tlog"
_BAUD = 57_600
_STAMP_BYTES = 8
_CHUNK_BYTES = 65_536
_MAX_SENDERS = 16


class MavlinkStream:
    """What one autopilot says; the others on its link are refused."""

    name = "mavlink"

    def __init__(self, source: UdpAddress | TcpAddress | SerialAddress | str) -> None:
        """
        Args:
            source: What to listen to, or the path of a .tlog file.
        """
        self._source = source
        self.is_recording = isinstance(source, str)
        self._vehicle = Vehicle()

    @classmethod
    def parse(cls, argument: str) -> MavlinkStream:
        """Build from the config's text behind ``mavlink:``.

        Raises:
            ValueError: It is wrongly written, or pymavlink is not installed.
        """
        source = _source(argument)
        if importlib.util.find_spec("pymavlink") is None:
            raise ValueError("needs pymavlink: pip install 'overflight[mavlink]'")
        return cls(source)

    def reports(self) -> Generator[Report | None, None, None]:
        """What it says; see `edge.position.report.Stream`."""
        if isinstance(self._source, str):
            return _recorded(self._source)
        return self._live(self._source)

    def _live(self, source: UdpAddress | TcpAddress | SerialAddress) -> Generator[Report | None, None, None]:
        senders: dict[Any, Packets] = {}
        with closing(source.open()) as link:
            told_s = time.monotonic()
            while True:
                read = link.read(told_s + LOOK_S - time.monotonic())
                if read is not None:
                    received_s = time.monotonic()
                    sender, data = read
                    for packet in _packets_of(senders, sender).feed(data):
                        report = _report(packet, self._vehicle, received_s, sender)
                        if report is not None:
                            yield report
                            told_s = time.monotonic()
                if time.monotonic() - told_s >= LOOK_S:
                    yield None
                    told_s = time.monotonic()


def _packets_of(senders: dict[Any, Packets], sender: Any) -> Packets:
    """What has come of a sender's messages so far: a bridge may cut them anywhere. Only the latest senders are remembered."""
    packets = senders.pop(sender, None) or Packets(MESSAGES)
    senders[sender] = packets
    if len(senders) > _MAX_SENDERS:
        del senders[next(iter(senders))]
    return packets


def _recorded(path: str) -> Generator[Report | None, None, None]:
    """The reports of a log as ground stations write it: before each message the microseconds since 1970 in 8 bytes."""
    packets, vehicle = Packets(MESSAGES, _STAMP_BYTES), Vehicle(is_recording=True)
    name = printable(path)
    read_bytes = messages = 0
    try:
        with open_recording(path) as log:
            while True:
                chunk = log.read(_CHUNK_BYTES)
                read_bytes += len(chunk)
                for packet in packets.feed(chunk, is_end=not chunk):
                    messages += packet.refused is None
                    stamp_s = int.from_bytes(packet.stamp, "big") / 1e6
                    report = _report(packet, vehicle, plausible_utc(stamp_s, is_recording=True))
                    if report is not None:
                        yield report
                if messages == 0 and (not chunk or read_bytes > _CHUNK_BYTES):
                    raise StreamError(f"{name}: no MAVLink log")
                if not chunk:
                    return
    except OSError as error:
        raise StreamError(f"{name}: {one_line(error)}") from error


def _report(packet: Packet, vehicle: Vehicle, received_s: float | None, sender: Any = None) -> Report | None:
    if packet.refused is not None:
        return Report(received_s, refused=packet.refused)
    return None if packet.message is None else vehicle.report(packet.message, received_s, sender)


def _source(argument: str) -> UdpAddress | TcpAddress | SerialAddress | str:
    """
    Raises:
        ValueError: It is wrongly written.
    """
    if "\0" in argument:
        raise ValueError(_EXPECTED)
    kind, _, address = argument.partition(":")
    if kind in {"udp", "tcp"}:
        host, port = _host_and_port(address)
        return UdpAddress(host, port) if kind == "udp" else TcpAddress(host, port)
    if argument.lower().endswith(".tlog"):
        return argument
    if not argument.startswith("/"):
        raise ValueError(_EXPECTED)
    # Names of devices may hold colons, too: /dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0.
    match = re.fullmatch(r"(.+):([0-9]+)", argument)
    device, baud = (match[1], int(match[2][:9])) if match else (argument, _BAUD)
    if not 300 <= baud <= 12_000_000:
        raise ValueError(f"expected 300 to 12000000 baud behind the device, got {baud}")
    return SerialAddress(device, baud)


def _host_and_port(address: str) -> tuple[str, int]:
    """
    Raises:
        ValueError: It is not ``<host>:<port>``.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        is_host = re.fullmatch(r"[^\s/@]+", host) is not None and host.isprintable() and bool(host.encode("idna"))
    except UnicodeError:
        is_host = False
    if not is_host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= 65_535:
        raise ValueError(_EXPECTED)
    return host, int(port)
