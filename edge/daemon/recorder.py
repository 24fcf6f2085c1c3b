"""The recording stage: puts what became of frames into the journal, and tells source and uplink."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence

from edge.capture.directory import DirectorySource, FoundFile
from edge.daemon.counters import Counters
from edge.daemon.lane import Recorded
from edge.daemon.pictures import Pictures
from edge.health import Conditions
from edge.journal import FrameRecord, Journal, JournalFullError
from edge.records import Alert
from edge.triage import Sightings
from edge.uplink import Uplink

_log = logging.getLogger(__name__)

_JOURNAL_RETRY_S = 1.0
# Frames without an alert that wait for each other; they are found again if the process ends.
_HELD_MAX = 256
_HURRIED_S = 0.05


class Recorder:
    """Writes what is there in one transaction: the fewer times the disk has to sync, the longer it lives."""

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
        batch_s: float,
        sightings: Sightings,
        pictures: Pictures,
    ) -> None:
        """
        Args:
            batch_s: Frames without an alert wait so long for others: fewer writes spare a memory card.
            sightings: Has the last revisions of alerts, which come with no frame.
            pictures: Has kept those of them.
        """
        self._pictures = pictures
        self._sightings = sightings
        self._batch_s = batch_s
        self._recorded = recorded
        self._journal = journal
        self._source = source
        self._uplink = uplink
        self._conditions = conditions
        self._counters = counters
        self._stopping = stopping

    def hurry(self) -> None:
        """Let frames wait for no others: somebody waits for the end. To be called before `run`."""
        self._batch_s = min(self._batch_s, _HURRIED_S)

    def run(self) -> None:
        """Work until a None arrives, or the daemon stops while there is no room in the journal."""
        held: list[tuple[FoundFile, FrameRecord | None]] = []
        due: float | None = None
        more = True
        while more:
            more, items = self._take(due)
            held += items
            if held and due is None:
                due = time.monotonic() + self._batch_s
            if not more or self._is_due(held, due):
                if not self._finish(held):
                    return
                held, due = [], None
            if not self._keep([], self._sightings.close_due() if more else self._sightings.flush()):
                return

    def _take(self, due: float | None) -> tuple[bool, list[tuple[FoundFile, FrameRecord | None]]]:
        """What is there, or comes before it is time to write; and whether more may come."""
        items: list[tuple[FoundFile, FrameRecord | None]] = []
        try:
            item = self._recorded.get(timeout=self._pause_s(due))
            while item is not None:
                items += item
                item = self._recorded.get_nowait()
        except queue.Empty:
            return True, items
        return False, items

    def _pause_s(self, due: float | None) -> float | None:
        """Seconds until there is something to write though nothing comes; None: there is nothing."""
        pauses = [None if due is None else max(0.0, due - time.monotonic()), self._sightings.due_s()]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _is_due(self, held: list[tuple[FoundFile, FrameRecord | None]], due: float | None) -> bool:
        """Alerts are written at once, and the first frame: somebody waits for it. Others when there are many, or in time."""
        if due is None:
            return False
        if self._counters.first_result_s is None or len(held) >= _HELD_MAX or time.monotonic() >= due:
            return True
        return any(record and record.alerts for _, record in held)

    def _finish(self, held: list[tuple[FoundFile, FrameRecord | None]]) -> bool:
        """Journal what became of files, and tell their source. False: stopped before there was room."""
        if not self._keep([record for _, record in held if record is not None]):
            return False
        for found, record in held:
            if record is None:
                _log.warning("%a: vanished before it was read", found.key.name)
                self._counters.vanished += 1
                self._source.release(found)
                continue
            if record.outcome != "observed":
                _log.warning("%a: %s: %s", found.key.name, record.outcome, record.reason)
            self._counters.count(record)
            self._source.finish(found, record.outcome)
        return True

    def _keep(self, records: list[FrameRecord], revisions: Sequence[Alert] = ()) -> bool:
        """Journal records; on a full disk say so and go on when there is room. False: stopped before there was."""
        if not records and not revisions:
            return True
        pictures = self._pictures.kept(revisions)
        while True:
            try:
                added = self._journal.record(records, revisions, pictures)
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
