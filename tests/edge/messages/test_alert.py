"""The wire: what an alert looks like as JSON, and what is not taken for one."""

from __future__ import annotations

import copy
import json
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import RFC_4122, UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.messages import (
    alert_message,
    decode_alert,
    encode,
    observation_message,
    rfc3339,
    topic,
    uuid7,
)
from edge.records import Alert, Fix, Footprint, Frame, FrameKey, ModelName, Observation, Prediction, Tile
from edge.text import printable

EXPOSED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
FIX = Fix(29.7604, -95.3698, "exif", EXPOSED_AT, altitude_m=31.2, accuracy_m=2.1, age_s=0.04)

# The example of DESIGN.md, of a frame whose footprint is not known.
EXAMPLE: dict[str, Any] = {
    "type": "Feature",
    "id": "0198f1c2-0000-7000-8000-000000000000",
    "geometry": {"type": "Point", "coordinates": [-95.3698, 29.7604, 31.2]},
    "properties": {
        "schema": 1,
        "device": "uav-1",
        "journal": "7f3a",
        "sequence": 1234,
        "captured_at": "2026-11-21T10:00:00.000Z",
        "label": "damaged",
        "confidence": 0.973,
        "probabilities": {"damaged": 0.973, "undamaged": 0.027},
        "frame": {"source": "/var/lib/overflight/inbox", "name": "a.jpeg", "tile": [0, 0, 128, 128]},
        "footprint": None,
        "fix": {"source": "exif", "age_s": 0.04, "accuracy_m": 2.1},
        "model": {"name": "terrain-damage", "version": 3, "sha256": "ab" * 32},
        "engine": "openvino",
        "on": "CPU",
        "inference_ms": 0.41,
        "clock": "image",
        "place": "device",
    },
}
# What an older device does not say.
NEWER = {"clock", "place"}


def observe(
    fix: Fix | None = FIX,
    captured_at: datetime = EXPOSED_AT,
    name: str = "a.jpeg",
    damaged: float = 0.973,
    inference_ms: float = 0.41,
) -> Observation:
    """The observation of the example, or one that differs in something."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    frame = Frame(FrameKey("/var/lib/overflight/inbox", name, 4096, 1), captured_at, 128, 128, pixels, clock="image")
    model = ModelName("terrain-damage", 3, "ab" * 32)
    prediction = Prediction({"damaged": damaged, "undamaged": 1 - damaged}, model, "openvino", "CPU", inference_ms)
    return Observation(frame, Tile(0, 0, 128, 128), prediction, fix)


def alert_json(observation: Observation) -> dict[str, Any]:
    """What goes over the wire for an alert about damage."""
    alert = Alert(EXAMPLE["id"], observation, "damaged", observation.prediction.probabilities["damaged"])
    content: dict[str, Any] = json.loads(encode(alert_message(alert, "uav-1", "7f3a", 1234)))
    return content


def test_an_alert_is_the_feature_of_the_design_key_by_key() -> None:
    assert alert_json(observe()) == EXAMPLE


def test_without_a_fix_geometry_and_fix_are_null_and_the_alert_still_goes_out() -> None:
    content = alert_json(observe(fix=None))

    assert content["geometry"] is None
    assert content["properties"]["fix"] is None
    assert "place" not in content["properties"]
    assert content["properties"]["label"] == "damaged"


def test_without_an_altitude_a_point_has_two_coordinates() -> None:
    fix = Fix(29.7604, -95.3698, "filename", EXPOSED_AT)

    assert alert_json(observe(fix))["geometry"] == {"type": "Point", "coordinates": [-95.3698, 29.7604]}


def test_an_altitude_of_zero_is_an_altitude() -> None:
    fix = Fix(29.7604, -95.3698, "exif", EXPOSED_AT, altitude_m=0.0)

    assert alert_json(observe(fix))["geometry"]["coordinates"] == [-95.3698, 29.7604, 0.0]


def test_an_unknown_accuracy_is_null() -> None:
    fix = Fix(29.7604, -95.3698, "filename", EXPOSED_AT)

    assert alert_json(observe(fix))["properties"]["fix"] == {"source": "filename", "age_s": 0.0, "accuracy_m": None}


def test_the_age_of_a_fix_is_what_it_says_itself() -> None:
    fix = Fix(29.7604, -95.3698, "gpsd", EXPOSED_AT, age_s=1.5)

    assert alert_json(observe(fix))["properties"]["fix"]["age_s"] == 1.5


def test_the_confidence_is_that_of_the_label_that_is_alerted_about() -> None:
    properties = alert_json(observe(damaged=0.2))["properties"]

    assert (properties["label"], properties["confidence"]) == ("damaged", 0.2)


def test_probabilities_that_rounding_could_push_out_of_range_stay_decodable() -> None:
    decoded = decode_alert(json.dumps(alert_json(observe(damaged=1 - 1e-9))).encode())

    assert decoded.properties.confidence == 1.0


def test_an_observation_is_an_alert_without_what_only_alerts_have() -> None:
    content = json.loads(encode(observation_message(observe(damaged=0.2))))

    assert content.keys() == EXAMPLE.keys() - {"id"}
    assert content["properties"].keys() == EXAMPLE["properties"].keys() - {"device", "journal", "sequence"}
    # Nobody decided to alert: the label is the most probable one.
    assert (content["properties"]["label"], content["properties"]["confidence"]) == ("undamaged", 0.8)


FOOTPRINT = Footprint(((-95.26, 29.51), (-95.24, 29.51), (-95.24, 29.49), (-95.26, 29.49)), 29.50000001, -95.25, 30.0)


def test_with_a_footprint_the_place_is_its_middle_and_the_fix_says_where_the_aircraft_was() -> None:
    fix = replace(FIX, height_m=40.00049, is_2d=True)
    content = alert_json(replace(observe(fix), footprint=FOOTPRINT))

    assert content["geometry"] == {"type": "Point", "coordinates": [-95.25, 29.5, 30.0]}
    assert content["properties"]["place"] == "ground"
    assert content["properties"]["footprint"]["type"] == "Polygon"
    assert content["properties"]["fix"] == {
        "source": "exif",
        "age_s": 0.04,
        "accuracy_m": 2.1,
        "is_2d": True,
        "height_m": 40.0,
        "point": [-95.3698, 29.7604, 31.2],
    }
    decode_alert(json.dumps(content).encode())


def test_a_fix_that_is_the_ground_says_so() -> None:
    content = alert_json(observe(replace(FIX, is_of_ground=True)))

    assert content["geometry"] == EXAMPLE["geometry"]
    assert content["properties"] == EXAMPLE["properties"] | {"place": "ground"}


def test_an_alert_of_several_frames_says_how_many_and_when() -> None:
    observation = observe()
    alert = Alert(EXAMPLE["id"], observation, "damaged", 0.973, 5, 2, EXPOSED_AT - timedelta(seconds=6), EXPOSED_AT)
    content = json.loads(encode(alert_message(alert, "uav-1", "7f3a", 1234)))

    assert content["properties"] == EXAMPLE["properties"] | {
        "count": 5,
        "revision": 2,
        "first_at": "2026-11-21T09:59:54.000Z",
        "last_at": "2026-11-21T10:00:00.000Z",
    }


def test_what_an_older_device_does_not_say_is_its_default() -> None:
    content = copy.deepcopy(EXAMPLE)
    for name in NEWER:
        del content["properties"][name]
    properties = decode_alert(json.dumps(content).encode()).properties

    assert (properties.clock, properties.place, properties.revision, properties.count) == (None, None, 0, 1)
    assert (properties.first_at, properties.last_at) == (None, None)
    assert properties.fix is not None
    assert (properties.fix.is_2d, properties.fix.height_m, properties.fix.point) == (False, None, None)


def test_text_is_sent_as_utf8_and_comes_back() -> None:
    alert = Alert("x", observe(name="Überflug/東京.jpeg"), "damaged", 0.973)
    payload = encode(alert_message(alert, "uav-1", "7f3a", 1))

    assert "Überflug/東京.jpeg".encode() in payload
    assert decode_alert(payload).properties.frame.name == "Überflug/東京.jpeg"


def test_an_encoded_alert_decodes_to_the_same_message() -> None:
    message = alert_message(Alert(uuid7(), observe(), "damaged", 0.973), "uav-1", "7f3a", 1)

    assert decode_alert(encode(message)) == message


def test_topics_lie_below_the_device() -> None:
    assert topic("uav-1", "alert") == "overflight/uav-1/alert"
    assert topic("+", "status") == "overflight/+/status"


# Times


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC), "2026-11-21T10:00:00.000Z"),
        (datetime(2026, 11, 21, 10, 0, 0, 7_000, tzinfo=UTC), "2026-11-21T10:00:00.007Z"),
        (datetime(2026, 11, 21, 10, 0, 0, 999_999, tzinfo=UTC), "2026-11-21T10:00:00.999Z"),
        (datetime(2026, 11, 21, 10, 0, 0, tzinfo=timezone(timedelta(hours=-6))), "2026-11-21T16:00:00.000Z"),
        (datetime(2026, 12, 31, 23, 30, 0, tzinfo=timezone(timedelta(hours=-1))), "2027-01-01T00:30:00.000Z"),
    ],
)
def test_times_are_rfc3339_in_utc_with_milliseconds(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


# Decoding


def changed(path: str, value: Any) -> bytes:
    """The example with another value at a path such as ``properties.fix.age_s``."""
    content = copy.deepcopy(EXAMPLE)
    *parents, last = path.split(".")
    target = content
    for key in parents:
        target = target[key]
    target[last] = value
    return json.dumps(content).encode()


def without(path: str) -> bytes:
    """The example without the key at a path."""
    content = json.loads(changed(path, None))
    *parents, last = path.split(".")
    target = content
    for key in parents:
        target = target[key]
    del target[last]
    return json.dumps(content).encode()


def test_the_example_of_the_design_decodes() -> None:
    message = decode_alert(json.dumps(EXAMPLE).encode())

    assert message.geometry is not None
    assert message.geometry.coordinates == (-95.3698, 29.7604, 31.2)
    assert message.properties.frame.tile == (0, 0, 128, 128)
    assert message.properties.probabilities == {"damaged": 0.973, "undamaged": 0.027}


@pytest.mark.parametrize("path", ["new", "geometry.bbox", "properties.new", "properties.fix.new", "properties.model.new"])
def test_an_unknown_field_is_passed_over(path: str) -> None:
    assert decode_alert(changed(path, {"anything": [1, None]})) == decode_alert(json.dumps(EXAMPLE).encode())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "FeatureCollection"),
        ("id", 7),
        ("id", None),
        ("geometry", "here"),
        ("geometry.type", "Polygon"),
        ("geometry.coordinates", [-95.0]),
        ("geometry.coordinates", [-95.0, 29.0, 1.0, 2.0]),
        ("geometry.coordinates", [-95.0, None]),
        ("geometry.coordinates", [-95.0, 29.0, None]),
        ("geometry.coordinates", ["-95.0", "29.0"]),
        ("properties", []),
        ("properties.schema", 2),
        ("properties.schema", "1"),
        ("properties.device", None),
        ("properties.sequence", 0),
        ("properties.sequence", -1),
        ("properties.sequence", 1.5),
        ("properties.sequence", "1"),
        ("properties.captured_at", "2026-11-21T10:00:00Z"),
        ("properties.captured_at", "2026-11-21T10:00:00.000+00:00"),
        ("properties.captured_at", "2026-11-21T10:00:00.000Z\n"),
        ("properties.captured_at", " 2026-11-21T10:00:00.000Z"),
        ("properties.captured_at", 1_795_255_200),
        ("properties.confidence", 1.01),
        ("properties.confidence", -0.01),
        ("properties.confidence", "0.9"),
        ("properties.confidence", None),
        ("properties.probabilities", {"damaged": 1.01}),
        ("properties.probabilities", [0.9, 0.1]),
        ("properties.frame.tile", [0, 0, 128]),
        ("properties.frame.tile", [0, 0, 128, 128.5]),
        ("properties.fix", {"source": "exif"}),
        ("properties.fix.point", [1.0]),
        ("properties.place", "sky"),
        ("properties.clock", "watch"),
        ("properties.revision", -1),
        ("properties.count", 0),
        ("properties.first_at", "yesterday"),
        ("properties.footprint", {"type": "Polygon", "coordinates": []}),
        ("properties.footprint", {"type": "Point", "coordinates": [1, 2]}),
        ("properties.model.version", "3"),
        ("properties.inference_ms", "fast"),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: Any) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_alert(changed(path, value))


@pytest.mark.parametrize(
    "path",
    ["id", "geometry", "properties", "geometry.coordinates"]
    + [f"properties.{key}" for key in EXAMPLE["properties"] if key not in NEWER]
    + ["properties.frame.tile", "properties.fix.age_s", "properties.model.sha256"],
)
def test_a_missing_field_is_refused(path: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_alert(without(path))


@pytest.mark.parametrize(
    "coordinates", [[180.001, 0.0], [-180.001, 0.0], [0.0, 90.001], [0.0, -90.001], [29.7, -95.3], [1e300, 1.0]]
)
def test_a_place_off_the_earth_is_refused(coordinates: list[float]) -> None:
    with pytest.raises(msgspec.DecodeError, match=r"expected longitude -180\.\.180 and latitude -90\.\.90"):
        decode_alert(changed("geometry.coordinates", coordinates))


@pytest.mark.parametrize("coordinates", [[180.0, 90.0], [-180.0, -90.0], [-95, 29]])
def test_the_edges_of_the_earth_are_places(coordinates: list[float]) -> None:
    message = decode_alert(changed("geometry.coordinates", coordinates))

    assert message.geometry is not None
    assert list(message.geometry.coordinates) == coordinates


@pytest.mark.parametrize("payload", [b"", b"{", b"alert", b"null", b"[]", b"\xff\xfe", b"{}{}", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_alert(payload)


def test_text_that_is_not_utf8_is_refused_as_every_other_bad_message() -> None:
    # A receiver that expects one error would be ended by another: anybody who may publish could do that.
    payload = json.dumps(EXAMPLE).encode().replace(b'"uav-1"', b'"uav-\xff"')

    with pytest.raises(msgspec.DecodeError):
        decode_alert(payload)


def test_a_message_nested_without_end_is_refused_as_every_other_bad_message() -> None:
    deep = b'{"new": ' + b"[" * 100_000 + b"]" * 100_000 + b"," + json.dumps(EXAMPLE).encode()[1:]

    with pytest.raises(msgspec.DecodeError):
        decode_alert(deep)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_message_is_taken_or_refused_with_a_decode_error(data: st.DataObject) -> None:
    payload = bytearray(json.dumps(EXAMPLE).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with suppress(msgspec.DecodeError):
        decode_alert(bytes(payload))


# Ids


def test_an_id_is_a_uuid_of_version_7_in_its_usual_spelling() -> None:
    for _ in range(1000):
        text = uuid7()
        assert str(UUID(text)) == text
        assert (UUID(text).version, UUID(text).variant) == (7, RFC_4122)


def test_an_id_begins_with_the_milliseconds_since_1970() -> None:
    before = time.time_ns() // 1_000_000
    first_48_bits = UUID(uuid7()).int >> 80
    after = time.time_ns() // 1_000_000

    assert before <= first_48_bits <= after


def test_ids_of_later_milliseconds_sort_behind() -> None:
    ids = []
    for _ in range(20):
        ids.append(uuid7())
        begun = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 <= begun:
            time.sleep(0.0005)

    assert ids == sorted(ids)


def test_ids_of_one_moment_differ() -> None:
    assert len({uuid7() for _ in range(20_000)}) == 20_000


# Text for a terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x7f\x00", r"\x7f\x00"),
        ("gnp\u202efpj.exe", r"gnp\u202efpj.exe"),
        ("a\u200bb\u2028c", r"a\u200bb\u2028c"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_moves_the_cursor_or_hides_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["", "DJI_0018.JPG", "two words", "Überflug 東京 😀", r"C:\x1b"])
def test_text_that_is_harmless_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@settings(deadline=None)
@given(st.text(st.characters()))
def test_any_text_becomes_one_line_that_a_terminal_can_show(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    shown.encode()
