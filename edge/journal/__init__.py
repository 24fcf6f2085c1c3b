"""What must survive a power cut: every frame, observation and alert, and what was delivered."""

from edge.journal.errors import JournalError, JournalFullError
from edge.journal.journal import Journal
from edge.journal.limits import Limits
from edge.journal.owner import is_open
from edge.journal.reading import read_alerts, read_counts, reader
from edge.journal.records import Counts, FrameRecord, Run, Thumbnail, WaitingAlert

__all__ = [
    "Counts",
    "FrameRecord",
    "Journal",
    "JournalError",
    "JournalFullError",
    "Limits",
    "Run",
    "Thumbnail",
    "WaitingAlert",
    "is_open",
    "read_alerts",
    "read_counts",
    "reader",
]
