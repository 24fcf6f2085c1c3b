"""Engines that fail: whatever the next one works with, no image is lost and each is judged once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import ANYONE, SHIPPED, Bundle
from edge.bundle.selftest import Weights
from edge.inference import Classifier, Devices, EngineError
from edge.inference.engine import Request, Result
from tests.conftest import wait_for
from tests.edge.bundle.bundles import write_bundle
from tests.edge.inference.judging import alone, copy_of, damaged, run_apart
from tests.edge.inference.networks import SIDE, endless
from tests.edge.inference.rungs import Told
from tests.edge.inference.workers import worker
from tests.stick import StandInStick

Answer = Callable[[int], np.ndarray]


class FailingEngine:
    """An engine whose first requests are answered and whose later ones go wrong.

    It stands for hardware that fails, which cannot be had for a test; what it fails over to is the real thing.
    """

    name = "failing"
    device = "CPU"
    weights: Weights = "float"

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

    def close(self) -> None:
        pass


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


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has engines that fail loaded instead of OpenVINO's, each with the next of some answers. They pass any check."""

    def install(*answers: Answer, good: int = 0, refuses: bool = False) -> None:
        left = iter(answers)
        monkeypatch.setattr(
            "edge.inference.devices.OpenVinoEngine", lambda *_: FailingEngine(next(left), good=good, refuses=refuses)
        )
        monkeypatch.setattr("edge.inference.classifier.check", lambda bundle, engine: None)

    return install


# Engines that cannot be loaded


def test_device_that_is_not_there_is_passed_over_and_told_of(told: Told) -> None:
    fallback = Classifier(Bundle.shipped(), Devices(["NOSUCHDEVICE", "CPU"]), told)
    assert (fallback.engine.name, fallback.engine.device) == ("openvino", "CPU")
    ((rung, reason),) = told.all
    assert rung == "NOSUCHDEVICE"
    assert str(reason).startswith("NOSUCHDEVICE cannot be used: ")
    assert str(reason).isprintable()


def test_when_no_device_works_the_error_names_every_reason() -> None:
    with pytest.raises(EngineError) as caught:
        Classifier(Bundle.shipped(), Devices(["NOSUCHDEVICE", "NORTHIS"]))
    assert "NOSUCHDEVICE" in str(caught.value)
    assert "NORTHIS" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ir/model.xml", b"this was a model once"),
        ("ir/model.xml", b"<?xml version='1.0'?><net name='empty' version='11'><layers/><edges/></net>"),
        ("ir/model.xml", b""),
        ("ir/model.bin", (SHIPPED / "ir" / "model.bin").read_bytes()[:1000]),
    ],
)
def test_bundle_whose_ir_is_broken_is_run_by_litert_and_the_reason_told(  # noqa: PLR0917
    tmp_path: Path, float_bundle: Path, images: list[np.ndarray], told: Told, name: str, content: bytes
) -> None:
    whole = Classifier(Bundle.open(float_bundle, ANYONE))
    fallback = Classifier(Bundle.open(copy_of(float_bundle, tmp_path, **{name: content}), ANYONE), told=told)
    assert fallback.engine.name == "litert"
    assert len(told.all) == 1
    assert told.lost["CPU"].startswith("CPU cannot be used: OpenVINO on CPU: ")
    assert "\n" not in told.lost["CPU"]
    np.testing.assert_allclose(damaged(fallback.classify(images)), damaged(whole.classify(images)), rtol=0, atol=1e-3)


def test_engine_that_answers_the_self_test_wrongly_is_passed_over(
    tmp_path: Path, float_bundle: Path, images: list[np.ndarray], told: Told
) -> None:
    weights = (SHIPPED / "ir" / "model.bin").read_bytes()
    # It loads, and it is wrong.
    holed = weights[:50_000] + bytes(100_000) + weights[150_000:]
    bundle = Bundle.open(copy_of(float_bundle, tmp_path, **{"ir/model.bin": holed}), ANYONE)
    assert {prediction.engine for prediction in Classifier(bundle, told=told).classify(images)} == {"litert"}
    assert told.lost["CPU"].startswith("CPU cannot be used: openvino on CPU gives ")


def test_ir_that_is_altered_after_the_bundle_was_opened_is_not_used(tmp_path: Path, float_bundle: Path, told: Told) -> None:
    folder = copy_of(float_bundle, tmp_path)
    bundle = Bundle.open(folder, ANYONE)
    (folder / "ir" / "model.bin").write_bytes(bytes((folder / "ir" / "model.bin").stat().st_size))
    assert Classifier(bundle, told=told).engine.name == "litert"
    assert "ir/model.bin is altered" in told.lost["CPU"]


def test_without_openvino_litert_is_used_and_the_reason_told() -> None:
    printed = run_apart(
        "import sys; sys.modules['openvino'] = None\n"
        "import numpy as np\n"
        "from edge import Bundle, Classifier\n"
        "said = []\n"
        "classifier = Classifier(Bundle.shipped(), told=lambda rung, reason: said.append(reason))\n"
        "prediction = classifier.classify([np.zeros((128, 128, 3), np.uint8)])[0]\n"
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


# Engines that fail while they are asked


@pytest.mark.parametrize("answer", [lost, not_a_number, infinite, one_too_few, one_label_too_many])
@pytest.mark.parametrize("good", [0, 2])
def test_images_of_an_engine_that_fails_are_all_judged_by_the_next_one(
    failing: Callable[..., None], images: list[np.ndarray], told: Told, answer: Answer, good: int
) -> None:
    failing(answer, good=good)
    predictions = Classifier(Bundle.shipped(), Devices(["CPU", "TENSORFLOW"]), told).classify(images)
    assert len(predictions) == len(images)
    # What was answered before it failed stands: three and two images.
    before = 5 if good else 0
    assert [prediction.engine for prediction in predictions] == ["failing"] * before + ["litert"] * (len(images) - before)
    expected = alone(Classifier(Bundle.shipped(), Devices(["TENSORFLOW"])), images[before:])
    np.testing.assert_allclose(damaged(predictions[before:]), expected, rtol=0, atol=1e-5)
    # Several requests ran on it; it is left, and told of, once.
    assert len(told.all) == 1
    assert told.lost["CPU"].startswith("failing on CPU failed: ")


@pytest.mark.parametrize("good", [0, 2])
def test_images_that_an_engine_refuses_are_all_judged_by_the_next_one(
    failing: Callable[..., None], images: list[np.ndarray], told: Told, good: int
) -> None:
    failing(lost, good=good, refuses=True)
    predictions = Classifier(Bundle.shipped(), Devices(["CPU", "TENSORFLOW"]), told).classify(images)
    before = 5 if good else 0
    assert [prediction.engine for prediction in predictions] == ["failing"] * before + ["litert"] * (len(images) - before)
    assert told.all == [("CPU", "failing on CPU failed: device is gone")]


def test_engines_that_fail_one_after_the_other_are_all_left(
    failing: Callable[..., None], images: list[np.ndarray], told: Told
) -> None:
    failing(lost, not_a_number, one_too_few)
    predictions = Classifier(Bundle.shipped(), Devices(["NPU", "GPU", "CPU", "TENSORFLOW"]), told).classify(images)
    assert [prediction.engine for prediction in predictions] == ["litert"] * len(images)
    assert [rung for rung, _ in told.all] == ["NPU", "GPU", "CPU"]


def test_classifying_is_an_error_once_no_engine_works_any_more(failing: Callable[..., None], images: list[np.ndarray]) -> None:
    failing(lost, lost)
    classifier = Classifier(Bundle.shipped(), Devices(["GPU", "CPU"]))
    for _ in range(2):
        with pytest.raises(EngineError, match="no engine"):
            classifier.classify(images)


def test_images_can_be_handed_in_when_no_engine_works_any_more_and_who_waits_for_them_is_told(
    failing: Callable[..., None], images: list[np.ndarray]
) -> None:
    failing(lost)
    classifier = Classifier(Bundle.shipped(), Devices(["CPU"]))
    with pytest.raises(EngineError, match="no engine works: device lost"):
        classifier.classify(images)
    # Who has frames in hand wants to know of each request what became of it.
    for request in classifier.start(images):
        with pytest.raises(EngineError, match="no engine is left"):
            request.predictions()


# Engines that hang, and engines that come back


def test_images_of_an_engine_that_gives_no_answer_are_judged_by_the_next_one(tmp_path: Path) -> None:
    fallback = {"tensorflow/model.tflite": (SHIPPED / "tensorflow" / "model.tflite").read_bytes()}
    size = {"height": SIDE, "width": SIDE, "colour": "BGR", "ground_sample_distance_m": None}
    folder = write_bundle(tmp_path / "endless", endless(tmp_path) | fallback, input=size)
    printed = run_apart(
        "import sys, time\n"
        "import numpy as np\n"
        "from edge import Bundle, Classifier\n"
        "from edge.bundle import ANYONE\n"
        "from edge.inference import Devices\n"
        "said = []\n"
        "devices = Devices(['CPU', 'TENSORFLOW'], answer_s=0.5)\n"
        "classifier = Classifier(Bundle.open(sys.argv[1], ANYONE), devices, lambda rung, reason: said.append(reason))\n"
        "images = {side: np.zeros((side, side, 3), np.uint8) for side in (8, 16)}\n"
        "print(classifier.classify([images[8]])[0].engine)\n"
        # As many as it does at once; while they hang, a further one cannot even be begun.
        "running = [request for _ in range(4) for request in classifier.start([images[16]])]\n"
        "time.sleep(0.2)\n"
        "running += classifier.start([images[16]])\n"
        "for request in running: print(request.predictions()[0].engine)\n"
        "print(classifier.classify([images[8]])[0].engine)\n"
        "print(said)",
        folder,
    )
    # And the process has come to its end, though the request has not.
    assert printed.splitlines() == [
        "openvino",
        *["litert"] * 6,
        "['openvino on CPU failed: gave no answer within 0.5 s']",
    ]


@pytest.fixture
def with_stick(tmp_path: Path, told: Told) -> Iterator[tuple[Classifier, StandInStick]]:
    """A classifier on a stick, with the CPU below it."""
    stick = StandInStick(tmp_path / "stick")
    devices = Devices(["MYRIAD", "CPU"], answer_s=2.0, retry_s=0.05, myriad_python=stick.python)
    classifier = Classifier(Bundle.shipped(), devices, told)
    assert classifier.engine.device == "MYRIAD"
    yield classifier, stick
    classifier.close()
    classifier.engine.close()


@pytest.mark.parametrize("fault", ["dies", "hangs"])
def test_stick_whose_process_fails_is_left_for_the_cpu_and_used_again_when_it_is_back(
    with_stick: tuple[Classifier, StandInStick], images: list[np.ndarray], told: Told, fault: str
) -> None:
    classifier, stick = with_stick
    expected = damaged(classifier.classify(images))
    stick.pull()
    if fault == "dies":
        worker().kill()
    else:
        worker().suspend()
    predictions = classifier.classify(images)
    assert [prediction.device for prediction in predictions] == ["CPU"] * len(images)
    np.testing.assert_allclose(damaged(predictions), expected, rtol=0, atol=0.05)
    reason = r"the worker was ended by a signal \(Killed\)" if fault == "dies" else "gave no answer within 2 s"
    assert told.lost.keys() == {"MYRIAD"}
    assert re.fullmatch(f"openvino on MYRIAD failed: {reason}.*", told.lost["MYRIAD"])

    in_hand = classifier.start(images)
    stick.put_in()
    wait_for(lambda: classifier.engine.device == "MYRIAD", 30)
    wait_for(lambda: told.lost == {})
    # What the CPU had in hand by then comes to its end on it.
    finished = [prediction for request in in_hand for prediction in request.predictions()]
    assert [prediction.device for prediction in finished] == ["CPU"] * len(images)
    assert damaged(finished).tolist() == damaged(predictions).tolist()
    assert {prediction.device for prediction in classifier.classify(images)} == {"MYRIAD"}


# TensorFlow, which reads files by itself


def test_tensorflow_reads_what_was_verified_and_no_altered_file(tmp_path: Path, float_bundle: Path) -> None:
    printed = run_apart(
        "import sys; sys.modules['ai_edge_litert'] = None\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from edge.bundle import ANYONE, Bundle\n"
        "from edge.inference import EngineError\n"
        "from edge.inference.tensorflow import load_tensorflow\n"
        "bundle = Bundle.open(sys.argv[1], ANYONE)\n"
        "engine = load_tensorflow(bundle)\n"
        "print(engine.name, engine.start([np.zeros((128, 128, 3), np.uint8)]).result().probabilities.shape)\n"
        "file = bundle.path / 'tensorflow/saved_model/variables/variables.data-00000-of-00001'\n"
        "file.write_bytes(bytes(file.stat().st_size))\n"
        "try: load_tensorflow(bundle)\n"
        "except EngineError as error: print(error)",
        copy_of(float_bundle, tmp_path),
    )
    loaded, refused = printed.splitlines()
    assert loaded == "tensorflow (1, 2)"
    assert refused.endswith("variables.data-00000-of-00001 is altered: its SHA-256 is not the manifest's")
