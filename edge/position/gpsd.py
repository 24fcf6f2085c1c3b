"""Position from gpsd, by its JSON protocol over TCP (https://gpsd.gitlab.io/gpsd/gpsd_json.html).

A client of our own, because it is one request and one kind of answer, and gpsd's own library comes with gpsd and not from PyPI.

Accuracy: gpsd says of its error figures "certainty unknown". Where it computes them from the satellites' geometry, they are
for 95 % (`gpsd_error_model` in its libgpsd_core.c: 15 m times HDOP), 2.45 standard deviations; where a receiver says its own,
gpsd passes it on, and that is mostly one. It does not say which of both, so the figure is taken as it stands: never better
than it is.
"""

from __future__ import annotations

import errno
import math
import os
import re
import select
import socket
import time
from collections.abc import Generator, Iterator

import msgspec

from edge.position.report import LOOK_S, Position, Report, StreamError
from edge.position.utc import plausible_utc, seconds_of
from edge.text import one_line, printable

PORT = 2947
"""The port of gpsd (IANA)."""

LINE_BYTES = 65_536
"""gpsd's longest answers, of many satellites, are a sixth of this; a longer line is of another service."""

CONNECT_S = 5.0
"""A host that does not answer for so long is not there."""

KEEP_S = 5.0
"""A receiver that gave no fix for so long makes way for another one at the same gpsd."""

_WATCH = b'?WATCH={"enable":true,"json":true};\n'
_SIMULATED = 8


class _Line(msgspec.Struct):
    kind: str = msgspec.field(name="class")


class _Error(msgspec.Struct):
    message: str = "an error without a message"


class _Device(msgspec.Struct):
    path: str | None = None
    activated: str | float | None = None


class _Tpv(msgspec.Struct):
    """Time, position, velocity; `alt` is what gpsd before 3.20 called `altMSL`."""

    mode: int = 0
    status: int = 0
    device: str | None = None
    time: str | None = None
    latitude: float | None = msgspec.field(name="lat", default=None)
    longitude: float | None = msgspec.field(name="lon", default=None)
    altitude_m: float | None = msgspec.field(name="altMSL", default=None)
    old_altitude_m: float | None = msgspec.field(name="alt", default=None)
    error_m: float | None = msgspec.field(name="eph", default=None)
    east_error_m: float | None = msgspec.field(name="epx", default=None)
    north_error_m: float | None = msgspec.field(name="epy", default=None)
    speed_m_s: float | None = msgspec.field(name="speed", default=None)
    track_deg: float | None = msgspec.field(name="track", default=None)


class GpsdStream:
    """The fixes of a gpsd. If several receivers hang on it, those of one of them, as long as it has any."""

    name = "gpsd"
    is_recording = False

    def __init__(self, host: str = "127.0.0.1", port: int = PORT, *, greeting_s: float = 10.0) -> None:
        """
        Args:
            greeting_s: gpsd says its version at once; a service that has said nothing for so long hangs.
        """
        self._host = host
        self._port = port
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._greeting_s = greeting_s
        self._device: str | None = None
        self._device_fixed_s = -math.inf

    @classmethod
    def parse(cls, argument: str) -> GpsdStream:
        """Build from the config's text behind ``gpsd:``; empty: the gpsd of this machine.

        Raises:
            ValueError: It is not a host and a port.
        """
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:\[\]/]+))?(?::([0-9]{1,5}))?", argument, re.ASCII)
        port = int(match[3] or PORT) if match else 0
        host = (match[1] or match[2] or "127.0.0.1") if match else ""
        try:
            host.encode("idna")
        except UnicodeError:
            host = ""
        if not host or not 1 <= port <= 65_535:
            raise ValueError("expected gpsd:<host>:<port>, an IPv6 address in brackets")
        return cls(host, port)

    def reports(self) -> Generator[Report | None, None, None]:
        """Connect and watch; see `Stream.reports`.

        Raises:
            StreamError: There is no gpsd, or it went away.
        """
        self._device, self._device_fixed_s = None, -math.inf
        try:
            with (yield from self._connect()) as connection:
                connection.sendall(_WATCH)
                for lines in self._lines(connection):
                    is_silent = True
                    for line in lines:
                        report = self._report(line, time.monotonic())
                        if report is not None:
                            is_silent = False
                            yield report
                    if is_silent:
                        yield None
        except OSError as error:
            raise StreamError(f"{self._address}: {one_line(error)}") from error

    def _connect(self) -> Generator[None, None, socket.socket]:
        """Connect to the first of the host's addresses that answers, with a None every `LOOK_S`."""
        failure: OSError = TimeoutError(errno.ETIMEDOUT, "no answer")
        for family, kind, protocol, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.setblocking(False)
                state, deadline_s = connection.connect_ex(address), time.monotonic() + CONNECT_S
                while state == errno.EINPROGRESS and time.monotonic() < deadline_s:
                    if select.select([], [connection], [], LOOK_S)[1]:
                        state = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    else:
                        yield None
                if state == 0:
                    connection.settimeout(LOOK_S)
                    _notice_loss(connection)
                    return connection
                failure = OSError(state, "no answer" if state == errno.EINPROGRESS else os.strerror(state))
            except BaseException:
                connection.close()
                raise
            connection.close()
        raise failure

    def _lines(self, connection: socket.socket) -> Iterator[list[bytes]]:
        """The whole lines that came at once; none after `LOOK_S` of silence, or when it was but the part of one."""
        pending = b""
        greeting_until_s: float | None = time.monotonic() + self._greeting_s
        while True:
            try:
                received = connection.recv(LINE_BYTES)
            except TimeoutError:
                if greeting_until_s is not None and time.monotonic() >= greeting_until_s:
                    raise StreamError(f"{self._address}: accepts, but says nothing") from None
                yield []
                continue
            if not received:
                raise StreamError(f"{self._address}: closed the connection")
            greeting_until_s = None
            *lines, pending = (pending + received).split(b"\n")
            yield [line for line in lines if line.strip()]
            if len(pending) > LINE_BYTES:
                raise StreamError(f"{self._address}: sent a line of more than {LINE_BYTES} bytes")

    def _report(self, line: bytes, received_s: float) -> Report | None:
        """What a line says; None if it says nothing of a position."""
        try:
            kind = msgspec.json.decode(line, type=_Line).kind
            if kind == "TPV":
                return self._fix(msgspec.json.decode(line, type=_Tpv), received_s)
            if kind == "DEVICE":
                device = msgspec.json.decode(line, type=_Device)
                if device.path == self._device and device.activated == 0:
                    self._device_fixed_s = -math.inf
            elif kind == "ERROR":
                message = msgspec.json.decode(line, type=_Error).message
                raise StreamError(f"{self._address}: gpsd refuses: {printable(message)[:200]}")
        # RecursionError: nested as no report is. ValueError: no JSON, of another shape, or a time that is none.
        except (ValueError, RecursionError):
            return Report(received_s, refused="garbage")
        return None

    def _fix(self, tpv: _Tpv, received_s: float) -> Report | None:
        """A report of the receiver that is kept to; None for those of another one.

        Raises:
            ValueError: The time is none.
        """
        if tpv.device != self._device and received_s - self._device_fixed_s < KEEP_S:
            return None
        if tpv.mode < 2 or tpv.latitude is None or tpv.longitude is None:
            return Report(received_s, refused="no fix")
        if tpv.status == _SIMULATED:
            return Report(received_s, refused="simulated")
        own_s = None if tpv.time is None else seconds_of(tpv.time)
        self._device, self._device_fixed_s = tpv.device, received_s
        return Report(received_s, own_s, plausible_utc(own_s, is_recording=False), _position(tpv, tpv.latitude, tpv.longitude))


def _position(tpv: _Tpv, latitude: float, longitude: float) -> Position:
    north_m_s = east_m_s = None
    if tpv.speed_m_s is not None and tpv.track_deg is not None:
        track_rad = math.radians(tpv.track_deg)
        north_m_s, east_m_s = tpv.speed_m_s * math.cos(track_rad), tpv.speed_m_s * math.sin(track_rad)
    accuracy_m = tpv.error_m
    if accuracy_m is None and tpv.east_error_m is not None and tpv.north_error_m is not None:
        accuracy_m = math.hypot(tpv.east_error_m, tpv.north_error_m)
    if accuracy_m is not None and not 0 <= accuracy_m < math.inf:
        accuracy_m = None
    altitude_m = tpv.old_altitude_m if tpv.altitude_m is None else tpv.altitude_m
    is_2d = tpv.mode == 2
    return Position(
        latitude,
        longitude,
        altitude_m=None if is_2d else altitude_m,
        accuracy_m=accuracy_m,
        north_m_s=north_m_s,
        east_m_s=east_m_s,
        is_2d=is_2d,
    )


def _notice_loss(connection: socket.socket) -> None:
    """Have the system notice within half a minute that the other machine is gone, which no silence tells."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
