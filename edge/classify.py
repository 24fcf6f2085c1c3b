"""Classifies files and folders at once, without journal and broker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.capture.files import FileChangedError, key_of, read_frame
from edge.capture.headers import ImageError
from edge.capture.image import SUFFIXES
from edge.capture.listing import Listing
from edge.capture.times import CaptureTimes
from edge.config import CaptureConfig
from edge.inference import Classifier, EngineError
from edge.inference.engine import BATCH
from edge.records import Observation, Prediction
from edge.survey import Survey, Surveyor

# As many are asked at once, so that all cores have something to do.
_AT_ONCE = 2 * BATCH


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
    images: Iterator[tuple[str, str]],
    classifier: Classifier,
    surveyor: Surveyor,
    capture: CaptureConfig,
    times: CaptureTimes,
) -> Iterator[Observation | tuple[str, str]]:
    """Observations of all tiles in the order of the images; for an image that cannot be read its path and the reason.

    Raises:
        EngineError: No engine works any more.
    """
    surveys: list[Survey] = []
    for path, root in images:
        try:
            opened = read_frame(path, key_of(path, root, os.stat(path)), capture, times)
            surveys.append(surveyor.survey(opened, classifier.input))
        except (ImageError, FileChangedError, OSError) as error:
            yield from _classify(surveys, classifier)
            surveys = []
            yield path, _reason(error)
        if sum(len(survey.tiles) for survey in surveys) >= _AT_ONCE:
            yield from _classify(surveys, classifier)
            surveys = []
    yield from _classify(surveys, classifier)


def observation_line(observation: Observation) -> str:
    """What was said of a tile, for people: of the ground that it shows, where that is known, else of where the device was."""
    prediction, frame, tile = observation.prediction, observation.frame, observation.tile
    at = observation.footprint or observation.fix
    place = "position unknown" if at is None else f"{at.latitude:10.6f} {at.longitude:11.6f}"
    is_whole = (tile.width, tile.height) == (frame.width, frame.height)
    part = "" if is_whole else f"  {tile.width}x{tile.height}+{tile.left}+{tile.top}"
    share = prediction.probabilities[prediction.label]
    return f"{prediction.label:10} {share:6.1%} {prediction.inference_ms:8.2f} ms  {place:22}  {frame.key.name}{part}"


def _classify(surveys: Sequence[Survey], classifier: Classifier) -> Iterator[Observation | tuple[str, str]]:
    tiles = [(survey, index) for survey in surveys for index in range(len(survey.tiles))]
    for start in range(0, len(tiles), _AT_ONCE):
        some = tiles[start : start + _AT_ONCE]
        images = [survey.images[index] for survey, index in some]
        try:
            answers: Sequence[Prediction | EngineError] = classifier.classify(images)
        except EngineError:
            answers = classifier.classify_each(images)
        for (survey, index), answer in zip(some, answers, strict=True):
            if isinstance(answer, EngineError):
                yield survey.frame.key.name, f"cannot be classified: {answer}"
            else:
                yield survey.observation(index, answer)


def _reason(error: Exception) -> str:
    if isinstance(error, FileChangedError):
        return "was written to while it was read"
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
