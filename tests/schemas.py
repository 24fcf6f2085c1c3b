"""Judges messages by docs/asyncapi.yaml alone, as a program of somebody else would."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

DOCUMENT = Path(__file__).parents[1] / "docs" / "asyncapi.yaml"


@cache
def document() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return content


def channel_of(topic: str) -> str:
    """The one channel whose address a topic fits."""
    fitting = [
        name
        for name, channel in document()["channels"].items()
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"])), topic)
    ]
    assert len(fitting) == 1, f"{topic} fits {fitting}"
    return fitting[0]


@cache
def validator(channel: str) -> Draft7Validator:
    schema = {"$ref": f"#/components/messages/{channel}/payload", "components": document()["components"]}
    return Draft7Validator(schema)


def objections(topic: str, payload: bytes) -> list[str]:
    """What the document has against a message; empty: nothing."""
    return [error.message for error in validator(channel_of(topic)).iter_errors(json.loads(payload))]


def mqtt_binding(channel: str) -> dict[str, Any]:
    """With which QoS, and whether retained, the messages of a channel go out."""
    (binding,) = (
        operation["bindings"]["mqtt"]
        for operation in document()["operations"].values()
        if operation["channel"]["$ref"] == f"#/channels/{channel}"
    )
    return dict(binding)
