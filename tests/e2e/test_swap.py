"""A model that is changed while frames arrive, and an engine that dies under them: no frame is lost, none comes twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import psutil
import pytest

from edge.daemon import report_path
from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import VERSION, Camera, Ground, rows
from tests.edge.bundle.bundles import reissue
from tests.edge.daemon.conftest import Device, picture
from tests.edge.inference.networks import SIDE
from tests.stick import StandInStick


@pytest.fixture
def camera(installed: Overflight, mosquitto: Mosquitto, make_jpeg: Callable[..., bytes]) -> Camera:
    """One that is not running yet, beside a device with a broker."""
    installed.config["uplink"] = {"url": mosquitto.url}
    installed.config["capture"]["settle_s"] = 0.02
    return Camera(installed.inbox, make_jpeg(), frames_per_s=100)


def model(command: Overflight, *arguments: object) -> str:
    """Run ``overflight model``; returns what it prints."""
    name, *rest = arguments
    finished = command.run(f"model {name}", *rest)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def by(journal: Path, column: str) -> Counter[Any]:
    """How many observations each model, or each device, has made."""
    return Counter(value for (value,) in rows(journal, f"SELECT {column} FROM results WHERE label IS NOT NULL"))


def check_each_observed_once(journal: Path, camera: Camera) -> None:
    """Wait until every frame is in the journal; none of them may be there twice."""
    wait_for(lambda: len(rows(journal, "SELECT frame FROM results WHERE label IS NOT NULL")) >= len(camera.names), 60)
    observed = rows(journal, "SELECT frame FROM results WHERE label IS NOT NULL ORDER BY frame")
    assert [name for (name,) in observed] == camera.names
    assert rows(journal, "SELECT count(*) FROM frames") == [(len(camera.names),)]


def test_models_are_installed_and_rolled_back_under_frames_and_each_is_observed_once(
    installed: Overflight, camera: Camera, mosquitto: Mosquitto, listen: Callable[[int], Ground], tmp_path: Path
) -> None:
    first, second = f"terrain-damage-{VERSION + 1}", f"terrain-damage-{VERSION + 2}"
    newer = reissue(tmp_path / "made" / "second", VERSION + 2)
    ground = listen(mosquitto.port)

    def served() -> int | None:
        """The version that the ground was told last."""
        return int(ground.statuses[-1]["bundle"]["version"]) if ground.statuses else None

    with installed.running("run"):
        with camera.running():
            wait_for(lambda: by(installed.journal, "model")[first] >= 20, 30)
            assert served() == VERSION + 1
            assert model(installed, "install", newer).startswith(f"installed {second}-")
            wait_for(lambda: served() == VERSION + 2)
            assert f"terrain-damage version {VERSION + 2}, openvino on CPU" in installed.run("status").stdout
            wait_for(lambda: by(installed.journal, "model")[second] >= 20)

            before = by(installed.journal, "model")[first]
            assert model(installed, "rollback").startswith(first)
            wait_for(lambda: served() == VERSION + 1)
            wait_for(lambda: by(installed.journal, "model")[first] >= before + 20)
        check_each_observed_once(installed.journal, camera)
        assert {status["state"] for status in ground.statuses} == {"online"}
    assert by(installed.journal, "model").keys() == {first, second}


def test_a_bundle_that_is_refused_under_frames_changes_nothing(
    installed: Overflight, camera: Camera, mosquitto: Mosquitto, listen: Callable[[int], Ground], tmp_path: Path
) -> None:
    unsigned = reissue(tmp_path / "made" / "unsigned", VERSION + 2, None)
    ground = listen(mosquitto.port)
    with installed.running("run"):
        with camera.running():
            wait_for(lambda: len(rows(installed.journal, "SELECT frame FROM results WHERE label IS NOT NULL")) >= 20, 30)
            with pytest.raises(AssertionError, match="is not signed"):
                model(installed, "install", unsigned)
        check_each_observed_once(installed.journal, camera)
        assert {(status["state"], status["bundle"]["version"]) for status in ground.statuses} == {("online", VERSION + 1)}
    assert by(installed.journal, "model").keys() == {f"terrain-damage-{VERSION + 1}"}


def worker_of(daemon: int) -> psutil.Process | None:
    """The process that drives the stick of a daemon."""
    children = psutil.Process(daemon).children()
    return next((child for child in children if "worker.py" in " ".join(child.cmdline())), None)


def test_an_engine_that_is_killed_under_frames_is_left_for_the_next_and_comes_back(
    installed: Overflight, camera: Camera, mosquitto: Mosquitto, listen: Callable[[int], Ground], tmp_path: Path
) -> None:
    stick = StandInStick(tmp_path / "stick")
    installed.config["model"] |= {"devices": ["MYRIAD", "CPU"], "myriad_python": str(stick.python), "retry_s": 0.2}
    ground = listen(mosquitto.port)
    with installed.running("run") as daemon:
        with camera.running():
            wait_for(lambda: by(installed.journal, "device")["MYRIAD"] >= 20, 30)
            assert (ground.statuses[-1]["state"], ground.statuses[-1]["on"]) == ("online", "MYRIAD")
            stick.pull()
            worker = worker_of(daemon.pid)
            assert worker is not None
            worker.kill()
            wait_for(lambda: by(installed.journal, "device")["CPU"] >= 20, 30)
            wait_for(lambda: ground.statuses[-1]["state"] == "degraded")
            assert ground.statuses[-1]["on"] == "CPU"
            assert ground.statuses[-1]["reasons"] == [
                "inference MYRIAD: openvino on MYRIAD failed: the worker was ended by a signal (Killed)"
            ]
            status = json.loads(installed.run("status", "--json").stdout)
            assert (status["state"], status["reasons"]) == ("degraded", ground.statuses[-1]["reasons"])

            before = by(installed.journal, "device")["MYRIAD"]
            stick.put_in()
            wait_for(lambda: (ground.statuses[-1]["state"], ground.statuses[-1]["on"]) == ("online", "MYRIAD"), 30)
            wait_for(lambda: by(installed.journal, "device")["MYRIAD"] >= before + 20)
        check_each_observed_once(installed.journal, camera)
    assert by(installed.journal, "device").keys() == {"MYRIAD", "CPU"}


def test_a_model_that_hangs_on_live_frames_is_left_and_the_daemon_can_be_stopped(
    overflight: Overflight, tmp_path: Path, mosquitto: Mosquitto, listen: Callable[[int], Ground]
) -> None:
    device = Device(tmp_path / "device")
    device.install(1, proven=True)
    overflight.config |= {"model": device.model | {"answer_s": 0.5, "trial_s": 60}, "uplink": {"url": mosquitto.url}}
    ground = listen(mosquitto.port)
    with overflight.running("run") as daemon:
        wait_for(lambda: bool(ground.statuses), 30)
        device.install(2, "endless")
        wait_for(lambda: ground.statuses[-1]["bundle"]["version"] == 2)
        # Not so large that they would be decoded at half their size.
        for number in range(20):
            (overflight.inbox / f"{number:02}.png").write_bytes(cv2.imencode(".png", picture(40, SIDE + 4))[1].tobytes())
        wait_for(lambda: len(rows(overflight.journal, "SELECT frame FROM results WHERE label IS NOT NULL")) >= 20, 30)
        assert by(overflight.journal, "model") == {"town-1": 20}
        assert rows(overflight.journal, "SELECT count(DISTINCT frame) FROM results WHERE label IS NOT NULL") == [(20,)]
        reason = "model: town 2: no engine works: gave no answer within 0.5 s; town 1 serves again"
        wait_for(lambda: ground.statuses[-1]["reasons"] == [reason])
        assert ground.statuses[-1]["bundle"]["version"] == 1
        # The machine may have been too busy: it may come again.
        wait_for(lambda: device.store.active() is not None and "town-1" in str(device.store.active()))
        assert not (device.store.root / "refused").exists()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0


def test_a_daemon_that_is_stopped_while_a_lost_engine_is_tried_again_ends_well(installed: Overflight, tmp_path: Path) -> None:
    stick = StandInStick(tmp_path / "stick")
    stick.pull()
    installed.config["model"] |= {"devices": ["MYRIAD", "CPU"], "myriad_python": str(stick.python), "retry_s": 0.01}
    for _ in range(3):
        with installed.running("run") as daemon:
            # A runtime is at work nearly all the time.
            wait_for(lambda daemon=daemon: worker_of(daemon.pid) is not None, 30)  # type: ignore[misc]
            wait_for(lambda: report_path(installed.journal).exists(), 30)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(10) == 0
        report_path(installed.journal).unlink()
