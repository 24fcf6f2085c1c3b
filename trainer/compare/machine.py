"""What was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, for who reads the figures.

    Attributes:
        cores: That this process may run on.
        memory_bytes: That is built in.
        load: Mean number of programs that wanted to run in the last minute: how quiet it was.
    """

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    load: float

    @classmethod
    def this(cls) -> Machine:
        """The one that this process runs on, as it is now."""
        return cls(
            _processor(),
            len(os.sched_getaffinity(0)),
            psutil.virtual_memory().total,
            _system(),
            platform.python_version(),
            os.getloadavg()[0],
        )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.machine())


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}, {platform.machine()}"
