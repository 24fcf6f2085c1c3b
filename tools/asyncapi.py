"""Writes the schemas of the messages into docs/asyncapi.yaml: ``make asyncapi``.

Topics and rules are written by hand, above a line that says so; what lies below it is made from the structs of
edge.messages, so that the document cannot say anything else than the program.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from edge import messages

DOCUMENT = Path(__file__).parents[1] / "docs" / "asyncapi.yaml"
MARK = "  # Made by make asyncapi from edge.messages: what is changed below this line by hand is lost.\n"
MESSAGES = (
    messages.AlertMessage,
    messages.StatusMessage,
    messages.HealthMessage,
    messages.LogMessage,
    messages.CommandMessage,
    messages.ReplyMessage,
    messages.AckMessage,
)


def schemas() -> dict[str, Any]:
    """The schema of every message and of its parts, in the dialect of AsyncAPI: JSON Schema draft 7."""
    tops, parts = msgspec.json.schema_components(MESSAGES, ref_template="#/components/schemas/{name}")
    named = dict(parts)
    for message, top in zip(MESSAGES, tops, strict=True):
        if "$ref" not in top:
            named[_name_of(message)] = top
    return {name: _plain(named[name]) for name in sorted(named)}


def generate(document: str) -> str:
    """The document with its schemas made anew.

    Raises:
        ValueError: It has no line that says where they begin.
    """
    written, mark, _ = document.partition(MARK)
    if not mark:
        raise ValueError(f"expected the line {MARK.strip()!r}")
    made = yaml.safe_dump({"schemas": schemas()}, sort_keys=False, allow_unicode=True, width=120)
    return written + mark + "".join(f"  {line}" for line in made.splitlines(keepends=True))


def _name_of(union: Any) -> str:
    """The name that edge.messages has for a union of structs."""
    return next(name for name in messages.__all__ if getattr(messages, name) is union)


def _plain(schema: Any) -> Any:
    """A schema of msgspec, which speaks a later draft with OpenAPI's discriminator, in draft 7."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items() if key not in {"title", "discriminator"}}
    if "prefixItems" in plain:
        plain["items"], plain["additionalItems"] = plain.pop("prefixItems"), plain.pop("items")
    if isinstance(plain.get("description"), str):
        plain["description"] = inspect.cleandoc(plain["description"])
    if "schema" in plain.get("properties", {}):
        # It has a default in Python, but no message goes out without it.
        plain["required"] = sorted({*plain.get("required", []), "schema"}, key=list(plain["properties"]).index)
    return plain


def main() -> int:
    """Write the document."""
    DOCUMENT.write_text(generate(DOCUMENT.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
