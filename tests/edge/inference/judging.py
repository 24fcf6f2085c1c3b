"""What tests of the classifier share: what it says of images, other bundles, and a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.inference import Classifier
from edge.records import Prediction

Tiles = list[tuple[np.ndarray, bool]]


def damaged(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([prediction.probabilities["damaged"] for prediction in predictions])


def alone(classifier: Classifier, images: Sequence[np.ndarray]) -> np.ndarray:
    return damaged([classifier.classify([image])[0] for image in images])


def copy_of(float_bundle: Path, folder: Path, **contents: bytes) -> Path:
    """The bundle with other content in some of its files, and a manifest that stands by it."""
    bundle = folder / "bundle"
    shutil.copytree(float_bundle, bundle)
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_bytes())
    for name, content in contents.items():
        (bundle / name).write_bytes(content)
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def run_apart(code: str, *arguments: object, **environment: str) -> str:
    """What a program of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
