"""One well-formed message of every kind but the alert, as the text of the wire."""

from __future__ import annotations

import copy
import json
from typing import Any

COMMAND: dict[str, Any] = {
    "schema": 1,
    "id": "c-1",
    "name": "set_threshold",
    "args": {"threshold": 0.8},
    "expires_at": "2026-11-21T10:05:00.000Z",
}
ACK: dict[str, Any] = {"schema": 1, "journal": "7f3a", "through": 9, "missing": [2, 5]}
REPLY: dict[str, Any] = {
    "schema": 1,
    "device": "uav-1",
    "id": "c-1",
    "name": "set_threshold",
    "at": "2026-11-21T10:00:00.000Z",
    "ok": True,
    "reason": None,
    "result": {"threshold": 0.8},
}
LOG: dict[str, Any] = {
    "schema": 1,
    "device": "uav-1",
    "at": "2026-11-21T10:00:00.000Z",
    "level": "warning",
    "room": "capture",
    "text": "a.jpeg: rejected",
}
STATUS: dict[str, Any] = {
    "schema": 1,
    "device": "uav-1",
    "state": "degraded",
    "reasons": ["uplink: connection lost"],
    "version": "0.4.0",
    "at": "2026-11-21T10:00:00.000Z",
    "bundle": {"name": "terrain-damage", "version": 3, "sha256": "ab" * 32},
    "engine": "openvino",
    "on": "CPU",
    "last_install": None,
    "threshold": 0.5,
}
HEALTH: dict[str, Any] = {
    "schema": 1,
    "device": "uav-1",
    "at": "2026-11-21T10:00:00.000Z",
    "uptime_s": 1.0,
    "cpu_percent": 2.0,
    "memory_percent": 3.0,
    "process_memory_bytes": 4,
    "temperature_c": None,
    "disk_free_bytes": None,
    "frames": 5,
    "rejected": 6,
    "alerts": 7,
    "alerts_waiting": 8,
    "frames_per_s": 9.0,
    "queues": {"found": 0},
    "fix": {"source": "exif", "age_s": 0.04, "accuracy_m": None},
}


def command(name: str = "set_threshold", args: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """A command, by default the example; it takes no arguments where none are named."""
    arguments = COMMAND["args"] if name == "set_threshold" and args is None else args or {}
    return json.dumps({**COMMAND, "name": name, "args": arguments, **changes}).encode()


def changed(example: dict[str, Any], **changes: Any) -> bytes:
    """An example with other values, or without those that are `LEFT_OUT`."""
    content = {**copy.deepcopy(example), **changes}
    return json.dumps({key: value for key, value in content.items() if value is not LEFT_OUT}).encode()


LEFT_OUT = object()
"""Stands for a field that is not there."""
