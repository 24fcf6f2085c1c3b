"""An autopilot at the other end of a real UDP socket, TCP connection and serial line, and all that can end it."""

from __future__ import annotations

import os
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from edge.position import mavlink_vehicle
from edge.position.mavlink import MavlinkStream
from edge.position.mavlink_link import SerialAddress, TcpAddress, UdpAddress
from edge.position.report import LOOK_S, Report, StreamError

from ...conftest import free_port
from .autopilot import Autopilot, SerialLine, attitude, encoded_flight, gps, heartbeat, position, recorded_packets

BURST = 50
"""What a socket that is not read at once certainly holds, in packets."""


@pytest.fixture(params=["recorded", "encoded"])
def packets(request: pytest.FixtureRequest) -> list[bytes]:
    """A flight: that of the real log where it is, and one that is made here."""
    if request.param == "encoded":
        return encoded_flight()
    folder: Path = request.getfixturevalue("data")
    return recorded_packets(folder / "flight" / "flight.tlog")[:5000]


def expected(packets: Sequence[bytes], tmp_path: Path) -> list[Report]:
    """What the same packets say in a log."""
    log = tmp_path / "expected.tlog"
    log.write_bytes(b"".join(bytes(8) + packet for packet in packets))
    return [report for report in MavlinkStream.parse(str(log)).reports() if report and report.own_s is not None]


def heard(stream: MavlinkStream, count: int, send: Callable[[], None], timeout_s: float = 20.0) -> list[Report]:
    """So many reports of use of what is sent when the stream is open; without the time at which they came."""
    reports: list[Report] = []
    deadline = time.monotonic() + timeout_s
    with closing(stream.reports()) as coming:
        assert next(coming) is None
        thread = threading.Thread(target=send)
        thread.start()
        while len(reports) < count:
            report = next(coming)
            assert time.monotonic() < deadline, f"{len(reports)} of {count}"
            if report is not None and report.own_s is not None:
                assert report.received_s is not None
                assert 0 <= time.monotonic() - report.received_s < timeout_s
                reports.append(report)
        thread.join(10)
    return without_utc(reports)


def without_utc(reports: Sequence[Report]) -> list[Report]:
    """2018 is long ago in a log, and no time at all in a live stream."""
    return [Report(None, report.own_s, None, report.position, report.attitude) for report in reports]


def answer(server: socket.socket, data: bytes) -> None:
    """Accept whoever connects, send, and close."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(data)


def wait_until_read(port: int, timeout_s: float = 20.0) -> None:
    """Until nothing waits in the queue of a UDP port, which is small, and what does not fit in is lost."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        sockets = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
        waiting = [queues for _, local, _, _, queues, *_ in sockets if local.endswith(f":{port:04X}")]
        if not any(int(queues.partition(":")[2], 16) for queues in waiting):
            return
        time.sleep(0.001)


def test_what_is_sent_by_udp_is_what_is_in_a_log_of_it(packets: list[bytes], tmp_path: Path) -> None:
    port, wanted = free_port(), expected(packets, tmp_path)

    def send() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for number, packet in enumerate(packets):
                sender.sendto(packet, ("127.0.0.1", port))
                if number % BURST == 0:
                    wait_until_read(port)

    assert heard(MavlinkStream.parse(f"udp:127.0.0.1:{port}"), len(wanted), send) == without_utc(wanted)


def test_what_is_sent_by_tcp_is_what_is_in_a_log_of_it(packets: list[bytes], tmp_path: Path) -> None:
    wanted = expected(packets, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        assert heard(MavlinkStream.parse(address), len(wanted), lambda: answer(server, b"".join(packets))) == without_utc(
            wanted
        )


def test_what_is_sent_by_a_serial_line_is_what_is_in_a_log_of_it(packets: list[bytes], tmp_path: Path) -> None:
    wanted, line = expected(packets, tmp_path), SerialLine()
    reports = heard(MavlinkStream.parse(f"{line.device}:115200"), len(wanted), lambda: line.send(b"".join(packets)))
    line.unplug()

    assert reports == without_utc(wanted)


def test_a_message_that_a_bridge_cuts_into_two_datagrams_is_heard_beside_another_sender() -> None:
    port = free_port()
    stream = MavlinkStream.parse(f"udp:127.0.0.1:{port}")
    first, second = Autopilot().packet(attitude(1000)), Autopilot(system=2).packet(attitude(2000))
    with (
        closing(stream.reports()) as reports,
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        assert next(reports) is None
        for sender, part in ((one, first[:20]), (other, second[:9]), (one, first[20:]), (other, second[9:])):
            sender.sendto(part, ("127.0.0.1", port))
        heard = [(report.own_s, report.refused) for report in (next(reports), next(reports)) if report]

    assert heard == [(1.0, None), (None, "other vehicle")]


@pytest.fixture(params=["udp", "tcp", "serial"])
def silent(request: pytest.FixtureRequest) -> Iterator[tuple[MavlinkStream, Callable[[bytes], object]]]:
    """A stream whose other end says nothing by itself, and a way to make it speak."""
    if request.param == "udp":
        port = free_port()
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            yield MavlinkStream.parse(f"udp:127.0.0.1:{port}"), lambda data: sender.sendto(data, ("127.0.0.1", port))
    elif request.param == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as server:
            connections: list[socket.socket] = []

            def send(data: bytes) -> None:
                if not connections:
                    connections.append(server.accept()[0])
                connections[0].sendall(data)

            yield MavlinkStream.parse(f"tcp:127.0.0.1:{server.getsockname()[1]}"), send
            for connection in connections:
                connection.close()
    else:
        line = SerialLine()
        yield MavlinkStream.parse(line.device), line.send
        line.unplug()


def test_silence_is_told_so_that_whoever_reads_can_stop(silent: tuple[MavlinkStream, Callable[[bytes], object]]) -> None:
    stream, _ = silent
    with closing(stream.reports()) as reports:
        started_s = time.monotonic()

        assert [next(reports), next(reports)] == [None, None]
        assert time.monotonic() - started_s >= 1.8 * LOOK_S


def test_messages_that_say_nothing_are_silence_too(silent: tuple[MavlinkStream, Callable[[bytes], object]]) -> None:
    stream, send = silent
    with closing(stream.reports()) as reports:
        next(reports)
        is_over = threading.Event()

        def speak() -> None:
            while not is_over.wait(0.05):
                send(Autopilot().packet(heartbeat()))

        thread = threading.Thread(target=speak)
        thread.start()
        assert next(reports) is None
        is_over.set()
        thread.join(10)


def failure(stream: MavlinkStream, timeout_s: float = 20.0) -> str:
    deadline = time.monotonic() + timeout_s
    with pytest.raises(StreamError) as caught:
        for _ in stream.reports():
            assert time.monotonic() < deadline
    return str(caught.value)


def test_a_server_that_dies_is_lost_after_what_it_has_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server, Autopilot().packet(attitude(1000))))
        thread.start()
        reports = MavlinkStream.parse(f"tcp:127.0.0.1:{server.getsockname()[1]}").reports()
        first = next(reports)
        with pytest.raises(StreamError, match="the server has closed the connection"):
            next(reports)
        thread.join(10)

    assert first is not None
    assert first.own_s == 1.0


def test_a_server_that_is_not_there_is_lost_at_once() -> None:
    port = free_port()

    assert failure(MavlinkStream.parse(f"tcp:127.0.0.1:{port}")) == f"tcp:127.0.0.1:{port}: Connection refused"


def test_a_server_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reason = failure(MavlinkStream(TcpAddress("127.0.0.1", port, silent_s=0.6)))

    assert reason == f"tcp:127.0.0.1:{port}: silent for 0.6 s"


def test_a_server_that_never_answers_is_given_up() -> None:
    """With its queue of connections full, the kernel answers no further one."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        reason = failure(MavlinkStream(TcpAddress("127.0.0.1", port, connect_s=0.6)))
        for one in waiting:
            one.close()

    assert reason == f"tcp:127.0.0.1:{port}: Connection timed out"


def test_a_host_that_nobody_knows_is_named() -> None:
    assert failure(MavlinkStream.parse("tcp:nobody.invalid:5760")).startswith("tcp:nobody.invalid:5760: ")


def test_a_port_that_another_program_listens_at_is_named() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        assert failure(MavlinkStream.parse(f"udp:127.0.0.1:{port}")) == f"udp:127.0.0.1:{port}: Address already in use"


def test_a_device_that_is_unplugged_is_lost() -> None:
    line = SerialLine()
    reports = MavlinkStream.parse(line.device).reports()
    assert next(reports) is None
    line.send(Autopilot().packet(position(1000)))
    assert next(reports) is not None
    line.unplug()

    with pytest.raises(StreamError, match=f"{line.device}: "):
        for _ in range(10):
            next(reports)


def test_a_device_that_is_unplugged_while_it_is_opened_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    line, flush = SerialLine(), termios.tcflush

    def unplugged_meanwhile(*arguments: int) -> None:
        line.unplug()
        flush(*arguments)

    monkeypatch.setattr(termios, "tcflush", unplugged_meanwhile)

    assert failure(MavlinkStream.parse(line.device)) == f"{line.device}: Input/output error"


def test_a_device_that_is_not_there_is_named() -> None:
    assert failure(MavlinkStream.parse("/dev/tty-none")) == "/dev/tty-none: No such file or directory"


def test_a_device_that_is_no_serial_line_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")

    assert failure(MavlinkStream.parse(str(file))).startswith(f"{file}: ")
    assert failure(MavlinkStream.parse("/dev/null")).startswith("/dev/null: ")


def test_a_device_is_used_by_one_program_at_a_time() -> None:
    line = SerialLine()
    with closing(MavlinkStream.parse(line.device).reports()) as reports:
        next(reports)

        assert failure(MavlinkStream.parse(line.device)) == f"{line.device}: another program uses it"
    line.unplug()


def test_a_hundred_tries_leave_nothing_open() -> None:
    refused = [f"tcp:127.0.0.1:{free_port()}", "udp:192.0.2.1:14550", "/dev/tty-none", "/dev/null"]
    line = SerialLine()
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        addresses = [UdpAddress("127.0.0.1", free_port()), SerialAddress(line.device, 57_600)]
        sources = [*addresses, TcpAddress("127.0.0.1", server.getsockname()[1])]
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            for source in sources:
                with closing(source.open()) as link:
                    assert [link.read(0.001), link.read(0.001)] == [None, None]
            for argument in refused:
                failure(MavlinkStream.parse(argument))

        assert len(os.listdir("/proc/self/fd")) == before
    line.unplug()


def test_a_stream_that_is_closed_lets_go_of_its_line() -> None:
    line = SerialLine()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with closing(MavlinkStream.parse(line.device).reports()) as reports:
            assert next(reports) is None
            assert len(os.listdir("/proc/self/fd")) > before

    assert len(os.listdir("/proc/self/fd")) == before
    line.unplug()


def test_the_vehicle_stays_the_one_when_the_link_was_lost() -> None:
    port = free_port()
    stream = MavlinkStream.parse(f"udp:127.0.0.1:{port}")
    said = []
    for system in (1, 2):
        with closing(stream.reports()) as reports, socket.socket(type=socket.SOCK_DGRAM) as sender:
            assert next(reports) is None
            sender.sendto(Autopilot(system).packet(attitude(1000)), ("127.0.0.1", port))
            said.append(next(reports))

    assert [report.refused for report in said if report] == [None, "other vehicle"]


class Aircraft:
    """One that sends to a port from a socket of its own, with the system id that all have before somebody sets another."""

    def __init__(self, port: int, latitude: float, boot_ms: int) -> None:
        self._port, self._latitude, self._boot_ms = port, latitude, boot_ms
        self._autopilot = Autopilot()
        self._socket = socket.socket(type=socket.SOCK_DGRAM)

    def say_where(self) -> None:
        self._boot_ms += 100
        for message in (heartbeat(), gps(), position(self._boot_ms, self._latitude)):
            self._socket.sendto(self._autopilot.packet(message), ("127.0.0.1", self._port))

    def close(self) -> None:
        self._socket.close()


def latitude_of(report: Report | None) -> object:
    """Or the reason why there is none."""
    assert report is not None
    return report.refused if report.position is None else report.position.latitude


@pytest.mark.parametrize("boot_ms", [1000, 60_000, 900_000], ids=["booted later", "at once", "earlier"])
def test_of_two_aircraft_with_one_id_the_one_that_was_heard_first_is_followed(boot_ms: int) -> None:
    port = free_port()
    one, other = Aircraft(port, 50.0, 60_000), Aircraft(port, 50.1, boot_ms)
    with closing(MavlinkStream.parse(f"udp:127.0.0.1:{port}").reports()) as reports, closing(one), closing(other):
        assert next(reports) is None
        said = []
        for _ in range(20):
            one.say_where()
            said.append(latitude_of(next(reports)))
            other.say_where()
            said += [latitude_of(next(reports)), latitude_of(next(reports))]

    assert said == [50.0, "other vehicle", "other vehicle"] * 20  # its receiver's words are refused as well


def test_an_aircraft_that_was_silent_may_go_on_from_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mavlink_vehicle, "_LEFT_S", 1.5)
    port = free_port()
    one, other = Aircraft(port, 50.0, 60_000), Aircraft(port, 50.1, 61_000)
    with closing(MavlinkStream.parse(f"udp:127.0.0.1:{port}").reports()) as reports, closing(one), closing(other):
        assert next(reports) is None
        one.say_where()
        said = [latitude_of(next(reports))]
        time.sleep(0.5)
        other.say_where()
        said += [latitude_of(next(reports)), latitude_of(next(reports))]
        time.sleep(1.5)
        other.say_where()
        said.append(latitude_of(next(reports)))

    assert said == [50.0, "other vehicle", "other vehicle", 50.1]


def test_of_two_aircraft_with_one_id_on_one_line_the_one_that_was_heard_first_is_followed() -> None:
    line, autopilot, said = SerialLine(), Autopilot(), []
    with closing(MavlinkStream.parse(line.device).reports()) as reports:
        assert next(reports) is None
        line.send(autopilot.packet(gps()))
        for number in range(20):
            for boot_ms, latitude in ((60_000, 50.0), (5_000, 50.1), (900_000, 50.2)):
                line.send(autopilot.packet(position(boot_ms + 100 * number, latitude)))
                said.append(latitude_of(next(reports)))
    line.unplug()

    assert said == [50.0, "other vehicle", "other vehicle"] * 20
