"""What the figures were measured on, and a broker to measure with."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path


def describe_machine() -> str:
    """Processor, cores, system and versions, in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("openvino", "opencv-python-headless", "paho-mqtt"))
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, {packages}"


@contextmanager
def mosquitto(folder: Path) -> Iterator[str]:
    """A broker on a free port of the loopback interface; gives its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    environment = {**os.environ, "PATH": os.environ["PATH"] + os.pathsep + "/usr/sbin"}
    with subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
                time.sleep(0.02)
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.terminate()
