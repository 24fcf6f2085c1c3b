"""A lane: takes found files, decodes and locates them, and has them classified. There is one for each core."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edge.capture.directory import DirectorySource, FileChangedError, FoundFile
from edge.capture.headers import ImageError, IncompleteImageError
from edge.daemon.pause import Pause
from edge.daemon.pictures import Pictures
from edge.daemon.service import Service, Serving
from edge.inference import EngineError
from edge.inference.classifier import Started
from edge.inference.engine import BATCH
from edge.journal import FrameRecord
from edge.messages import rfc3339
from edge.position import Locator
from edge.records import Frame, Observation, Prediction, Tile
from edge.text import one_line

if TYPE_CHECKING:
    pass

Found: TypeAlias = "queue.Queue[FoundFile | None]"
Recorded: TypeAlias = "queue.Queue[list[tuple[FoundFile, FrameRecord | None]] | None]"
"""What became of the files of a request, None for one that vanished before it was read; a None by itself ends the stage."""

_LOOK_S = 0.2
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


class Lane:
    """While a request runs, the next files are decoded; with no more files, its result is taken at once."""

    def __init__(
        self,
        *,
        source: DirectorySource,
        service: Service,
        locator: Locator,
        pause: Pause,
        pictures: Pictures,
        found: Found,
        recorded: Recorded,
        stopping: threading.Event,
    ) -> None:
        self._source = source
        self._service = service
        self._locator = locator
        self._pause = pause
        self._pictures = pictures
        self._found = found
        self._recorded = recorded
        self._stopping = stopping

    def run(self) -> None:
        """Work until a None is found or the daemon stops; what is in hand then is finished.

        Raises:
            EngineError: No engine works any more.
        """
        running: list[_Running] = []
        more = True
        while more or running:
            batch: list[FoundFile] = []
            if more:
                batch, more = self._take(wait=not running)
            started = self._start(batch)
            for request in running:
                self._collect(request)
            running = started

    def _take(self, *, wait: bool) -> tuple[list[FoundFile], bool]:
        """Up to `BATCH` files, and whether more may come."""
        batch: list[FoundFile] = []
        if not wait and self._pause.is_set:
            return [], True
        while len(batch) < BATCH:
            try:
                found = self._found.get(block=wait and not batch, timeout=_LOOK_S)
            except queue.Empty:
                if batch or not wait:
                    break
                if self._stopping.is_set():
                    return [], False
                continue
            # The pause may have begun while this waited for a file.
            if found is None or self._stopping.is_set() or (wait and not self._await_resume()):
                return batch, False
            batch.append(found)
        return batch, True

    def _await_resume(self) -> bool:
        """Wait as long as the device is paused. False: the daemon stops."""
        while not self._pause.wait(_LOOK_S):
            if self._stopping.is_set():
                return False
        return True

    def _start(self, batch: Iterable[FoundFile]) -> list[_Running]:
        # The model of a batch is one and the same, whatever is activated meanwhile.
        serving = self._service.take()
        loaded = []
        for found in batch:
            # What is left now is found again at the next start.
            if self._stopping.is_set():
                break
            begun = time.monotonic()
            frame = self._load(found, serving)
            if frame is not None:
                self._pictures.see(frame)
                loaded.append((found, frame, begun))
        running, at = [], 0
        for request in serving.classifier.start([frame.pixels for _, frame, _ in loaded]):
            running.append(_Running(request, serving, loaded[at : at + request.count]))
            at += request.count
        return running

    def _load(self, found: FoundFile, serving: Serving) -> Frame | None:
        """The decoded frame; None if it cannot be had, with what became of the file seen to."""
        try:
            return self._source.load(found, serving.classifier.tile_px)
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

    def _collect(self, running: _Running) -> None:
        serving, answers = self._answers(running)
        records: list[tuple[FoundFile, FrameRecord | None]] = []
        classified: list[tuple[Frame, Prediction]] = []
        now = time.monotonic()
        for (found, frame, begun), answer in zip(running.frames, answers, strict=True):
            if isinstance(answer, EngineError):
                # At the next start there may be another engine or model.
                records.append((found, FrameRecord(frame.key, None, "unavailable", f"cannot be classified: {answer}")))
            else:
                classified.append((frame, answer))
                records.append((found, self._record(serving, frame, answer, (now - begun) * 1000)))
        if classified:
            self._service.saw(serving, [frame.pixels for frame, _ in classified], [prediction for _, prediction in classified])
        self._recorded.put(records)

    def _record(self, serving: Serving, frame: Frame, prediction: Prediction, total_ms: float) -> FrameRecord:
        tile = Tile(0, 0, frame.width, frame.height)
        # Records wait for each other before they are written: without their pixels.
        seen = replace(frame, pixels=_NO_PIXELS, exif={})
        observation = Observation(seen, tile, prediction, self._locator.locate(frame))
        alerts = serving.triage.decide_all((observation,))
        return FrameRecord(
            frame.key,
            rfc3339(frame.captured_at),
            "observed",
            None,
            (observation,),
            alerts,
            self._pictures.of_alerts(frame, alerts),
            round(total_ms, 2),
        )

    def _answers(self, running: _Running) -> tuple[Serving, Sequence[Prediction | EngineError]]:
        """Of the model that it was begun with or, should that fail on every engine, of the one to go back to.

        Returns:
            The model, and for each frame its prediction, or why no engine has one.

        Raises:
            EngineError: No engine works any more.
        """
        try:
            return running.serving, running.request.predictions()
        except EngineError as error:
            return self._service.rescue(running.serving, [frame.pixels for _, frame, _ in running.frames], error)


@dataclass(frozen=True, slots=True)
class _Running:
    """A request with the model that it asks and the frames that it is about, and when each was begun."""

    request: Started
    serving: Serving
    frames: list[tuple[FoundFile, Frame, float]]
