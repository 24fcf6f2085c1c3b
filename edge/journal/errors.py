"""What can go wrong with a journal."""

from __future__ import annotations


class JournalError(Exception):
    """The journal cannot be opened; the message is one line that names the file and why."""


class JournalFullError(JournalError):
    """There is no room on the disk (or no right to write) just now; nothing of the transaction was kept."""
