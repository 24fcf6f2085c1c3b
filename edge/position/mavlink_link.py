"""Where the bytes of an autopilot come from: UDP, TCP, or a serial line. They are only read: nothing is ever sent.

Each link is a file descriptor that is waited for; a connection is made while it is waited for, too, so that whoever reads
can stop at any time.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import termios
import time
from dataclasses import dataclass
from typing import Any, Protocol

from edge.position.report import StreamError
from edge.text import one_line, printable

CONNECT_S = 5.0
SILENT_S = 10.0
"""A TCP connection that brings nothing for so long is given up: an autopilot says every second that it is there, and a peer
that lost its power does not say that it is gone."""

_READ_BYTES = 65_536


class Link(Protocol):
    """Something that bytes come from."""

    def read(self, timeout_s: float) -> tuple[Any, bytes] | None:
        """Who sent something, and what; None: nothing came in time.

        Raises:
            StreamError: It is lost.
        """

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class UdpAddress:
    """A port of this machine that autopilots send to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"udp:{self.host}:{self.port}"

    def open(self) -> Link:
        """Listen.

        Raises:
            StreamError: It cannot be listened at.
        """
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise StreamError(f"{self}: {one_line(error)}") from error
        try:
            listener.bind(address)
        except OSError as error:
            listener.close()
            raise StreamError(f"{self}: {one_line(error)}") from error
        return _UdpLink(str(self), listener)


class _UdpLink:
    def __init__(self, name: str, listener: socket.socket) -> None:
        self._name = name
        self._socket = listener

    def read(self, timeout_s: float) -> tuple[Any, bytes] | None:
        if not _waited(self._socket.fileno(), select.POLLIN, timeout_s):
            return None
        try:
            data, sender = self._socket.recvfrom(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:  # a datagram with a wrong checksum is dropped when it is read
            return None
        except OSError as error:
            raise StreamError(f"{self._name}: {one_line(error)}") from error
        return sender, data

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A server that passes on what autopilots send."""

    host: str
    port: int
    connect_s: float = CONNECT_S
    silent_s: float = SILENT_S

    def __str__(self) -> str:
        return f"tcp:{self.host}:{self.port}"

    def open(self) -> Link:
        """Begin to connect; the rest is done when it is read from.

        Raises:
            StreamError: The host is unknown.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise StreamError(f"{self}: {one_line(error)}") from error
        return _TcpLink(self, found)


class _TcpLink:
    def __init__(self, address: TcpAddress, found: list[Any]) -> None:
        self._address = address
        self._untried = found
        self._connecting: socket.socket | None = None
        self._connected: socket.socket | None = None
        self._since_s = 0.0

    def read(self, timeout_s: float) -> tuple[Any, bytes] | None:
        try:
            if self._connected is not None:
                return self._receive(self._connected, timeout_s)
            self._connect(timeout_s)
        except OSError as error:
            raise StreamError(f"{self._address}: {one_line(error)}") from error
        return None

    def _receive(self, connected: socket.socket, timeout_s: float) -> tuple[Any, bytes] | None:
        if not _waited(connected.fileno(), select.POLLIN, timeout_s):
            if time.monotonic() - self._since_s > self._address.silent_s:
                raise StreamError(f"{self._address}: silent for {self._address.silent_s:g} s")
            return None
        data = connected.recv(_READ_BYTES)
        if not data:
            raise StreamError(f"{self._address}: the server has closed the connection")
        self._since_s = time.monotonic()
        return None, data

    def _connect(self, timeout_s: float) -> None:
        """Go on connecting; a host with several addresses is tried at one after the other."""
        failure = 0
        if self._connecting is None:
            family, kind, protocol, _, address = self._untried.pop(0)
            self._connecting = socket.socket(family, kind, protocol)
            self._connecting.setblocking(False)
            self._since_s = time.monotonic()
            failure = self._connecting.connect_ex(address)
            failure = 0 if failure == errno.EINPROGRESS else failure
        if not failure:
            if not _waited(self._connecting.fileno(), select.POLLOUT, timeout_s):
                if time.monotonic() - self._since_s <= self._address.connect_s:
                    return
                failure = errno.ETIMEDOUT
            else:
                failure = self._connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not failure:
            self._connected, self._connecting = self._connecting, None
            self._since_s = time.monotonic()
            return
        self._connecting.close()
        self._connecting = None
        if not self._untried:
            raise StreamError(f"{self._address}: {os.strerror(failure)}")

    def close(self) -> None:
        for opened in (self._connecting, self._connected):
            if opened is not None:
                opened.close()


@dataclass(frozen=True, slots=True)
class SerialAddress:
    """A serial line, with its speed."""

    device: str
    baud: int

    def __str__(self) -> str:
        return f"{self.device}:{self.baud}"

    def open(self) -> Link:
        """Open the line, for nobody else meanwhile.

        Raises:
            StreamError: It is not there, is used by another program, or is no serial line.
        """
        import serial

        try:
            port = serial.Serial(self.device, self.baud, exclusive=True)
        # pyserial passes on what the terminal says when the device is unplugged meanwhile, which is no OSError.
        except (OSError, ValueError, termios.error) as error:
            raise StreamError(f"{printable(self.device)}: {_serial_reason(error)}") from error
        return _SerialLink(printable(self.device), port)


class _SerialLink:
    def __init__(self, name: str, port: Any) -> None:
        self._name = name
        self._port = port

    def read(self, timeout_s: float) -> tuple[Any, bytes] | None:
        try:
            if not _waited(self._port.fileno(), select.POLLIN, timeout_s):
                return None
            data = os.read(self._port.fileno(), _READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise StreamError(f"{self._name}: {one_line(error)}") from error
        if not data:
            raise StreamError(f"{self._name}: unplugged")
        return None, data

    def close(self) -> None:
        self._port.close()


def _serial_reason(error: Exception) -> str:
    """pyserial's text names the device and the call; the system's own reason is enough."""
    number = error.args[0] if isinstance(error, termios.error) else getattr(error, "errno", None)
    if number == errno.EAGAIN:
        return "another program uses it"
    return os.strerror(number) if number else one_line(error)


def _waited(descriptor: int, event: int, timeout_s: float) -> bool:
    """Wait for something to happen, a failure included."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))
