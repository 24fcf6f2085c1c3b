"""The daemon: the one place that wires the rooms together and owns start and stop."""

from edge.daemon.counters import Counters, Summary
from edge.daemon.daemon import Daemon, status_path

__all__ = ["Counters", "Daemon", "Summary", "status_path"]
