"""Classifies files and folders at once, without journal and broker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.capture.directory import FileChangedError, key_of, load_frame
from edge.capture.headers import ImageError
from edge.capture.image import SUFFIXES
from edge.capture.listing import Listing
from edge.config import CaptureConfig
from edge.inference import Classifier, EngineError
from edge.inference.engine import BATCH
from edge.position import Locator
from edge.records import Frame, Observation, Prediction, Tile


def find_images(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """The files that paths name, and the images below the folders that they name, in name order.

    Returns:
        For each image its path and the folder that its name is below.
    """
    for path in paths:
        if not path.is_dir():
            yield os.path.abspath(path), os.path.abspath(path.parent)
            continue
        root = os.path.abspath(path)
        for file in Listing(root, skip=()).scan():
            if os.path.splitext(file)[1].lower() in SUFFIXES:
                yield file, root


def classify_images(
    images: Iterator[tuple[str, str]], classifier: Classifier, locator: Locator, limits: CaptureConfig
) -> Iterator[Observation | tuple[str, str]]:
    """Observations in the order of the images; for one that cannot be read its path and the reason.

    Raises:
        EngineError: No engine works any more.
    """
    batch: list[Frame] = []
    for path, root in images:
        try:
            batch.append(load_frame(path, key_of(path, root, os.stat(path)), classifier.tile_px, limits))
        except (ImageError, FileChangedError, OSError) as error:
            yield from _classify(batch, classifier, locator)
            batch = []
            yield path, _reason(error)
        if len(batch) == BATCH:
            yield from _classify(batch, classifier, locator)
            batch = []
    yield from _classify(batch, classifier, locator)


def _classify(frames: list[Frame], classifier: Classifier, locator: Locator) -> Iterator[Observation | tuple[str, str]]:
    images = [frame.pixels for frame in frames]
    try:
        answers: Sequence[Prediction | EngineError] = classifier.classify(images)
    except EngineError:
        answers = classifier.classify_each(images)
    for frame, answer in zip(frames, answers, strict=True):
        if isinstance(answer, EngineError):
            yield frame.key.name, f"cannot be classified: {answer}"
        else:
            yield Observation(frame, Tile(0, 0, frame.width, frame.height), answer, locator.locate(frame))


def _reason(error: Exception) -> str:
    if isinstance(error, FileChangedError):
        return "was written to while it was read"
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
