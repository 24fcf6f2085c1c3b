"""XMP packets of image files that are made here with Pillow and by hand, and of a drone's photos."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from edge.capture.xmp import MAX_BYTES, read_xmp

DJI = "http://www.dji.com/drone-dji/1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def packet(attributes: str = 'd:RelativeAltitude="+39.80"', elements: str = "", before: str = "") -> bytes:
    """A packet as drones write it."""
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{before}<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<r:RDF xmlns:r="{RDF}"><r:Description r:about="" xmlns:d="{DJI}" {attributes}>{elements}</r:Description></r:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def image(format_name: str, xmp: bytes) -> bytes:
    """An image file with a packet."""
    file, picture = io.BytesIO(), Image.new("RGB", (32, 24))
    if format_name == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        picture.save(file, "PNG", pnginfo=text)
    elif format_name == "TIFF":
        picture.save(file, "TIFF", tiffinfo={700: xmp})
    else:
        picture.save(file, format_name, xmp=xmp)
    return file.getvalue()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_packet_is_found_in_every_format(format_name: str) -> None:
    assert read_xmp(image(format_name, packet())) == {"RelativeAltitude": "+39.80"}


def test_properties_are_read_as_attributes_and_as_elements() -> None:
    elements = "<d:GimbalYawDegree> +45.00 </d:GimbalYawDegree><d:Empty/>"

    assert read_xmp(image("JPEG", packet(elements=elements))) == {
        "RelativeAltitude": "+39.80",
        "GimbalYawDegree": "+45.00",
        "Empty": "",
    }


def test_structures_and_foreign_namespaces_are_passed_over() -> None:
    elements = f'<d:List><r:Seq xmlns:r="{RDF}"><r:li>1</r:li></r:Seq></d:List><e:Yaw xmlns:e="urn:else">9</e:Yaw>'

    assert read_xmp(image("JPEG", packet(elements=elements))) == {"RelativeAltitude": "+39.80"}


def test_of_two_namespaces_that_share_a_name_the_drone_s_wins() -> None:
    attributes = 'xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Model="of the lens" d:Model="of the drone" t:Make="DJI"'

    assert read_xmp(image("JPEG", packet(attributes))) == {"Model": "of the drone", "Make": "DJI"}


def test_an_image_without_a_packet_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 24)).save(file, "JPEG")

    assert read_xmp(file.getvalue()) == {}
    assert read_xmp(b"") == {}
    assert caplog.records == []


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    "xmp",
    [
        packet()[:-60],
        b"no XML",
        packet(before=BOMB, elements="<d:Note>&c;</d:Note>"),
        packet(before='<!DOCTYPE x SYSTEM "file:///etc/passwd">'),
        packet(elements="&unknown;"),
        b'<?xml version="1.0" encoding="no-such"?>' + packet(),
        packet() + b"\0more",
    ],
    ids=["cut off", "no XML", "entity bomb", "external DTD", "unknown entity", "unknown encoding", "trailing garbage"],
)
def test_a_packet_that_is_broken_or_hostile_costs_itself_alone_and_is_logged_once(
    xmp: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_xmp(image("JPEG", xmp)) == {}

    (record,) = caplog.records
    assert record.getMessage().startswith("XMP cannot be read and is passed over: ")
    assert record.getMessage().isprintable()


def test_a_packet_beyond_the_limit_is_not_parsed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_xmp(image("TIFF", packet(elements=" " * MAX_BYTES))) == {}

    assert f"more than {MAX_BYTES}" in caplog.text


def test_elements_that_are_nested_without_end_are_no_way_into_the_stack() -> None:
    depth = MAX_BYTES // 8
    nested = packet(elements="<a>" * depth + "</a>" * depth)

    assert read_xmp(image("TIFF", nested)) == {"RelativeAltitude": "+39.80"}


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_to_a_file_is_an_error(format_name: str, data: st.DataObject) -> None:
    content = bytearray(image(format_name, packet()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])

    assert all(isinstance(value, str) for value in read_xmp(damaged).values())


def test_a_tiff_whose_directory_lies_beyond_its_end_says_nothing() -> None:
    assert read_xmp(b"II*\0" + struct.pack("<I", 2**31)) == {}


def test_a_drone_s_photo_says_how_high_it_was(data: Path) -> None:
    xmp = read_xmp((data / "drone-photos" / "DJI_0018.JPG").read_bytes())

    assert xmp["RelativeAltitude"] == "+39.80"
    assert xmp["GimbalYawDegree"] == "+45.00"
    assert xmp["Model"] == "FC300S"
