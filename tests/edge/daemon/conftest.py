"""A device with a store, and models for it that are small enough to be made here."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import Store, Trust
from edge.config import Config, build, describe
from edge.daemon.models import Models
from edge.health import Conditions
from edge.inference import EngineError
from edge.records import Prediction
from tests.edge.bundle.bundles import KEY, PRIVATE, TRUST, write_bundle
from tests.edge.inference.networks import SIDE, Kind, network

TRIAL_S = 0.1
RETRY_S = 0.1
_LEVELS = (51, 204)


def picture(level: int, side: int = SIDE) -> np.ndarray:
    """An image of even grey; its level is what the models here go by."""
    return np.full((side, side, 3), level, np.uint8)


BLACK, DARK, BRIGHT = picture(0), picture(40), picture(250)


def digest_of(folder: Path) -> str:
    """Of a bundle that is installed."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


class Device:
    """A device that trusts one key. Models are installed without their self-test, so that bad ones come in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.keys = folder / "keys"
        self.store = Store(folder / "models", lock_s=5)
        self.conditions = Conditions(lambda: None)
        self.model: dict[str, Any] = {
            "store": str(self.store.root),
            "trusted_keys": str(self.keys),
            "devices": ["CPU"],
            "trial_s": TRIAL_S,
            "retry_s": RETRY_S,
        }
        self.capture: dict[str, Any] = {"source": str(self.inbox), "settle_s": 0.05}
        # Of the models that are made.
        self.ground_sample_distance_m: float | None = None
        self.triage: dict[str, Any] = {}
        self.position: dict[str, Any] = {}
        self._opened: list[Models] = []
        for made in (self.inbox, self.keys):
            made.mkdir(parents=True)
        (self.keys / "field-team.pub").write_text(KEY.text)

    @property
    def config(self) -> Config:
        content = {
            "capture": self.capture,
            "journal": {"path": str(self.folder / "state" / "journal.db")},
            "model": self.model,
            "triage": self.triage,
            "position": self.position,
            # Nobody listens there.
            "uplink": {"url": "mqtt://127.0.0.1:9"},
        }
        return build(content, "test", {})

    @property
    def config_file(self) -> Path:
        """The configuration, for another process."""
        file = self.folder / "overflight.yaml"
        file.write_text(describe(self.config))
        return file

    def make(self, version: int, kind: Kind = "sound", *, right: bool = True, key: Ed25519PrivateKey | None = PRIVATE) -> Path:
        """Make a bundle.

        Args:
            right: What its self-test expects is what it gives.
        """
        folder = self.folder / "made" / f"town-{version}"
        folder.mkdir(parents=True)
        damaged = {
            level: 0.5 if kind in {"blind", "endless"} else level / 255 if right else 1 - level / 255 for level in _LEVELS
        }
        scenes = {f"selftest/scene-{level}.png": cv2.imencode(".png", picture(level))[1].tobytes() for level in _LEVELS}
        expected = {
            "schema": 1,
            "labels": ["damaged", "undamaged"],
            "scenes": [
                {"file": name, "probabilities": {"float": [damaged[level], 1 - damaged[level]]}}
                for level, name in zip(_LEVELS, scenes, strict=True)
            ],
            "tolerance": {"float": 0.01},
        }
        files = network(folder, kind) | scenes | {"selftest/expected.json": json.dumps(expected).encode()}
        ground_m = self.ground_sample_distance_m
        size = {"height": SIDE, "width": SIDE, "colour": "BGR", "ground_sample_distance_m": ground_m}
        return write_bundle(folder / "bundle", files, key, version=version, input=size)

    def install(self, version: int, kind: Kind = "sound", *, proven: bool = False, **how: Any) -> Path:
        """Make a bundle and have it be the active one; returns its folder in the store.

        Args:
            proven: It has passed its trial before.
        """
        trust = Trust(TRUST.keys, allow_unsigned=True)
        folder = self.store.install(self.make(version, kind, **how), trust, lambda bundle: None).path
        if proven:
            self.store.trials.succeed(digest_of(folder))
        return folder

    def start(self) -> Models:
        """The models of a daemon that is started now."""
        models = Models(self.config, self.folder, "throughput", self.conditions)
        self._opened.append(models)
        return models

    @property
    def reason(self) -> str:
        """Why the status says `degraded`: the one reason that it has."""
        (reason,) = self.conditions.reasons()
        return reason

    def close(self) -> None:
        for models in self._opened:
            models.close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    device.close()


def look(models: Models, *images: np.ndarray) -> list[Prediction | EngineError]:
    """Have images classified as a lane does; what no engine has an answer about says why."""
    serving = models.service.take()
    (request,) = serving.classifier.start(images)
    try:
        answers: Sequence[Prediction | EngineError] = request.predictions()
    except EngineError as error:
        serving, answers = models.service.rescue(serving, images, error)
    seen = [(image, answer) for image, answer in zip(images, answers, strict=True) if isinstance(answer, Prediction)]
    if seen:
        models.service.saw(serving, [image for image, _ in seen], [answer for _, answer in seen])
    return list(answers)


def fly(models: Models, *images: np.ndarray) -> list[Prediction]:
    """As `look`, of images that there is an answer about."""
    predictions = [answer for answer in look(models, *images) if isinstance(answer, Prediction)]
    assert len(predictions) == len(images)
    return predictions


def versions(predictions: list[Prediction]) -> set[int]:
    return {prediction.model.version for prediction in predictions}


def serves(models: Models) -> tuple[str, int]:
    model = models.service.current.bundle.model
    return model.name, model.version


@contextmanager
def watching(models: Models) -> Iterator[None]:
    """Have models watch the store on a thread of their own while the block lasts."""
    stopping = threading.Event()
    thread = threading.Thread(target=models.watch, args=(stopping,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
