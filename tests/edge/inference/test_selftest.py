"""Engines are asked before they serve: a right answer passes, a wrong one, none or nonsense is said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle import ANYONE, Bundle
from edge.bundle.selftest import Weights
from edge.inference.engine import EngineError, Request, Result
from edge.inference.openvino import OpenVinoEngine
from edge.inference.selftest import check_engine
from edge.inference.tensorflow import LiteRtEngine
from tests.edge.bundle.bundles import TRUST, write_bundle


@dataclass
class Answered:
    """A request whose answer is known."""

    probabilities: np.ndarray

    def result(self) -> Result:
        return Result(self.probabilities, 0.1)


class Parrot:
    """An engine that answers as it was told; the grey of a scene is the probability of damage."""

    name, device = "parrot", "CPU"
    weights: Weights = "float"

    def __init__(self, distort: Callable[[np.ndarray], np.ndarray] = lambda given: given) -> None:
        self.counts: list[int] = []
        self._distort = distort

    def start(self, images: Sequence[np.ndarray]) -> Request:
        self.counts.append(len(images))
        damaged = np.array([image.mean() / 255 for image in images], np.float32)
        return Answered(self._distort(np.stack([damaged, 1 - damaged], axis=1)))

    def close(self) -> None:
        pass


def bundle_of(folder: Path, scenes: dict[str, bytes], **changes: object) -> Bundle:
    """A bundle whose scenes are PNG files of even grey; expected is what a parrot says of them."""
    expected = {
        "schema": 1,
        "labels": ["damaged", "undamaged"],
        "scenes": [
            {"file": name, "probabilities": {"float": [number / 5, 1 - number / 5]}} for number, name in enumerate(scenes, 1)
        ],
        "tolerance": {"float": 0.01},
    }
    files = {"selftest/expected.json": json.dumps(expected | changes).encode(), **scenes}
    return Bundle.open(write_bundle(folder / "bundle", files), TRUST)


def grey(level: int, side: int = 8) -> bytes:
    return cv2.imencode(".png", np.full((side, side, 3), level, np.uint8))[1].tobytes()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundle_of(tmp_path, {f"selftest/scene-{number}.png": grey(51 * number, 8 * number) for number in (1, 2, 3)})


def refusal(bundle: Bundle, engine: Parrot) -> str:
    with pytest.raises(EngineError) as caught:
        check_engine(bundle, engine)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_shipped_bundle_passes_on_every_engine(float_bundle: Path) -> None:
    shipped = Bundle.shipped()
    for engine in (OpenVinoEngine(shipped, "CPU", "throughput", None), OpenVinoEngine(shipped, "CPU", "latency", None)):
        assert engine.weights == "int8"
        check_engine(shipped, engine)
    plain = OpenVinoEngine(Bundle.open(float_bundle, ANYONE), "CPU", "latency", None)
    assert (plain.weights, LiteRtEngine(shipped).weights) == ("float", "float")
    check_engine(shipped, plain)
    check_engine(shipped, LiteRtEngine(shipped))


def test_every_scene_is_asked_alone_and_in_a_full_batch(bundle: Bundle) -> None:
    parrot = Parrot()
    check_engine(bundle, parrot)
    assert parrot.counts == [1, 1, 1, 8, 8, 8]


def test_a_probability_that_is_off_is_named(bundle: Bundle) -> None:
    wrong = Parrot(lambda given: np.where(given == given.max(), given - 0.02, given))
    assert refusal(bundle, wrong) == (
        "parrot on CPU gives 0.780 for 'undamaged' of selftest/scene-1.png, expected 0.800 within 0.01"
    )


def test_a_probability_within_the_tolerance_passes(bundle: Bundle) -> None:
    check_engine(bundle, Parrot(lambda given: given + np.float32(0.009)))


def test_an_engine_that_is_wrong_in_full_batches_only_is_found(bundle: Bundle) -> None:
    def swapped(given: np.ndarray) -> np.ndarray:
        return given if len(given) == 1 else given[:, ::-1]

    assert refusal(bundle, Parrot(swapped)).startswith("parrot on CPU gives ")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_does_not_pass(bundle: Bundle, value: float) -> None:
    reason = refusal(bundle, Parrot(lambda given: np.where(given < 0.3, value, given)))
    assert reason.startswith(f"parrot on CPU gives {value:.3f} for 'damaged' of selftest/scene-1.png")


def test_probabilities_of_another_shape_do_not_pass(bundle: Bundle) -> None:
    assert refusal(bundle, Parrot(lambda given: given[:, :1])) == (
        "parrot on CPU gives probabilities of shape (1, 1), expected (1, 2)"
    )


def test_an_engine_whose_weights_the_self_test_does_not_know_does_not_pass(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="parrot on CPU computes with int8 weights, of which the self-test knows nothing"):
        check_engine(bundle, Parrot(), "int8")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture", "is no PNG of"),
        (b"", "is no PNG of"),
        (cv2.imencode(".bmp", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), "is no PNG of"),
        (grey(51)[:40], "cannot be decoded"),
        # Claims a billion pixels in a few bytes.
        (grey(51)[:16] + (32_768).to_bytes(4) * 2 + grey(51)[24:], "is no PNG of"),
    ],
)
def test_a_scene_that_is_no_picture_does_not_pass(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refusal(bundle_of(tmp_path, {"selftest/scene-1.png": content}), Parrot())


def test_a_broken_self_test_is_the_engine_s_error_too(tmp_path: Path) -> None:
    broken = bundle_of(tmp_path, {"selftest/scene-1.png": grey(51)}, schema=2)
    assert "selftest/expected.json" in refusal(broken, Parrot())
