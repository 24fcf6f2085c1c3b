"""The configuration: what is read, what is refused, and how the refusal is worded."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.config import DEFAULT_PATH, Config, ConfigError, broker_address, build, describe, load

Write = Callable[[str], Path]
NO_VARIABLES: Mapping[str, str] = {}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file."""

    def write_file(text: str) -> Path:
        file = tmp_path / "overflight.yaml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    return write_file


def one_line(error: ConfigError) -> str:
    """The message of an error, which must be one line that a terminal shows as it is."""
    message = str(error)
    assert message.isprintable(), repr(message)
    return message


def refusal(file: Path) -> str:
    """What is said of a file that is refused, behind the file's own name."""
    with pytest.raises(ConfigError) as caught:
        load(file, NO_VARIABLES)
    message = one_line(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def refused_variable(name: str, text: str) -> str:
    """What is said of a variable that is refused, behind the variable's own name."""
    with pytest.raises(ConfigError) as caught:
        build({}, "defaults", {name: text})
    message = one_line(caught.value)
    assert message.startswith(f"{name}: ")
    return message.removeprefix(f"{name}: ")


# What is read


def test_no_file_gives_the_defaults_of_the_design() -> None:
    if DEFAULT_PATH.exists():
        pytest.skip(f"{DEFAULT_PATH} exists on this machine")
    config = load(None, NO_VARIABLES)

    assert config == Config()
    assert config.device == "uav-1"
    assert config.capture.source == "/var/lib/overflight/inbox"
    assert config.capture.after == "keep"
    assert config.position.sources == ["exif"]
    assert config.model.devices == "auto"
    assert config.triage.threshold is None
    assert config.uplink.delivery == "broker"
    assert config.journal.path == "/var/lib/overflight/journal.db"


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "{}"])
def test_an_empty_file_gives_the_defaults(write: Write, text: str) -> None:
    assert load(write(text), NO_VARIABLES) == Config()


def test_yaml_is_read(write: Write) -> None:
    file = write("""
        device: drone.7
        capture: {source: /data/in, after: move, settle_s: 2, max_pixels: 1000}
        position:
          sources: [exif, "fixed:29.76,-95.37"]
        model:
          devices: [GPU, TENSORFLOW]
        triage:
          threshold: 0.75
        uplink:
          url: mqtts://ground.example:8884
          protocol: "3.1.1"
          keepalive_s: 5
    """)
    config = load(file, NO_VARIABLES)

    assert config.device == "drone.7"
    assert (config.capture.source, config.capture.after) == ("/data/in", "move")
    assert (config.capture.settle_s, config.capture.max_pixels) == (2.0, 1000)
    assert config.position.sources == ["exif", "fixed:29.76,-95.37"]
    assert config.model.devices == ["GPU", "TENSORFLOW"]
    assert config.triage.threshold == 0.75
    assert (config.uplink.url, config.uplink.protocol) == ("mqtts://ground.example:8884", "3.1.1")
    assert config.uplink.keepalive_s == 5


def test_keys_that_a_file_leaves_out_keep_their_defaults(write: Write) -> None:
    config = load(write("capture: {after: delete}"), NO_VARIABLES)

    assert config.capture.after == "delete"
    assert config.capture.source == Config().capture.source
    assert config.uplink == Config().uplink


@pytest.mark.parametrize("threshold", [0, 1, 0.0, 1.0])
def test_a_threshold_may_be_either_end_of_its_range(write: Write, threshold: float) -> None:
    assert load(write(f"triage: {{threshold: {threshold}}}"), NO_VARIABLES).triage.threshold == threshold


# What is refused in a file


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "latin1.yaml"
    file.write_bytes("capture: {source: /Fotos/Gebäude}".encode("latin-1"))

    assert "cannot be read" in refusal(file)


@pytest.mark.parametrize(
    "text",
    [
        "capture: [",
        "capture:\n\tafter: keep",
        "device: @name",
        "device: !!python/object/apply:os.getcwd []",
        "device: \x07",
        "a: 1\n---\nb: 2",
        "? [device]\n: uav-1",
    ],
)
def test_a_file_that_is_not_yaml_is_refused(write: Write, text: str) -> None:
    assert refusal(write(text)).startswith("not YAML: ")


@pytest.mark.parametrize(
    "text",
    ["device: 2026-13-45", "device: 0x_", "device: !!timestamp tomorrow", "device: " + "[" * 3000],
    ids=["a day that no calendar has", "a number without digits", "no time at all", "nested too deep"],
)
def test_yaml_that_its_own_parser_chokes_on_is_refused(write: Write, text: str) -> None:
    refusal(write(text))


@pytest.mark.parametrize(("text", "kind"), [("- device", "list"), ("device", "str"), ("7", "int"), ("false", "bool")])
def test_a_file_that_is_no_mapping_is_refused(write: Write, text: str, kind: str) -> None:
    assert refusal(write(text)) == f"expected a mapping of sections, got {kind}"


@pytest.mark.parametrize(
    ("text", "key", "expected", "got"),
    [
        ("device: 7", "device", "str", "int"),
        ("device: [uav-1]", "device", "str", "array"),
        ("capture: {settle_s: soon}", "capture.settle_s", "float", "str"),
        ("capture: {settle_s: null}", "capture.settle_s", "float", "null"),
        ("capture: {max_bytes: 1.5}", "capture.max_bytes", "int", "float"),
        ("capture: {max_bytes: true}", "capture.max_bytes", "int", "bool"),
        ("capture: {source: 2026-11-21}", "capture.source", "str", "date"),
        ("position: {sources: exif}", "position.sources", "array", "str"),
        ("position: {sources: [exif, 1]}", "position.sources", "str", "int"),
        ("triage: {threshold: '0.5'}", "triage.threshold", "float", "str"),
        ("uplink: {protocol: 5}", "uplink.protocol", "5, 3.1.1", "int"),
    ],
)
def test_a_wrong_type_says_which_key_and_what_is_expected(write: Write, text: str, key: str, expected: str, got: str) -> None:
    message = refusal(write(text))

    assert message.startswith(f"{key}: expected ")
    assert expected in message
    assert f"got {got}" in message


@pytest.mark.parametrize("text", ["capture: 5", "capture: keep", "capture: [after, keep]"])
def test_a_section_that_is_no_mapping_is_refused(write: Write, text: str) -> None:
    assert refusal(write(text)).startswith("capture: expected ")


def test_unknown_key_suggests_the_nearest(write: Write) -> None:
    assert refusal(write("capture: {sorce: /data}")) == "capture.sorce: unknown key; did you mean source?"


def test_unknown_section_suggests_the_nearest(write: Write) -> None:
    assert refusal(write("uplnik: {keepalive_s: 5}")) == "uplnik: unknown key; did you mean uplink?"


def test_unknown_key_that_is_near_to_none_lists_what_is_allowed(write: Write) -> None:
    message = refusal(write("triage: {wxyz: 1}"))

    assert message == "triage.wxyz: unknown key; allowed are threshold, merge_m, merge_s, confirm, area"


def test_unknown_section_that_is_near_to_none_lists_the_sections(write: Write) -> None:
    message = refusal(write("wxyz: {}"))

    assert message.startswith("wxyz: unknown key; allowed are device, capture, ")
    assert all(section in message for section in Config.__struct_fields__)


@pytest.mark.parametrize("text", ["5: x", "null: x", "capture: {5: x}", "[]: x"])
def test_a_key_that_is_no_text_is_refused(write: Write, text: str) -> None:
    refusal(write(text))


@pytest.mark.parametrize("key", [r"de\nvice", r"\e[2Jdevice", r"\u202edevice"])
def test_a_key_with_control_characters_is_refused_in_one_printable_line(write: Write, key: str) -> None:
    refusal(write(f'"{key}": uav-1'))


@pytest.mark.parametrize(
    ("text", "key", "bound"),
    [
        ("triage: {threshold: 1.01}", "triage.threshold", "1.0"),
        ("triage: {threshold: -0.01}", "triage.threshold", "0.0"),
        ("triage: {threshold: .nan}", "triage.threshold", "0.0"),
        ("capture: {settle_s: 0}", "capture.settle_s", "0"),
        ("capture: {settle_s: -1}", "capture.settle_s", "0"),
        ("capture: {settle_s: .nan}", "capture.settle_s", "0"),
        ("capture: {rescan_s: .inf}", "capture.rescan_s", "86400"),
        ("capture: {max_bytes: 0}", "capture.max_bytes", "1"),
        ("uplink: {keepalive_s: 0}", "uplink.keepalive_s", "1"),
        ("uplink: {keepalive_s: 65536}", "uplink.keepalive_s", "65535"),
        ("health: {interval_s: 86401}", "health.interval_s", "86400"),
    ],
)
def test_a_number_out_of_range_says_what_its_bound_is(write: Write, text: str, key: str, bound: str) -> None:
    message = refusal(write(text))

    assert message.startswith(f"{key}: expected ")
    assert bound in message.partition("(")[0]


@pytest.mark.parametrize("text", ["capture: {source: ''}", "journal: {path: ''}", "position: {sources: ['']}"])
def test_an_empty_text_is_refused_where_something_must_be_named(write: Write, text: str) -> None:
    section, key = text.partition(": {")[0], text.partition("{")[2].partition(":")[0]

    assert refusal(write(text)).startswith(f"{section}.{key}: expected ")


@pytest.mark.parametrize("name", ["", "-uav", "a/b", "a+b", "a#", "two words", "ü", "x" * 65, r"uav-1\n", r"uav\0"])
def test_a_device_name_that_cannot_be_part_of_a_topic_is_refused(write: Write, name: str) -> None:
    assert refusal(write(f'device: "{name}"')).startswith("device: expected ")


@pytest.mark.parametrize("name", ["u", "uav-1", "A.b_c-9", "x" * 64])
def test_a_device_name_may_be_letters_digits_and_separators(write: Write, name: str) -> None:
    assert load(write(f'device: "{name}"'), NO_VARIABLES).device == name


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("capture: {after: burn}", "capture.after", ["keep", "move", "delete"]),
        ("uplink: {protocol: '4'}", "uplink.protocol", ["5", "3.1.1"]),
        ("uplink: {delivery: pigeon}", "uplink.delivery", ["broker"]),
        ("model: {devices: [CPU, TPU]}", "model.devices", ["GPU", "CPU", "NPU", "TENSORFLOW"]),
        ("model: {devices: cpu}", "model.devices", ["auto"]),
    ],
)
def test_a_bad_literal_names_what_is_allowed(write: Write, text: str, key: str, allowed: list[str]) -> None:
    message = refusal(write(text))

    assert message.startswith(f"{key}: expected ")
    assert all(value in message.partition("; got")[0] for value in allowed)


def test_one_device_without_brackets_is_told_that_a_list_is_wanted(write: Write) -> None:
    # "Expected one of auto, GPU, CPU; got CPU" would leave its reader without a way out.
    assert "list" in refusal(write("model: {devices: CPU}"))


@pytest.mark.parametrize("key", ["certificate_file", "key_file"])
def test_a_certificate_needs_its_key_and_a_key_its_certificate(write: Write, key: str) -> None:
    message = refusal(write(f"uplink: {{{key}: /etc/overflight/device.pem}}"))

    assert "uplink.certificate_file" in message
    assert "uplink.key_file" in message


# The broker's URL


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("mqtt://ground", "mqtt", "ground", None),
        ("mqtt://ground:1884", "mqtt", "ground", 1884),
        ("mqtts://ground.example:8883/", "mqtts", "ground.example", 8883),
        ("mqtt://127.0.0.1:1883", "mqtt", "127.0.0.1", 1883),
        ("mqtt://[2001:db8::1]:1883", "mqtt", "2001:db8::1", 1883),
    ],
)
def test_a_broker_is_named_by_scheme_host_and_port(url: str, scheme: str, host: str, port: int | None) -> None:
    parts = broker_address(url)

    assert (parts.scheme, parts.hostname, parts.port) == (scheme, host, port)


@pytest.mark.parametrize(
    "url",
    [
        "ground.example",
        "ground.example:1883",
        "http://ground.example",
        "tcp://ground.example:1883",
        "mqtt://",
        "mqtt://:1883",
        "mqtt:ground",
        "mqtt://ground:0",
        "mqtt://ground:65536",
        "mqtt://ground:-1",
        "mqtt://ground:mqtt",
        "mqtt://[2001:db8::1",
        "mqtt://ground/topic",
        "mqtt://ground?tls=yes",
        "mqtt://ground#fragment",
        "mqtt://two words",
    ],
)
def test_a_bad_url_says_what_is_expected_and_what_was_given(write: Write, url: str) -> None:
    message = refusal(write(f"uplink: {{url: '{url}'}}"))

    assert message.startswith("uplink.url: expected mqtt://host")
    assert url in message


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://pilot:hunter2@ground",
        "mqtts://pilot:hunter2@ground:8883",
        "mqtt://:hunter2@ground",
        "http://pilot:hunter2@ground",
        "mqtt:///pilot:hunter2@ground",
        "mqtt://pilot:x@hunter2@ground",
        "mqtt://pilot:x/hunter2@ground",
        "mqtt://pilot:x#hunter2@ground",
        "mqtt://pilot:x?hunter2@ground",
        "pilot:hunter2@ground",
        "mqtt:pilot:hunter2@ground",
    ],
)
def test_a_url_with_a_password_is_refused_without_echoing_it(write: Write, url: str) -> None:
    message = refusal(write(f"uplink: {{url: '{url}'}}"))

    assert message.startswith("uplink.url: expected mqtt://host")
    assert "hunter2" not in message


# The environment


def test_a_variable_overrides_a_key_and_leaves_its_neighbours(write: Write) -> None:
    file = write("capture: {after: move, source: /data}")
    config = load(file, {"OVERFLIGHT_CAPTURE_AFTER": "delete"})

    assert (config.capture.after, config.capture.source) == ("delete", "/data")


def test_a_variable_overrides_a_key_outside_of_the_sections() -> None:
    assert build({"device": "uav-1"}, "defaults", {"OVERFLIGHT_DEVICE": "uav-2"}).device == "uav-2"


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("OVERFLIGHT_POSITION_SOURCES", "[exif, 'fixed:1,2']", "position", "sources", ["exif", "fixed:1,2"]),
        ("OVERFLIGHT_MODEL_DEVICES", "[CPU, TENSORFLOW]", "model", "devices", ["CPU", "TENSORFLOW"]),
        ("OVERFLIGHT_MODEL_DEVICES", "auto", "model", "devices", "auto"),
        ("OVERFLIGHT_CAPTURE_SETTLE_S", "2.5", "capture", "settle_s", 2.5),
        ("OVERFLIGHT_CAPTURE_MAX_BYTES", "1000", "capture", "max_bytes", 1000),
        ("OVERFLIGHT_TRIAGE_THRESHOLD", "0.9", "triage", "threshold", 0.9),
        ("OVERFLIGHT_TRIAGE_THRESHOLD", "null", "triage", "threshold", None),
        ("OVERFLIGHT_MODEL_STORE", "", "model", "store", ""),
        ("OVERFLIGHT_UPLINK_PROTOCOL", "5", "uplink", "protocol", "5"),
        ("OVERFLIGHT_CAPTURE_SOURCE", "007", "capture", "source", "007"),
        ("OVERFLIGHT_CAPTURE_SOURCE", "2026-11-21", "capture", "source", "2026-11-21"),
        ("OVERFLIGHT_CAPTURE_SOURCE", "/data # 2", "capture", "source", "/data # 2"),
    ],
)
def test_a_variable_stands_for_a_value_of_its_keys_type(variable: str, text: str, section: str, key: str, value: Any) -> None:
    # Every key starts out as something else than what the variable says.
    other = {
        "position": {"sources": []},
        "model": {"devices": ["GPU"], "store": "/store"},
        "triage": {"threshold": 0.1},
        "uplink": {"protocol": "3.1.1"},
    }
    config = build(other, "file", {variable: text})

    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize("text", ["@data", "a: b: c", "%h/photos", "2026-13-45", "*.d", "0x_"])
def test_a_text_in_a_variable_need_not_be_yaml(text: str) -> None:
    assert build({}, "defaults", {"OVERFLIGHT_CAPTURE_SOURCE": text}).capture.source == text


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("OVERFLIGHT_CAPTURE_SETTLE_S", "soon", "expected float, got str"),
        ("OVERFLIGHT_CAPTURE_SETTLE_S", "", "expected float, got str"),
        ("OVERFLIGHT_CAPTURE_SETTLE_S", "0", "expected float > 0"),
        ("OVERFLIGHT_CAPTURE_MAX_BYTES", "many", "expected int, got str"),
        ("OVERFLIGHT_TRIAGE_THRESHOLD", "1.5", "expected float <= 1"),
        ("OVERFLIGHT_TRIAGE_THRESHOLD", "nan", "expected float >= 0"),
        ("OVERFLIGHT_CAPTURE_AFTER", "burn", "expected one of keep, move, delete; got 'burn'"),
        ("OVERFLIGHT_POSITION_SOURCES", "exif", "expected array, got str"),
        ("OVERFLIGHT_POSITION_SOURCES", "[[[", "not YAML"),
        ("OVERFLIGHT_DEVICE", "", "expected str"),
        ("OVERFLIGHT_DEVICE", "{a: b}", "expected str, got object"),
    ],
)
def test_a_variable_with_a_wrong_value_is_named_with_what_is_expected(variable: str, text: str, expected: str) -> None:
    assert refused_variable(variable, text).startswith(expected)


def test_a_bad_url_in_a_variable_names_the_variable() -> None:
    # The file, which may be perfect, would be searched in vain.
    with pytest.raises(ConfigError) as caught:
        build({}, "overflight.yaml", {"OVERFLIGHT_UPLINK_URL": "http://ground"})
    message = one_line(caught.value)

    assert "OVERFLIGHT_UPLINK_URL" in message


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("OVERFLIGHT_DEVCE", "OVERFLIGHT_DEVICE"),
        ("OVERFLIGHT_TRIAGE_TRESHOLD", "OVERFLIGHT_TRIAGE_THRESHOLD"),
        ("OVERFLIGHT_UPLINK_PASSWORD", "OVERFLIGHT_UPLINK_PASSWORD_FILE"),
        ("OVERFLIGHT_CAPTURE_SOURCES", "OVERFLIGHT_CAPTURE_SOURCE"),
    ],
)
def test_a_mistyped_variable_suggests_the_nearest_and_keeps_its_value_secret(mistyped: str, meant: str) -> None:
    message = refused_variable(mistyped, "hunter2")

    assert message == f"unknown variable; did you mean {meant}?"


@pytest.mark.parametrize(
    "variable", ["OVERFLIGHT_DATA", "OVERFLIGHT_CI_RUNNER", "overflight_device", "XOVERFLIGHT_DEVICE", "PATH"]
)
def test_an_unrelated_variable_is_ignored(variable: str) -> None:
    assert build({}, "defaults", {variable: "x"}) == Config()


def test_the_variables_of_the_process_count_where_no_others_are_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERFLIGHT_DEVICE", "from-the-shell")

    assert load(write("device: from-the-file")).device == "from-the-shell"
    assert load(write("device: from-the-file"), NO_VARIABLES).device == "from-the-file"


def test_overrides_leave_the_content_that_was_given_alone() -> None:
    content = {"capture": {"after": "keep"}}
    build(content, "file", {"OVERFLIGHT_CAPTURE_AFTER": "move", "OVERFLIGHT_DEVICE": "uav-2"})

    assert content == {"capture": {"after": "keep"}}


# The description


def everything_changed() -> Config:
    """A configuration in which every key differs from its default, with texts that YAML must quote."""
    return build(
        {
            "device": "007",
            "capture": {
                "source": "/data: # ü 'x' \"y\"",
                "after": "move",
                "settle_s": 0.25,
                "incomplete_s": 7,
                "rescan_s": 1e-3,
                "name_time": "%Y: %m",
                "tiles": "2x3",
                "tile_overlap": 0,
                "max_tiles": 7,
                "max_bytes": 2**40,
                "max_pixels": 1,
            },
            "position": {
                "sources": [r"filename:(?P<longitude>-?\d+)_(?P<latitude>-?\d+)", "fixed:-1,2", "exif"],
                "max_age_s": 0.5,
                "max_speed_m_s": 12,
                "terrain": "N29W096.hgt",
            },
            "camera": {
                "horizontal_fov_deg": 62.2,
                "distortion": [0.1, -0.2, 0, 1e-3],
                "mount_yaw_deg": 90,
                "mount_pitch_deg": -45,
                "mount_roll_deg": 180,
            },
            "model": {
                "store": "",
                "trusted_keys": "0x10",
                "allow_unsigned": True,
                "devices": ["NPU", "CPU"],
                "myriad_python": "null",
                "answer_s": 0.5,
                "retry_s": 1,
                "trial_s": 2,
                "cache": "~",
            },
            "triage": {"threshold": 0.123456789, "merge_m": 15, "merge_s": 5, "confirm": [2, 3], "area": "area.geojson"},
            "uplink": {
                "url": "mqtts://[::1]:8884",
                "protocol": "3.1.1",
                "username_file": "yes",
                "password_file": "1e3",
                "ca_file": "- a",
                "certificate_file": "x" * 200,
                "key_file": " key ",
                "keepalive_s": 1,
                "reconnect_max_s": 86400,
                "delivery": "ground",
                "stored_within_s": 0.5,
                "max_bytes_per_s": 100,
                "thumbnail_bytes": 0,
                "commands": ["pause", "set_threshold"],
                "log_level": "error",
            },
            "journal": {"path": "2026-11-21", "max_bytes": 2**40, "max_age_days": None, "batch_s": 0},
            "health": {"interval_s": 3, "prometheus_port": 9464},
        },
        "file",
        NO_VARIABLES,
    )


def test_everything_changed_differs_from_the_defaults_in_every_key() -> None:
    # Guards the round trip below: a new key must be part of it.
    default, changed = Config(), everything_changed()
    same = [
        (section, key)
        for section in Config.__struct_fields__[1:]
        for key in getattr(default, section).__struct_fields__
        if getattr(getattr(default, section), key) == getattr(getattr(changed, section), key)
    ]

    assert same == []


@pytest.mark.parametrize("config", [Config(), everything_changed()], ids=["defaults", "everything changed"])
def test_a_described_configuration_loads_back_to_itself(write: Write, config: Config) -> None:
    assert load(write(describe(config)), NO_VARIABLES) == config


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")))
@example("ends with a space that does not break\xa0", "\x85")
@example("two\nlines\n", "...\n")
def test_any_text_survives_being_described(source: str, cache: str) -> None:
    config = build({"capture": {"source": source}, "model": {"cache": cache}}, "file", NO_VARIABLES)

    assert build(yaml.safe_load(describe(config)), "file", NO_VARIABLES) == config


def test_a_description_explains_every_key() -> None:
    lines = describe(Config()).splitlines()
    keys = [number for number, line in enumerate(lines) if line.startswith("  ") and not line.lstrip().startswith("#")]

    assert len(keys) == sum(len(field.type.__struct_fields__) for field in msgspec.structs.fields(Config)[1:])
    assert all(lines[number - 1].startswith("  # ") for number in keys)


_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_sections = st.dictionaries(
    st.sampled_from(Config.__struct_fields__) | st.text(),
    _values
    | st.dictionaries(
        st.sampled_from(["source", "after", "settle_s", "max_bytes", "sources", "devices", "threshold", "url", "path"]), _values
    ),
)


@settings(deadline=None)
@given(_sections | _values)
def test_whatever_a_file_holds_is_taken_or_refused_in_one_line(content: Any) -> None:
    try:
        build(content, "file", NO_VARIABLES)
    except ConfigError as error:
        one_line(error)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("camera: {distortion: [1, 2, 3]}", "camera.distortion: expected k1, k2, p1, p2 and, if known, k3, or nothing"),
        ("triage: {confirm: [3, 2]}", "triage.confirm: expected [k, n] with k at most n, got [3, 2]"),
        ("triage: {confirm: [0, 2]}", "triage.confirm: expected int >= 1"),
        ("triage: {confirm: 2}", "triage.confirm: expected array"),
        ("capture: {tiles: 2*3}", "capture.tiles: expected"),
        ("capture: {tiles: 0x3}", "capture.tiles: expected"),
        ("camera: {horizontal_fov_deg: 180}", "camera.horizontal_fov_deg: expected"),
        ("position: {max_speed_m_s: 0}", "position.max_speed_m_s: expected"),
    ],
)
def test_what_position_and_triage_cannot_take_is_refused_with_what_they_can(write: Write, text: str, reason: str) -> None:
    assert refusal(write(text)).startswith(reason)
