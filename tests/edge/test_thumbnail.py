"""The picture of an alert: small enough, of the right place, and without a word about who took it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import exifread
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.records import Tile
from edge.thumbnail import thumbnail

if TYPE_CHECKING:
    from edge.records import Image

GREY, RED, GREEN = (128, 128, 128), (0, 0, 255), (0, 255, 0)


def decoded(jpeg: bytes | None) -> Image:
    assert jpeg is not None
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def noise(width: int, height: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def painted(width: int, height: int, tile: Tile) -> Image:
    """A grey frame; the tile is red, what lies around it green."""
    pixels = np.full((height, width, 3), GREY, np.uint8)
    left, top = max(0, tile.left - tile.width // 2), max(0, tile.top - tile.height // 2)
    pixels[top : tile.top + tile.height + tile.height // 2, left : tile.left + tile.width + tile.width // 2] = GREEN
    pixels[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = RED
    return pixels


def is_like(pixel: Image, colour: tuple[int, int, int]) -> bool:
    return int(np.abs(pixel.astype(int) - colour).max()) < 40


def test_the_tile_lies_in_the_middle_of_its_surroundings() -> None:
    tile = Tile(200, 100, 80, 60)

    picture = decoded(thumbnail(painted(640, 480, tile), (640, 480), tile, 100_000))

    assert picture.shape == (120, 160, 3)
    assert is_like(picture[60, 80], RED)
    assert is_like(picture[40, 50], RED)
    for corner in (picture[2, 2], picture[2, -3], picture[-3, 2], picture[-3, -3]):
        assert is_like(corner, GREEN)


@pytest.mark.parametrize(
    ("tile", "shape", "red_at"),
    [
        (Tile(0, 0, 80, 60), (90, 120), (2, 2)),
        (Tile(560, 420, 80, 60), (90, 120), (-3, -3)),
        (Tile(0, 420, 80, 60), (90, 120), (-3, 2)),
        (Tile(560, 200, 80, 60), (120, 120), (60, -3)),
    ],
    ids=["top left", "bottom right", "bottom left", "right edge"],
)
def test_the_surroundings_end_where_the_frame_does(tile: Tile, shape: tuple[int, int], red_at: tuple[int, int]) -> None:
    picture = decoded(thumbnail(painted(640, 480, tile), (640, 480), tile, 100_000))

    assert picture.shape[:2] == shape
    assert is_like(picture[red_at], RED)
    assert is_like(picture[-red_at[0], -red_at[1]], GREEN)


def test_a_frame_that_was_decoded_at_a_quarter_shows_the_same_place() -> None:
    tile = Tile(400, 800, 320, 240)
    # 1601 and 1203 do not divide by four: the decoder rounds up.
    whole = painted(1601, 1203, tile)
    reduced = cv2.imdecode(cv2.imencode(".png", whole)[1], cv2.IMREAD_REDUCED_COLOR_4)

    picture = decoded(thumbnail(np.asarray(reduced, np.uint8), (1601, 1203), tile, 100_000))

    assert abs(picture.shape[1] - 160) <= 1
    assert is_like(picture[60, 80], RED)
    assert is_like(picture[3, 3], GREEN)
    assert is_like(picture[-4, -4], GREEN)


def test_a_frame_of_one_tile_is_shown_whole() -> None:
    picture = decoded(thumbnail(noise(128, 96), (128, 96), Tile(0, 0, 128, 96), 100_000))

    assert picture.shape == (96, 128, 3)


def test_a_large_picture_shrinks_to_256_pixels() -> None:
    picture = decoded(thumbnail(noise(1000, 500), (1000, 500), Tile(0, 0, 1000, 500), 1_000_000))

    assert picture.shape == (128, 256, 3)


@pytest.mark.parametrize("scaled", [(128, 512), (256, 256), (512, 128), (128, 1024)], ids=str)
def test_pixels_that_were_squashed_are_shown_in_the_frame_s_own_proportions(scaled: tuple[int, int]) -> None:
    tile = Tile(2000, 1200, 800, 600)
    squashed = cv2.resize(painted(4000, 3000, tile), scaled[::-1], interpolation=cv2.INTER_AREA)

    whole = decoded(thumbnail(np.asarray(squashed, np.uint8), (4000, 3000), Tile(0, 0, 4000, 3000), 100_000))
    part = decoded(thumbnail(np.asarray(squashed, np.uint8), (4000, 3000), tile, 100_000))

    assert whole.shape == (192, 256, 3)
    # 1600 by 1200 pixels of the frame, with the tile in their middle; one squashed pixel is worth 31 of them at most.
    assert part.shape[1] / part.shape[0] == pytest.approx(4 / 3, rel=0.04)
    middle = part.shape[0] // 2, part.shape[1] // 2
    assert is_like(part[middle], RED)
    assert is_like(part[middle[0] // 4, middle[1]], GREEN)
    assert is_like(part[middle[0], middle[1] // 4], GREEN)


def test_a_picture_that_is_larger_than_asked_loses_detail_before_size() -> None:
    def of(max_bytes: int) -> bytes:
        jpeg = thumbnail(noise(128, 128), (128, 128), Tile(0, 0, 128, 128), max_bytes)
        assert jpeg is not None
        return jpeg

    best = of(1_000_000)
    coarser, smaller = of(len(best) - 1), of(len(best) // 4)

    assert len(coarser) < len(best)
    assert decoded(coarser).shape == (128, 128, 3)
    assert decoded(smaller).shape[0] < 128


@pytest.mark.parametrize("max_bytes", [0, 1, 200])
def test_there_is_no_picture_where_none_can_fit(max_bytes: int) -> None:
    assert thumbnail(noise(64, 64), (64, 64), Tile(0, 0, 64, 64), max_bytes) is None


def test_a_tile_outside_of_the_frame_is_named() -> None:
    with pytest.raises(ValueError, match=r"^Tile\(left=100, .*lies outside of a frame of 64x64 pixels$"):
        thumbnail(noise(64, 64), (64, 64), Tile(100, 0, 10, 10), 10_000)


def test_the_picture_carries_no_metadata() -> None:
    jpeg = thumbnail(noise(64, 64), (64, 64), Tile(0, 0, 64, 64), 100_000)

    assert jpeg is not None
    assert exifread.process_file(io.BytesIO(jpeg)) == {}
    # Behind the start come only what the picture needs and the 16 bytes of JFIF: no APP1 (EXIF, XMP), APP13 or comment.
    markers, at = [], 2
    while jpeg[at + 1] != 0xDA:
        markers.append(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    assert set(markers) <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDD}


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_tile_of_any_frame_fits_its_limit_or_has_no_picture(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 700)), data.draw(st.integers(1, 700))
    scale = data.draw(st.sampled_from([1, 2, 4, 8]))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    tile = Tile(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    max_bytes = data.draw(st.integers(0, 20_000))

    jpeg = thumbnail(noise(-(-width // scale), -(-height // scale)), (width, height), tile, max_bytes)

    if jpeg is None:
        # The smallest picture, of noise of 16 pixels, never takes more.
        assert max_bytes < 1_000
    else:
        assert len(jpeg) <= max_bytes
        assert 1 <= max(decoded(jpeg).shape[:2]) <= 256
