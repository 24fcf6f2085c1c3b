"""The ``overflight-train`` command: what it takes, and what it says when it cannot."""

from __future__ import annotations

import argparse
import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.trainer.tints import tint_folder
from trainer.cli import main
from trainer.commands import COMMANDS
from trainer.commands.arguments import positive, positive_number, share, whole
from trainer.errors import TrainerError


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error, which must be one line."""
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("overflight-train: ")
    assert output.err.count("\n") == 1, output.err
    return output.err


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Add a command ``fail`` that ends as others do when something happens to them that no test can make happen."""

    def run(options: argparse.Namespace) -> int:
        raise error

    command = SimpleNamespace(
        SUMMARY="", DESCRIPTION="", EXAMPLE="", TENSORFLOW=False, add_arguments=lambda parser: None, run=run
    )
    monkeypatch.setitem(COMMANDS, "fail", command)  # type: ignore[call-overload]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example_that_its_parser_takes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as exited:
        main([command, "--help"])
    assert exited.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    example = COMMANDS[command].EXAMPLE
    assert f"example: {' '.join(example.split())}" in shown
    assert example.startswith(f"overflight-train {command} ")
    # Parsed to the end, with what the command does left out.
    monkeypatch.setattr(COMMANDS[command], "TENSORFLOW", False)
    monkeypatch.setattr(COMMANDS[command], "run", lambda options: 0)
    assert main(example.split()[1:]) == 0


def test_help_lists_all_commands_of_the_design(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    named = ["fetch", "fit", "evaluate", "export", "compare", "explain", "prune", "pack", "keygen", "harvest"]
    assert [command for command in named if f"\n    {command} " not in shown] == []
    assert sorted(COMMANDS) == sorted(named)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["fit", "--out", "run"], "--data"),
        (["fit", "--data", "rendered:8"], "--out"),
        (["fit", "--data", "rendered:8", "--out", "run", "--epochs", "0"], "--epochs: expected a whole number from 1"),
        (["fit", "--data", "rendered:8", "--out", "run", "--epochs", "many"], "--epochs"),
        (["fit", "--data", "rendered:8", "--out", "run", "--seed", "-1"], "--seed"),
        (["fit", "--data", "rendered:8", "--out", "run", "--patience", "-1"], "--patience"),
        (["fit", "--data", "rendered:8", "--out", "run", "--average", "2"], "--average: expected a number within 0..1"),
        (["fit", "--data", "rendered:8", "--out", "run", "--learning-rate", "nan"], "--learning-rate"),
        (["fit", "--data", "rendered:8", "--out", "run", "--optimizer", "sgd"], "--optimizer"),
        (["fit", "--data", "rendered:8", "--out", "run", "--epoch", "3"], "--epoch"),
        (["export", "--out", "export"], "RUN --from"),
        (["export", "run"], "--out"),
        (["export", "run", "--from", "model.onnx", "--out", "export"], "--from"),
        (["export", "--from", "model.onnx", "--values", "0..2", "--out", "export"], "--values"),
    ],
    ids=" ".join,
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


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tint_folder(tmp_path_factory.mktemp("data") / "tints", 12)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "harvey:nowhere"], "nowhere/train/damage: no such folder"),
        (["--data", "rendered:none"], "rendered:none: expected the number of tiles"),
        (["--data", "hurricane:1"], "hurricane:1: no reader hurricane"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--data", "tints", "--data", "folder:tints"], "tints: two data sets have this name"),
        (["--data", "tints", "--folds", "1"], "--fold 1 of --folds 1"),
        (["--data", "tints", "--fold", "6"], "--fold 6 of --folds 5"),
        (["--data", "tints", "--split", "place"], "the place of brown/0.png is unknown"),
        (["--data", "tints", "--network", "resnet"], "network resnet: expected one of overflight-s"),
        (["--data", "tints", "--augmentation", "wild"], "wild"),
        (["--data", "tints", "--from", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistake_of_the_callers_is_one_line_and_begins_no_run(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    monkeypatch.chdir(data.parent)
    assert main(["fit", *arguments, "--out", "run"]) == 2
    assert named in error_line(capsys)
    assert list(data.parent.iterdir()) == [data]


def test_fit_into_a_file_is_one_line(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").write_text("no folder")
    assert main(["fit", "--data", str(data), "--out", str(tmp_path / "run")]) == 2
    assert str(tmp_path / "run") in error_line(capsys)
    assert (tmp_path / "run").read_text() == "no folder"


def test_mistake_of_the_callers_starts_no_tensorflow() -> None:
    # Its import takes seconds, which nobody should wait to be told of a typing mistake.
    code = (
        "import sys; from trainer.cli import main\n"
        "try: main(['fit', '--data', 'rendered:9', '--epochs', '0', '--out', 'x'])\n"
        "except SystemExit as exited: print(exited.code, {'tensorflow', 'keras', 'openvino', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "2 set()\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (TrainerError("runs/a: no run"), 2, "runs/a: no run"),
        (TrainerError("two\nlines"), 2, r"two\nlines"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "no room on the disk: [Errno 28] No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "runs/a"), 1, "[Errno 13] Permission denied: 'runs/a'"),
        (ZeroDivisionError("division\nby zero"), 1, "ZeroDivisionError: division by zero (--debug shows where)"),
        (ZeroDivisionError(), 1, "ZeroDivisionError: ZeroDivisionError (--debug shows where)"),
    ],
    ids=repr,
)
def test_failure_is_one_line_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int, said: str
) -> None:
    raising(monkeypatch, error)
    assert main(["fail"]) == status
    assert error_line(capsys) == f"overflight-train: {said}\n"


@pytest.mark.parametrize("error", [TrainerError("no run"), OSError("no room"), ZeroDivisionError("by zero")], ids=repr)
def test_debug_shows_where_an_error_comes_from(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    raising(monkeypatch, error)
    with pytest.raises(type(error)) as caught:
        main(["--debug", "fail"])
    assert caught.value is error


def test_interrupt_from_the_keyboard_is_no_news(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert main(["fail"]) == 1
    assert capsys.readouterr().err == ""


def test_termination_ends_the_command_as_an_error_would() -> None:
    # In a process of its own: in one where other runtimes have been at work the signal is not Python's alone.
    code = (
        "import os, signal\n"
        "from trainer import cli\n"
        "from trainer.commands import keygen\n"
        "def run(options):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        "    finally:\n"
        "        print('cleared', flush=True)\n"
        "keygen.run = run\n"
        "try: cli.main(['keygen', '--out', 'keys'])\n"
        "finally: print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "cleared\nTrue\n", "")


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (positive, ["0", "-1", "1.5", "", "one", str(2**31 + 1)]),
        (whole, ["-1", "1.5", "", "one", str(2**31)]),
        (share, ["-0.1", "1.1", "nan", "inf", "", "half"]),
        (positive_number, ["0", "-1", "nan", "inf", "", "one"]),
    ],
    ids=["positive", "whole", "share", "positive number"],
)
def test_number_out_of_range_is_refused_with_what_was_given(kind: type, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match="expected a") as caught:
            kind(text)
        assert repr(text) in str(caught.value)


def test_number_in_range_is_taken() -> None:
    assert (positive("1"), whole("0"), share("0"), share("1"), positive_number("1e-3")) == (1, 0, 0.0, 1.0, 0.001)
