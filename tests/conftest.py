"""What many tests need: the real data, a real broker, the real command, and pictures that are made here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from tests.gpsd import Gpsd

PROJECT = Path(__file__).parents[1]


def _skip_or_fail(reason: str) -> None:
    """A machine without a part may skip its tests; CI may not."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data."""
    folder = Path(os.environ.get("OVERFLIGHT_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        _skip_or_fail(f"no data at {folder}; OVERFLIGHT_DATA may name another place")
    return folder


@pytest.fixture(scope="session")
def float_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle without its INT8 network: what is left agrees across engines to the last digits."""
    from edge.bundle import SHIPPED

    folder = tmp_path_factory.mktemp("float") / "bundle"
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("*int8*"))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if "int8" not in name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def make_jpeg() -> Callable[..., bytes]:
    """Makes JPEG files of noise; the same seed makes the same picture."""

    def make(seed: int = 0, width: int = 128, height: int = 128) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return cv2.imencode(".jpg", pixels)[1].tobytes()

    return make


@pytest.fixture(scope="session")
def town_tiles() -> list[tuple[np.ndarray, bool]]:
    """Rendered tiles (256×256 BGR) with their truth, of a town that no model was trained on."""
    from edge.demo.town import BLOCK_PX, render_town

    town = render_town(77, 3, 4)
    return [
        (
            np.ascontiguousarray(
                town.image[row * BLOCK_PX : (row + 1) * BLOCK_PX, column * BLOCK_PX : (column + 1) * BLOCK_PX]
            ),
            bool(town.damaged[row, column]),
        )
        for row in range(3)
        for column in range(4)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A real mosquitto on a port of the loopback interface, without persistence."""

    def __init__(
        self, folder: Path, port: int, extra: str = "", *, address: str = "127.0.0.1", prefix: Sequence[str] = ()
    ) -> None:
        """
        Args:
            extra: Its configuration; empty: one that lets anybody in.
            prefix: What its command is run by, such as the end of a link.
        """
        self.port = port
        self.url = f"mqtt://{address}:{port}"
        self._prefix = prefix
        self._config = folder / f"mosquitto-{port}.conf"
        # By default it would drop what it holds for a slow subscriber beyond 1000 messages.
        listener = f"listener {port} {address}\nallow_anonymous true\nmax_queued_messages 0\n"
        self._config.write_text(extra or listener)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / f"mosquitto-{port}.log"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*self._prefix, "mosquitto", "-c", self._config], stdout=log, stderr=log)
        # The kernel's list of the process's own network says so without a connection, in a namespace, too.
        sockets, listening = Path(f"/proc/{self._process.pid}/net/tcp"), f":{self.port:04X} 00000000:0000 0A"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            if listening in sockets.read_text():
                return
            time.sleep(0.02)
        raise RuntimeError(f"mosquitto does not listen: {self._log.read_text()}")

    def kill(self) -> None:
        """As a power cut does it: what it holds for subscribers is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="session")
def mosquitto_program() -> None:
    """Tests that ask for this need Debian's mosquitto."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    if shutil.which("mosquitto") is None:
        _skip_or_fail("mosquitto is not installed (apt-get install mosquitto)")


@pytest.fixture
def mosquitto(mosquitto_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A running broker that lets anybody in."""
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"), free_port())
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def gpsd_program() -> None:
    """Tests that ask for this need Debian's gpsd and gpsd-clients."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    if shutil.which("gpsd") is None or shutil.which("gpsfake") is None:
        _skip_or_fail("gpsd is not installed (apt-get install gpsd gpsd-clients)")


@pytest.fixture
def gpsd(gpsd_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Gpsd]]:
    """Starts a gpsd that plays some logs, with the arguments of `Gpsd`; any number of them at once."""
    started: list[Gpsd] = []
    folder = tmp_path_factory.mktemp("gpsd")

    def start(*logs: Path, **options: Any) -> Gpsd:
        started.append(Gpsd(folder, free_port(), *logs, **options))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()


class Overflight:
    """The real command, with a configuration in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What the command is run by, such as the end of a link.
        self.prefix: Sequence[str] = ()
        self.inbox = folder / "inbox"
        self.journal = folder / "state" / "journal.db"
        self.config: dict[str, Any] = {
            "capture": {"source": str(self.inbox), "settle_s": 0.1, "incomplete_s": 0.5},
            "journal": {"path": str(self.journal)},
        }
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("OVERFLIGHT_")}

    @property
    def config_file(self) -> Path:
        file = self.folder / "overflight.yaml"
        file.write_text(yaml.safe_dump(self.config))
        return file

    def command(self, *arguments: object) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "edge", *(str(argument) for argument in arguments)]

    def run(self, name: str, *arguments: object, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command with the configuration to its end."""
        command = self.command(*name.split(), "-c", self.config_file, *arguments)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=self.environment, check=False, **options
        )

    @contextmanager
    def running(self, name: str, *arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run a command with the configuration while the block lasts."""
        process = subprocess.Popen(
            self.command(name, "-c", self.config_file, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            **options,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate(timeout=10)


@pytest.fixture
def overflight(tmp_path: Path) -> Overflight:
    """The command with an inbox that exists and a journal of its own."""
    command = Overflight(tmp_path)
    command.inbox.mkdir()
    return command


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until something is true.

    Raises:
        AssertionError: It did not become true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
