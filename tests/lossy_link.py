"""A bad radio link between two network namespaces, one of the device and one of the ground.

Every packet goes through this program, by a TUN interface in each namespace: it delays packets, loses some at random, lets
no more through than the rate, and all of them vanish in a blackout. That is what ``tc netem`` does, which many kernels lack.
The namespaces have no names and end with the program, however that ends.

    with LossyLink(loss=0.2, delay_s=0.5) as link:
        link.run_device(["overflight", "run", "--once"])
        link.blackout(30)
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT, _skip_or_fail

DEVICE = "10.99.0.1"
GROUND = "10.99.0.2"
"""The addresses of the two ends."""

_TUN = "/dev/net/tun"
_PACKET_MAX_BYTES = 65_536
# From linux/sched.h and linux/if_tun.h.
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


@dataclass(frozen=True, kw_only=True)
class Radio:
    """How bad the link is, each way.

    Attributes:
        loss: Share of the packets that are lost, 0..1.
        delay_s: How long a packet is in the air.
        rate_bytes_per_s: How much is sent, headers of IP included; None: all at once.
        queue_bytes: What may wait to be sent; what comes when it is full is dropped.
        seed: The same packets are lost with the same seed.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    rate_bytes_per_s: int | None = None
    queue_bytes: int = 65_536
    seed: int = 0


class LossyLink:
    """The link and its two namespaces while a ``with`` block lasts.

    Attributes:
        on_device: Put before a command it runs at the device's end of the link.
        on_ground: The same for the ground's end.
    """

    def __init__(self, **radio: Any) -> None:
        """
        Args:
            radio: As in `Radio`.
        """
        self._radio = Radio(**radio)
        self.on_device: list[str] = []
        self.on_ground: list[str] = []

    def __enter__(self) -> LossyLink:
        if os.geteuid() != 0 or not Path(_TUN).exists():
            _skip_or_fail(f"a network namespace with a TUN interface needs root and {_TUN}")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lossy_link", json.dumps(asdict(self._radio))],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        namespaces = self._answer()
        self.on_device, self.on_ground = (["nsenter", f"--net={namespaces[end]}"] for end in (DEVICE, GROUND))
        return self

    def __exit__(self, *error: object) -> None:
        # The end of its input is the end of the program.
        self._process.communicate(timeout=10)

    def run_device(self, command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command at the device's end of the link to its end."""
        return subprocess.run([*self.on_device, *command], capture_output=True, text=True, check=False, **options)

    def blackout(self, duration_s: float) -> None:
        """From now on nothing gets through for so long, nor does what is in the air; does not wait for the end of it."""
        self._ask(f"blackout {duration_s}")

    def counts(self) -> dict[str, Counter[str]]:
        """What became of packets, by the end that sent them: ``packets``, ``bytes``, ``lost``, ``dark``, ``overflowed``."""
        return {end: Counter(counts) for end, counts in self._ask("counts").items()}

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the link has failed; why stands in the test's stderr")
        answer: dict[str, Any] = json.loads(line)
        return answer


class _Way:
    """One way across the link: what waits to be sent and what is in the air, in the order of its arrival."""

    def __init__(self, radio: Radio, target: int, seed: int) -> None:
        """
        Args:
            target: Descriptor of the interface where packets come out.
        """
        self._radio = radio
        self._target = target
        self._chance = random.Random(seed)
        self._air: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        self.counts: Counter[str] = Counter()

    @property
    def next_at(self) -> float:
        """When the next packet arrives, on the monotonic clock."""
        return self._air[0][0] if self._air else float("inf")

    def send(self, packet: bytes, now: float, *, dark: bool) -> None:
        """Take a packet in."""
        self.counts["packets"] += 1
        self.counts["bytes"] += len(packet)
        begin_at, rate = max(now, self._free_at), self._radio.rate_bytes_per_s
        if dark:
            self.counts["dark"] += 1
        elif rate is not None and (begin_at - now) * rate > self._radio.queue_bytes:
            self.counts["overflowed"] += 1
        else:
            self._free_at = begin_at if rate is None else begin_at + len(packet) / rate
            self._air.append((self._free_at + self._radio.delay_s, packet))

    def deliver(self, now: float, *, dark: bool) -> None:
        """Let out what has arrived."""
        while self.next_at <= now:
            _, packet = self._air.popleft()
            if dark:
                self.counts["dark"] += 1
            elif self._chance.random() < self._radio.loss:
                self.counts["lost"] += 1
            else:
                os.write(self._target, packet)


def _main(radio: Radio) -> None:
    """Make the namespaces, say where they are, and be the link until the input ends."""
    ends = {address: _end(address) for address in (DEVICE, GROUND)}
    (_, device), (_, ground) = ends.values()
    ways = {device: _Way(radio, ground, 2 * radio.seed), ground: _Way(radio, device, 2 * radio.seed + 1)}
    _say({address: f"/proc/{os.getpid()}/fd/{namespace}" for address, (namespace, _) in ends.items()})
    dark_until = 0.0
    with selectors.DefaultSelector() as selector:
        for descriptor in (sys.stdin.fileno(), *ways):
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            next_at = min(way.next_at for way in ways.values())
            ready = selector.select(None if next_at == float("inf") else max(0.0, next_at - time.monotonic()))
            now = time.monotonic()
            for descriptor in (key.fd for key, _ in ready):
                if descriptor in ways:
                    for packet in _packets(descriptor):
                        ways[descriptor].send(packet, now, dark=now < dark_until)
                    continue
                command, *arguments = sys.stdin.readline().split() or ["end"]
                if command == "end":
                    return
                if command == "blackout":
                    dark_until = now + float(arguments[0])
                _say({DEVICE: ways[device].counts, GROUND: ways[ground].counts})
            for way in ways.values():
                way.deliver(now, dark=now < dark_until)


def _end(address: str) -> tuple[int, int]:
    """Move this process into a new network namespace with a TUN interface.

    Returns:
        Descriptors of the namespace and of the interface.
    """
    # os.unshare comes with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace can be made")
    interface = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(interface, _TUNSETIFF, struct.pack("16sH14x", b"radio", _IFF_TUN | _IFF_NO_PI))
    for command in ("link set dev lo up", f"address add {address}/24 dev radio", "link set dev radio up"):
        subprocess.run(["ip", *command.split()], check=True)
    return os.open("/proc/self/ns/net", os.O_RDONLY), interface


def _packets(interface: int) -> Iterator[bytes]:
    """The IPv4 packets that an interface holds ready; the kernel's own IPv6 ones are not for this link."""
    while True:
        try:
            packet = os.read(interface, _PACKET_MAX_BYTES)
        except BlockingIOError:
            return
        if packet[0] >> 4 == 4:
            yield packet


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main(Radio(**json.loads(sys.argv[1])))
