"""The manifest of a bundle: what it must say, and how much of anything it may claim. Decides without touching a disk."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.bundle.limits import (
    MAX_BUNDLE_BYTES,
    MAX_CALIBRATION_DATA,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_LABELS,
    MAX_MANIFEST_BYTES,
    MAX_METRICS_LEVELS,
    MAX_PATH_LETTERS,
    MAX_PATH_PART_LETTERS,
)
from edge.text import one_line

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"

_PATH_PART = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_PATH_PART_LETTERS - 1}}}")

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Label = Annotated[str, Meta(min_length=1, max_length=64)]


class BundleError(Exception):
    """A bundle cannot be used; the message is one line that names the bundle and what is wrong with it."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class FileEntry(_Strict, frozen=True):
    """What a file of the bundle must be."""

    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class InputSpec(_Strict, frozen=True):
    """What the model's input takes: images of any size, which the model itself scales to height × width.

    Attributes:
        colour: Order of the channels of the uint8 pixels that go in.
        ground_sample_distance_m: Size on the ground of a pixel of the tiles it learned from; None: mixed or unknown.
    """

    height: Annotated[int, Meta(ge=1, le=4096)]
    width: Annotated[int, Meta(ge=1, le=4096)]
    colour: Literal["BGR"]
    ground_sample_distance_m: float | None


class Calibration(_Strict, frozen=True):
    """How far the probabilities can be taken as such; for people, never decided upon.

    Attributes:
        temperature: By which the logits were divided; it lies in the weights already.
        expected_calibration_error: After that, 0..1.
        fitted_on: Names of the data that the temperature was fitted on.
    """

    temperature: Annotated[float, Meta(gt=0)]
    expected_calibration_error: Annotated[float, Meta(ge=0, le=1)]
    fitted_on: Annotated[tuple[str, ...], Meta(max_length=MAX_CALIBRATION_DATA)]


class Manifest(_Strict, frozen=True):
    """The content of ``manifest.json``.

    Attributes:
        labels: In the order of the model's output.
        alert_labels: Those that may raise an alert.
        threshold: Least probability of an alert label for an alert.
        metrics: What was measured, by the name of the data; for people, never decided upon.
        files: By path below the bundle, with forward slashes.
        calibration: None where nothing was held out to fit it on.
    """

    schema: Literal[1]
    name: Name
    version: Annotated[int, Meta(ge=1, le=2**31)]
    labels: Annotated[tuple[Label, ...], Meta(min_length=2, max_length=MAX_LABELS)]
    alert_labels: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=MAX_LABELS)]
    input: InputSpec
    threshold: Annotated[float, Meta(ge=0, le=1)]
    metrics: dict[str, Any]
    files: Annotated[dict[str, FileEntry], Meta(min_length=1, max_length=MAX_FILES)]
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: one comes twice")
        if not set(self.alert_labels) <= set(self.labels):
            raise ValueError("alert_labels: expected some of labels")
        for path in self.files:
            self._check_path(path)
        if self.total_bytes > MAX_BUNDLE_BYTES:
            raise ValueError(f"files: {self.total_bytes} bytes together, at most {MAX_BUNDLE_BYTES} are allowed")
        if _levels(self.metrics) > MAX_METRICS_LEVELS:
            raise ValueError(f"metrics: more than {MAX_METRICS_LEVELS} objects and lists inside each other")

    @property
    def total_bytes(self) -> int:
        """Of all files together."""
        return sum(entry.bytes for entry in self.files.values())

    def _check_path(self, path: str) -> None:
        parts = path.split("/")
        if len(path) > MAX_PATH_LETTERS or not all(_PATH_PART.fullmatch(part) for part in parts):
            raise ValueError(f"files: {path[: MAX_PATH_LETTERS + 1]!a} is not a plain path below the bundle")
        if path in {MANIFEST, SIGNATURE}:
            raise ValueError(f"files: {path} cannot name itself")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in self.files:
                raise ValueError(f"files: {'/'.join(parts[:end])} is a file, and {path} lies in it")


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: It is too large, no JSON, or not what a manifest must be.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST} has {len(content)} bytes, at most {MAX_MANIFEST_BYTES} are allowed")
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{MANIFEST}: {one_line(error)}") from error


def _levels(value: Any) -> int:
    """How many objects and lists lie inside each other."""
    levels, inner = 0, [value]
    while inner := [each for each in inner if isinstance(each, dict | list)]:
        levels += 1
        inner = [each for outer in inner for each in (outer.values() if isinstance(outer, dict) else outer)]
    return levels
