"""What can go wrong with an export."""

from __future__ import annotations


class ExportError(Exception):
    """The export cannot be written; the message is one line that says why."""
