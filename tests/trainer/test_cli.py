"""The ``overflight-train`` command: from data to a bundle, and what it says when it cannot."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from edge.bundle import SHIPPED, Bundle
from edge.inference import Classifier
from trainer.cli import main
from trainer.datasets import LABELS
from trainer.networks import overflight_s


def train(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from trainer.cli import main; raise SystemExit(main())", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error, which must be one line."""
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    return said


def hashes(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def untrained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as `fit` writes it, of a network that has learned nothing."""
    run = tmp_path_factory.mktemp("untrained") / "run"
    run.mkdir()
    overflight_s(len(LABELS), tile_px=32).save(run / "model.keras")
    (run / "run.json").write_text(json.dumps({"parameters": {}, "labels": LABELS, "metrics": {}}))
    return run


@pytest.fixture
def broken_run(tmp_path: Path, untrained_run: Path, request: pytest.FixtureRequest) -> Path:
    """A run folder that misses or mangles something."""
    run = tmp_path / "run"
    shutil.copytree(untrained_run, run)
    model = run / "model.keras"
    content = model.read_bytes()
    match request.param:
        case "no folder":
            shutil.rmtree(run)
        case "empty folder":
            shutil.rmtree(run)
            run.mkdir()
        case "no run.json":
            (run / "run.json").unlink()
        case "run.json is no JSON":
            (run / "run.json").write_text('{"labels": [')
        case "run.json has no labels":
            (run / "run.json").write_text("{}")
        case "run.json is a list":
            (run / "run.json").write_text("[]")
        case "no model":
            model.unlink()
        case "model is a text":
            model.write_text("this was a model once")
        case "model is empty":
            model.write_bytes(b"")
        case "model is truncated":
            model.write_bytes(content[: len(content) // 2])
        case "weights are damaged":
            middle = len(content) // 2
            model.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
        case other:
            raise ValueError(other)
    return run


BROKEN = [
    "no folder",
    "empty folder",
    "no run.json",
    "run.json is no JSON",
    "run.json has no labels",
    "run.json is a list",
    "no model",
    "model is a text",
    "model is empty",
    "model is truncated",
    "weights are damaged",
]


@pytest.mark.timeout(300)
def test_fit_and_export_make_a_bundle_that_a_device_runs(tmp_path: Path) -> None:
    run, bundle_folder = tmp_path / "runs" / "one", tmp_path / "bundles" / "town"
    fitted = train("fit", "--data", "rendered:96", "--epochs", 1, "--out", run)
    assert fitted.returncode == 0, fitted.stderr
    assert {file.name for file in run.iterdir()} == {"model.keras", "run.json"}
    record = json.loads((run / "run.json").read_text())
    assert record["parameters"]["epochs"] == 1
    assert record["metrics"]["rendered"]["tiles"] == 96
    assert "rendered" in fitted.stdout

    # An older bundle lies there, with a file that the new one has not.
    shutil.copytree(SHIPPED, bundle_folder)
    (bundle_folder / "old.txt").write_text("of the old one")
    exported = train("export", run, "--name", "town", "--version", 7, "--data", "rendered:96", "--out", bundle_folder)
    assert exported.returncode == 0, exported.stderr
    assert f"{bundle_folder}: town version 7" in exported.stdout
    assert [entry.name for entry in bundle_folder.parent.iterdir()] == ["town"]
    assert not (bundle_folder / "old.txt").exists()

    bundle = Bundle.open(bundle_folder)
    assert (bundle.model.name, bundle.model.version) == ("town", 7)
    assert bundle.manifest.labels == LABELS
    assert bundle.manifest.alert_labels == ("damaged",)
    measured = bundle.manifest.metrics["rendered"]
    assert measured["tiles"] == 96
    assert 0 <= measured["balanced_accuracy"] <= 1
    # The bundle decides as the network that was measured after training did.
    assert measured["accuracy"] == pytest.approx(record["metrics"]["rendered"]["accuracy"], abs=0.03)
    # Where it was made is nobody's business.
    assert str(tmp_path).encode() not in b"".join(file.read_bytes() for file in bundle_folder.rglob("*") if file.is_file())

    images = [np.random.default_rng(seed).integers(0, 256, (128, 128, 3), np.uint8) for seed in range(3)]
    by_openvino = Classifier(bundle, ["CPU"]).classify(images)
    by_litert = Classifier(bundle, ["TENSORFLOW"]).classify(images)
    assert [prediction.engine for prediction in (by_openvino[0], by_litert[0])] == ["openvino", "litert"]
    for one, other in zip(by_openvino, by_litert, strict=True):
        assert one.probabilities["damaged"] == pytest.approx(other.probabilities["damaged"], abs=1e-3)


@pytest.mark.parametrize("broken_run", BROKEN, indirect=True)
def test_export_of_a_broken_run_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, broken_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bundles" / "town"
    assert main(["export", str(broken_run), "--out", str(target)]) == 2
    assert str(broken_run) in error_line(capsys)
    assert not target.exists()
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


@pytest.mark.parametrize("broken_run", BROKEN, indirect=True)
def test_export_of_a_broken_run_leaves_the_old_bundle_as_it_is(tmp_path: Path, broken_run: Path) -> None:
    target = tmp_path / "bundles" / "town"
    shutil.copytree(SHIPPED, target)
    before = hashes(target)
    assert main(["export", str(broken_run), "--out", str(target)]) == 2
    assert hashes(target) == before
    assert list(target.parent.iterdir()) == [target]


def test_export_with_wrong_data_leaves_the_old_bundle_as_it_is(
    tmp_path: Path, untrained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bundles" / "town"
    shutil.copytree(SHIPPED, target)
    before = hashes(target)
    assert main(["export", str(untrained_run), "--data", f"harvey:{tmp_path}", "--out", str(target)]) == 2
    assert str(tmp_path / "train" / "damage") in error_line(capsys)
    assert hashes(target) == before
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(("option", "value"), [("--name", "Not A Name"), ("--version", "99999999999")])
def test_export_under_a_name_that_no_bundle_may_have_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, untrained_run: Path, capfd: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    target = tmp_path / "bundles" / "town"
    try:
        status = main(["export", str(untrained_run), option, value, "--out", str(target)])
    except SystemExit as exited:
        # Where the command's own parser refuses it.
        status = int(str(exited.code))
    assert status == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("overflight-train")
    assert option.strip("-") in last
    assert not target.exists()
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("harvey:/no/such/folder", "/no/such/folder/train/damage"),
        ("rendered:none", "rendered:none"),
        ("hurricane:1", "hurricane:1"),
        ("harvey", "harvey"),
    ],
)
def test_fit_with_wrong_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, named: str) -> None:
    assert main(["fit", "--data", data, "--out", str(tmp_path / "run")]) == 2
    assert named in error_line(capsys)
    assert not (tmp_path / "run").exists()


def test_fit_with_fewer_tiles_than_a_batch_works_or_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = main(["fit", "--data", "rendered:10", "--epochs", "1", "--out", str(tmp_path / "run")])
    assert status in {0, 2}
    if status == 2:
        assert "rendered:10" in capfd.readouterr().err.splitlines()[-1]
    else:
        assert (tmp_path / "run" / "model.keras").is_file()


def test_fit_into_a_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in LABELS:
        for number in range(10):
            (tmp_path / "tiles" / label).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "tiles" / label / f"{number}.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "run").write_text("no folder")
    assert main(["fit", "--data", f"haiti:{tmp_path / 'tiles'}", "--epochs", "1", "--out", str(tmp_path / "run")]) in {1, 2}
    assert str(tmp_path / "run") in error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["fit", "--data", "rendered:96", "--epochs", "0", "--out", "run"],
            "--epochs: expected a whole number from 1, got '0'",
        ),
        (["fit", "--data", "rendered:96", "--epochs", "many", "--out", "run"], "--epochs"),
        (["fit", "--data", "rendered:96", "--epochs", "-1", "--out", "run"], "--epochs"),
        (["fit", "--out", "run"], "--data"),
        (["fit", "--data", "rendered:96"], "--out"),
        (["export", "run", "--version", "0", "--out", "bundle"], "--version"),
        (["fly"], "fly"),
        ([], "COMMAND"),
    ],
)
def test_wrong_arguments_end_with_status_2_and_a_line_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    # Above it the parser shows how the command is used.
    assert named in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["fit", "export"])
def test_help_shows_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as exited:
        main([command, "--help"])
    assert exited.value.code == 0
    assert f"example: overflight-train {command} " in " ".join(capsys.readouterr().out.split())


def test_mistake_of_the_callers_starts_no_tensorflow() -> None:
    # Its import takes seconds, which nobody should wait to be told of a typing mistake.
    code = (
        "import sys; from trainer.cli import main\n"
        "try: main(['fit', '--data', 'rendered:9', '--epochs', '0', '--out', 'x'])\n"
        "except SystemExit as exited: print(exited.code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "2 False\n"


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected reader:location"):
        main(["--debug", "fit", "--data", "hurricane:1", "--out", str(tmp_path / "run")])


def test_networks_are_saved_without_code(untrained_run: Path) -> None:
    # A run folder may come from somebody else: loading it must not execute anything.
    model = keras.models.load_model(untrained_run / "model.keras", compile=False, safe_mode=True)
    assert model.output_shape == (None, len(LABELS))
