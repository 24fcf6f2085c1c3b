"""The recording stage: puts what became of frames into the journal, and tells source and uplink."""

from __future__ import annotations

import logging
import queue
import threading

from edge.capture.directory import DirectorySource, FoundFile
from edge.daemon.counters import Counters
from edge.daemon.lane import Recorded
from edge.health import Conditions
from edge.journal import FrameRecord, Journal, JournalFullError
from edge.uplink import Uplink

_log = logging.getLogger(__name__)

_JOURNAL_RETRY_S = 1.0


class Recorder:
    """Writes what is there in one transaction: the busier it is, the fewer times the disk has to sync."""

    def __init__(
        self,
        *,
        recorded: Recorded,
        journal: Journal,
        source: DirectorySource,
        uplink: Uplink,
        conditions: Conditions,
        counters: Counters,
        stopping: threading.Event,
    ) -> None:
        self._recorded = recorded
        self._journal = journal
        self._source = source
        self._uplink = uplink
        self._conditions = conditions
        self._counters = counters
        self._stopping = stopping

    def run(self) -> None:
        """Work until a None arrives, or the daemon stops while there is no room in the journal."""
        more = True
        while more:
            item = self._recorded.get()
            items: list[tuple[FoundFile, FrameRecord | None]] = []
            while item is not None:
                items += item
                try:
                    item = self._recorded.get_nowait()
                except queue.Empty:
                    break
            more = item is not None
            if not self._keep([record for _, record in items if record is not None]):
                return
            for found, record in items:
                if record is None:
                    _log.warning("%a: vanished before it was read", found.key.name)
                    self._counters.vanished += 1
                    self._source.release(found)
                    continue
                if record.outcome != "observed":
                    _log.warning("%a: %s: %s", found.key.name, record.outcome, record.reason)
                self._counters.count(record)
                self._source.finish(found, record.outcome)

    def _keep(self, records: list[FrameRecord]) -> bool:
        """Journal records; on a full disk say so and go on when there is room. False: stopped before there was."""
        if not records:
            return True
        while True:
            try:
                added = self._journal.record(records)
            except JournalFullError as error:
                self._conditions.set("journal", str(error))
                if self._stopping.wait(_JOURNAL_RETRY_S):
                    _log.error("journal: %d frames are left for the next start", len(records))
                    return False
                continue
            self._conditions.set("journal", None)
            if added:
                self._counters.alerts += added
                self._uplink.wake()
            return True
