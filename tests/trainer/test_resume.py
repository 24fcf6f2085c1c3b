"""A training that is broken off goes on, and ends with the very network that it would have ended with."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import _skip_or_fail, wait_for
from tests.trainer.tints import HOW, tint_folder, tints
from trainer.cli import main
from trainer.datasets import SplitRule
from trainer.fit import FitError, FitParameters, checkpoint, fit
from trainer.fit.checkpoint import Progress
from trainer.fit.watchers import TensorBoard, Watch, Watcher, no_watchers
from trainer.run import CHECKPOINT, Run

EPOCHS = 4
PARAMETERS = {"tile_px": 32, "epochs": EPOCHS, "batch": 12, "learning_rate": 1e-3}
COMMAND = "from trainer.cli import main; raise SystemExit(main())"


class BreaksOff:
    """Ends the training as Ctrl-C would: in the middle of an epoch, or at its end, before the checkpoint is written."""

    def __init__(self, epoch: int, *, at_the_end: bool = False) -> None:
        self._epoch, self._at_the_end = epoch, at_the_end

    def step(self, epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (self._epoch, 1) and not self._at_the_end:
            raise KeyboardInterrupt

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        if epoch == self._epoch and self._at_the_end:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


def trained(folder: Path, *, watch: Watch = no_watchers, **more: Any) -> Run:
    return fit([tints()], ["tints"], SplitRule(folds=4), FitParameters(**PARAMETERS | more), folder, watch=watch)


def watched(*others: Watcher) -> Watch:
    """By TensorBoard, and by others after it."""
    return lambda folder, steps, done: [TensorBoard(folder / "tensorboard"), *others]


def weights(folder: Path) -> list[np.ndarray]:
    return Run(folder, {}).network().get_weights()


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard shows: steps and values."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    return [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]


def hashes(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("uninterrupted") / "run", watch=watched())


def check_whole(folder: Path, uninterrupted: Run) -> None:
    """That a run is what it would have been without an interruption."""
    assert Run.open(folder).record["history"] == uninterrupted.record["history"]
    assert same(weights(folder), weights(uninterrupted.folder))
    for name in ("loss", "learning_rate"):
        values = [epoch[name] for epoch in uninterrupted.record["history"]]
        assert curve(folder, name) == [(number, pytest.approx(value)) for number, value in enumerate(values, 1)]
    assert not (folder / CHECKPOINT).exists()


@pytest.mark.parametrize("breaks_off", [BreaksOff(2), BreaksOff(2, at_the_end=True)], ids=["in an epoch", "at its end"])
def test_training_that_was_broken_off_goes_on(tmp_path: Path, uninterrupted: Run, breaks_off: Watcher) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, watch=watched(breaks_off))
    saved = checkpoint.load(tmp_path / CHECKPOINT)
    assert saved is not None
    assert saved[0].epoch == 2
    assert not (tmp_path / "model.keras").exists()
    begun: list[int] = []

    def watch(folder: Path, steps: int, done: int) -> list[Watcher]:
        begun.append(done)
        return watched()(folder, steps, done)

    trained(tmp_path, watch=watch)
    assert begun == [2]
    check_whole(tmp_path, uninterrupted)


def test_early_stopping_remembers_the_best_weights_over_an_interruption(tmp_path: Path) -> None:
    how = {"epochs": 12, "patience": 2, "learning_rate": 0.3}
    whole = trained(tmp_path / "whole", **how)
    last = len(whole.record["history"]) - 1
    # Between the best epoch and the end.
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", watch=lambda folder, steps, done: [BreaksOff(last)], **how)
    assert trained(tmp_path / "broken", **how).record["history"] == whole.record["history"]
    assert same(weights(tmp_path / "broken"), weights(tmp_path / "whole"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tint_folder(tmp_path_factory.mktemp("data") / "tints", 24)


def command(data: Path, out: Path, epochs: int) -> list[str]:
    how = ["--epochs", str(epochs), "--batch", "6", "--learning-rate", "0.001", "--folds", "4"]
    return ["fit", "--data", str(data), *how, "--out", str(out)]


@pytest.mark.timeout(300)
def test_kill_and_the_same_command_end_with_the_same_network(
    tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *command(data, killed, 12)], stderr=subprocess.PIPE)
    # Nothing is asked to stop: the next epoch is being learned, or a file is being written.
    wait_for((killed / CHECKPOINT).exists, 200)
    process.send_signal(signal.SIGKILL)
    assert process.communicate()[1] == b""
    assert process.returncode == -signal.SIGKILL
    saved = checkpoint.load(killed / CHECKPOINT)
    assert saved is not None
    assert 0 < saved[0].epoch < 12
    assert main(command(data, killed, 12)) == 0
    output = capfd.readouterr()
    assert output.err == ""
    assert output.out.splitlines()[-1].startswith("tints")
    assert main(command(data, whole, 12)) == 0
    assert Run.open(killed).record["history"] == Run.open(whole).record["history"]
    assert [step for step, _ in curve(killed, "loss")] == list(range(1, 13))
    assert curve(killed, "loss") == curve(whole, "loss")
    assert same(weights(killed), weights(whole))
    assert sorted(file.name for file in killed.iterdir()) == ["model.keras", "run.json", "tensorboard"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / CHECKPOINT
    checkpoint.save(path, Progress(3, 1.5, [{"loss": 0.5}], 0.25, 1), {"weight-0": np.arange(4096.0)})
    return path


def test_checkpoint_keeps_how_far_it_is(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = checkpoint.load(saved)
    assert loaded is not None
    assert loaded[0] == Progress(3, 1.5, [{"loss": 0.5}], 0.25, 1)
    np.testing.assert_array_equal(loaded[1]["weight-0"], np.arange(4096.0))
    assert [file.name for file in saved.parent.iterdir()] == [CHECKPOINT]
    assert capsys.readouterr().err == ""


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-10],
    "a text": lambda content: b"this was a checkpoint once",
    "flipped": lambda content: content[:20_000] + bytes([content[20_000] ^ 1]) + content[20_001:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoint_is_not_gone_on_with_and_that_is_said(
    saved: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    assert checkpoint.load(saved) is None
    said = capsys.readouterr().err
    assert said.startswith(f"{saved} cannot be read, so the training begins anew: ")
    assert said.count("\n") == 1


def test_checkpoint_that_is_not_there_is_no_news(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checkpoint.load(tmp_path / CHECKPOINT) is None
    assert capsys.readouterr().err == ""


def test_training_with_a_damaged_checkpoint_ends_with_the_same_network(tmp_path: Path, uninterrupted: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, watch=watched(BreaksOff(2)))
    whole = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    trained(tmp_path, watch=watched())
    check_whole(tmp_path, uninterrupted)


def test_checkpoint_of_an_unknown_training_is_not_gone_on_with(tmp_path: Path, uninterrupted: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, watch=watched(BreaksOff(2)), seed=5)
    (tmp_path / "run.json").unlink()
    shutil.rmtree(tmp_path / "tensorboard")
    trained(tmp_path, watch=watched())
    check_whole(tmp_path, uninterrupted)


def finished(tiny_run: Path, *more: str) -> list[str]:
    """The command that made `tiny_run`, with other arguments after it."""
    return ["fit", "--data", str(tiny_run.parent / "tints"), *HOW, "--out", str(tiny_run), *more]


def test_finished_training_is_measured_and_not_repeated(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(tiny_run)
    assert main(finished(tiny_run)) == 0
    output = capsys.readouterr()
    accuracy = json.loads((tiny_run / "run.json").read_text())["metrics"]["tints"]["accuracy"]
    assert f"{accuracy:.2%}" in output.out
    assert f"{tiny_run}: finished already" in output.out
    assert output.err == ""
    assert hashes(tiny_run) == before


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--seed", "2"], "was begun with seed 1, not 2"),
        (["--epochs", "5"], "was begun with epochs 6, not 5"),
        (["--network", "seed-cnn"], "was begun with network overflight-s, not seed-cnn"),
        (["--fold", "2"], "was begun with fold 0, not 1"),
    ],
    ids=" ".join,
)
def test_folder_of_another_training_is_refused_and_left_as_it_is(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], more: list[str], named: str
) -> None:
    before = hashes(tiny_run)
    assert main(finished(tiny_run, *more)) == 2
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: ")
    assert said.count("\n") == 1
    assert named in said
    assert hashes(tiny_run) == before


@pytest.mark.parametrize("arguments", ["tints(seed=2)", "replace(tints(), repeats=2)", "replace(tints(), name='other')"])
def test_other_data_than_the_folders_are_refused(uninterrupted: Run, arguments: str) -> None:
    from dataclasses import replace

    data = {
        "tints(seed=2)": tints(seed=2),
        "replace(tints(), repeats=2)": replace(tints(), repeats=2),
        "replace(tints(), name='other')": replace(tints(), name="other"),
    }[arguments]
    before = hashes(uninterrupted.folder)
    with pytest.raises(FitError, match="was begun with other data; give another --out or remove it"):
        fit([data], ["tints"], SplitRule(folds=4), FitParameters(**PARAMETERS), uninterrupted.folder)
    assert hashes(uninterrupted.folder) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that has room for one checkpoint, but not for another beside it; ``remount`` makes it larger."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode != 0:
        _skip_or_fail(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_ends_the_training_in_one_line_and_with_room_it_goes_on(
    small_disk: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_disk / "run"
    assert main(command(data, run, 3)) == 1
    said = capsys.readouterr().err
    assert said.startswith("overflight-train: no room on the disk: ")
    assert said.count("\n") == 1
    saved = checkpoint.load(run / CHECKPOINT)
    assert saved is not None
    assert saved[0].epoch == 1
    assert sorted(file.name for file in run.iterdir()) == [CHECKPOINT, "run.json", "tensorboard"]
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    assert main(command(data, run, 3)) == 0
    assert [step for step, _ in curve(run, "loss")] == [1, 2, 3]
    assert len(Run.open(run).record["history"]) == 3
