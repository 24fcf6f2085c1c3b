"""A new model that fails on live frames is left for the one before it, with the frames in hand, and the store goes back."""

from __future__ import annotations

import shutil
import threading

import pytest

from edge.bundle import Bundle
from edge.daemon.models import Serving
from edge.inference import EngineError
from tests.conftest import wait_for
from tests.edge.bundle.bundles import TRUST
from tests.edge.daemon.conftest import BLACK, BRIGHT, DARK, TRIAL_S, Device, digest_of, fly, picture, serves, versions, watching
from tests.edge.inference.networks import Kind


def test_model_that_fails_on_live_frames_goes_back_with_the_frames_in_hand(device: Device) -> None:
    good = device.install(1, proven=True)
    models = device.start()
    bad = device.install(2, "fails on black")
    models.follow()
    # Bright ones it can do: its self-test has no others.
    assert versions(fly(models, BRIGHT, DARK)) == {2}
    predictions = fly(models, BRIGHT, BLACK, DARK)
    assert versions(predictions) == {1}
    assert [round(prediction.probabilities["damaged"], 2) for prediction in predictions] == [0.98, 0.0, 0.16]
    assert serves(models) == ("town", 1)
    assert device.reason == "model: town 2: no engine works: gave a probability that is no number; town 1 serves again"
    with watching(models):
        wait_for(lambda: device.store.active() == good)
    assert "gave a probability that is no number" in str(device.store.refusal(Bundle.open(bad, TRUST).model.sha256))
    assert versions(fly(models, BRIGHT, BLACK, DARK)) == {1}
    assert serves(device.start()) == ("town", 1)


def test_requests_of_two_lanes_that_fail_at_once_all_go_back_to_the_same_model(device: Device) -> None:
    device.install(1, proven=True)
    models = device.start()
    device.install(2, "fails on black")
    models.follow()
    failing = models.current
    begun = [failing.classifier.start([BLACK, DARK])[0] for _ in range(4)]
    went_on: list[Serving] = []

    def collect(number: int) -> None:
        try:
            begun[number].predictions()
        except EngineError as error:
            went_on.append(models.leave(failing, error))

    threads = [threading.Thread(target=collect, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert went_on == [models.current] * 4
    assert serves(models) == ("town", 1)
    # A lane that took the failed model for its next batch before it was left finds the way, too.
    (late,) = failing.classifier.start([BRIGHT])
    with pytest.raises(EngineError, match="no engine is left") as caught:
        late.predictions()
    assert models.leave(failing, caught.value) is models.current


@pytest.mark.parametrize("kind", ["blind", "sound"])
def test_model_that_says_the_same_of_every_frame_goes_back_and_another_does_not(device: Device, kind: Kind) -> None:
    first = device.install(1, proven=True)
    models = device.start()
    second = device.install(2, kind)
    models.follow()

    def is_over() -> bool:
        assert serves(models) in {("town", 1), ("town", 2)}
        fly(models, *[DARK, BRIGHT] * 4)
        return models._trial is None

    wait_for(is_over)
    if kind == "sound":
        assert serves(models) == ("town", 2)
        assert device.conditions.reasons() == []
        assert device.store.active() == second
        return
    assert serves(models) == ("town", 1)
    assert device.reason == f"model: town 2: said the same of every frame for {TRIAL_S:g} s; town 1 serves again"
    with watching(models):
        wait_for(lambda: device.store.active() == first)
    assert "said the same of every frame" in str(device.store.refusal(Bundle.open(second, TRUST).model.sha256))


def test_model_that_has_proved_itself_is_not_left_for_the_one_before_it(device: Device) -> None:
    device.install(1, proven=True)
    models = device.start()
    device.install(2, "fails on black")
    models.follow()

    def is_over() -> bool:
        fly(models, DARK, BRIGHT)
        return models._trial is None

    wait_for(is_over)
    # Its engines have failed, as they may: the daemon ends, and begins anew with other ones.
    serving = models.current
    with pytest.raises(EngineError, match="no engine works") as caught:
        serving.classifier.classify([BLACK])
    with pytest.raises(EngineError) as raised:
        models.leave(serving, caught.value)
    assert raised.value is caught.value


def test_model_that_is_replaced_while_on_trial_is_nothing_to_go_back_to(device: Device) -> None:
    device.install(1, proven=True)
    models = device.start()
    for version in (2, 3):
        device.install(version, "fails on black")
        models.follow()
    assert serves(models) == ("town", 3)
    assert versions(fly(models, BLACK)) == {1}
    assert serves(models) == ("town", 1)


def test_bundle_that_the_store_goes_back_to_serves_though_it_was_replaced_while_on_trial(device: Device) -> None:
    device.install(1, proven=True)
    models = device.start()
    second = device.install(2)
    models.follow()
    device.install(3, "fails on black")
    models.follow()
    assert versions(fly(models, BLACK)) == {1}
    # The store knows the second as the one before: what it says is active must be what serves.
    with watching(models):
        wait_for(lambda: device.store.active() == second)
        wait_for(lambda: serves(models) == ("town", 2))


def test_store_that_cannot_be_written_does_not_keep_a_failed_model_in_use(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.install(1, proven=True)
    models = device.start()
    active = device.install(2, "fails on black")
    models.follow()
    (device.store.root / "lock").unlink()
    (device.store.root / "lock").mkdir()
    assert versions(fly(models, BLACK)) == {1}
    with watching(models):
        wait_for(lambda: caplog.text.count("cannot be changed") >= 2)
    assert device.store.active() == active
    models.follow()
    assert serves(models) == ("town", 1)
    assert device.reason.endswith("town 1 serves again")


# A trial outlasts the process


def test_model_that_was_installed_while_the_daemon_was_down_is_on_trial_from_the_start(device: Device) -> None:
    good = device.install(1)
    bad = device.install(2, "fails on black")
    models = device.start()
    assert serves(models) == ("town", 2)
    assert versions(fly(models, BRIGHT, BLACK)) == {1}
    assert device.reason == "model: town 2: no engine works: gave a probability that is no number; town 1 serves again"
    with watching(models):
        wait_for(lambda: device.store.active() == good)
    assert device.store.refusal(digest_of(bad)) is not None


def test_the_first_model_of_a_store_goes_back_to_the_shipped_one(device: Device) -> None:
    device.install(1, "fails on black")
    models = device.start()
    assert fly(models, picture(0, 128))[0].model.name == "terrain-damage"
    assert models.current.bundle.is_shipped
    with watching(models):
        wait_for(lambda: device.store.active() is None)


def test_model_that_has_passed_its_trial_is_not_on_trial_after_a_restart(device: Device) -> None:
    device.install(1, proven=True)
    folder = device.install(2, "fails on black")
    models = device.start()

    def has_passed() -> bool:
        fly(models, DARK, BRIGHT)
        return device.store.trials.has_passed(digest_of(folder))

    with watching(models):
        wait_for(has_passed)
    models.close()
    again = device.start()
    serving = again.current
    with pytest.raises(EngineError) as caught:
        serving.classifier.classify([BLACK])
    with pytest.raises(EngineError):
        again.leave(serving, caught.value)
    assert serves(again) == ("town", 2)


def test_model_with_which_the_process_ends_again_and_again_does_not_serve(device: Device) -> None:
    good = device.install(1, proven=True)
    bad = device.install(2)
    for _ in range(3):
        # Not closed: a process that is killed says nothing.
        assert serves(device.start()) == ("town", 2)
    models = device.start()
    assert serves(models) == ("town", 1)
    assert device.reason == "model: town 2: the process ended 3 times while it was on trial"
    assert device.store.active() == good
    assert device.store.refusal(digest_of(bad)) == "the process ended 3 times while it was on trial"
    models.follow()
    assert device.reason.startswith("model: town 2: ")


def test_process_that_is_stopped_is_no_fault_of_the_model(device: Device) -> None:
    device.install(1, proven=True)
    device.install(2)
    for _ in range(5):
        models = device.start()
        assert serves(models) == ("town", 2)
        models.close()


def test_store_that_cannot_be_written_does_not_keep_a_new_model_out(device: Device) -> None:
    device.install(1, proven=True)
    models = device.start()
    device.install(2)
    shutil.rmtree(device.store.root / "trials")
    (device.store.root / "trials").write_bytes(b"")
    models.follow()
    assert serves(models) == ("town", 2)
    assert versions(fly(models, DARK, BRIGHT)) == {2}
