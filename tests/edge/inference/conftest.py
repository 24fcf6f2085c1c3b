"""Interpreters for workers: those that can be had, and ones whose runtime does what a test wants of it."""

from __future__ import annotations

import ctypes.util
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from edge.bundle import ANYONE, Bundle
from edge.inference import Classifier
from tests.conftest import PROJECT, _skip_or_fail
from tests.edge.inference.judging import Tiles
from tests.edge.inference.rungs import Stick, Told

# Hardware that hangs, dies or lies when it is told to cannot be had. This is OpenVINO's interface of 2021, with nothing behind.
RUNTIME = """
import ctypes, os, resource, signal, struct, subprocess, sys, time
import numpy as np

answers = int(sys.argv[2])
memory = int(sys.argv[3])

def frame(content):
    os.write(answers, struct.pack(">I", len(content)) + content)

class Blob:
    precision = "FP16"

class Network:
    input_info = {{"images": Blob()}}
    outputs = {{"probabilities": Blob()}}

class Compiled:
    def infer(self, inputs):
        pixels = inputs["images"]
        values = [0.75, 0.25]
        {infer}
        return {{"probabilities": np.array([values], np.float32)}}

class IECore:
    available_devices = ["CPU", "MYRIAD"]

    def read_network(self, model, weights, init_from_buffer):
        return Network()

    def load_network(self, network, device_name, config, num_requests):
        {load}
        return Compiled()

def get_version():
    {hello}
    return "0"
"""

FakePython = Callable[..., Path]


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No process and no descriptor outlives a test's engines."""
    children = set(psutil.Process().children(recursive=True))
    descriptors = set(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert set(psutil.Process().children(recursive=True)) - children == set()
    assert set(os.listdir("/proc/self/fd")) - descriptors == set()


@pytest.fixture
def fake_python(tmp_path: Path) -> FakePython:
    """Makes an interpreter with a runtime that runs given Python at its start (hello), loading (load) or asked (infer)."""

    def make(**code: str) -> Path:
        folder = tmp_path / "runtime"
        (folder / "openvino").mkdir(parents=True)
        (folder / "openvino" / "__init__.py").touch()
        parts = {part: code.pop(part, "pass") for part in ("hello", "load", "infer")}
        assert not code
        (folder / "openvino" / "inference_engine.py").write_text(RUNTIME.format(**parts))
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        return python

    return make


@pytest.fixture(scope="session")
def myriad_python() -> Path:
    """An interpreter with OpenVINO 2021.4.2, as `make myriad-runtime` sets it up."""
    named = os.environ.get("OVERFLIGHT_MYRIAD_PYTHON")
    python = Path(named) if named else PROJECT / ".venv-myriad" / "bin" / "python"
    if not named and not python.exists():
        # CI, too, may have no Python that is old enough; where it has one, .ci/run sets this up or fails.
        pytest.skip("no runtime for Movidius sticks: make myriad-runtime, or OVERFLIGHT_MYRIAD_PYTHON names an interpreter")
    return python


@pytest.fixture(scope="session")
def libusb() -> None:
    """Tests that ask for this have the MYRIAD plugin loaded, which needs Debian's libusb-1.0-0."""
    if ctypes.util.find_library("usb-1.0") is None:
        _skip_or_fail("libusb is not installed (apt-get install libusb-1.0-0)")


@pytest.fixture(params=["today's", "2021.4"])
def real_python(request: pytest.FixtureRequest) -> Path:
    """Interpreters with a real OpenVINO: this one, and that for sticks."""
    if request.param == "2021.4":
        return Path(request.getfixturevalue("myriad_python"))
    return Path(sys.executable)


@pytest.fixture(scope="module")
def classifier(float_bundle: Path) -> Classifier:
    """One that no engine was lost of."""
    return Classifier(Bundle.open(float_bundle, ANYONE))


@pytest.fixture(scope="module")
def images(town_tiles: Tiles) -> list[np.ndarray]:
    """Rendered tiles of changing sizes, so that they make several requests."""
    sides = (128, 128, 128, 200, 200, 128, 97, 128, 128, 200)
    return [cv2.resize(town_tiles[index][0], (side, side), interpolation=cv2.INTER_AREA) for index, side in enumerate(sides)]


@pytest.fixture
def told() -> Told:
    """Keeps what a ladder says."""
    return Told()


@pytest.fixture
def stick() -> Stick:
    """One that is in and works."""
    return Stick()
