"""What is to be known of the machine that a run is on."""

from __future__ import annotations

import platform

import psutil

from edge import __version__
from edge.journal import Run


def this_run() -> Run:
    """This run of the program, on this machine."""
    return Run(
        __version__,
        psutil.cpu_count(logical=False),
        psutil.cpu_count(),
        platform.system(),
        platform.release(),
        psutil.virtual_memory().total,
        in_container=False,
    )
