"""The classifier: right answers in the order of the images, on the engine that it is told to use."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle import ANYONE, Bundle
from edge.inference import Classifier, Devices
from tests.edge.inference.judging import Tiles, alone, damaged, run_apart


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


def test_input_is_that_of_the_manifest(classifier: Classifier) -> None:
    assert (classifier.input.height, classifier.input.width) == (128, 128)


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
    fallback = Classifier(Bundle.shipped(), Devices(["TENSORFLOW"]))
    predictions = fallback.classify(images)
    assert {prediction.engine for prediction in predictions} == {"litert"}
    np.testing.assert_allclose(damaged(predictions), damaged(classifier.classify(images)), rtol=0, atol=1e-3)


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
