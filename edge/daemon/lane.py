"""A lane: takes found files, locates, decodes and cuts them, and has the tiles classified. There is one for each core."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from edge.capture.directory import DirectorySource, FoundFile
from edge.capture.files import FileChangedError
from edge.capture.headers import ImageError, IncompleteImageError
from edge.daemon.hand import FrameInHand, Hand
from edge.daemon.pause import Pause
from edge.daemon.pictures import Pictures
from edge.daemon.service import Service, Serving
from edge.inference import EngineError
from edge.journal import FrameRecord
from edge.messages import rfc3339
from edge.records import Observation
from edge.survey import Survey, Surveyor
from edge.text import one_line
from edge.triage import Triage

_log = logging.getLogger(__name__)

Found: TypeAlias = "queue.Queue[FoundFile | None]"
Recorded: TypeAlias = "queue.Queue[list[tuple[FoundFile, FrameRecord | None]] | None]"
"""What became of files, None for one that vanished before it was read; a None by itself ends the stage."""

_LOOK_S = 0.2


class Lane:
    """While a request runs, the next file is decoded; with no more files, its result is taken at once."""

    def __init__(
        self,
        *,
        source: DirectorySource,
        service: Service,
        surveyor: Surveyor,
        pause: Pause,
        pictures: Pictures,
        found: Found,
        recorded: Recorded,
        stopping: threading.Event,
    ) -> None:
        self._source = source
        self._service = service
        self._surveyor = surveyor
        self._pause = pause
        self._pictures = pictures
        self._found = found
        self._recorded = recorded
        self._stopping = stopping
        self._hand = Hand(service)

    def run(self) -> None:
        """Work until a None is found or the daemon stops; what is in hand then is finished.

        Raises:
            EngineError: No engine works any more.
        """
        more = True
        while more or not self._hand.is_empty:
            found = None
            if more:
                found, more = self._next(wait=self._hand.is_empty)
            self._record(self._hand.settle() if found is None else self._take(found))

    def _next(self, *, wait: bool) -> tuple[FoundFile | None, bool]:
        """The next file, None while there is none, and whether more may come."""
        if self._stopping.is_set():
            # What is left now is found again at the next start.
            return None, False
        if not wait and self._pause.is_set:
            return None, True
        try:
            found = self._found.get(block=wait, timeout=_LOOK_S)
        except queue.Empty:
            return None, True
        # The pause may have begun while this waited for a file.
        if found is None or self._stopping.is_set() or (wait and not self._await_resume()):
            return None, False
        return found, True

    def _await_resume(self) -> bool:
        """Wait as long as the device is paused. False: the daemon stops."""
        while not self._pause.wait(_LOOK_S):
            if self._stopping.is_set():
                return False
        return True

    def _take(self, found: FoundFile) -> Iterable[FrameInHand]:
        """Take a file in hand, and give the frames of which all is known."""
        begun = time.monotonic()
        serving = self._service.take()
        survey = self._survey(found, serving)
        if survey is None:
            return ()
        self._pictures.see(survey.frame)
        return self._hand.add(FrameInHand(found, survey, begun, serving))

    def _survey(self, found: FoundFile, serving: Serving) -> Survey | None:
        """The frame, cut for the model; None if it cannot be had, with what became of the file seen to."""
        try:
            return self._surveyor.survey(self._source.read(found), serving.classifier.input)
        except FileChangedError:
            self._source.put_back(found)
        except FileNotFoundError:
            self._recorded.put([(found, None)])
        except ImageError as error:
            if isinstance(error, IncompleteImageError) and found.may_grow:
                self._source.put_back(found)
            else:
                self._recorded.put([(found, FrameRecord(found.key, None, "rejected", str(error)))])
        except OSError as error:
            reason = f"cannot be read: {one_line(error)}"
            self._recorded.put([(found, FrameRecord(found.key, None, "unavailable", reason))])
        return None

    def _record(self, frames: Iterable[FrameInHand]) -> None:
        """Hand on what is known of frames."""
        records: list[tuple[FoundFile, FrameRecord | None]] = [(frame.found, self._record_of(frame)) for frame in frames]
        if records:
            self._recorded.put(records)

    def _record_of(self, frame: FrameInHand) -> FrameRecord:
        survey = frame.survey
        observations: list[Observation] = []
        # The model may have changed between the tiles of a frame.
        by_triage: dict[Triage, list[Observation]] = defaultdict(list)
        reason = None
        for index, (serving, answer) in enumerate(frame.answers):
            if isinstance(answer, EngineError):
                reason = f"cannot be classified: {answer}"
                continue
            observations.append(survey.observation(index, answer))
            by_triage[serving.triage].append(observations[-1])
        if not observations:
            # At the next start there may be another engine or model.
            return FrameRecord(survey.frame.key, None, "unavailable", reason)
        if reason is not None:
            reason = f"{len(survey.tiles) - len(observations)} of {len(survey.tiles)} tiles: {reason}"
            _log.warning("%a: %s", survey.frame.key.name, reason)
        alerts = [alert for triage, seen in by_triage.items() for alert in triage.decide_all(seen)]
        pictures = self._pictures.of_alerts(survey.frame, alerts)
        told = {alert.id for alert in alerts}
        best = self._service.sightings.best_in(survey.frame)
        self._pictures.keep(survey.frame, [(alert, tile) for alert, tile in best if alert not in told])
        return FrameRecord(
            survey.frame.key,
            rfc3339(survey.frame.captured_at),
            "observed",
            reason,
            observations,
            alerts,
            pictures,
            round((time.monotonic() - frame.begun) * 1000, 2),
            survey.frame.clock,
        )
