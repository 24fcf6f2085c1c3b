"""The sections of the configuration and their keys: every one typed, with a default that works and a word on what it is for."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


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


CommandName = Literal["set_threshold", "pause", "resume", "snapshot", "resend", "rollback_model"]


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
    delivery: Annotated[
        Literal["broker", "ground"],
        Meta(description="an alert is delivered when the broker has acknowledged it, or when the ground station has stored it"),
    ] = "broker"
    stored_within_s: Annotated[
        Seconds, Meta(description="delivery: ground: an alert that is not acknowledged for so long is sent again")
    ] = 10.0
    max_bytes_per_s: Annotated[
        Annotated[int, Meta(ge=100)] | None,
        Meta(description="what the link may carry of alerts, status, thumbnails and logs, in this order; null: all it can"),
    ] = None
    thumbnail_bytes: Annotated[
        int, Meta(description="largest picture that follows an alert when the link has room; 0: none", ge=0, le=262_144)
    ] = 6_000
    commands: Annotated[
        list[CommandName], Meta(description="what the ground may have the device do, each by its name; empty: nothing")
    ] = msgspec.field(default_factory=list)
    log_level: Annotated[
        Literal["none", "warning", "error"], Meta(description="what is logged from this level on goes to the ground, too")
    ] = "none"


class JournalConfig(_Section, frozen=True):
    """What survives a power cut."""

    path: Annotated[Text, Meta(description="the SQLite file")] = "/var/lib/overflight/journal.db"
    max_bytes: Annotated[
        int,
        Meta(description="the journal forgets the oldest that was delivered when it holds more than this", ge=1_000_000),
    ] = 1_000_000_000
    max_age_days: Annotated[
        float | None, Meta(description="it forgets what was delivered and is older than this; null: nothing for its age")
    ] = 90.0
    batch_s: Annotated[
        Annotated[float, Meta(ge=0, le=60)],
        Meta(description="frames without an alert are written this often, to spare a memory card; alerts at once"),
    ] = 2.0


class HealthConfig(_Section, frozen=True):
    """What the device says of itself."""

    interval_s: Annotated[Seconds, Meta(description="between two health messages")] = 10.0
    prometheus_port: Annotated[
        int, Meta(description="port on 127.0.0.1 where Prometheus finds the same figures; 0: none", ge=0, le=65535)
    ] = 0


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
