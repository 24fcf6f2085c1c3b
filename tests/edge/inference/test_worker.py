"""The worker's own end of the protocol, and that an old Python can run it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.inference import worker
from edge.inference.worker import LENGTH, MAX_FRAME_BYTES, receive, send
from tests.edge.inference.conftest import FakePython

SOURCE = Path(worker.__file__).read_text()
MEMORY_BYTES = 4096
TIMEOUT_S = 30


class Talk:
    """A worker, spoken to by hand."""

    def __init__(self, python: Path) -> None:
        theirs, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        self.memory = os.memfd_create("memory")
        os.ftruncate(self.memory, MEMORY_BYTES)
        given = (theirs, answers, self.memory)
        self.process = subprocess.Popen(
            [python, worker.__file__, *map(str, given)], pass_fds=given, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        os.close(theirs)
        os.close(answers)

    def ask(self, **request: Any) -> dict[str, Any] | None:
        send(self.requests, request)
        return receive(self.answers)

    def end(self) -> str:
        """Wait for it to end by itself; what it said on standard error."""
        assert self.process.stderr is not None
        said = self.process.stderr.read().decode()
        self.process.wait(TIMEOUT_S)
        return said

    def close(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        for stream in (self.process.stdin, self.process.stderr):
            assert stream is not None
            stream.close()
        for descriptor in (self.requests, self.answers, self.memory):
            os.close(descriptor)


@pytest.fixture
def talk(fake_python: FakePython) -> Iterator[Talk]:
    """A worker that has said hello."""
    talk = Talk(fake_python())
    hello = receive(talk.answers)
    assert hello is not None
    assert hello["type"] == "hello"
    yield talk
    talk.close()


def load(**changes: Any) -> dict[str, Any]:
    return {"number": 1, "type": "load", "device": "CPU", "xml_bytes": 1, "weights_bytes": 1, **changes}


def infer(**changes: Any) -> dict[str, Any]:
    return {"number": 2, "type": "infer", "shape": [1, 8, 8, 3], **changes}


# What an old Python must be able to run


def test_worker_is_written_in_the_words_of_python_3_6() -> None:
    ast.parse(SOURCE, feature_version=(3, 6))
    assert "from __future__" not in SOURCE


def test_worker_imports_nothing_but_the_standard_library_numpy_and_openvino() -> None:
    names = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    packages = {name.partition(".")[0] for name in names}
    assert packages - sys.stdlib_module_names == {"numpy", "openvino"}


def test_worker_without_its_descriptors_says_what_it_is() -> None:
    done = subprocess.run([sys.executable, worker.__file__], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: worker.py REQUESTS ANSWERS MEMORY")


# Frames


def test_frame_comes_out_as_it_went_in() -> None:
    reading, writing = os.pipe()
    message = {"number": 7, "type": "failed", "reason": "déjà vu " * 1000}
    send(writing, message)
    os.close(writing)
    assert receive(reading) == message
    assert receive(reading) is None
    os.close(reading)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x00\x00\x00\x05", b"\x00\x00\x00\x05{}"])
def test_frame_that_ends_too_early_is_none(content: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    assert receive(reading) is None
    os.close(reading)


@pytest.mark.parametrize(
    "content",
    [LENGTH.pack(MAX_FRAME_BYTES + 1), b"GET / HTTP/1.1\r\n", LENGTH.pack(2) + b"[]", LENGTH.pack(1) + b"{"],
    ids=["too long", "another protocol", "no object", "no JSON"],
)
def test_frame_that_is_none_is_refused(content: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    with pytest.raises(ValueError):
        receive(reading)
    os.close(reading)


def test_message_that_is_too_long_is_not_sent() -> None:
    reading, writing = os.pipe()
    with pytest.raises(ValueError, match=str(MAX_FRAME_BYTES)):
        send(writing, {"reason": "x" * MAX_FRAME_BYTES})
    os.close(writing)
    assert receive(reading) is None
    os.close(reading)


# The conversation


def test_worker_says_what_it_is_and_what_it_sees(fake_python: FakePython) -> None:
    talk = Talk(fake_python())
    assert receive(talk.answers) == {
        "number": 0,
        "type": "hello",
        "python": ".".join(map(str, sys.version_info[:3])),
        "runtime": "0",
        "devices": ["CPU", "MYRIAD"],
    }
    talk.close()


def test_worker_whose_runtime_cannot_be_imported_says_so_and_ends(fake_python: FakePython) -> None:
    talk = Talk(fake_python(hello="raise ImportError('libtbb.so.2: cannot open shared object file')"))
    assert receive(talk.answers) == {
        "number": 0,
        "type": "failed",
        "reason": "libtbb.so.2: cannot open shared object file",
    }
    assert talk.end() == ""
    assert talk.process.returncode == 0
    talk.close()


def test_answer_bears_the_number_of_its_request(talk: Talk) -> None:
    assert talk.ask(**load(number=17)) == {"number": 17, "type": "loaded"}
    assert talk.ask(**infer(number=4)) == {"number": 4, "type": "probabilities", "values": [0.75, 0.25]}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"number": 5, "type": "sing"}, "unknown request 'sing'"),
        (load(xml_bytes=MEMORY_BYTES), "the model is larger than the memory"),
        (load(xml_bytes=-1, weights_bytes=2), "the model is larger than the memory"),
        (load(weights_bytes=10**30), "the model is larger than the memory"),
        (load(xml_bytes="many"), "invalid literal for int() with base 10: 'many'"),
        ({"number": 1, "type": "load"}, "'device'"),
        (infer(), "no model is loaded"),
        ({}, "'type'"),
    ],
)
def test_request_that_makes_no_sense_is_answered_with_the_reason(talk: Talk, request_: dict[str, Any], reason: str) -> None:
    assert talk.ask(**request_) == {"number": request_.get("number"), "type": "failed", "reason": reason}
    # It goes on.
    assert talk.ask(**load()) == {"number": 1, "type": "loaded"}


@pytest.mark.parametrize("shape", [[1, 1000, 1000, 3], [0, 8, 8, 3], [-1, -8, 8, 3], [10**10] * 4])
def test_image_that_does_not_fit_is_answered_with_the_reason(talk: Talk, shape: list[int]) -> None:
    talk.ask(**load())
    assert talk.ask(**infer(shape=shape)) == {"number": 2, "type": "failed", "reason": "the image is larger than the memory"}


@pytest.mark.parametrize("shape", [[], "large", 8, None, [[1, 8, 8, 3]]])
def test_image_whose_shape_is_none_is_answered_with_a_reason(talk: Talk, shape: Any) -> None:
    talk.ask(**load())
    answer = talk.ask(**infer(shape=shape))
    assert answer is not None
    assert answer["type"] == "failed"


def test_model_that_cannot_be_loaded_is_not_asked(fake_python: FakePython) -> None:
    talk = Talk(fake_python(load="device_name == 'CPU' or [][0]"))
    receive(talk.answers)
    assert talk.ask(**load()) == {"number": 1, "type": "loaded"}
    assert talk.ask(**load(device="MYRIAD")) == {"number": 1, "type": "failed", "reason": "list index out of range"}
    assert talk.ask(**infer()) == {"number": 2, "type": "failed", "reason": "no model is loaded"}
    talk.close()


def test_worker_is_given_the_model_and_the_pixels_that_lie_in_the_memory(fake_python: FakePython) -> None:
    talk = Talk(fake_python(infer="values = [float(pixels.shape == (1, 2, 2, 3)), pixels.sum()]"))
    receive(talk.answers)
    talk.ask(**load())
    os.pwrite(talk.memory, bytes(range(12)), 0)
    answer = talk.ask(**infer(shape=[1, 2, 2, 3]))
    assert answer is not None
    assert answer["values"] == [1.0, sum(range(12))]
    talk.close()


@pytest.mark.parametrize("end", ["quit", "no more requests", "no daemon"])
def test_worker_ends_without_a_word_when_it_is_needed_no_more(talk: Talk, end: str) -> None:
    talk.ask(**load())
    if end == "quit":
        send(talk.requests, {"number": 3, "type": "quit"})
    elif end == "no more requests":
        os.close(talk.requests)
        talk.requests = os.open(os.devnull, os.O_WRONLY)
    else:
        assert talk.process.stdin is not None
        talk.process.stdin.close()
    assert talk.end() == ""
    assert receive(talk.answers) is None


def test_worker_whose_daemon_is_gone_before_it_begins_ends(fake_python: FakePython) -> None:
    talk = Talk(fake_python(hello="time.sleep(1000)"))
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    assert talk.end() == ""
    talk.close()


@pytest.mark.parametrize("content", [b"nonsense", LENGTH.pack(2) + b"[]", LENGTH.pack(3) + json.dumps("x").encode()])
def test_worker_that_is_sent_no_frame_ends(talk: Talk, content: bytes) -> None:
    os.write(talk.requests, content)
    assert "ValueError" in talk.end()
    assert receive(talk.answers) is None
