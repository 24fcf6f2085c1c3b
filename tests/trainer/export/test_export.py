"""Exports of a run: every form says the same, INT8 has to earn its place, and nothing is half written."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import PROJECT, _skip_or_fail, wait_for
from tests.trainer.export.engines import FORMS, ask
from tests.trainer.tints import tints
from trainer.cli import main
from trainer.evaluate.calibration import apply_temperature
from trainer.export import ExportError, ExportRecord
from trainer.run import Run

COMMAND = "from trainer.cli import main; raise SystemExit(main())"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Pictures that no network here has learned from, BGR, at the size of tiles."""
    return np.ascontiguousarray(tints(12, 128, seed=9).tiles.images[..., ::-1])


@pytest.fixture(scope="module")
def large_images() -> np.ndarray:
    """Of another size, and not square."""
    return np.stack([cv2.resize(image, (200, 160)) for image in tints(6, 128, seed=8).tiles.images])


@pytest.fixture
def copy(tiny_export: Path, tmp_path: Path) -> Path:
    """An export that may be replaced, alone in its folder, with a file that no new one has."""
    folder = shutil.copytree(tiny_export, tmp_path / "exports" / "tiny")
    (folder / "old.txt").write_text("of the old one")
    return folder


def hashes(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1, said
    return said


def keras_says(run: Path, images: np.ndarray) -> np.ndarray:
    """What the trained network itself says of BGR images, before any temperature."""
    pixels = tf.image.resize(tf.cast(images[..., ::-1], tf.float32), (128, 128))
    return np.asarray(Run.open(run).network()(pixels, training=False))


def test_export_has_every_form_and_says_so(tiny_export: Path, tiny_run: Path) -> None:
    record = ExportRecord.open(tiny_export)
    assert set(record.formats) == set(FORMS)
    assert record.left_out == {}
    assert (record.network, record.labels, record.height, record.width) == ("overflight-s", ("brown", "red"), 128, 128)
    assert record.calibration is not None
    assert record.calibration.fitted_on == ("tints",)
    assert record.metrics["tints"]["tiles"] == 12
    ran = json.loads((tiny_run / "run.json").read_text())
    assert record.run == {name: value for name, value in ran.items() if name != "history"}
    assert sorted(file.name for file in tiny_export.iterdir()) == ["export.json", "ir", "onnx", "tensorflow", "trainer"]
    assert (tiny_export / "trainer" / "model.keras").read_bytes() == (tiny_run / "model.keras").read_bytes()


@pytest.mark.parametrize("size", ["of the tile's size", "of another size"])
def test_all_forms_say_the_same(tiny_export: Path, images: np.ndarray, large_images: np.ndarray, size: str) -> None:
    asked = images if size == "of the tile's size" else large_images
    reference = ask(tiny_export, "fp32", asked)
    # The check says something only if the pictures are told apart.
    assert np.ptp(reference[:, 0]) > 0.1
    np.testing.assert_allclose(reference.sum(axis=1), 1, atol=1e-5)
    for form in ("saved_model", "litert", "onnx", "fp16"):
        np.testing.assert_allclose(ask(tiny_export, form, asked), reference, atol=1e-3, err_msg=form)
    assert np.abs(ask(tiny_export, "int8", asked) - reference).mean() < 0.1


@pytest.mark.parametrize("form", ["saved_model", "litert", "onnx", "fp32"])
def test_temperature_is_inside_every_form(tiny_export: Path, tiny_run: Path, images: np.ndarray, form: str) -> None:
    calibration = ExportRecord.open(tiny_export).calibration
    assert calibration is not None
    assert abs(calibration.temperature - 1) > 0.1
    plain, given = keras_says(tiny_run, images), ask(tiny_export, form, images)
    np.testing.assert_allclose(given, apply_temperature(plain, calibration.temperature), atol=0.02)
    assert np.abs(given - plain).max() > 0.05
    sure = np.abs(plain[:, 0] - 0.5) > 0.02
    assert sure.any()
    np.testing.assert_array_equal(given.argmax(axis=1)[sure], plain.argmax(axis=1)[sure])


def test_colours_are_not_turned_round(tiny_export: Path, images: np.ndarray) -> None:
    # Red roofs read as blue would be another picture.
    straight, turned = (ask(tiny_export, "fp32", np.ascontiguousarray(asked)) for asked in (images, images[..., ::-1]))
    assert np.abs(straight - turned).max() > 0.05


def test_no_model_file_names_a_path_of_the_machine(tiny_export: Path, tiny_run: Path) -> None:
    for file in tiny_export.rglob("*"):
        if file.is_file() and file.name != "export.json":
            content = file.read_bytes()
            for path in (tiny_run.parent, tiny_export.parent, PROJECT, Path.home(), Path(sys.prefix)):
                assert str(path).encode() not in content, f"{file} names {path}"


def test_int8_is_a_fraction_of_the_size(tiny_export: Path) -> None:
    size = {name: (tiny_export / "ir" / f"{name}.bin").stat().st_size for name in ("model-fp32", "model", "model-int8")}
    assert size["model"] < 0.55 * size["model-fp32"]
    assert size["model-int8"] < 0.3 * size["model-fp32"]


def test_export_tells_what_it_wrote_and_nothing_else(tiny_run: Path, copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tiny_run), "--force-int8", "--out", str(copy)]) == 0
    output = capfd.readouterr()
    assert output.err == ""
    assert output.out.startswith(f"{copy}: saved_model, litert, onnx, fp32, fp16, int8\ntemperature 0.")
    assert "tints: balanced accuracy FP32 " in output.out
    # The old one is gone, and no trace of the work is left.
    assert not (copy / "old.txt").exists()
    assert [entry.name for entry in copy.parent.iterdir()] == ["tiny"]


@pytest.fixture
def spoilt_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantization for black pictures, which no picture of the data is like."""
    monkeypatch.setattr("trainer.export.export._learned", lambda parts: np.zeros((8, 128, 128, 3), np.uint8))


def test_int8_that_costs_too_much_is_left_out(
    tiny_run: Path, copy: Path, spoilt_int8: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tiny_run), "--out", str(copy)]) == 0
    said = capsys.readouterr().err
    assert said == "left out: int8: costs more balanced accuracy than 0.3%\n"
    record = ExportRecord.open(copy)
    assert "int8" not in record.formats
    assert record.gate is not None
    assert not record.gate.passed
    assert record.gate.fp32["tints"] - record.gate.int8["tints"] > 0.1
    # What is measured is what is left.
    assert record.metrics["tints"]["balanced_accuracy"] == pytest.approx(record.gate.fp32["tints"], abs=0.1)
    assert sorted(file.stem for file in (copy / "ir").glob("*.xml")) == ["model", "model-fp32"]
    assert sorted(file.stem for file in (copy / "ir").glob("*.bin")) == ["model", "model-fp32"]


def test_int8_that_costs_too_much_can_be_insisted_on(tiny_run: Path, copy: Path, spoilt_int8: None) -> None:
    assert main(["export", str(tiny_run), "--force-int8", "--out", str(copy)]) == 0
    record = ExportRecord.open(copy)
    assert "int8" in record.formats
    assert record.gate is not None
    assert not record.gate.passed
    assert record.metrics["tints"]["balanced_accuracy"] == record.gate.int8["tints"]
    assert (copy / "ir" / "model-int8.xml").is_file()


def test_format_that_cannot_be_made_costs_only_itself(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    assert main(["export", str(tiny_run), "--force-int8", "--out", str(tmp_path / "tiny")]) == 0
    assert capsys.readouterr().err.startswith("left out: onnx: ")
    record = ExportRecord.open(tmp_path / "tiny")
    assert set(record.formats) == set(FORMS) - {"onnx"}
    assert not (tmp_path / "tiny" / "onnx").exists()


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, lambda path: path.write_text("a file"), lambda path: (path.mkdir(), (path / "holiday.jpg").write_text(""))],
    ids=["an empty folder", "a file", "a folder of others"],
)
def test_what_is_no_export_is_not_replaced(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object]
) -> None:
    target = tmp_path / "mine"
    make(target)
    before = hashes(tmp_path)
    assert main(["export", str(tiny_run), "--out", str(target)]) == 2
    assert f"{target}: exists and is not an export" in error_line(capsys)
    assert hashes(tmp_path) == before


def broken(name: str, run: Path) -> Path:
    """A run that cannot be exported, in one of many ways."""
    match name:
        case "no folder":
            shutil.rmtree(run)
        case "not finished":
            record = json.loads((run / "run.json").read_text())
            del record["metrics"]
            (run / "run.json").write_text(json.dumps(record))
        case "no network":
            (run / "model.keras").unlink()
        case "truncated network":
            (run / "model.keras").write_bytes((run / "model.keras").read_bytes()[:100_000])
        case "data are gone":
            (run / "run.json").write_text((run / "run.json").read_text().replace("/tints", "/gone"))
        case "data have other labels":
            (run / "run.json").write_text((run / "run.json").read_text().replace('"brown"', '"blue"'))
        case other:
            raise ValueError(other)
    return run


BROKEN = ["no folder", "not finished", "no network", "truncated network", "data are gone", "data have other labels"]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_run_is_one_line_and_leaves_the_old_export(
    tiny_run: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = broken(name, shutil.copytree(tiny_run, tmp_path / "run"))
    before = hashes(copy.parent)
    assert main(["export", str(run), "--out", str(copy)]) == 2
    error_line(capsys)
    assert main(["export", str(run), "--out", str(tmp_path / "new" / "tiny")]) == 2
    error_line(capsys)
    assert hashes(copy.parent) == before
    assert not (tmp_path / "new").exists() or list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "export.json cannot be read"),
        (b"[]", "export.json cannot be read"),
        (b'{"labels": []}', "export.json cannot be read"),
    ],
    ids=["empty", "a list", "incomplete"],
)
def test_damaged_record_is_one_line(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "export.json").write_bytes(content)
    with pytest.raises(ExportError, match=named) as caught:
        ExportRecord.open(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_interrupted_export_leaves_the_old_one(tiny_run: Path, copy: Path, number: signal.Signals) -> None:
    before = hashes(copy)

    def half_written() -> bool:
        return any(copy.parent.glob(".tiny.*/new/tensorflow"))

    command = [sys.executable, "-c", COMMAND, "export", str(tiny_run), "--out", str(copy)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_for(half_written, 200)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGKILL: -signal.SIGKILL}[number], said
    assert hashes(copy) == before
    if number == signal.SIGTERM:
        assert said == b""
        assert [entry.name for entry in copy.parent.iterdir()] == ["tiny"]
        return
    # What a kill leaves nobody can prevent; the next export clears it away.
    assert main(["export", str(tiny_run), "--force-int8", "--out", str(copy)]) == 0
    assert [entry.name for entry in copy.parent.iterdir()] == ["tiny"]
    assert set(ExportRecord.open(copy).formats) == set(FORMS)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode != 0:
        _skip_or_fail(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


# Not enough for the Keras file; then for that, but not for the SavedModel, LiteRT, ONNX, and IR.
@pytest.mark.parametrize("room_kb", [100, 1000, 1900, 2600, 3200])
def test_export_onto_a_full_disk_is_one_line_and_leaves_the_old_one(
    tiny_run: Path, tiny_export: Path, small_disk: Path, capsys: pytest.CaptureFixture[str], room_kb: int
) -> None:
    target = shutil.copytree(tiny_export, small_disk / "tiny")
    before = hashes(target)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(free - (room_kb << 10)))
    assert main(["export", str(tiny_run), "--out", str(target)]) == 1
    assert error_line(capsys).startswith("overflight-train: no room on the disk: ")
    assert hashes(target) == before
    assert sorted(entry.name for entry in small_disk.iterdir()) == ["ballast", "tiny"]


def test_data_that_changed_since_the_training_are_not_measured_on(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One tile more deals others to the folds: what is held out now was learned from.
    changed = shutil.copytree(tiny_run.parent / "tints", tmp_path / "tints")
    assert cv2.imwrite(str(changed / "red" / "one-more.png"), np.full((128, 128, 3), (9, 9, 200), np.uint8))
    assert main(["export", str(tiny_run), "--data", str(changed), "--out", str(tmp_path / "export")]) == 2
    assert "tints: not, or no longer, the data that" in error_line(capsys)
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("more", [["--labels", "a,b"], ["--fold", "2"], ["--split", "random"]])
def test_what_a_run_knows_itself_is_not_asked_for(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert main(["export", str(tiny_run), *more, "--out", str(tmp_path / "export")]) == 2
    assert f"{more[0]}: only with --from" in error_line(capsys)
