"""What a lane has in hand: tiles of several frames go to the model together, and each frame is given back when all are known.

Requests are full wherever tiles wait, whichever frames they are of. Only as many run at a time as keep the engine busy: a
frame of hundreds of tiles would have the last of them wait for its answer longer than a request may.

A frame is never asked about again once it was observed, so tiles that got no answer where others did are asked about once
more when the next request has worked: the machine may have been too busy, or short of memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.capture.directory import FoundFile
from edge.daemon.service import Service, Serving
from edge.inference import EngineError
from edge.inference.classifier import Started
from edge.inference.engine import BATCH
from edge.records import Prediction
from edge.survey import Survey

if TYPE_CHECKING:
    from edge.records import Image


@dataclass(slots=True)
class FrameInHand:
    """A frame whose tiles are asked about.

    Attributes:
        begun: When its reading was, by the monotonic clock, s.
        serving: The model that it was cut for.
        answers: For each tile the model that was asked, and what it said or why it said nothing.
    """

    found: FoundFile
    survey: Survey
    begun: float
    serving: Serving
    answers: list[tuple[Serving, Prediction | EngineError]] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether there is an answer about every tile."""
        return len(self.answers) == len(self.survey.tiles)

    @property
    def unanswered(self) -> dict[int, EngineError]:
        """The tiles that no engine had an answer about, and why."""
        return {index: answer for index, (_, answer) in enumerate(self.answers) if isinstance(answer, EngineError)}


class Hand:
    """The tiles that a lane has in hand."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: deque[tuple[FrameInHand, int]] = deque()
        self._running: deque[_Running] = deque()
        # Complete but for tiles that are to be asked about once more.
        self._doubtful: list[FrameInHand] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waited for."""
        return not self._waiting and not self._running and not self._doubtful

    def add(self, frame: FrameInHand) -> Iterator[FrameInHand]:
        """Take a frame, and give those of which all is known.

        Raises:
            EngineError: No engine works any more.
        """
        if self._waiting and self._waiting[0][0].serving is not frame.serving:
            # The model of a request is one and the same, whatever is activated meanwhile.
            yield from self._start(len(self._waiting))
        self._waiting.extend((frame, index) for index in range(len(frame.survey.tiles)))
        while len(self._waiting) >= BATCH:
            yield from self._start(BATCH)

    def settle(self) -> Iterator[FrameInHand]:
        """Ask about what waits, as no more comes just now; if nothing does, take the next answer.

        Raises:
            EngineError: No engine works any more.
        """
        if self._waiting:
            yield from self._start(len(self._waiting))
        elif self._running:
            yield from self._collect()
        else:
            yield from self._ask_again()

    def _start(self, count: int) -> Iterator[FrameInHand]:
        """Ask about the tiles that have waited longest, and take earlier answers."""
        asked = [self._waiting.popleft() for _ in range(count)]
        images = [frame.survey.images[index] for frame, index in asked]
        earlier, serving = len(self._running), asked[0][0].serving
        for request in serving.classifier.start(images):
            part, asked = asked[: request.count], asked[request.count :]
            self._running.append(_Running(request, serving, part))
        # These run while the next tiles are decoded.
        for _ in range(earlier):
            yield from self._collect()

    def _collect(self) -> Iterator[FrameInHand]:
        """Wait for the answers of the oldest request, and give the frames that were complete with them."""
        running = self._running.popleft()
        images = [frame.survey.images[index] for frame, index in running.asked]
        serving, answers = self._answers(running, images)
        complete = []
        # Tiles are asked about in their order, and so are the answers.
        for (frame, _), answer in zip(running.asked, answers, strict=True):
            frame.answers.append((serving, answer))
            if frame.is_complete:
                complete.append(frame)
        if self._saw(serving, images, answers):
            yield from self._ask_again()
        for frame in complete:
            # One that has no answer at all is left for the next start.
            if 0 < len(frame.unanswered) < len(frame.answers):
                self._doubtful.append(frame)
            else:
                yield frame

    def _ask_again(self) -> Iterator[FrameInHand]:
        """Give the doubtful frames, with what could be learned about them."""
        doubtful, self._doubtful = self._doubtful, []
        for frame in doubtful:
            unanswered = frame.unanswered
            first, failure = next(iter(unanswered.items()))
            images = [frame.survey.images[index] for index in unanswered]
            serving, answers = self._service.rescue(frame.answers[first][0], images, failure)
            for index, answer in zip(unanswered, answers, strict=True):
                frame.answers[index] = serving, answer
            self._saw(serving, images, answers)
            yield frame

    def _saw(self, serving: Serving, images: Sequence[Image], answers: Sequence[Prediction | EngineError]) -> bool:
        """Say what a model said; False: it said nothing."""
        said = [(image, answer) for image, answer in zip(images, answers, strict=True) if isinstance(answer, Prediction)]
        if said:
            self._service.saw(serving, [image for image, _ in said], [prediction for _, prediction in said])
        return bool(said)

    def _answers(self, running: _Running, images: Sequence[Image]) -> tuple[Serving, Sequence[Prediction | EngineError]]:
        """Of the model that it was begun with or, should that fail on every engine, of the one to go back to.

        Returns:
            The model, and for each tile its prediction, or why no engine has one.

        Raises:
            EngineError: No engine works any more.
        """
        try:
            return running.serving, running.request.predictions()
        except EngineError as error:
            return self._service.rescue(running.serving, images, error)


@dataclass(frozen=True, slots=True)
class _Running:
    """A request with the model that it asks and the tiles that it is about."""

    request: Started
    serving: Serving
    asked: list[tuple[FrameInHand, int]]
