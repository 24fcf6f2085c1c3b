"""A new model that fails on live frames is left for the one before it, with the frames in hand, and the store goes back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from edge.bundle import Bundle
from edge.daemon.models import Models
from edge.daemon.service import Serving
from edge.inference import EngineError
from edge.records import Prediction
from tests.conftest import wait_for
from tests.edge.bundle.bundles import TRUST
from tests.edge.daemon.conftest import (
    BLACK,
    BRIGHT,
    DARK,
    TRIAL_S,
    Device,
    digest_of,
    fly,
    look,
    picture,
    serves,
    versions,
    watching,
)
from tests.edge.inference.networks import Kind
from tests.stick import StandInStick


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
    failing = models.service.current
    begun = [failing.classifier.start([BLACK, DARK])[0] for _ in range(4)]
    went_on: list[Serving] = []

    def collect(number: int) -> None:
        try:
            begun[number].predictions()
        except EngineError as error:
            serving, answers = models.service.rescue(failing, [BLACK, DARK], error)
            went_on.append(serving)
            assert [round(answer.probabilities["damaged"], 2) for answer in answers if isinstance(answer, Prediction)] == [
                0.0,
                0.16,
            ]

    threads = [threading.Thread(target=collect, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert went_on == [models.service.current] * 4
    assert serves(models) == ("town", 1)


@pytest.mark.parametrize("kind", ["blind", "sound"])
def test_model_that_says_the_same_of_every_frame_goes_back_and_another_does_not(device: Device, kind: Kind) -> None:
    first = device.install(1, proven=True)
    models = device.start()
    second = device.install(2, kind)
    models.follow()

    def is_over() -> bool:
        assert serves(models) in {("town", 1), ("town", 2)}
        fly(models, *[DARK, BRIGHT] * 4)
        return models.service._trial is None

    wait_for(is_over)
    if kind == "sound":
        assert serves(models) == ("town", 2)
        assert device.conditions.reasons() == []
        assert device.store.active() == second
        return
    assert serves(models) == ("town", 1)
    assert device.reason == f"model: town 2: said the same of every tile for {TRIAL_S:g} s; town 1 serves again"
    with watching(models):
        wait_for(lambda: device.store.active() == first)
    assert "said the same of every tile" in str(device.store.refusal(Bundle.open(second, TRUST).model.sha256))


def test_model_that_has_proved_itself_is_not_left_for_the_one_before_it(device: Device) -> None:
    device.install(1, proven=True)
    models = device.start()
    device.install(2, "fails on black")
    models.follow()

    def is_over() -> bool:
        fly(models, DARK, BRIGHT)
        return models.service._trial is None

    wait_for(is_over)
    (good, given_up) = look(models, BRIGHT, BLACK)
    assert isinstance(good, Prediction)
    assert str(given_up) == "no engine works: gave a probability that is no number"
    assert serves(models) == ("town", 2)


def test_model_is_not_left_for_a_frame_that_the_one_before_it_cannot_do_either(device: Device) -> None:
    device.install(1, "fails on black", proven=True)
    models = device.start()
    folder = device.install(2, "fails on black")
    models.follow()
    (good, given_up) = look(models, BRIGHT, BLACK)
    assert isinstance(good, Prediction)
    assert isinstance(given_up, EngineError)
    assert serves(models) == ("town", 2)
    assert device.store.refusal(digest_of(folder)) is None


def test_tiles_that_no_engine_can_do_are_said_until_there_are_others(device: Device) -> None:
    device.install(1, "fails on black", proven=True)
    models = device.start()
    for _ in range(31):
        look(models, BLACK)
    assert device.conditions.reasons() == []
    look(models, BLACK)
    assert device.reason.startswith("tiles: no engine has an answer about 32 tiles in a row: no engine works: gave a prob")
    look(models, BRIGHT)
    assert device.conditions.reasons() == []


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
    (device.store.root / "refused").write_bytes(b"")
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
    assert models.service.current.bundle.is_shipped
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
    assert isinstance(look(again, BLACK)[0], EngineError)
    assert serves(again) == ("town", 2)


def start_and_die(device: Device, where: str) -> None:
    """Start the models of a daemon in a process of its own, which kills itself while it loads one, or with its first frame."""
    script = f"""
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from edge.config import load
        from edge.daemon.models import Models
        from edge.health import Conditions
        from edge.inference import classifier

        def die(*arguments, **options):
            os.kill(os.getpid(), signal.SIGKILL)

        if {where!r} == "load":
            classifier.Ladder = die
        config, folder = load(Path({str(device.config_file)!r})), Path({str(device.folder)!r})
        models = Models(config, folder, "throughput", Conditions(lambda: None))
        if {where!r} == "first frame":
            models.service.take()
        die()
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == -signal.SIGKILL, finished.stderr


@pytest.mark.parametrize("where", ["load", "first frame"])
def test_model_with_which_the_process_ends_again_and_again_does_not_serve(device: Device, where: str) -> None:
    good = device.install(1, proven=True)
    bad = device.install(2)
    for _ in range(3):
        start_and_die(device, where)
    models = device.start()
    assert serves(models) == ("town", 1)
    assert device.reason == "model: town 2: the process ended with it again and again"
    assert device.store.active() == good
    models.follow()
    assert device.reason.startswith("model: town 2: ")
    # It may have been the battery: an operator who knows better has it tried again.
    device.store.activate(bad.name, TRUST)
    models.follow()
    assert serves(models) == ("town", 2)


def test_battery_that_is_taken_out_is_no_fault_of_the_model(device: Device) -> None:
    device.install(1, proven=True)
    device.install(2)
    for _ in range(4):
        start_and_die(device, "with nothing in hand")
    models = device.start()
    assert serves(models) == ("town", 2)
    for _ in range(2):
        fly(models, *[DARK] * 8)
    with watching(models):
        wait_for(lambda: device.store.trials.unfinished(digest_of(device.folder / "models" / "active")) == 0)


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


def test_what_is_to_be_remembered_is_written_when_the_daemon_stops(device: Device) -> None:
    good = device.install(1, proven=True)
    bad = device.install(2, "fails on black")
    models = device.start()
    assert versions(fly(models, BLACK)) == {1}
    assert device.store.active() == bad
    # Nobody watches, as in `run --once`.
    models.close()
    assert device.store.active() == good
    assert device.store.refusal(digest_of(bad)) is not None


def test_link_to_a_bundle_that_was_refused_is_not_followed_and_is_mended(device: Device) -> None:
    good = device.install(1, proven=True)
    bad = device.install(2)
    # A process that was killed between the refusal and the link.
    device.store.refuse(digest_of(bad), "said the same of every tile for 30 s")
    models = device.start()
    assert serves(models) == ("town", 1)
    assert device.reason == "model: town 2: failed before: said the same of every tile for 30 s"
    assert device.store.active() == good
    (device.store.root / "active").unlink()
    (device.store.root / "active").symlink_to(f"bundles/{bad.name}")
    models.follow()
    assert serves(models) == ("town", 1)
    # There is no previous one any more.
    assert device.store.active() is None


def test_new_model_serves_where_there_is_nothing_to_go_back_to(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.install(1)
    # The bundle of the package is damaged.
    monkeypatch.setattr("edge.bundle.bundle.SHIPPED", device.folder / "nowhere")
    assert serves(device.start()) == ("town", 1)


# A stick takes one model at a time


@pytest.fixture
def with_stick(device: Device) -> StandInStick:
    """A device that runs models on a stick."""
    stick = StandInStick(device.folder / "stick")
    device.model |= {"devices": ["MYRIAD", "CPU"], "myriad_python": str(stick.python)}
    return stick


def on(models: Models) -> tuple[int, str]:
    """Version of the model that serves, and the device that it is on."""
    engine = models.service.current.classifier.engine
    return models.service.current.bundle.model.version, engine.device


@pytest.mark.usefixtures("with_stick")
def test_model_lets_go_of_the_stick_for_the_next_one_and_gets_it_back(device: Device) -> None:
    device.install(1, proven=True)
    models = device.start()
    assert on(models) == (1, "MYRIAD")
    (in_hand,) = models.service.current.classifier.start([DARK, BRIGHT])
    device.install(2, "fails on black")
    models.follow()
    assert on(models) == (2, "MYRIAD")
    assert device.conditions.reasons() == []
    assert versions(in_hand.predictions()) == {1}
    assert versions(fly(models, BLACK)) == {1}
    wait_for(lambda: on(models) == (1, "MYRIAD"))


def test_where_there_is_nothing_but_a_stick_a_new_model_serves_from_the_next_start_on(
    device: Device, with_stick: StandInStick
) -> None:
    device.model["devices"] = ["MYRIAD"]
    device.install(1, proven=True)
    models = device.start()
    active = device.install(2)
    models.follow()
    assert on(models) == (1, "MYRIAD")
    assert device.reason == "model: town 2: serves from the next start on: its only device has no room for two"
    assert device.store.active() == active
    models.service.current.classifier.engine.close()
    models.close()
    assert on(device.start()) == (2, "MYRIAD")
