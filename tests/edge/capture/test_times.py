"""When a frame was taken: by the image, by the name of its file where that says that it is UTC, else by the file's time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.capture.files import key_of, read_frame
from edge.capture.times import CaptureTimes
from edge.config import CaptureConfig, ConfigError
from edge.records import FrameKey
from tests.edge.capture.test_image import GPS_DATE, GPS_TIME, encode, exif_of, gps_clock

WRITTEN_AT = datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC)
TAKEN_AT = datetime(2018, 8, 5, 1, 0, 44, tzinfo=UTC)


def key(name: str) -> FrameKey:
    return FrameKey("/in", name, 1, 1_700_000_000_250_000_000)


@pytest.mark.parametrize(
    ("stem", "microseconds"),
    [
        ("2018080501004480Z", 800_000),
        ("20180805010044Z", 0),
        ("20180805T010044Z", 0),
        ("20180805T010044.80Z", 800_000),
        ("20180805T010044123456789Z", 123_456),
        ("2018-08-05T01-00-44.80Z", 800_000),
        ("2018-08-05T01:00:44,8Z", 800_000),
        ("2018-08-05T01.00.44Z", 0),
        ("IMG_20180805T010044Z", 0),
        ("DJI_0018-20180805T010044.5Z", 500_000),
        ("left-2018-08-05T01-00-44Z", 0),
    ],
)
@pytest.mark.parametrize("folder", ["", "100MEDIA/", "2017-01-01T00-00-00Z/"])
def test_name_that_says_that_it_is_utc_is_understood(stem: str, microseconds: int, folder: str) -> None:
    moment = CaptureTimes().of(key(f"{folder}{stem}.jpg"), {})
    assert moment.utc == TAKEN_AT + timedelta(microseconds=microseconds)
    assert (moment.clock, moment.monotonic_s) == ("name", None)


@pytest.mark.parametrize(
    "name",
    [
        # Some local time; nobody knows which.
        "20180805T010044.jpg",
        "2018080501004480.jpg",
        "IMG_20180805_010044.jpg",
        "2018-08-05T01-00-44.jpg",
        "2018-08-05T01-00-44+02.jpg",
        # Parts that may be something else.
        "20180805Z.jpg",
        "2018080501Z.jpg",
        "201808050100Z.jpg",
        "2018-08-05T01-00:44Z.jpg",
        "2018-08-05 01-00-44Z.jpg",
        "2018-08-05T01-00-44-80Z.jpg",
        "20180805T010044Z-1.jpg",
        "A20180805T010044Z.jpg",
        "120180805T010044Z.jpg",
        "20180805T010044.Z.jpg",
        "2018080501004480Z0.jpg",
        # No such day or time.
        "20181305T010044Z.jpg",
        "20180230T010044Z.jpg",
        "20180805T240044Z.jpg",
        "20180805T016044Z.jpg",
        "20180805T010061Z.jpg",
        "00010101T000000Z.jpg",
        "99991231T235960Z.jpg",
        "٢٠١٨٠٨٠٥T٠١٠٠٤٤Z.jpg",
    ],
)
def test_name_that_may_mean_something_else_is_not_taken_for_a_time(name: str) -> None:
    moment = CaptureTimes().of(key(name), {})
    assert (moment.utc, moment.clock) == (WRITTEN_AT, "system")


def test_leap_second_in_a_name_is_the_next_minute() -> None:
    assert CaptureTimes().of(key("20161231T235960.5Z.jpg"), {}).utc == datetime(2017, 1, 1, 0, 0, 0, 500_000, UTC)


def test_image_s_own_time_goes_before_the_name(tmp_path: Path) -> None:
    file = tmp_path / "20180805T010044Z.jpg"
    file.write_bytes(encode("JPEG", exif=exif_of(gps={GPS_DATE: "2024:02:29", GPS_TIME: gps_clock(1, 2, 3)})))
    opened = read_frame(str(file), key_of(str(file), str(tmp_path), file.stat()), CaptureConfig(), CaptureTimes())
    assert (opened.frame.captured_at, opened.frame.clock) == (datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "image")


@pytest.mark.parametrize(
    ("form", "name", "at"),
    [
        ("%Y%m%d_%H%M%S", "20180805_010044.jpg", TAKEN_AT),
        ("IMG_%Y%m%d_%H%M%S_%f", "IMG_20180805_010044_8.jpg", TAKEN_AT + timedelta(milliseconds=800)),
        ("%Y-%m-%dT%H%M%S%z", "2018-08-05T030044+0200.jpg", TAKEN_AT),
        ("%d.%m.%y %I-%M-%S %p", "05.08.18 01-00-44 AM.jpg", TAKEN_AT),
        ("%Y-%j %H%M%S", "2018-217 010044.jpg", TAKEN_AT),
    ],
)
def test_name_is_read_as_the_configuration_says(form: str, name: str, at: datetime) -> None:
    moment = CaptureTimes(form).of(key(name), {})
    assert (moment.utc, moment.clock) == (at, "name")


@pytest.mark.parametrize("name", ["a.jpg", "20180805_010044_2.jpg", "20181305_010044.jpg", "20180805T010044Z.jpg"])
def test_name_that_is_not_as_the_configuration_says_gives_no_time(name: str) -> None:
    assert CaptureTimes("%Y%m%d_%H%M%S").of(key(name), {}).clock == "system"


@pytest.mark.parametrize(
    "form", ["%Q", "%", "%Y%Y", "%Y%m%d", "%H%M%S", "%Y%m%d_%H%M", "%Y%m%d_%I%M%S", "photo", "%Y%m%d\0%H%M%S", "%s"]
)
def test_format_that_gives_no_time_is_refused_in_one_line(form: str) -> None:
    with pytest.raises(ConfigError, match=r"^capture\.name_time: .*") as caught:
        CaptureTimes(form)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_format_gives_times_or_is_refused(form: str) -> None:
    try:
        times = CaptureTimes(form)
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    assert times.of(key("a.jpg"), {}).utc.tzinfo is not None


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2199, 12, 31)),  # noqa: DTZ001 - hypothesis wants them so
    st.integers(0, 6),
    st.sampled_from(["", "T"]),
)
def test_every_time_comes_back_from_the_name_that_was_made_of_it(at: datetime, digits: int, between: str) -> None:
    fraction = f"{at.microsecond:06}"[:digits]
    moment = CaptureTimes().of(key(f"{at:%Y%m%d}{between}{at:%H%M%S}{fraction}Z.jpg"), {})
    assert moment.utc == at.replace(microsecond=int(fraction.ljust(6, "0")), tzinfo=UTC)


def test_photos_of_a_real_flight_have_the_time_of_their_names(data: Path) -> None:
    files = sorted((data / "flight").glob("*.jpg"))
    assert len(files) == 18
    for file in files:
        opened = read_frame(str(file), key_of(str(file), str(file.parent), file.stat()), CaptureConfig(), CaptureTimes())
        stem = file.stem
        day = datetime.strptime(stem[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        assert opened.frame.captured_at == day + timedelta(milliseconds=10 * int(stem[14:16]))
        assert opened.frame.clock == "name"


def test_frame_that_was_read_is_decoded_later_and_as_far_as_asked(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(make_jpeg(width=1024, height=512))
    opened = read_frame(str(file), key_of(str(file), str(tmp_path), file.stat()), CaptureConfig(), CaptureTimes())
    assert (opened.frame.width, opened.frame.height, opened.frame.pixels.size) == (1024, 512, 0)
    file.unlink()
    for serve_px, shape in (
        ((512, 1024), (512, 1024)),
        ((256, 512), (256, 512)),
        ((65, 129), (128, 256)),
        ((64, 128), (64, 128)),
    ):
        assert opened.image.decode(serve_px).shape[:2] == shape
