"""Reads the configuration: a YAML file, with the overrides of the environment on top."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import yaml

from edge.config.sections import Config
from edge.text import one_line, printable

DEFAULT_PATH = Path("/etc/overflight/overflight.yaml")
_ENVIRONMENT_PREFIX = "OVERFLIGHT_"


class ConfigError(ValueError):
    """The configuration cannot be used; the message is one line that says where, what and what is allowed.

    Attributes:
        origin: The file or variable that is wrong; None: what was found out only after the file was read.
    """

    def __init__(self, text: str, origin: str | None = None) -> None:
        super().__init__(printable(text if origin is None else f"{origin}: {text}"))
        self.origin = origin


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Config:
    """Read the configuration.

    Args:
        path: The file; None: `DEFAULT_PATH` if that exists, else the defaults.
        environment: Variables that may override keys; None: those of this process.

    Raises:
        ConfigError: The file is missing, is no YAML, or has a key or value that is not allowed.
    """
    file = path or DEFAULT_PATH
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if path is None and isinstance(error, FileNotFoundError):
            return build({}, "defaults", environment)
        raise ConfigError(f"cannot be read: {one_line(error)}", str(file)) from error
    content = _parse_yaml(text, str(file))
    return build({} if content is None else content, str(file), environment)


def build(content: Any, origin: str, environment: Mapping[str, str] | None = None) -> Config:
    """Validate what a YAML file held, with the overrides of the environment on top.

    Raises:
        ConfigError: As in `load`; `origin` is named as the place.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"expected a mapping of sections, got {type(content).__name__}", origin)
    _refuse_unknown_keys(content, Config, origin, "")
    # A section whose keys are all commented out is empty.
    merged = {key: {} if value is None else dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    variables = _override(merged, os.environ if environment is None else environment)
    try:
        return msgspec.convert(merged, Config)
    except msgspec.ValidationError as error:
        text = _explain(error)
        raise ConfigError(text, variables.get(text.partition(":")[0], origin)) from error


def describe(config: Config) -> str:
    """The configuration as YAML in which every key is explained: a file that `load` reads back."""
    lines = [f"# {_description('', 'device')}", f"device: {_scalar(config.device)}"]
    for section_name in Config.__struct_fields__[1:]:
        section = getattr(config, section_name)
        lines += ["", f"# {(type(section).__doc__ or '').strip()}", f"{section_name}:"]
        for key in section.__struct_fields__:
            lines += [f"  # {_description(section_name, key)}", f"  {key}: {_scalar(getattr(section, key))}"]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    # YAML would write a space of another alphabet as it is, and read it as the end of the text.
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=str(value).isprintable(), width=10_000)
    return text.removesuffix("...\n").rstrip("\n")


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, RecursionError) as error:
        # PyYAML lets errors of its own constructors through: a date in a thirteenth month is a ValueError.
        raise ConfigError(f"not YAML: {one_line(error)}", origin) from error


def _description(section: str, key: str) -> str:
    return _meta_description(_field(section, key).type)


def _meta_description(annotation: Any) -> str:
    return next(str(meta.description) for meta in annotation.__metadata__ if meta.description)


def _refuse_unknown_keys(content: dict[Any, Any], section: type[msgspec.Struct], origin: str, prefix: str) -> None:
    for key, value in content.items():
        if key not in section.__struct_fields__:
            raise ConfigError(f"{prefix}{key}: unknown key{_nearest(str(key), section.__struct_fields__)}", origin)
        nested = msgspec.structs.fields(section)[section.__struct_fields__.index(key)].type
        if isinstance(value, dict) and isinstance(nested, type) and issubclass(nested, msgspec.Struct):
            _refuse_unknown_keys(value, nested, origin, f"{key}.")


def _nearest(word: str, allowed: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean {close[0]}?" if close else f"; allowed are {', '.join(allowed)}"


def _override(content: dict[Any, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Put the environment's overrides into `content`; returns which variable each overridden key came from."""
    names = {_ENVIRONMENT_PREFIX + "DEVICE": ("", "device")}
    for field in msgspec.structs.fields(Config)[1:]:
        for key in field.type.__struct_fields__:
            names[f"{_ENVIRONMENT_PREFIX}{field.name}_{key}".upper()] = (field.name, key)
    used = {}
    for variable in sorted(environment):
        if variable in names:
            section, key = names[variable]
            target = content.setdefault(section, {}) if section else content
            if isinstance(target, dict):
                target[key] = _parse_variable(variable, environment[variable], section, key)
                used[f"{section}.{key}".lstrip(".")] = variable
        elif variable.startswith(_ENVIRONMENT_PREFIX):
            # Other programs may use the prefix; only what looks like a mistyped key is an error.
            close = difflib.get_close_matches(variable, names, n=1, cutoff=0.85)
            if close:
                raise ConfigError(f"unknown variable; did you mean {close[0]}?", variable)
    return used


def _parse_variable(variable: str, text: str, section: str, key: str) -> Any:
    """A list is written as YAML; anything else is a text, which may stand for a number or null."""
    value = _parse_yaml(text, variable) if text.startswith(("[", "{")) else text
    field = _field(section, key)
    try:
        return msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_wanted(field, str(error).partition(" - at")[0]), variable) from error


def _explain(error: msgspec.ValidationError) -> str:
    """Turn msgspec's "Expected `float`, got `str` - at `$.triage.threshold`" into a line for people."""
    text, separator, path = str(error).partition(" - at `$")
    if not separator:
        return text
    key = re.sub(r"\[.*", "", path.strip("`").lstrip("."))
    section, _, name = key.rpartition(".")
    return f"{key}: {_wanted(_field(section, name), text)}"


def _field(section: str, key: str) -> msgspec.structs.FieldInfo:
    struct = next((field.type for field in msgspec.structs.fields(Config) if field.name == section), Config)
    return next(field for field in msgspec.structs.fields(struct) if field.name == key)


def _wanted(field: msgspec.structs.FieldInfo, text: str) -> str:
    """What msgspec said of a value, with what the key is for or which texts it allows."""
    text = text.replace("Expected", "expected", 1).replace("Invalid enum value", "got", 1).replace("`", "")
    literals = _literals(field.type)
    if not literals:
        return text if isinstance(field.type, type) else f"{text} ({_meta_description(field.type)})"
    single = [value for argument in get_args(field.type) for value in _literals(argument, lists=False)]
    listed = [value for value in literals if value not in single]
    allowed = f"one of {', '.join(literals)}" if not listed else f"{', '.join(single)} or a list of {', '.join(listed)}"
    return f"expected {allowed}; {text}"


def _literals(annotation: Any, *, lists: bool = True) -> list[str]:
    """The texts that an annotation allows, in order; empty where any text or a number is allowed."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    if get_origin(annotation) is list and not lists:
        return []
    return [value for argument in get_args(annotation) for value in _literals(argument, lists=lists)]
