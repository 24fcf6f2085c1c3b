"""The self-test of a bundle: scenes that lie in it, and the probabilities that every engine must give for them.

This room knows what is expected; `edge.inference.selftest` asks the engines.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.bundle.bundle import EXPECTED, Bundle
from edge.bundle.limits import MAX_EXPECTED_BYTES, MAX_LABELS, MAX_SCENE_BYTES, MAX_SCENES, MAX_TOLERANCE
from edge.bundle.manifest import BundleError
from edge.text import one_line

Weights = Literal["float", "int8"]
"""Kinds of weights: engines that compute with the same kind give the same probabilities, within the tolerance."""

Probability = Annotated[float, Meta(ge=0, le=1)]
Probabilities = Annotated[tuple[Probability, ...], Meta(max_length=MAX_LABELS)]


class SelfTestError(BundleError):
    """A bundle does not do what its self-test says: it must not serve; the message is the reason in one line."""


class Scene(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A picture of the self-test.

    Attributes:
        file: Path below the bundle, a PNG.
        probabilities: In the order of the labels, by the kind of weights: ``float``, and ``int8`` where the bundle has them.
    """

    file: str
    probabilities: dict[Weights, Probabilities]


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``selftest/expected.json``.

    Attributes:
        tolerance: Largest difference of a probability from the expected one, by the kind of weights.
    """

    schema: Literal[1]
    labels: tuple[str, ...]
    scenes: Annotated[tuple[Scene, ...], Meta(min_length=1, max_length=MAX_SCENES)]
    tolerance: Annotated[dict[Weights, Annotated[float, Meta(gt=0, le=MAX_TOLERANCE)]], Meta(min_length=1)]

    def __post_init__(self) -> None:
        for scene in self.scenes:
            if scene.probabilities.keys() != self.tolerance.keys():
                raise ValueError(f"{scene.file!a}: expected probabilities for {', '.join(self.tolerance)}")
            if any(len(row) != len(self.labels) for row in scene.probabilities.values()):
                raise ValueError(f"{scene.file!a}: expected {len(self.labels)} probabilities, one for each label")


def read_selftest(bundle: Bundle) -> Expected:
    """Read the self-test of a bundle.

    Raises:
        BundleError: It has none, or one that cannot be run.
    """
    if not bundle.has_selftest:
        raise BundleError(f"bundle {bundle.path}: has no {EXPECTED}, so it cannot be tested")
    try:
        return _parse(bundle)
    except ValueError as error:
        raise BundleError(f"bundle {bundle.path}: {EXPECTED}: {one_line(error)}") from error


def _parse(bundle: Bundle) -> Expected:
    """
    Raises:
        ValueError: It is not what a self-test must be; msgspec's errors are such ones.
        BundleError: It is not the file that the manifest names.
    """
    files = bundle.manifest.files
    if files[EXPECTED].bytes > MAX_EXPECTED_BYTES:
        raise ValueError(f"has {files[EXPECTED].bytes} bytes, at most {MAX_EXPECTED_BYTES} are allowed")
    try:
        expected = msgspec.json.decode(bundle.read(EXPECTED), type=Expected)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if expected.labels != bundle.manifest.labels:
        raise ValueError("labels: expected those of the manifest, in their order")
    for scene in expected.scenes:
        if scene.file not in files:
            raise ValueError(f"the manifest names no {scene.file!a}")
        if files[scene.file].bytes > MAX_SCENE_BYTES:
            raise ValueError(f"{scene.file} has {files[scene.file].bytes} bytes, at most {MAX_SCENE_BYTES} are allowed")
    return expected
