"""Which engines a bundle is run by and in which order: the operator's, or the one that is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import SHIPPED, Bundle, SelfTestError
from edge.bundle.selftest import Weights
from edge.inference import Classifier, Devices, EngineError
from edge.inference.devices import check, check_serving, rungs
from edge.inference.engine import Engine, Mode, Request, Result
from edge.inference.openvino import OpenVinoEngine
from tests.conftest import wait_for
from tests.edge.bundle.bundles import TRUST, reissue, write_bundle
from tests.stick import StandInStick

Offer = Callable[..., None]


@dataclass
class Trait:
    """How a device differs from the CPU that stands for it.

    Attributes:
        broken: It cannot be loaded.
        wrong: It takes ruins for whole houses, and the other way round.
        slow_s: It takes so long over each request.
    """

    broken: bool = False
    wrong: bool = False
    slow_s: float = 0.0


class Device(OpenVinoEngine):
    """A device that this machine does not have: its CPU, but for a trait."""

    def __init__(self, bundle: Bundle, name: str, trait: Trait, mode: Mode) -> None:
        if trait.broken:
            raise EngineError(f"OpenVINO on {name}: no driver")
        super().__init__(bundle, "CPU", mode, None)
        self.device = name
        self._trait = trait

    def start(self, images: Sequence[np.ndarray]) -> Request:
        time.sleep(self._trait.slow_s)
        request = super().start(images)
        return Swapped(request) if self._trait.wrong else request


@dataclass
class Swapped:
    """A request whose answer is turned into its opposite."""

    request: Request

    def result(self) -> Result:
        result = self.request.result()
        return Result(result.probabilities[:, ::-1], result.elapsed_ms)


class Constant:
    """An engine that gives the same whatever it is asked."""

    name, device = "constant", "CPU"
    weights: Weights = "float"

    def __init__(self, probabilities: Iterable[float]) -> None:
        self._result = Result(np.array([[*probabilities]], np.float32), 1.0)

    def start(self, images: Sequence[np.ndarray]) -> Request:
        return self

    def result(self) -> Result:
        return self._result

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.shipped()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Has OpenVINO offer devices by their names, and what is to be known of each."""

    def make(**traits: Trait) -> None:
        def load(bundle: Bundle, name: str, mode: Mode, *_: object) -> Device:
            return Device(bundle, name, traits[name], mode)

        monkeypatch.setattr("edge.inference.devices.offered_devices", lambda: list(traits))
        monkeypatch.setattr("edge.inference.devices.OpenVinoEngine", load)

    return make


def order(bundle: Bundle, devices: Devices) -> list[str]:
    return [name for name, _ in rungs(bundle, devices).loaders]


# The order


def test_order_that_is_given_is_kept_and_nothing_is_measured(bundle: Bundle) -> None:
    given = ["TENSORFLOW", "MYRIAD", "NOSUCHDEVICE", "CPU"]
    assert order(bundle, Devices(given)) == given


def test_where_there_is_nothing_to_choose_from_nothing_is_measured(bundle: Bundle, offer: Offer) -> None:
    # Its reason is seen when it is loaded.
    offer(CPU=Trait(broken=True))
    assert order(bundle, Devices()) == ["CPU", "TENSORFLOW"]


@pytest.mark.parametrize("mode", ["throughput", "latency"])
def test_the_fastest_device_comes_first_and_tensorflow_last(bundle: Bundle, offer: Offer, mode: Mode) -> None:
    offer(CPU=Trait(slow_s=0.05), GPU=Trait(), NPU=Trait(slow_s=0.02))
    assert order(bundle, Devices(mode=mode)) == ["GPU", "NPU", "CPU", "TENSORFLOW"]


@pytest.mark.parametrize(
    ("trait", "reason"),
    [(Trait(wrong=True), "openvino on GPU gives "), (Trait(broken=True), "OpenVINO on GPU: no driver")],
    ids=["wrong", "broken"],
)
def test_device_that_does_not_pass_comes_behind_those_that_do_with_its_reason(
    bundle: Bundle, offer: Offer, trait: Trait, reason: str
) -> None:
    offer(GPU=trait, CPU=Trait(slow_s=0.005))
    found = rungs(bundle, Devices())
    assert [name for name, _ in found.loaders] == ["CPU", "GPU", "TENSORFLOW"]
    assert list(found.absent) == ["GPU"]
    assert found.absent["GPU"].startswith(reason)


def test_devices_of_which_none_passes_are_tried_all_the_same_before_tensorflow(bundle: Bundle, offer: Offer) -> None:
    offer(GPU=Trait(broken=True), CPU=Trait(wrong=True))
    found = rungs(bundle, Devices())
    assert [name for name, _ in found.loaders] == ["GPU", "CPU", "TENSORFLOW"]
    assert found.absent.keys() == {"GPU", "CPU"}


@pytest.mark.parametrize(("cpu_s", "device"), [(0.05, "GPU"), (0.0, "CPU")], ids=["faster", "slower"])
def test_device_that_comes_later_is_used_if_it_is_faster(
    bundle: Bundle, offer: Offer, images: list[np.ndarray], cpu_s: float, device: str
) -> None:
    told: dict[str, str | None] = {}
    late = Trait(slow_s=0.005, broken=True)
    offer(CPU=Trait(slow_s=cpu_s), GPU=late)
    classifier = Classifier(bundle, Devices(retry_s=0.05), told.__setitem__)
    assert told == {"GPU": "GPU cannot be used: OpenVINO on GPU: no driver"}
    assert classifier.engine.device == "CPU"
    late.broken = False
    wait_for(lambda: told == {"GPU": None})
    assert {prediction.device for prediction in classifier.classify(images)} == {device}
    classifier.close()


def test_device_that_was_measured_serves(bundle: Bundle, offer: Offer, images: list[np.ndarray]) -> None:
    offer(CPU=Trait(slow_s=0.05), GPU=Trait())
    assert {prediction.device for prediction in Classifier(bundle).classify(images)} == {"GPU"}


@pytest.mark.usefixtures("nothing_is_left")
def test_stick_is_measured_where_an_interpreter_for_it_is_named_and_let_go_of(bundle: Bundle, tmp_path: Path) -> None:
    stick = StandInStick(tmp_path)
    found = order(bundle, Devices(myriad_python=stick.python))
    assert sorted(found[:-1]) == ["CPU", "MYRIAD"]
    assert found[-1] == "TENSORFLOW"


def test_stick_that_is_not_there_is_said_and_comes_behind(bundle: Bundle, tmp_path: Path) -> None:
    stick = StandInStick(tmp_path)
    stick.pull()
    found = rungs(bundle, Devices(myriad_python=stick.python))
    assert [name for name, _ in found.loaders] == ["CPU", "MYRIAD", "TENSORFLOW"]
    assert found.absent == {"MYRIAD": "OpenVINO on MYRIAD: Can not init Myriad device: NC_ERROR"}


def test_stick_without_an_interpreter_for_it_says_what_is_missing(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"model\.myriad_python names no interpreter that has the MYRIAD plugin"):
        Classifier(bundle, Devices(["MYRIAD"]))


# What an engine must be able to do


def test_engine_is_asked_what_the_self_test_says(bundle: Bundle) -> None:
    check(bundle, OpenVinoEngine(bundle, "CPU", "latency", None))
    with pytest.raises(EngineError, match=r"constant on CPU gives 0\.500 for "):
        check(bundle, Constant([0.5, 0.5]))


@pytest.mark.parametrize("probabilities", [[0.5], [0.2, 0.3, 0.5], [np.nan, 0.5], [np.inf, 0.5]])
def test_of_a_bundle_without_a_self_test_any_answer_is_asked_for(tmp_path: Path, probabilities: list[float]) -> None:
    untested = Bundle.open(write_bundle(tmp_path / "untested", {"ir/model.xml": b"<net/>"}), TRUST)
    check(untested, Constant([0.9, 0.1]))
    with pytest.raises(EngineError, match="gives no probabilities of a black image"):
        check(untested, Constant(probabilities))


# The engine that would serve


def test_the_first_device_that_loads_it_is_asked(bundle: Bundle) -> None:
    assert check_serving(bundle, Devices()) == ("openvino", "CPU")
    assert check_serving(bundle, Devices(["NOSUCHDEVICE", "TENSORFLOW", "CPU"])) == ("litert", "CPU")


def test_a_bundle_that_no_device_loads_cannot_be_tested(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="self-test: no engine works: OpenVINO on NOSUCHDEVICE: ") as caught:
        check_serving(bundle, Devices(["NOSUCHDEVICE"]))
    # It is held against the machine, not against the bundle.
    assert not isinstance(caught.value, SelfTestError)


def test_a_device_that_answers_wrongly_also_with_the_shipped_bundle_is_passed_over(
    tmp_path: Path, offer: Offer, caplog: pytest.LogCaptureFixture
) -> None:
    offer(GPU=Trait(wrong=True), CPU=Trait())
    newer = Bundle.open(reissue(tmp_path / "newer", Bundle.shipped().model.version + 1), TRUST)
    assert check_serving(newer, Devices(["GPU", "CPU"])) == ("openvino", "CPU")
    assert "inference: GPU cannot be used: openvino on GPU gives " in caplog.text


@pytest.mark.parametrize("devices", [["CPU", "TENSORFLOW"], None])
def test_a_bundle_that_a_working_device_cannot_load_fails_though_another_would_pass(
    tmp_path: Path, devices: list[str] | None
) -> None:
    names = [file.relative_to(SHIPPED).as_posix() for file in SHIPPED.rglob("*") if file.is_file()]
    files = {name: (SHIPPED / name).read_bytes() for name in names if not name.startswith("manifest.")}
    files |= {"ir/model.bin": b"", "ir/model-int8.bin": b""}
    size = {"height": 128, "width": 128, "colour": "BGR", "ground_sample_distance_m": None}
    bundle = Bundle.open(write_bundle(tmp_path / "empty", files, input=size), TRUST)
    with pytest.raises(
        EngineError, match="self-test: CPU passes that of the shipped bundle, and not this one: OpenVINO on CPU: "
    ):
        check_serving(bundle, Devices(devices))


def test_whatever_an_engine_raises_is_the_reason_why_it_is_left(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Engine:
        raise TypeError("signature_wrapper() got an unexpected\nkeyword argument")

    monkeypatch.setattr("edge.inference.devices.OpenVinoEngine", broken)
    told: dict[str, str | None] = {}
    classifier = Classifier(bundle, Devices(["CPU", "TENSORFLOW"]), told.__setitem__)
    assert classifier.engine.name == "litert"
    assert told == {"CPU": "CPU cannot be used: TypeError: signature_wrapper() got an unexpected keyword argument"}


@pytest.mark.usefixtures("nothing_is_left")
def test_a_bundle_is_tested_on_the_stick_and_that_is_let_go_of(bundle: Bundle, tmp_path: Path) -> None:
    stick = StandInStick(tmp_path)
    assert check_serving(bundle, Devices(["MYRIAD", "CPU"], myriad_python=stick.python)) == ("openvino", "MYRIAD")


def test_a_bundle_whose_weights_are_lost_though_they_are_signed_fails_its_self_test(tmp_path: Path) -> None:
    names = [file.relative_to(SHIPPED).as_posix() for file in SHIPPED.rglob("*") if file.is_file()]
    files = {name: (SHIPPED / name).read_bytes() for name in names if not name.startswith("manifest.")}
    # Half of them are nothing: it loads, and it is wrong.
    weights = files["ir/model-int8.bin"]
    files["ir/model-int8.bin"] = weights[:60_000] + bytes(80_000) + weights[140_000:]
    size = {"height": 128, "width": 128, "colour": "BGR", "ground_sample_distance_m": None}
    bundle = Bundle.open(write_bundle(tmp_path / "wrong", files, input=size), TRUST)
    with pytest.raises(SelfTestError, match=r"self-test: openvino on CPU gives \S+ for 'd?u?n?d?amaged' of selftest/scene-"):
        check_serving(bundle, Devices())
