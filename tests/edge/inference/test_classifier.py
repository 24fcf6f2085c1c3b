"""The classifier: right answers in the order of the images, on whatever engine works."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle import ANYONE, SHIPPED, Bundle
from edge.inference import Classifier, EngineError
from edge.inference.engine import Request, Result
from edge.records import Prediction

Tiles = list[tuple[np.ndarray, bool]]
Answer = Callable[[int], np.ndarray]


class FailingEngine:
    """An engine whose first requests are answered and whose later ones go wrong.

    It stands for hardware that fails, which cannot be had for a test; what it fails over to is the real thing.
    """

    name = "failing"
    device = "CPU"

    def __init__(self, answer: Answer, *, good: int = 0, refuses: bool = False) -> None:
        self._answer = answer
        self._good = good
        self._refuses = refuses

    def start(self, images: Sequence[np.ndarray]) -> Request:
        self._good -= 1
        if self._good >= 0:
            return _Answered(lambda count: np.full((count, 2), 0.5, np.float32), len(images))
        if self._refuses:
            raise EngineError("device is gone")
        return _Answered(self._answer, len(images))


class _Answered:
    def __init__(self, answer: Answer, count: int) -> None:
        self._answer = answer
        self._count = count

    def result(self) -> Result:
        return Result(self._answer(self._count), 1.0)


def lost(count: int) -> np.ndarray:
    raise EngineError("device lost")


def not_a_number(count: int) -> np.ndarray:
    probabilities = np.full((count, 2), 0.5, np.float32)
    probabilities[-1, 0] = np.nan
    return probabilities


def infinite(count: int) -> np.ndarray:
    return np.full((count, 2), np.inf, np.float32)


def one_too_few(count: int) -> np.ndarray:
    return np.full((count - 1, 2), 0.5, np.float32)


def one_label_too_many(count: int) -> np.ndarray:
    return np.full((count, 3), 1 / 3, np.float32)


@pytest.fixture(scope="module")
def classifier(float_bundle: Path) -> Classifier:
    return Classifier(Bundle.open(float_bundle, ANYONE))


@pytest.fixture(scope="module")
def images(town_tiles: Tiles) -> list[np.ndarray]:
    """Rendered tiles of changing sizes, so that they make several requests."""
    sides = (128, 128, 128, 200, 200, 128, 97, 128, 128, 200)
    return [cv2.resize(town_tiles[index][0], (side, side), interpolation=cv2.INTER_AREA) for index, side in enumerate(sides)]


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


def test_shipped_bundle_judges_rendered_tiles_right_on_openvino(town_tiles: Tiles) -> None:
    predictions = Classifier(Bundle.shipped()).classify([tile for tile, _ in town_tiles])
    said = [(prediction.label == "damaged") == truth for prediction, (_, truth) in zip(predictions, town_tiles, strict=True)]
    assert np.mean(said) >= 0.95
    assert {(prediction.engine, prediction.device) for prediction in predictions} == {("openvino", "CPU")}


def test_prediction_names_its_model_its_time_and_a_probability_for_each_label(
    classifier: Classifier, float_bundle: Path, images: list[np.ndarray]
) -> None:
    bundle = Bundle.open(float_bundle, ANYONE)
    for prediction in classifier.classify(images):
        assert prediction.model == bundle.model
        assert tuple(prediction.probabilities) == bundle.manifest.labels
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.inference_ms > 0


def test_tile_size_is_that_of_the_manifest(classifier: Classifier) -> None:
    assert classifier.tile_px == (128, 128)


@pytest.mark.parametrize("count", [1, 3, 8, 9])
@pytest.mark.parametrize("side", [128, 256])
def test_an_image_is_judged_the_same_in_company_as_alone(
    classifier: Classifier, town_tiles: Tiles, count: int, side: int
) -> None:
    tiles = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile, _ in town_tiles[:count]]
    np.testing.assert_allclose(damaged(classifier.classify(tiles)), alone(classifier, tiles), rtol=0, atol=1e-5)


def test_images_of_mixed_sizes_are_judged_the_same_as_alone_and_in_their_order(
    classifier: Classifier, images: list[np.ndarray]
) -> None:
    judged = damaged(classifier.classify(images))
    np.testing.assert_allclose(judged, alone(classifier, images), rtol=0, atol=1e-5)
    # Both labels must be among them, or a wrong order would not show.
    assert judged.min() < 0.1
    assert judged.max() > 0.9


def test_a_request_is_made_for_each_run_of_equal_sizes_and_of_eight_at_most(
    classifier: Classifier, town_tiles: Tiles, images: list[np.ndarray]
) -> None:
    started = classifier.start(images)
    assert [request.count for request in started] == [3, 2, 1, 1, 2, 1]
    assert [len(request.predictions()) for request in started] == [3, 2, 1, 1, 2, 1]
    started = classifier.start([tile for tile, _ in town_tiles])
    assert [request.count for request in started] == [8, 4]
    assert [len(request.predictions()) for request in started] == [8, 4]


def test_requests_may_be_collected_in_any_order(classifier: Classifier, images: list[np.ndarray]) -> None:
    started = classifier.start(images)
    last_first = [request.predictions() for request in reversed(started)]
    judged = damaged([prediction for predictions in reversed(last_first) for prediction in predictions])
    np.testing.assert_allclose(judged, alone(classifier, images), rtol=0, atol=1e-5)


def test_no_images_give_no_predictions(classifier: Classifier) -> None:
    assert classifier.classify([]) == []


def test_several_threads_may_classify_at_once(classifier: Classifier, images: list[np.ndarray]) -> None:
    expected = alone(classifier, images)
    judged: list[np.ndarray] = []

    def work() -> None:
        judged.extend(damaged(classifier.classify(images)) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(judged) == 20
    for probabilities in judged:
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def test_tensorflow_as_the_device_means_litert_where_it_is_installed(classifier: Classifier, images: list[np.ndarray]) -> None:
    fallback = Classifier(Bundle.shipped(), ["TENSORFLOW"])
    predictions = fallback.classify(images)
    assert {prediction.engine for prediction in predictions} == {"litert"}
    np.testing.assert_allclose(damaged(predictions), damaged(classifier.classify(images)), rtol=0, atol=1e-3)


def test_device_that_is_not_there_is_passed_over_and_told_of(images: list[np.ndarray]) -> None:
    said: list[str] = []
    fallback = Classifier(Bundle.shipped(), ["NOSUCHDEVICE", "CPU"], degraded=said.append)
    assert (fallback.engine.name, fallback.engine.device) == ("openvino", "CPU")
    assert len(said) == 1
    assert said[0].startswith("NOSUCHDEVICE cannot be used: ")
    assert "\n" not in said[0]


def test_when_no_device_works_the_error_names_every_reason() -> None:
    with pytest.raises(EngineError) as caught:
        Classifier(Bundle.shipped(), ["NOSUCHDEVICE", "NORTHIS"])
    assert "NOSUCHDEVICE" in str(caught.value)
    assert "NORTHIS" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [lost, not_a_number, infinite, one_too_few, one_label_too_many])
@pytest.mark.parametrize("good", [0, 2])
def test_images_of_an_engine_that_fails_are_all_judged_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray], answer: Answer, good: int
) -> None:
    monkeypatch.setattr("edge.inference.classifier.OpenVinoEngine", lambda *_: FailingEngine(answer, good=good))
    said: list[str] = []
    predictions = Classifier(Bundle.shipped(), ["CPU", "TENSORFLOW"], degraded=said.append).classify(images)
    assert len(predictions) == len(images)
    # What was answered before it failed stands: three and two images.
    before = 5 if good else 0
    assert [prediction.engine for prediction in predictions] == ["failing"] * before + ["litert"] * (len(images) - before)
    expected = alone(Classifier(Bundle.shipped(), ["TENSORFLOW"]), images[before:])
    np.testing.assert_allclose(damaged(predictions[before:]), expected, rtol=0, atol=1e-5)
    # Several requests ran on it; it is left, and told of, once.
    assert len(said) == 1
    assert said[0].startswith("failing on CPU failed: ")


@pytest.mark.parametrize("good", [0, 2])
def test_images_that_an_engine_refuses_are_all_judged_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray], good: int
) -> None:
    monkeypatch.setattr("edge.inference.classifier.OpenVinoEngine", lambda *_: FailingEngine(lost, good=good, refuses=True))
    said: list[str] = []
    predictions = Classifier(Bundle.shipped(), ["CPU", "TENSORFLOW"], degraded=said.append).classify(images)
    before = 5 if good else 0
    assert [prediction.engine for prediction in predictions] == ["failing"] * before + ["litert"] * (len(images) - before)
    assert said == ["failing on CPU failed: device is gone"]


def test_engines_that_fail_one_after_the_other_are_all_left(monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray]) -> None:
    answers = iter([lost, not_a_number, one_too_few])
    monkeypatch.setattr("edge.inference.classifier.OpenVinoEngine", lambda *_: FailingEngine(next(answers)))
    said: list[str] = []
    predictions = Classifier(Bundle.shipped(), ["NPU", "GPU", "CPU", "TENSORFLOW"], degraded=said.append).classify(images)
    assert [prediction.engine for prediction in predictions] == ["litert"] * len(images)
    assert len(said) == 3


def test_classifying_is_an_error_once_no_engine_works_any_more(
    monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray]
) -> None:
    monkeypatch.setattr("edge.inference.classifier.OpenVinoEngine", lambda *_: FailingEngine(lost))
    classifier = Classifier(Bundle.shipped(), ["GPU", "CPU"])
    for _ in range(2):
        with pytest.raises(EngineError, match="no engine"):
            classifier.classify(images)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ir/model.xml", b"this was a model once"),
        ("ir/model.xml", b"<?xml version='1.0'?><net name='empty' version='11'><layers/><edges/></net>"),
        ("ir/model.xml", b""),
        ("ir/model.bin", (SHIPPED / "ir" / "model.bin").read_bytes()[:1000]),
    ],
)
def test_bundle_whose_ir_is_broken_is_run_by_litert_and_the_reason_told(
    tmp_path: Path, float_bundle: Path, images: list[np.ndarray], name: str, content: bytes
) -> None:
    said: list[str] = []
    whole = Classifier(Bundle.open(float_bundle, ANYONE))
    fallback = Classifier(Bundle.open(copy_of(float_bundle, tmp_path, **{name: content}), ANYONE), degraded=said.append)
    assert fallback.engine.name == "litert"
    assert len(said) == 1
    assert said[0].startswith("CPU cannot be used: OpenVINO on CPU: ")
    assert "\n" not in said[0]
    np.testing.assert_allclose(damaged(fallback.classify(images)), damaged(whole.classify(images)), rtol=0, atol=1e-3)


def test_ir_that_is_altered_after_the_bundle_was_opened_is_not_used(tmp_path: Path, float_bundle: Path) -> None:
    folder = copy_of(float_bundle, tmp_path)
    bundle = Bundle.open(folder, ANYONE)
    (folder / "ir" / "model.bin").write_bytes(bytes((folder / "ir" / "model.bin").stat().st_size))
    said: list[str] = []
    assert Classifier(bundle, degraded=said.append).engine.name == "litert"
    assert "ir/model.bin is altered" in said[0]


def test_without_openvino_litert_is_used_and_the_reason_told() -> None:
    printed = run_apart(
        "import sys; sys.modules['openvino'] = None\n"
        "import numpy as np\n"
        "from edge import Bundle, Classifier\n"
        "said = []\n"
        "prediction = Classifier(Bundle.shipped(), degraded=said.append).classify([np.zeros((128, 128, 3), np.uint8)])[0]\n"
        "print(prediction.engine, len(said), said[0])"
    )
    assert printed.startswith("litert 1 CPU cannot be used: OpenVINO on CPU: ")
    assert "openvino" in printed


def test_without_any_runtime_the_error_names_them_all() -> None:
    printed = run_apart(
        "import sys\n"
        "for name in ('openvino', 'ai_edge_litert', 'tensorflow'): sys.modules[name] = None\n"
        "from edge import Bundle, Classifier\n"
        "from edge.inference import EngineError\n"
        "try: Classifier(Bundle.shipped())\n"
        "except EngineError as error: print(error)"
    )
    for name in ("OpenVINO", "LiteRT", "TensorFlow"):
        assert name in printed
    assert printed.count("\n") == 1


def test_classifying_writes_nothing_into_the_home_folder_and_loads_no_telemetry(tmp_path: Path) -> None:
    printed = run_apart(
        "import sys\n"
        "import numpy as np\n"
        "from edge import Bundle, Classifier\n"
        "prediction = Classifier(Bundle.shipped()).classify([np.zeros((128, 128, 3), np.uint8)])[0]\n"
        "print(prediction.engine, sys.modules.get('openvino_telemetry', 'unset'), 'openvino' in sys.modules)",
        HOME=str(tmp_path),
    )
    assert printed == "openvino None True\n"
    assert list(tmp_path.rglob("*")) == []


def test_classifying_loads_no_tensorflow() -> None:
    # It would take ten times the memory of all the rest.
    printed = run_apart(
        "import sys\n"
        "import numpy as np\n"
        "from edge import Bundle, Classifier\n"
        "Classifier(Bundle.shipped()).classify([np.zeros((128, 128, 3), np.uint8)])\n"
        "print(sorted({'tensorflow', 'keras', 'ai_edge_litert'} & set(sys.modules)))"
    )
    assert printed == "[]\n"
