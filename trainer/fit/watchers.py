"""What watches a training: a progress bar, TensorBoard, MLflow."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from trainer.files import replace_file


class Watcher(Protocol):
    """Is told how a training goes."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """A step was taken; epoch and step count from 0."""

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        """An epoch is over."""

    def close(self) -> None:
        """The training is over, or was broken off."""


Watch: TypeAlias = Callable[[Path, int, int], list[Watcher]]
"""Makes the watchers of a training, told its folder, the steps of an epoch, and how many epochs are done already."""


def no_watchers(folder: Path, steps: int, done: int) -> list[Watcher]:
    """For a training that nobody watches."""
    return []


class ProgressBar:
    """A bar on a terminal; a line for each epoch where lines are asked for; else nothing."""

    def __init__(self, epochs: int, steps: int, *, done: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=epochs * steps, completed=done * steps)
        self._epochs = epochs
        self._bar.start()

    def step(self, epoch: int, step: int, loss: float) -> None:
        self._bar.update(self._task, advance=1, description=f"epoch {epoch + 1}/{self._epochs} loss {loss:.4f}")

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        pass

    def close(self) -> None:
        self._bar.stop()


class Lines:
    """One line for each epoch on standard error, for logs."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        pass

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        values = " ".join(f"{name} {value:.4g}" for name, value in measured.items())
        print(f"epoch {epoch + 1}: {values}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class TensorBoard:
    """Writes the curves for TensorBoard, each epoch once: what is there already is not written again."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._last = _last_steps(folder)
        self._scalar = tf.summary.scalar
        self._writer = tf.summary.create_file_writer(str(folder))

    def step(self, epoch: int, step: int, loss: float) -> None:
        pass

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        with self._writer.as_default(step=epoch + 1):
            for name, value in measured.items():
                if epoch + 1 > self._last.get(name, 0):
                    self._scalar(name, value)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _last_steps(folder: Path) -> dict[str, int]:
    """By name of a curve the last step that was written of it, by a training that was interrupted."""
    if not folder.is_dir():
        return {}
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

    # It says in the log that a file is cut off, which is what is expected here.
    events = EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()
    return {name: max(event.step for event in events.Tensors(name)) for name in events.Tags()[TENSORS]}


class MlFlow:
    """Logs to MLflow: to the server that ``MLFLOW_TRACKING_URI`` names, else into a local file; no account is needed.

    A training that goes on after an interruption goes on with its run, too; ``mlflow-run.txt`` holds the id of that.
    """

    def __init__(self, folder: Path, name: str, parameters: dict[str, Any]) -> None:
        """
        Args:
            folder: Where the local file is, if it comes to that.

        Raises:
            ModuleNotFoundError: MLflow is not installed.
        """
        # It would tell its makers what it is used for.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
        mlflow.set_experiment("overflight")
        self._mlflow = mlflow
        kept = folder / "mlflow-run.txt"
        known = kept.read_text().strip() if kept.exists() else None
        run = mlflow.start_run(run_id=known, run_name=name)
        replace_file(kept, f"{run.info.run_id}\n".encode())
        mlflow.log_params(parameters)
        logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
        self._last = max((metric.step for metric in logged), default=0)

    def step(self, epoch: int, step: int, loss: float) -> None:
        pass

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        if epoch + 1 > self._last:
            self._mlflow.log_metrics(measured, step=epoch + 1)

    def close(self) -> None:
        self._mlflow.end_run()


class Watchers:
    """Several watchers as one, closed when the training ends or breaks off."""

    def __init__(self, watchers: list[Watcher]) -> None:
        self._watchers = watchers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for watcher in self._watchers:
            watcher.close()

    def step(self, epoch: int, step: int, loss: float) -> None:
        for watcher in self._watchers:
            watcher.step(epoch, step, loss)

    def epoch(self, epoch: int, measured: dict[str, float]) -> None:
        for watcher in self._watchers:
            watcher.epoch(epoch, measured)
