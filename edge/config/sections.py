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
    name_time: Annotated[
        str,
        Meta(
            description="how a file's name says when it was taken, UTC, as strptime writes it: %Y%m%d_%H%M%S; empty: names such"
            " as 20180805T010044.80Z, which say themselves that they are UTC, are understood"
        ),
    ] = ""
    tiles: Annotated[
        Annotated[str, Meta(pattern=r"^[1-9][0-9]?x[1-9][0-9]?\Z")] | None,
        Meta(
            description="rows x columns that a frame is cut into where height or lens are not known, which else decide;"
            " null: the frame is one tile"
        ),
    ] = None
    tile_overlap: Annotated[
        float, Meta(description="share of a tile that the next one shows as well, where the height decides", ge=0, le=0.75)
    ] = 0.25
    max_tiles: Annotated[
        int, Meta(description="a frame is cut into no more; should it need more, each shows more ground", ge=1, le=4096)
    ] = 256
    max_bytes: Annotated[int, Meta(description="larger files are rejected unread", gt=0)] = 268_435_456
    max_pixels: Annotated[int, Meta(description="images that claim more pixels are rejected before decoding", gt=0)] = (
        100_000_000
    )


class PositionConfig(_Section, frozen=True):
    """Where the device was."""

    sources: Annotated[
        list[Text],
        Meta(
            description="in order of trust: exif, filename:<regex with groups latitude and longitude>, fixed:<lat>,<lon>,"
            " gpsd:<host>:<port>, mavlink:udp:<host>:<port> | tcp:<host>:<port> | <device>[:<baud>] | <file>.tlog,"
            " nmea:<device>[:<baud>] | <file>, gpx:<file>"
        ),
    ] = msgspec.field(default_factory=lambda: ["exif"])
    max_age_s: Annotated[
        Seconds, Meta(description="a position that was measured longer before or after the exposure is not used")
    ] = 2.0
    max_speed_m_s: Annotated[
        float, Meta(description="a fix that the aircraft could only have reached faster is refused", gt=0, le=10_000)
    ] = 150.0
    terrain: Annotated[
        str,
        Meta(description="elevation file (GeoTIFF or HGT) of the ground, m above sea level; empty: flat, at take-off height"),
    ] = ""


class CameraConfig(_Section, frozen=True):
    """How the camera sees, and how it is fixed to the aircraft."""

    horizontal_fov_deg: Annotated[
        Annotated[float, Meta(gt=0, lt=180)] | None,
        Meta(description="angle between the left and the right edge of the frame; null: what the image says of its lens"),
    ] = None
    distortion: Annotated[
        list[float],
        Meta(description="k1, k2, p1, p2 and k3 of the lens, as OpenCV calibrates it; empty: straight lines are straight"),
    ] = msgspec.field(default_factory=list)
    mount_yaw_deg: Annotated[
        float, Meta(description="where the frame's top points, clockwise from the aircraft's nose", ge=-360, le=360)
    ] = 0.0
    mount_pitch_deg: Annotated[
        float, Meta(description="-90: straight down, 0: ahead; for a camera without a gimbal that says it", ge=-180, le=180)
    ] = -90.0
    mount_roll_deg: Annotated[float, Meta(description="right side down", ge=-180, le=180)] = 0.0


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
    merge_m: Annotated[
        float, Meta(description="alerts of one label closer than this are one, which is updated; 0: each stands alone", ge=0)
    ] = 0.0
    merge_s: Annotated[Seconds, Meta(description="as long as no more time lies between two of them")] = 60.0
    confirm: Annotated[
        tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1, le=1000)]] | None,
        Meta(
            description="[k, n]: damage is only told when k of n frames in a row show it, within merge_m, or 30 m if that is 0;"
            " null: at once"
        ),
    ] = None
    area: Annotated[
        str,
        Meta(
            description="GeoJSON file: alerts only from within its polygons, from an aircraft within 1000 m of them where it is"
            " not known what ground it saw, or where the position is unknown"
        ),
    ] = ""


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
    camera: CameraConfig = CameraConfig()
    model: ModelConfig = ModelConfig()
    triage: TriageConfig = TriageConfig()
    uplink: UplinkConfig = UplinkConfig()
    journal: JournalConfig = JournalConfig()
    health: HealthConfig = HealthConfig()

    def __post_init__(self) -> None:
        broker_address(self.uplink.url)
        if len(self.camera.distortion) not in {0, 4, 5}:
            raise ValueError("camera.distortion: expected k1, k2, p1, p2 and, if known, k3, or nothing")
        if self.triage.confirm is not None and self.triage.confirm[0] > self.triage.confirm[1]:
            raise ValueError(f"triage.confirm: expected [k, n] with k at most n, got {list(self.triage.confirm)}")
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
