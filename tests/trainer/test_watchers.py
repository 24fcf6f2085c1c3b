"""What a training shows: TensorBoard's curves, MLflow's runs, lines and bars."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainer.tints import tint_folder
from trainer.cli import main
from trainer.fit.watchers import Lines, MlFlow, ProgressBar, TensorBoard, Watchers
from trainer.run import Run

mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed (pip install overflight[mlflow])")


@pytest.fixture
def local_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where nobody has set up a server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return [(event.step, round(float(tf.make_ndarray(event.tensor_proto)), 4)) for event in events.Tensors(name)]


def logged(folder: Path, run_id: str, name: str) -> list[tuple[int, float]]:
    """A metric as MLflow gives it back."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def test_tensorboard_gets_each_epoch_once_also_after_a_kill(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    first.epoch(0, {"loss": 1.0})
    first.epoch(1, {"loss": 0.5})
    # Killed: not closed, its last event cut off. The second epoch has no checkpoint, so it is learned once more.
    (file,) = tmp_path.iterdir()
    again = TensorBoard(tmp_path)
    again.epoch(1, {"loss": 0.5, "validation_loss": 0.7})
    again.epoch(2, {"loss": 0.25})
    again.close()
    first.close()
    assert curve(tmp_path, "loss") == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert curve(tmp_path, "validation_loss") == [(2, 0.7)]
    assert file.exists()


def test_tensorboard_writes_an_epoch_again_whose_event_was_cut_off(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    first.epoch(0, {"loss": 1.0})
    first.epoch(1, {"loss": 0.5})
    first.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    again = TensorBoard(tmp_path)
    again.epoch(1, {"loss": 0.5})
    again.close()
    assert curve(tmp_path, "loss") == [(1, 1.0), (2, 0.5)]


def test_fit_logs_to_a_local_file_that_mlflow_reads(
    tmp_path: Path, local_mlflow: None, capfd: pytest.CaptureFixture[str]
) -> None:
    data, out = tint_folder(tmp_path / "tints", 12), tmp_path / "run"
    how = ["--epochs", "2", "--batch", "4", "--folds", "2", "--mlflow"]
    assert main(["fit", "--data", str(data), *how, "--out", str(out)]) == 0
    assert capfd.readouterr().err == ""
    client = mlflow.MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("overflight")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert run.data.params["epochs"] == "2"
    assert run.data.params["network"] == "overflight-s"
    history = Run.open(out).record["history"]
    assert set(history[0]) == {"loss", "learning_rate"}
    for name in history[0]:
        assert logged(out, run.info.run_id, name) == [(number, epoch[name]) for number, epoch in enumerate(history, 1)]
    # It tells nobody that it was used.
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_mlflow_goes_on_with_its_run_and_gets_each_epoch_once(tmp_path: Path, local_mlflow: None) -> None:
    first = MlFlow(tmp_path, "night", {"seed": 1})
    first.epoch(0, {"loss": 1.0})
    first.epoch(1, {"loss": 0.5})
    first.close()
    again = MlFlow(tmp_path, "night", {"seed": 1})
    again.epoch(1, {"loss": 0.5})
    again.epoch(2, {"loss": 0.25})
    again.close()
    run_id = (tmp_path / "mlflow-run.txt").read_text().strip()
    assert logged(tmp_path, run_id, "loss") == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_mlflow_that_is_not_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert main(["fit", "--data", "rendered:8", "--mlflow", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said == "overflight-train: --mlflow: MLflow is not installed; pip install 'overflight[mlflow]'\n"
    assert not (tmp_path / "run").exists()


def test_lines_tell_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.step(0, 0, 2.0)
    lines.epoch(0, {"loss": 0.51239, "learning_rate": 0.001})
    lines.close()
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "epoch 1: loss 0.5124 learning_rate 0.001\n")


def test_bar_begins_where_the_training_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar(4, 10, done=2)
    bar.step(2, 0, 0.5)
    bar.close()
    output = capsys.readouterr()
    assert output.out == ""
    assert "epoch 3/4 loss 0.5000" in output.err
    assert "21/40" in output.err


def test_watchers_are_closed_when_the_training_breaks_off() -> None:
    class Closes(Lines):
        closed = False

        def close(self) -> None:
            self.closed = True

    watchers = [Closes(), Closes()]
    with pytest.raises(KeyboardInterrupt), Watchers(list(watchers)):
        raise KeyboardInterrupt
    assert [watcher.closed for watcher in watchers] == [True, True]
