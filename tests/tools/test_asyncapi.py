"""docs/asyncapi.yaml: made from the structs, valid AsyncAPI, and of one mind with the program about real messages."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

from edge import messages
from edge.config import Config
from tests.edge.messages.examples import ACK, COMMAND, HEALTH, LEFT_OUT, LOG, REPLY, STATUS, changed, command
from tests.edge.messages.test_alert import EXAMPLE as ALERT
from tests.schemas import document, objections
from tools import asyncapi

# The document as a whole, as its makers describe it; tests/tools/README.md says where that comes from.
SPECIFICATION = Path(__file__).with_name("asyncapi-3.0.0.json.gz")

DECODE: dict[str, Callable[[bytes], msgspec.Struct]] = {
    "alert": messages.decode_alert,
    "status": messages.decode_status,
    "health": messages.decode_health,
    "log": messages.decode_log,
    "command": messages.decode_command,
    "reply": messages.decode_reply,
    "ack": messages.decode_ack,
}
EXAMPLES = {"alert": ALERT, "status": STATUS, "health": HEALTH, "log": LOG, "command": COMMAND, "reply": REPLY, "ack": ACK}
COMMANDS = [
    command("set_threshold", {"threshold": None}),
    command("pause"),
    command("resume"),
    command("snapshot"),
    command("resend", {"first": 1, "last": 2**53 - 1}),
    command("rollback_model"),
]


def nodes(content: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document."""
    if isinstance(content, dict):
        yield content
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from nodes(part)


def test_the_schemas_in_the_document_are_those_of_the_program() -> None:
    text = asyncapi.DOCUMENT.read_text()

    assert text == asyncapi.generate(text), "run make asyncapi"


def test_a_document_without_the_mark_is_left_alone() -> None:
    with pytest.raises(ValueError, match="expected the line"):
        asyncapi.generate("asyncapi: 3.0.0\n")


def test_the_document_is_valid_asyncapi_3() -> None:
    specification = json.loads(gzip.decompress(SPECIFICATION.read_bytes()))
    broken = {**document(), "operations": {"sendAlert": {"action": "publish"}}}

    assert best_match(Draft7Validator(specification).iter_errors(document())) is None
    assert not Draft7Validator(specification).is_valid(broken)


def test_every_schema_is_valid_json_schema() -> None:
    for schema in document()["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes(document()) if "$ref" in node]
    assert references
    for reference in references:
        target: Any = document()
        for key in reference.removeprefix("#/").split("/"):
            target = target[key]
        assert target


def test_every_channel_has_an_operation_and_every_message_a_channel() -> None:
    operated = {operation["channel"]["$ref"].rpartition("/")[2] for operation in document()["operations"].values()}

    assert operated == set(document()["channels"]) == set(document()["components"]["messages"]) == {*DECODE, "thumbnail"}


@pytest.mark.parametrize("kind", list(DECODE))
def test_what_the_program_sends_is_what_the_document_says(kind: str) -> None:
    message = DECODE[kind](changed(EXAMPLES[kind]))

    assert objections(messages.topic("uav-1", kind), messages.encode(message)) == []


@pytest.mark.parametrize("payload", COMMANDS, ids=lambda payload: json.loads(payload)["name"])
def test_every_command_is_one_for_program_and_document(payload: bytes) -> None:
    assert objections("overflight/uav-1/command", payload) == []
    assert objections("overflight/uav-1/command", messages.encode(messages.decode_command(payload))) == []


def test_an_alert_without_a_position_is_one_for_the_document() -> None:
    payload = changed({**ALERT, "geometry": None, "properties": {**ALERT["properties"], "fix": None}})

    assert objections("overflight/uav-1/alert", payload) == []


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("alert", {"type": "Polygon"}),
        ("alert", {"properties": {**ALERT["properties"], "frame": {"source": "", "name": "", "tile": [0, 0, 1]}}}),
        ("alert", {"properties": {**ALERT["properties"], "captured_at": "2026-11-21T10:00:00Z"}}),
        ("status", {"state": "lost"}),
        ("health", {"frames": "5"}),
        ("log", {"level": "debug"}),
        ("command", {"name": "fly"}),
        ("command", {"args": {"threshold": 2}}),
        ("command", {"args": {"threshold": 0.5, "more": 1}}),
        ("command", {"schema": LEFT_OUT}),
        ("reply", {"id": "a\n"}),
        ("ack", {"through": -1}),
        ("ack", {"journal": ""}),
        ("ack", {"missing": list(range(1, 10_002)), "through": 20_000}),
    ],
)
def test_what_the_program_refuses_is_wrong_for_the_document_too(kind: str, changes: dict[str, Any]) -> None:
    payload = changed(EXAMPLES[kind], **changes)

    with pytest.raises(msgspec.DecodeError):
        DECODE[kind](payload)
    assert objections(messages.topic("uav-1", kind), payload)


@pytest.mark.parametrize("kind", list(DECODE))
def test_every_message_has_its_schema_for_the_document(kind: str) -> None:
    properties = {key: value for key, value in ALERT["properties"].items() if key != "schema"}
    changes = {"properties": properties} if kind == "alert" else {"schema": LEFT_OUT}

    assert objections(messages.topic("uav-1", kind), changed(EXAMPLES[kind], **changes))


def test_the_document_names_the_device_s_own_defaults() -> None:
    server = document()["servers"]["ground"]["bindings"]["mqtt"]

    assert server["keepAlive"] == Config().uplink.keepalive_s
    assert server["lastWill"]["topic"] == messages.topic(Config().device, "status")


def test_the_document_is_written_as_yaml_that_reads_back() -> None:
    made = asyncapi.generate(asyncapi.MARK)

    assert yaml.safe_load("components:\n" + made) == {"components": {"schemas": asyncapi.schemas()}}
