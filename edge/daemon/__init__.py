"""The one place that wires the rooms together and owns start and stop."""

from edge.daemon.counters import Counters, Summary
from edge.daemon.daemon import Daemon
from edge.daemon.local_report import Report, read_report, report_path

__all__ = ["Counters", "Daemon", "Report", "Summary", "read_report", "report_path"]
