"""Services that behave as gpsd should not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GREETING = b'{"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}\r\n'


@contextmanager
def serving(serve: Callable[[socket.socket], object], host: str = "127.0.0.1") -> Iterator[int]:
    """A service on the port that is given; it does this with each connection, and then closes it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    serve(connection)
                except OSError:
                    # Who listened has had enough.
                    continue

    with socket.create_server((host, 0), family=family) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def saying(*parts: bytes) -> Callable[[socket.socket], None]:
    """Says this, in so many parts, once it was asked to."""

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(100)
        for part in parts:
            connection.sendall(part)

    return serve
