"""The project as a stranger gets it: the README's promises, the package, the locks."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from edge import config
from edge.bundle import SHIPPED, Bundle
from edge.position import Locator

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def test_the_readme_s_config_is_one_that_works() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    loaded = config.build(yaml.safe_load(block), "README.md", {})
    assert loaded.device == "kite-7"
    Locator.from_config(loaded.position)


def test_the_readme_names_only_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


def test_the_readme_names_only_files_that_exist() -> None:
    named = re.findall(r"\]\(([^)h#][^)]*)\)|`((?:edge|trainer|tests|bench|requirements)/[^`{ ]*)`", README)
    paths = [PROJECT / (link or code) for link, code in named]
    assert paths
    assert [path for path in paths if not path.exists()] == []


def test_the_readme_s_figures_of_the_model_are_those_of_the_bundle() -> None:
    for name, measured in Bundle.shipped().manifest.metrics.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| {name} "))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert f"{measured['tiles']:,}" in cells
        assert f"{measured['accuracy']:.1%}" in cells
        assert f"{measured['balanced_accuracy']:.1%}" in cells


@pytest.mark.parametrize("lock", ["device", "demo", "development"])
def test_locks_have_hashes_and_name_no_host(lock: str) -> None:
    text = (PROJECT / "requirements" / f"{lock}.txt").read_text()
    packages = re.findall(r"^[a-z][^\s=]*==", text, re.MULTILINE)
    assert packages
    assert text.count("--hash=sha256:") >= len(packages)
    assert "://" not in text
    assert "index-url" not in text


def test_a_device_installs_no_tensorflow_no_torch_and_no_pandas() -> None:
    text = (PROJECT / "requirements" / "device.txt").read_text()
    assert re.findall(r"^(tensorflow|torch|pandas|keras)", text, re.MULTILINE) == []


def test_the_wheel_holds_the_whole_bundle(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        entry_points = archive.read(next(name for name in packed if name.endswith("entry_points.txt"))).decode()
    needed = {"manifest.json", *Bundle.shipped().manifest.files}
    assert {f"edge/bundle/{SHIPPED.name}/{name}" for name in needed} <= packed
    assert {"edge/py.typed", "trainer/cli.py"} <= packed
    assert "overflight = edge.cli:main" in entry_points
    assert not any(name.startswith("tests/") for name in packed)
