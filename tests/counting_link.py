"""A link that carries everything, counts what the device sends, and can be taken down: a TCP proxy in front of a broker.

with CountingLink(broker_port) as link:
    ...  # the device connects to 127.0.0.1:{link.port}
    link.down()
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import NamedTuple

from tests.conftest import free_port

_PIECE_BYTES = 16_384


class Sent(NamedTuple):
    """What the device sent at once.

    Attributes:
        at_s: Of the monotonic clock.
        bytes: Without the headers of TCP and IP.
    """

    at_s: float
    bytes: int


class CountingLink:
    """Is up while a ``with`` block lasts, as long as it is not taken down.

    Attributes:
        port: Where the device finds the broker, on 127.0.0.1.
        sent: What the device sent, in its order.
    """

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self.sent: list[Sent] = []
        self._broker_port = broker_port
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> CountingLink:
        self.up()
        return self

    def __exit__(self, *error: object) -> None:
        self.down()

    def up(self) -> None:
        """Let connections through."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        """End all connections and refuse new ones."""
        with self._lock:
            ended = [each for each in (self._listener, *self._open) if each is not None]
            self._listener, self._open = None, []
        for each in ended:
            # Who waits in accept or recv is woken by this, and not by a close.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def most_bytes(self, seconds: float) -> int:
        """The most that the device has sent within any so long time."""
        most = within = first = 0
        for sent in self.sent:
            within += sent.bytes
            while sent.at_s - self.sent[first].at_s > seconds:
                within -= self.sent[first].bytes
                first += 1
            most = max(most, within)
        return most

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                device, _ = listener.accept()
            except OSError:
                # It is down.
                return
            broker = socket.create_connection(("127.0.0.1", self._broker_port))
            with self._lock:
                self._open += [device, broker]
            threading.Thread(target=self._carry, args=(device, broker, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(broker, device, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        # When one side has ended, so has the other.
        with suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                if counts:
                    self.sent.append(Sent(time.monotonic(), len(piece)))
                target.sendall(piece)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
