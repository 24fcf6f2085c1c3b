"""Services that say what gpsd may say, and what it should not, and what the stream makes of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edge.position.gpsd import GpsdStream
from edge.position.report import Report, StreamError

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


Place = tuple[float | None, float, float, float | None, int]
"""Time, latitude, longitude, altitude and mode of a fix."""


def tpv(**changes: object) -> bytes:
    """A line with a fix at the place of the example in DESIGN.md."""
    report: dict[str, object] = {"class": "TPV", "device": "/dev/a", "mode": 3, "time": "2026-11-21T10:00:00.250Z"}
    report |= {"lat": 29.7604, "lon": -95.3698, "altMSL": 31.2} | changes
    return json.dumps({key: value for key, value in report.items() if value is not None}).encode() + b"\r\n"


def told(*parts: bytes) -> tuple[list[Report], str]:
    """What the stream makes of what a service says before it closes the connection, and why it ended."""
    with serving(saying(GREETING, *parts)) as port:
        return heard(GpsdStream("127.0.0.1", port).reports())


def heard(reports: Iterator[Report | None]) -> tuple[list[Report], str]:
    """The reports up to the end of a stream, and why it ended."""
    taken: list[Report] = []
    try:
        taken.extend(report for report in reports if report is not None)
    except StreamError as error:
        return taken, str(error)
    raise AssertionError("the stream of gpsd ended without a reason")


def places(reports: Sequence[Report]) -> list[Place]:
    """The fixes among some reports."""
    return [
        (report.own_s, place.latitude, place.longitude, place.altitude_m, 2 if place.is_2d else 3)
        for report in reports
        if (place := report.position) is not None
    ]
