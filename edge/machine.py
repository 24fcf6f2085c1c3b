"""What the machine is that a run of the daemon happens on: it is written into the journal once, at the start of the run."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil

from edge import __version__
from edge.journal import Run

# Docker leaves the first, Podman the second; systemd writes the third when it runs in any container
# (https://systemd.io/CONTAINER_INTERFACE).
_MARKS = (".dockerenv", "run/.containerenv", "run/systemd/container")
# Names of control groups that container engines make; with a namespace of its own a container sees only "/".
_GROUPS = re.compile(r"/(?:docker|kubepods|lxc|libpod|machine\.slice)|containerd|crio-|buildkit")


def this_run() -> Run:
    """This program on this machine."""
    return Run(
        version=__version__,
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(),
        system=platform.system(),
        system_version=_system_version(),
        memory_bytes=psutil.virtual_memory().total,
        in_container=is_in_container(),
    )


def is_in_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container, by what container engines leave there.

    The marks are those of Docker, Podman and systemd; else the variable ``container`` of the first process, which LXC and
    systemd-nspawn set and only root may read; else the names of its control groups.

    Args:
        root: Of the file system that is looked at.
    """
    if any((root / mark).exists() for mark in _MARKS):
        return True
    variables = _content(root / "proc/1/environ").split(b"\0")
    if any(variable.startswith(b"container=") for variable in variables):
        return True
    return _GROUPS.search(_content(root / "proc/1/cgroup").decode("utf-8", "replace")) is not None


def _system_version() -> str:
    """The system's own name for itself, and the kernel: "Debian GNU/Linux 12 (bookworm), 6.1.0-18-amd64"."""
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.release()
    return f"{name}, {platform.release()}"


def _content(path: Path) -> bytes:
    """What is in a file; nothing where it is not there or may not be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
