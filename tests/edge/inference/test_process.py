"""The daemon's end of a worker: processes that hang, die and lie. None of that may be felt past its bound, or stay behind."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edge.bundle import Bundle
from edge.inference.engine import EngineError
from edge.inference.myriad import MyriadEngine
from tests.conftest import PROJECT, wait_for
from tests.edge.inference.conftest import FakePython
from tests.edge.inference.workers import GREY, SHORT_S, SLEEP, SLEEP_HARD, ended, loaded, worker

pytestmark = pytest.mark.usefixtures("nothing_is_left")

DAEMON = """
import sys
import numpy as np
from pathlib import Path
from edge.bundle import Bundle
from edge.inference.myriad import MyriadEngine
engine = MyriadEngine(Bundle.shipped(), Path(sys.argv[1]), answer_s=1000)
print("loaded", flush=True)
if sys.argv[2] == "infer":
    engine.start([np.zeros((128, 128, 3), np.uint8)])
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.shipped()


# Workers that hang


@pytest.mark.parametrize("part", ["hello", "load"])
@pytest.mark.parametrize("code", [SLEEP, SLEEP_HARD], ids=["asleep", "holding the interpreter"])
def test_worker_that_hangs_at_its_start_is_given_up(bundle: Bundle, fake_python: FakePython, part: str, code: str) -> None:
    with pytest.raises(EngineError, match=r"^OpenVINO on MYRIAD: gave no answer within 0.5 s$"):
        MyriadEngine(bundle, fake_python(**{part: code}), start_s=SHORT_S)


@pytest.mark.parametrize("code", [SLEEP, SLEEP_HARD], ids=["asleep", "holding the interpreter"])
def test_worker_that_hangs_over_an_image_is_given_up(bundle: Bundle, fake_python: FakePython, code: str) -> None:
    with loaded(bundle, fake_python(infer=code), answer_s=SHORT_S) as engine:
        process = worker()
        with pytest.raises(EngineError, match=r"^gave no answer within 0.5 s$"):
            engine.start([GREY])
        assert ended(process)


def test_worker_that_was_stopped_is_given_up(bundle: Bundle, fake_python: FakePython) -> None:
    with loaded(bundle, fake_python(), answer_s=SHORT_S) as engine:
        worker().suspend()
        with pytest.raises(EngineError, match="gave no answer"):
            engine.start([GREY])


def test_worker_that_prints_without_end_and_never_answers_is_given_up(bundle: Bundle, fake_python: FakePython) -> None:
    code = "os.set_blocking(1, True)\n        while True: os.write(1, b'no\\n' * 1000)"
    with (
        loaded(bundle, fake_python(infer=code), answer_s=SHORT_S) as engine,
        pytest.raises(EngineError, match="gave no answer"),
    ):
        engine.start([GREY])


# Workers that die


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"the worker was ended by a signal \(Killed\)"),
        (
            "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ctypes.string_at(0)",
            r"the worker was ended by a signal \(Segmentation fault\)",
        ),
        ("os._exit(3)", "the worker ended with status 3"),
        ("os.write(2, b'usb\\x1b[2J is gone\\n'); os._exit(3)", r"the worker ended with status 3: usb\\x1b\[2J is gone"),
        ("os.close(answers); time.sleep(1000)", "the worker hung up"),
    ],
    ids=["kill -9", "segmentation fault", "exit", "exit with last words", "closed pipe"],
)
@pytest.mark.parametrize("part", ["load", "infer"])
def test_worker_that_dies_is_told_with_how(bundle: Bundle, fake_python: FakePython, part: str, code: str, reason: str) -> None:
    python = fake_python(**{part: code})
    with pytest.raises(EngineError, match=rf"^(OpenVINO on CPU: )?{reason}$"), loaded(bundle, python) as engine:
        engine.start([GREY])


def test_worker_that_was_killed_between_two_images_is_told(bundle: Bundle, fake_python: FakePython) -> None:
    with loaded(bundle, fake_python()) as engine:
        engine.start([GREY])
        worker().kill()
        with pytest.raises(EngineError, match="Killed"):
            engine.start([GREY])


def test_engine_that_failed_stays_failed_and_says_why_at_once(bundle: Bundle, fake_python: FakePython) -> None:
    with loaded(bundle, fake_python(infer="raise RuntimeError('X_LINK_ERROR')")) as engine:
        # Another thread may be the first to report it.
        for _ in range(2):
            with pytest.raises(EngineError, match=r"^X_LINK_ERROR$"):
                engine.start([GREY])


def test_process_that_the_worker_started_ends_with_it(bundle: Bundle, fake_python: FakePython) -> None:
    # It holds the pipes open, so that the end of the worker is not seen.
    code = "subprocess.Popen(['/bin/sleep', '1000'], close_fds=False); os._exit(3)"
    with loaded(bundle, fake_python(infer=code), answer_s=SHORT_S) as engine:
        group = worker().pid
        with pytest.raises(EngineError, match="gave no answer"):
            engine.start([GREY])
    wait_for(lambda: not any(os.getsid(pid) == group for pid in psutil.pids() if psutil.pid_exists(pid)))


# Workers that lie


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("values = [float('nan'), 0.5]", "gave a probability that is no number"),
        ("values = [float('inf'), 0.5]", "gave a probability that is no number"),
        ("values = [0.2, 0.3, 0.5]", "gave 3 probabilities, expected 2"),
        ("values = []", "gave 0 probabilities, expected 2"),
        ("values = [7.0, -6.0]", "the worker answers nonsense: .*"),
        ("values = [0.0] * 2000", "the worker answers nonsense: .*"),
        ("values = [0.123456789] * 20000", "the worker .*at most 65536 are allowed"),
        ("os.write(answers, b'nonsense ' * 100)", "the worker answers nonsense: .* at most 65536 are allowed"),
        ("frame(b'')", "the worker answers nonsense: .*"),
        ("frame(b'nonsense')", "the worker answers nonsense: .*"),
        ("frame(b'\\xff\\xfe')", "the worker answers nonsense: .*"),
        ("frame(b'[' * 60000)", "the worker answers nonsense: .*"),
        ('frame(b\'{"number": 2, "type": "loaded"}\')', "the worker answers nonsense: Loaded instead of Probabilities"),
        ('frame(b\'{"number": 1, "type": "loaded"}\')', "the worker answers nonsense: the number 1 instead of 2"),
        ('frame(b\'{"number": 2, "type": "shell", "run": "rm"}\')', "the worker answers nonsense: .*"),
        (
            'frame(b\'{"number": 2, "type": "probabilities", "values": [NaN, NaN]}\')',
            "the worker answers nonsense: .*",
        ),
        ("os.write(answers, struct.pack('>I', 1000) + b'half'); os._exit(0)", "the worker ended with status 0"),
        ("raise RuntimeError('line of code\\n[ ERROR ]  X_LINK\\x1b[2J')", r"\[ ERROR \] X_LINK\\x1b\[2J"),
        ("raise RuntimeError('very long ' * 100000)", "very long very .*"),
        ("raise RuntimeError", "RuntimeError"),
    ],
)
def test_worker_that_answers_nonsense_is_told_in_one_line(
    bundle: Bundle, fake_python: FakePython, code: str, reason: str
) -> None:
    with (
        loaded(bundle, fake_python(infer=code)) as engine,
        pytest.raises(EngineError, match=rf"^{reason}$") as caught,
    ):
        engine.start([GREY])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_answer_that_nobody_asked_for_is_not_taken_for_the_next(bundle: Bundle, fake_python: FakePython) -> None:
    twice = '{"number": 2, "type": "probabilities", "values": [0.0, 1.0]}'
    with loaded(bundle, fake_python(infer=f"frame(b'{twice}')")) as engine:
        assert engine.start([GREY]).result().probabilities.tolist() == [[0.0, 1.0]]
        with pytest.raises(EngineError, match="nonsense: the number 2 instead of 3"):
            engine.start([GREY])


def test_shared_memory_cannot_be_made_smaller_under_the_daemon(bundle: Bundle, fake_python: FakePython) -> None:
    with (
        loaded(bundle, fake_python(infer="os.ftruncate(memory, 0)")) as engine,
        pytest.raises(EngineError, match="Operation not permitted"),
    ):
        engine.start([GREY])


def test_worker_that_prints_a_lot_is_kept_in_lines_of_the_log(
    bundle: Bundle, fake_python: FakePython, caplog: pytest.LogCaptureFixture
) -> None:
    # More than a pipe holds, through C's own streams, as a runtime does; and a line that has no end.
    code = "libc = ctypes.CDLL(None); [libc.dprintf(1 + n % 2, b'%s', b'x' * 5000 + b'\\n' * (n % 2)) for n in range(400)]"
    with caplog.at_level(logging.DEBUG, "edge.inference.process"), loaded(bundle, fake_python(infer=code)) as engine:
        for _ in range(3):
            assert engine.start([GREY]).result().probabilities[0, 0] == 0.75
    lines = [record.getMessage() for record in caplog.records]
    assert any("xxx" in line for line in lines)
    assert max(map(len, lines)) < 600


def test_worker_that_prints_while_nobody_reads_is_not_held_up(bundle: Bundle, fake_python: FakePython, tmp_path: Path) -> None:
    # A runtime's own threads, those that keep a stick awake among them, print whenever they like.
    done = tmp_path / "done"
    flood = f"[ctypes.CDLL(None).dprintf(2, b'%s', b'x' * 5000) for _ in range(400)], open({str(done)!r}, 'w').close()"
    code = f"__import__('threading').Timer(0.1, lambda: ({flood})).start()"
    with loaded(bundle, fake_python(load=code)) as engine:
        wait_for(done.exists)
        assert engine.start([GREY]).result().probabilities[0, 0] == 0.75


# What the worker gets


def test_worker_gets_nothing_of_the_daemons_environment(
    bundle: Bundle, fake_python: FakePython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERFLIGHT_UPLINK_URL", "mqtt://secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://secret")
    # The shell of the wrapper adds PWD, OLDPWD, SHLVL and _.
    code = "raise RuntimeError(' '.join(sorted(os.environ)) + ' in ' + os.getcwd())"
    with pytest.raises(EngineError, match=r"LANG ([A-Z_]+ )*PATH") as caught:
        MyriadEngine(bundle, fake_python(load=code))
    assert str(caught.value).endswith(" in /")
    assert "OVERFLIGHT" not in str(caught.value)
    assert "PROXY" not in str(caught.value)


def test_worker_inherits_no_other_descriptor(bundle: Bundle, fake_python: FakePython) -> None:
    code = "raise RuntimeError([os.path.realpath(entry.path) for entry in os.scandir('/proc/self/fd')])"
    with Path(__file__).open() as kept:
        os.set_inheritable(kept.fileno(), True)
        with pytest.raises(EngineError, match="memfd:overflight") as caught:
            MyriadEngine(bundle, fake_python(load=code))
    assert Path(__file__).name not in str(caught.value)


# The daemon that dies


@pytest.mark.parametrize("part", ["start", "hello", "load", "infer", "idle"])
def test_worker_ends_when_the_daemon_is_killed(fake_python: FakePython, tmp_path: Path, part: str) -> None:
    reached = tmp_path / "reached"
    code = {} if part in {"start", "idle"} else {part: f"open({str(reached)!r}, 'w').close(); {SLEEP_HARD}"}
    command = [sys.executable, "-c", DAEMON, str(fake_python(**code)), part]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stdout is not None
            wait_for(lambda: "worker.py" in str([child.cmdline() for child in psutil.Process(daemon.pid).children()]))
            (process,) = psutil.Process(daemon.pid).children()
            if part == "idle":
                assert daemon.stdout.readline() == "loaded\n"
            elif part != "start":
                wait_for(reached.exists)
            assert not ended(process)
        finally:
            daemon.kill()
    wait_for(lambda: ended(process))
