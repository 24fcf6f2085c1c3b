"""Keeps the journal within its limits, and says when it cannot."""

from __future__ import annotations

import logging

from edge.config import JournalConfig
from edge.health import Conditions
from edge.journal import Journal, JournalFullError, Limits

_log = logging.getLogger(__name__)


class Keeper:
    """Tidies the journal up now and then."""

    def __init__(self, config: JournalConfig, journal: Journal, conditions: Conditions) -> None:
        self._journal = journal
        self._conditions = conditions
        self._housekeeping = journal.housekeeping(Limits(config.max_bytes, config.max_age_days))

    def say_what_was_lost(self) -> None:
        """Say that a damaged journal was set aside, as long as this process lives."""
        if self._journal.set_aside is not None:
            self._conditions.set(
                "journal damage",
                f"the journal was damaged and is set aside as {self._journal.set_aside.name}; alerts that were not delivered"
                f" and cannot be read in it are lost, {self._journal.rescued} were rescued",
            )

    def tidy(self) -> None:
        """Forget what has to be forgotten."""
        try:
            self._conditions.set("journal size", self._housekeeping.tidy())
        except JournalFullError as error:
            # Whoever records says so, and the next time there may be room.
            _log.warning("%s", error)
