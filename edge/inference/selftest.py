"""Asks engines about the scenes of a bundle's self-test: what they answer must be what the bundle says.

So a model that was damaged before it was signed, a driver that computes nonsense, and a precision that nobody asked for are
found before they classify a frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, BundleError
from edge.bundle.limits import MAX_SCENE_PIXELS
from edge.bundle.selftest import Expected, Scene, Weights, read_selftest
from edge.inference.engine import BATCH, Engine, EngineError, WrongAnswerError

if TYPE_CHECKING:
    from edge.records import Image

Ask = Callable[[Sequence["Image"]], NDArray[np.float32]]
"""Gives the probabilities of images of one size, (images, labels)."""

_PNG = b"\x89PNG\r\n\x1a\n"


def check_engine(bundle: Bundle, engine: Engine, weights: Weights | None = None) -> None:
    """Ask an engine about all scenes of a bundle's self-test.

    Args:
        weights: What the engine computes with; None: what it says itself.

    Raises:
        WrongAnswerError: A probability is further off than the self-test allows.
        EngineError: It cannot be run.
    """
    name = f"{engine.name} on {engine.device}"
    check_answers(bundle, name, weights or engine.weights, lambda images: engine.start(images).result().probabilities)


def check_answers(bundle: Bundle, name: str, weights: Weights, ask: Ask) -> None:
    """As `check_engine`, of whatever gives probabilities.

    Args:
        name: Of what is asked, for the message.
    """
    try:
        expected = read_selftest(bundle)
        pictures = [(scene, _pixels(bundle, scene)) for scene in expected.scenes]
    except BundleError as error:
        raise EngineError(str(error)) from error
    if weights not in expected.tolerance:
        raise EngineError(f"{name} computes with {weights} weights, of which the self-test knows nothing")
    for picture in pictures:
        _compare(expected, name, weights, [picture], ask)
    # Engines may have a graph of their own for full batches.
    for shape in {image.shape for _, image in pictures}:
        alike = itertools.cycle(picture for picture in pictures if picture[1].shape == shape)
        _compare(expected, name, weights, list(itertools.islice(alike, BATCH)), ask)


def _compare(expected: Expected, name: str, weights: Weights, pictures: Sequence[tuple[Scene, Image]], ask: Ask) -> None:
    given = ask([image for _, image in pictures])
    wanted = np.array([scene.probabilities[weights] for scene, _ in pictures])
    if given.shape != wanted.shape:
        raise WrongAnswerError(f"{name} gives probabilities of shape {given.shape}, expected {wanted.shape}")
    # Written so that NaN fails, too.
    off = np.where(np.isfinite(given), np.abs(given - wanted), np.inf)
    if bool((off <= expected.tolerance[weights]).all()):
        return
    row, label = divmod(int(np.argmax(off)), off.shape[1])
    raise WrongAnswerError(
        f"{name} gives {given[row, label]:.3f} for {expected.labels[label]!a} of {pictures[row][0].file}, "
        f"expected {wanted[row, label]:.3f} within {expected.tolerance[weights]:g}"
    )


def _pixels(bundle: Bundle, scene: Scene) -> Image:
    import cv2

    content = bundle.read(scene.file)
    # Its size stands in front (PNG, RFC 2083, 4.1.1): nothing larger than allowed is decoded.
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    if not content.startswith(_PNG) or width * height > MAX_SCENE_PIXELS:
        raise BundleError(f"{scene.file} is no PNG of {MAX_SCENE_PIXELS} pixels at most")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise BundleError(f"{scene.file} cannot be decoded")
    return np.asarray(image, np.uint8)
