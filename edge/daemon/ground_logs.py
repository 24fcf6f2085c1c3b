"""What is logged, for the ground."""

from __future__ import annotations

import logging
from typing import Literal

from edge.logs import GroundLogHandler
from edge.messages import LogMessage, log_message, rfc3339

# What they log of sending would be sent.
_SENDERS = ("edge.uplink", "paho")


class GroundLogs:
    """Keeps warnings and errors until the uplink has room for them.

    Attributes:
        is_wanted: Whether anything is to be sent.
    """

    def __init__(self, level: Literal["none", "warning", "error"], device: str) -> None:
        """
        Args:
            level: What is below it stays on the device.
        """
        self._device = device
        self.is_wanted = level != "none"
        self._handler = None if level == "none" else GroundLogHandler(level, leave_out=_SENDERS)
        if self._handler is not None:
            logging.getLogger().addHandler(self._handler)

    def take(self) -> LogMessage | None:
        """The oldest that was not taken; None: there is none."""
        record = None if self._handler is None else self._handler.take()
        if record is None:
            return None
        return log_message(self._device, rfc3339(record.at), record.level, record.room, record.text)

    def close(self) -> None:
        """Keep nothing any more."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
