"""The configuration: one YAML file, every key with a default that works, typed and validated.

`load` reads the file, lets ``OVERFLIGHT_<SECTION>_<KEY>`` variables override it and raises `ConfigError` with one line
that names the file, the key and what is allowed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

import msgspec
import yaml
from msgspec import Meta

from edge.text import one_line, printable

DEFAULT_PATH = Path("/etc/overflight/overflight.yaml")
_ENVIRONMENT_PREFIX = "OVERFLIGHT_"

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class ConfigError(ValueError):
    """The configuration cannot be used; the message is one line that says where, what and what is allowed.

    Attributes:
        origin: The file or variable that is wrong; None: what was found out only after the file was read.
    """

    def __init__(self, text: str, origin: str | None = None) -> None:
        super().__init__(printable(text if origin is None else f"{origin}: {text}"))
        self.origin = origin


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class CaptureConfig(_Section, frozen=True):
    """Where frames come from."""

    source: Annotated[Text, Meta(description="folder that is watched, with its subfolders")] = "/var/lib/overflight/inbox"
    after: Annotated[
        Literal["keep", "move", "delete"],
        Meta(description="what happens to a file that was classified; move: into done/, or rejected/ if it cannot be read"),
    ] = "keep"
    settle_s: Annotated[Seconds, Meta(description="a file that was written to more recently is still being written")] = 1.0
    incomplete_s: Annotated[Seconds, Meta(description="how long a file that ends too early is waited for")] = 5.0
    rescan_s: Annotated[Seconds, Meta(description="the folder is listed again this often, because events get lost")] = 30.0
    max_bytes: Annotated[int, Meta(description="larger files are rejected unread", gt=0)] = 268_435_456
    max_pixels: Annotated[int, Meta(description="images that claim more pixels are rejected before decoding", gt=0)] = (
        100_000_000
    )


class PositionConfig(_Section, frozen=True):
    """Where the device was."""

    sources: Annotated[
        list[Text],
        Meta(description="in order of trust: exif, filename:<regex with groups latitude and longitude>, fixed:<lat>,<lon>"),
    ] = msgspec.field(default_factory=lambda: ["exif"])


class ModelConfig(_Section, frozen=True):
    """What classifies."""

    store: Annotated[
        str,
        Meta(description="folder that overflight model installs into; empty, or nothing there: the bundle of the package"),
    ] = "/var/lib/overflight/models"
    trusted_keys: Annotated[
        Text, Meta(description="folder of the public keys that bundles must be signed by, and of their withdrawals")
    ] = "/etc/overflight/keys"
    allow_unsigned: Annotated[
        bool, Meta(description="for development: use a bundle that nobody has signed; the status then says so")
    ] = False
    devices: Annotated[
        Literal["auto"] | Annotated[list[Literal["MYRIAD", "GPU", "CPU", "NPU", "TENSORFLOW"]], Meta(min_length=1)],
        Meta(description="auto, or an ordered list: the first that works is used, the next one when it fails"),
    ] = "auto"
    myriad_python: Annotated[
        str,
        Meta(description="Python of an OpenVINO up to 2022.3, which drives Movidius sticks (make myriad-runtime); empty: none"),
    ] = ""
    answer_s: Annotated[Seconds, Meta(description="a device that takes longer to answer is left for the next one")] = 5.0
    retry_s: Annotated[Seconds, Meta(description="a device that was left is tried again after so long")] = 60.0
    trial_s: Annotated[
        Seconds,
        Meta(description="a new model that fails, or says the same of every frame, for so long is left for the one before it"),
    ] = 30.0
    cache: Annotated[str, Meta(description="folder for compiled models; empty: cache/ beside the journal")] = ""


class TriageConfig(_Section, frozen=True):
    """Which observations become alerts."""

    threshold: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="least probability of damage for an alert; null: the bundle's own"),
    ] = None


class UplinkConfig(_Section, frozen=True):
    """The MQTT connection to the ground."""

    url: Annotated[Text, Meta(description="mqtt://host[:1883], or mqtts://host[:8883] with TLS")] = "mqtt://127.0.0.1:1883"
    protocol: Annotated[Literal["5", "3.1.1"], Meta(description="MQTT version")] = "5"
    username_file: Annotated[str, Meta(description="file that holds the user name; empty: none")] = ""
    password_file: Annotated[str, Meta(description="file that holds the password; empty: none")] = ""
    ca_file: Annotated[str, Meta(description="PEM with the broker's authority for mqtts; empty: the system's")] = ""
    certificate_file: Annotated[str, Meta(description="PEM with the device's own certificate; empty: none")] = ""
    key_file: Annotated[str, Meta(description="PEM with that certificate's key")] = ""
    keepalive_s: Annotated[int, Meta(description="a silent link is taken for dead after 1.5 times this", ge=1, le=65535)] = 30
    reconnect_max_s: Annotated[Seconds, Meta(description="longest pause between two tries to connect")] = 30.0
    delivery: Annotated[Literal["broker"], Meta(description="an alert is delivered when the broker acknowledged it")] = "broker"


class JournalConfig(_Section, frozen=True):
    """What survives a power cut."""

    path: Annotated[Text, Meta(description="the SQLite file")] = "/var/lib/overflight/journal.db"


class HealthConfig(_Section, frozen=True):
    """What the device says of itself."""

    interval_s: Annotated[Seconds, Meta(description="between two health messages")] = 10.0


class Config(_Section, frozen=True):
    """The whole configuration."""

    device: Annotated[
        str,
        Meta(description="name of this device, a part of its MQTT topics", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"),
    ] = "uav-1"
    capture: CaptureConfig = CaptureConfig()
    position: PositionConfig = PositionConfig()
    model: ModelConfig = ModelConfig()
    triage: TriageConfig = TriageConfig()
    uplink: UplinkConfig = UplinkConfig()
    journal: JournalConfig = JournalConfig()
    health: HealthConfig = HealthConfig()

    def __post_init__(self) -> None:
        broker_address(self.uplink.url)
        if bool(self.uplink.certificate_file) != bool(self.uplink.key_file):
            raise ValueError("uplink.certificate_file and uplink.key_file: expected both or neither")
        if self.uplink.password_file and not self.uplink.username_file:
            raise ValueError("uplink.password_file: expected uplink.username_file beside it")


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


def broker_address(url: str) -> SplitResult:
    """Split a broker's URL.

    Raises:
        ValueError: It is not ``mqtt://host[:port]`` or ``mqtts://host[:port]``.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"mqtt", "mqtts"} and bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # UnicodeError, of a host that cannot be looked up, is one
        valid = False
    if not valid or "@" in url or not re.fullmatch(r"[a-z]+://[^\s/?#]+/?", url):
        # What stands before an @ may be a password.
        shown = "…@" + url.rpartition("@")[2] if "@" in url else url
        raise ValueError(f"uplink.url: expected mqtt://host[:port] or mqtts://host[:port], got {shown!r}")
    return parts


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
