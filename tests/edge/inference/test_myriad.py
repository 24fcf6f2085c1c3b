"""The engine of Movidius sticks.

The stick itself is not here. What drives it is: OpenVINO 2021.4.2 on its CPU plugin, and its MYRIAD plugin, which finds none.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle import ANYONE, Bundle
from edge.inference.engine import BATCH, EngineError
from edge.inference.myriad import MyriadEngine
from edge.inference.openvino import OpenVinoEngine
from tests.conftest import PROJECT, wait_for
from tests.edge.inference.conftest import FakePython
from tests.edge.inference.workers import GREY, LONG_S, SLEEP_HARD, ended, judge, loaded, worker

pytestmark = pytest.mark.usefixtures("nothing_is_left")

# The shapes of `test_engines`: the model's own size, larger, smaller, and sides that nothing divides.
SIZES = ((128, 128), (256, 256), (97, 131), (201, 75), (333, 500), (64, 64))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.shipped()


# What is answered


def test_answers_are_those_of_the_self_test(bundle: Bundle, real_python: Path) -> None:
    scenes = json.loads(bundle.read("selftest/expected.json"))["scenes"]
    with loaded(bundle, real_python) as engine:
        for scene in scenes:
            image = cv2.imdecode(np.frombuffer(bundle.read(scene["file"]), np.uint8), cv2.IMREAD_COLOR)
            expected = [scene["probabilities"][engine.weights]]
            np.testing.assert_allclose(judge(engine, [image]), expected, rtol=0, atol=1e-2)


def test_answers_are_those_of_todays_openvino_at_all_sizes(
    float_bundle: Path, real_python: Path, town_tiles: list[tuple[np.ndarray, bool]]
) -> None:
    bundle = Bundle.open(float_bundle, ANYONE)
    images = [
        cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA) for height, width in SIZES for tile, _ in town_tiles
    ]
    expected = judge(OpenVinoEngine(bundle, "CPU", "latency", None), images)
    with loaded(bundle, real_python) as engine:
        given = judge(engine, images)
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-2)


def test_batch_is_answered_in_the_order_of_its_images(
    bundle: Bundle, real_python: Path, town_tiles: list[tuple[np.ndarray, bool]]
) -> None:
    tiles = [tile for tile, _ in town_tiles[:BATCH]]
    with loaded(bundle, real_python) as engine:
        result = engine.start(tiles).result()
        alone = judge(engine, tiles)
    assert result.probabilities.dtype == np.float32
    np.testing.assert_array_equal(result.probabilities, alone)
    assert np.ptp(alone) > 0.5
    assert result.elapsed_ms > 0


def test_view_into_a_frame_is_judged_by_its_own_pixels(
    bundle: Bundle, fake_python: FakePython, town_tiles: list[tuple[np.ndarray, bool]]
) -> None:
    view = town_tiles[0][0][::2, ::2]
    assert not view.flags.c_contiguous
    python = fake_python(infer="values = [pixels[0, 1, 2, 0] / 255, pixels[0, 127, 126, 2] / 255]")
    with loaded(bundle, python) as engine:
        given = judge(engine, [view])[0]
    np.testing.assert_allclose(given, [view[1, 2, 0] / 255, view[127, 126, 2] / 255], atol=1e-6)


def test_threads_that_ask_at_once_get_their_own_answers(bundle: Bundle, fake_python: FakePython) -> None:
    wrong: list[float] = []

    def ask(engine: MyriadEngine, grey: int) -> None:
        image = np.full((128, 128, 3), grey, np.uint8)
        answers = judge(engine, [image] * 20)[:, 0]
        wrong.extend(answers[np.abs(answers - grey / 255) > 1e-6].tolist())

    with loaded(bundle, fake_python(infer="values = [pixels.max() / 255, pixels.min() / 255]")) as engine:
        threads = [threading.Thread(target=ask, args=(engine, grey)) for grey in (10, 90, 170, 250)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


# The stick that is not there


def test_missing_stick_is_told_with_the_plugins_own_reason(bundle: Bundle, myriad_python: Path, libusb: None) -> None:
    if any("03e7" in file.read_text() for file in Path("/sys/bus/usb/devices").glob("*/idVendor")):
        pytest.skip("there is a stick")
    with pytest.raises(EngineError, match=r"^OpenVINO on MYRIAD: .*(NC_ERROR|Can not init Myriad device)[^\n]*$"):
        MyriadEngine(bundle, myriad_python)


def test_runtime_without_the_plugin_is_told(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"^OpenVINO on MYRIAD: [^\n]*MYRIAD[^\n]*$"):
        MyriadEngine(bundle, Path(sys.executable))


def test_slow_start_that_fails_is_told_with_its_reason(bundle: Bundle, fake_python: FakePython) -> None:
    python = fake_python(load="time.sleep(1); raise RuntimeError('Can not init Myriad device: NC_ERROR')")
    with pytest.raises(EngineError, match=r"^OpenVINO on MYRIAD: Can not init Myriad device: NC_ERROR$"):
        MyriadEngine(bundle, python)


# Interpreters that are none


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("missing", "python is no program that can be run"),
        ("no program", "python is no program that can be run"),
        ("a script of nothing", "python cannot be started: No such file or directory"),
        ("no python", "the worker ended with status 1"),
        ("without OpenVINO", "No module named 'openvino'"),
    ],
)
def test_interpreter_that_cannot_run_the_worker_is_told(bundle: Bundle, tmp_path: Path, python: str, reason: str) -> None:
    path = tmp_path / "python"
    if python == "no program":
        path.write_text("nothing")
    elif python == "a script of nothing":
        path.write_text("#!/nonexistent/python3.9")
        path.chmod(0o755)
    elif python == "no python":
        path.symlink_to("/bin/false")
    elif python == "without OpenVINO":
        (tmp_path / "openvino.py").write_text("raise ModuleNotFoundError(\"No module named 'openvino'\")")
        path.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
    with pytest.raises(EngineError, match=rf"^OpenVINO on MYRIAD: [^\n]*{reason}[^\n]*$"):
        MyriadEngine(bundle, path)


def test_interpreter_may_be_named_from_where_the_daemon_is(
    bundle: Bundle, fake_python: FakePython, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = fake_python()
    monkeypatch.chdir(python.parent.parent)
    with loaded(bundle, Path(python.parent.name, python.name)) as engine:
        assert judge(engine, [GREY]).tolist() == [[0.75, 0.25]]


def test_runtime_is_not_set_up_with_a_python_that_is_too_new(tmp_path: Path) -> None:
    command = [PROJECT / "tools" / "myriad-runtime", tmp_path / "runtime"]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=LONG_S)
    assert done.returncode == (2 if platform.machine() == "x86_64" else 3)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runtime").exists()


# The end


def test_engine_that_is_closed_ends_its_worker_and_fails_from_then_on(bundle: Bundle, real_python: Path) -> None:
    engine = MyriadEngine(bundle, real_python, "CPU")
    process = worker()
    engine.close()
    assert ended(process)
    engine.close()
    with pytest.raises(EngineError, match="the worker has ended"):
        engine.start([GREY])


def test_worker_that_does_not_quit_is_killed(bundle: Bundle, fake_python: FakePython) -> None:
    engine = MyriadEngine(bundle, fake_python(load="import atexit; atexit.register(time.sleep, 1000)"))
    process = worker()
    engine.close()
    assert ended(process)


def test_engine_that_is_closed_while_it_works_fails_the_request(bundle: Bundle, fake_python: FakePython) -> None:
    engine = MyriadEngine(bundle, fake_python(infer=f"os.write(2, b'busy'); {SLEEP_HARD}"), answer_s=LONG_S)
    process, reasons = worker(), []

    def ask() -> None:
        try:
            engine.start([GREY])
        except EngineError as error:
            reasons.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(engine._lock.locked)
    engine.close()
    thread.join(10)
    assert len(reasons) == 1
    assert "Killed" in reasons[0]
    assert ended(process)


def test_engine_that_nobody_has_any_more_leaves_no_worker(bundle: Bundle, fake_python: FakePython) -> None:
    engine = MyriadEngine(bundle, fake_python())
    process = worker()
    del engine
    gc.collect()
    assert ended(process)
