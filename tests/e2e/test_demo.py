"""The demo: the first thing that a stranger runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import HARVEY_NAME


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "demo", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_demo_flies_alerts_and_judges_itself() -> None:
    finished = demo()
    assert finished.returncode == 0, finished.stderr
    alerts = re.findall(r"^\d{4}-\S+Z  demo  damaged .* DEMO_\d{4}\.JPG$", finished.stdout, re.MULTILINE)
    summary = re.search(r"alerts      (\d+), of which (\d+) arrived", finished.stdout)
    assert summary is not None
    assert int(summary[1]) == int(summary[2]) == len(alerts) > 0
    truth = re.search(r"precision (\S+)%, recall (\S+)%, (\S+)% judged right", finished.stdout)
    assert truth is not None
    assert float(truth[3]) >= 95
    assert "192 classified" in finished.stdout
    assert "Traceback" not in finished.stderr


def test_the_demo_flies_over_real_images(data: Path) -> None:
    finished = demo("--images", data / "harvey" / "validation", "--position", HARVEY_NAME)
    assert finished.returncode == 0, finished.stderr
    assert "2000 classified" in finished.stdout
    assert "truth" not in finished.stdout


def test_the_demo_of_a_folder_that_is_not_there_is_a_mistake() -> None:
    finished = demo("--images", "/nowhere")
    assert (finished.returncode, finished.stderr) == (2, "overflight: /nowhere: no such folder\n")
