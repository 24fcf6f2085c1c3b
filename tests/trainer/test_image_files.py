"""From image files to tiles: whatever their format, each picture once, with its place; what cannot be read is listed."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trainer.pictures import BLUE, RED, error_of, mean_colours, noise, plain, put, tree
from trainer.datasets import TILE_PX, SplitRule, read, read_all, split_all

WITHOUT_A_PICTURE = {
    "empty": b"",
    "a text": b"this is a text",
    "a PNG that ends after its first bytes": b"\x89PNG\r\n\x1a\n",
}


# What pictures may be


@pytest.mark.parametrize(("height", "width"), [(64, 64), (300, 200), (1, 1), (1000, 130), (256, 256)])
@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".tif", ".bmp", ".webp"])
def test_pictures_of_another_size_are_scaled_and_counted(tmp_path: Path, height: int, width: int, suffix: str) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / "a" / f"other{suffix}", plain(RED, height, width))
    dataset = read(str(tmp_path))
    assert dataset.tiles.images.shape == (3, TILE_PX, TILE_PX, 3)
    assert dataset.resized == 1
    # The lossy formats have somewhat fewer colours.
    assert np.abs(np.array(mean_colours(dataset)[dataset.tiles.names.index(f"a/other{suffix}")]) - RED).max() <= 5


def test_picture_that_is_not_square_fills_the_tile(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / "a" / "wide.png", np.hstack([plain(RED, 200, 300), plain(BLUE, 200, 300)]))
    tile = read(str(tmp_path)).tiles.images[1]
    assert tile[0, 0].tolist() == tile[-1, 50].tolist() == list(RED)
    assert tile[0, -1].tolist() == tile[-1, 78].tolist() == list(BLUE)


def test_grey_picture_gives_three_equal_channels(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    ramp = np.tile(np.arange(TILE_PX, dtype=np.uint8), (TILE_PX, 1))
    put(tmp_path / "a" / "grey.png", ramp)
    dataset = read(str(tmp_path))
    assert (dataset.tiles.images[1] == ramp[..., None]).all()
    assert dataset.resized == 0


def test_transparency_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / "a" / "clear.png", np.dstack([noise(3), noise(4)[..., 0]]))
    assert (read(str(tmp_path)).tiles.images[1] == noise(3)).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_become_8(tmp_path: Path, suffix: str) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / "a" / f"deep{suffix}", plain(RED).astype(np.uint16) * 257)
    put(tmp_path / "a" / f"grey{suffix}", np.full((64, 64), 30_000, np.uint16))
    dataset = read(str(tmp_path))
    assert dataset.tiles.images.dtype == np.uint8
    assert mean_colours(dataset)[1:3] == [list(RED), [30_000 >> 8] * 3]
    assert dataset.resized == 1


def test_picture_whose_directory_claims_another_size_than_it_has_is_scaled(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    # A TIFF directory may name a size twice: the decoder believes the first, our guard the last.
    file = put(tmp_path / "a" / "twice.tif", plain(RED, 64, 64))
    content = bytearray(file.read_bytes())
    start = struct.unpack_from("<I", content, 4)[0]
    entries = struct.unpack_from("<H", content, start)[0]
    directory = content[start + 2 : start + 2 + 12 * entries] + struct.pack("<HHII", 256, 3, 1, 128)
    directory += struct.pack("<HHII", 257, 3, 1, 128)
    content[4:8] = struct.pack("<I", len(content))
    file.write_bytes(bytes(content + struct.pack("<H", entries + 2) + directory + bytes(4)))
    dataset = read(str(tmp_path))
    assert dataset.tiles.images.shape[1:] == (TILE_PX, TILE_PX, 3)


# What cannot be read


@pytest.mark.parametrize("what", WITHOUT_A_PICTURE)
def test_file_that_holds_no_picture_is_listed_and_the_others_are_read(tmp_path: Path, what: str) -> None:
    tree(tmp_path, "a", "b")
    (tmp_path / "a" / "1.png").write_bytes(WITHOUT_A_PICTURE[what])
    dataset = read(str(tmp_path))
    assert dataset.tiles.names == ("a/0.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png")
    assert len(dataset.unreadable) == 1
    assert dataset.unreadable[0].startswith("a/1.png: ")
    assert len(dataset.unreadable[0]) > len("a/1.png: ")


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".tif", ".bmp", ".webp"])
def test_truncated_picture_is_listed(tmp_path: Path, suffix: str) -> None:
    tree(tmp_path, "a", "b")
    file = put(tmp_path / "a" / f"half{suffix}", noise(1))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    dataset = read(str(tmp_path))
    assert len(dataset.tiles) == 6
    assert [line.split(":")[0] for line in dataset.unreadable] == [f"a/half{suffix}"]


def test_picture_with_damaged_pixels_is_listed(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    file = tmp_path / "a" / "1.png"
    content = bytearray(file.read_bytes())
    content[1000:1100] = bytes(100)
    file.write_bytes(bytes(content))
    assert [line.split(":")[0] for line in read(str(tmp_path)).unreadable] == ["a/1.png"]


def test_picture_that_claims_an_absurd_size_is_listed(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    tree(tmp_path, "a", "b")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    file = tmp_path / "b" / "1.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    dataset = read(str(tmp_path))
    assert len(dataset.tiles) == 5
    assert dataset.unreadable == ("b/1.png: claims 50000x50000 pixels, more than max_pixels (268435456)",)


def test_label_of_which_no_picture_can_be_read_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    for file in (tmp_path / "b").iterdir():
        file.write_bytes(b"")
    assert error_of(tmp_path) == f"{tmp_path}: none of the 3 images of 'b' can be read"


# The same picture more than once


def test_picture_that_is_twice_under_a_label_is_kept_once_and_the_other_named(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "a" / "copy.png")
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "a" / "again.png")
    dataset = read(str(tmp_path))
    assert len(dataset.tiles) == 6
    assert sorted((*dataset.duplicates, *dataset.tiles.names[:3])) == [
        "a/0.png",
        "a/1.png",
        "a/2.png",
        "a/again.png",
        "a/copy.png",
    ]
    assert len(dataset.duplicates) == 2


def test_duplicates_are_found_by_their_pixels_not_by_their_bytes(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    put(tmp_path / "a" / "x.bmp", noise(1))
    put(tmp_path / "a" / "y.png", noise(1))
    assert read(str(tmp_path)).duplicates == ("a/y.png",)


def test_picture_under_two_labels_is_dropped_wherever_it_is_and_each_copy_named(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "a" / "copy.png")
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "b" / "other.png")
    dataset = read(str(tmp_path))
    assert sorted(dataset.duplicates) == [f"{name} (under two labels)" for name in ("a/1.png", "a/copy.png", "b/other.png")]
    assert dataset.tiles.names == ("a/0.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png")


def test_label_whose_every_picture_is_under_another_one_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    shutil.rmtree(tmp_path / "b")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    put(tmp_path / "b" / "its own.png", noise(1))
    assert error_of(tmp_path) == f"{tmp_path}: every image of 'a' is under another label, too; expected each under one"


def test_picture_on_both_sides_of_a_given_split_is_an_error_that_names_both(tmp_path: Path) -> None:
    tree(tmp_path / "train", "a", "b")
    tree(tmp_path / "validation", "a", "b")
    shutil.copy(tmp_path / "train" / "a" / "1.png", tmp_path / "validation" / "a" / "9.png")
    name = tmp_path.name
    assert error_of(tmp_path) == f"{name}/validation/a/9.png is held out, but {name}/train/a/1.png is the same picture"


def test_picture_of_one_data_set_that_another_holds_out_is_an_error_that_names_both(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tree(tmp_path / name / "train", "a", "b")
        tree(tmp_path / name / "val", "a", "b")
    shutil.copy(tmp_path / "one" / "train" / "a" / "1.png", tmp_path / "two" / "val" / "a" / "9.png")
    said = "two/val/a/9.png is held out, but one/train/a/1.png is the same picture"
    assert error_of(tmp_path / "one", tmp_path / "two") == said
    assert error_of(tmp_path / "two", tmp_path / "one") == said


def test_picture_that_two_data_sets_learn_from_is_no_error(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tree(tmp_path / name / "train", "a", "b")
        tree(tmp_path / name / "val", "a", "b")
    shutil.copy(tmp_path / "one" / "train" / "a" / "1.png", tmp_path / "two" / "train" / "a" / "9.png")
    parts = split_all(read_all([str(tmp_path / "one"), str(tmp_path / "two")]), SplitRule())
    assert [len(part.train) for part in parts] == [6, 7]


# Where pictures were taken


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("-95.062212_29.828257000000004", (-95.062212, 29.828257000000004)),
        ("-95.062212_29.828257_2", (-95.062212, 29.828257)),
        ("-95.062212_29.828257 (1)", (-95.062212, 29.828257)),
        ("-95.062212_29.828257_damaged", (-95.062212, 29.828257)),
        ("tile 179.999_-89.999", (179.999, -89.999)),
        ("post_-95.062212_29.828257", (-95.062212, 29.828257)),
    ],
)
def test_place_is_read_from_the_name(tmp_path: Path, name: str, place: tuple[float, float]) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / "b" / f"{name}.png", noise(1))
    dataset = read(str(tmp_path))
    where = dict(zip(dataset.tiles.names, dataset.tiles.places.tolist(), strict=True))
    assert where[f"b/{name}.png"] == pytest.approx(place)
    assert np.isnan(where["a/0.png"]).all()


@pytest.mark.parametrize(
    "name",
    [
        "181.000_29.828",
        "-95.062_91.828",
        "0.000_0.000",
        # Metres of a grid, and a date: the end of a number is none.
        "500013.250_45.125",
        "20180501.001_44.801",
        "1.500013.250_45.125",
        # Too coarse to be a place: a version, a scale.
        "1.5_2.0",
        "-95_29",
        "haiti_088",
    ],
)
def test_name_that_is_no_place_leaves_it_unknown(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / "b" / f"{name}.png", noise(1))
    assert np.isnan(read(str(tmp_path)).tiles.places).all()


def put_photo(file: Path, gps: Mapping[int, Any]) -> None:
    """A JPEG with a GPS directory (Exif 2.32, table 15)."""
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(gps)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(zlib.crc32(file.name.encode()))).save(file, "JPEG", exif=exif)


SOUTH_WEST = {1: "S", 2: (22.0, 54.0, 36.0), 3: "W", 4: (43.0, 10.0, 12.0)}


def test_place_is_read_from_exif_and_counts_more_than_the_name(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    put_photo(tmp_path / "b" / "x.jpeg", SOUTH_WEST)
    put_photo(tmp_path / "b" / "-95.062_29.828.jpeg", SOUTH_WEST)
    places = read(str(tmp_path)).tiles.places
    known = places[np.isfinite(places).all(axis=1)]
    assert known == pytest.approx(np.array([[-43.17, -22.91]] * 2))


@pytest.mark.parametrize(
    "nonsense",
    [
        {2: (122.0, 54.0, 36.0)},
        {4: (243.0, 10.0, 12.0)},
        {2: (22.0, 99.0, 36.0)},
        {1: "Q"},
        {3: ""},
        {2: (22.0, 54.0)},
    ],
)
def test_exif_that_is_no_place_leaves_it_unknown_or_to_the_name(tmp_path: Path, nonsense: dict[int, Any]) -> None:
    tree(tmp_path, "a", "b", count=1)
    put_photo(tmp_path / "b" / "-95.062_29.828.jpeg", SOUTH_WEST | nonsense)
    put_photo(tmp_path / "b" / "x.jpeg", SOUTH_WEST | nonsense)
    dataset = read(str(tmp_path))
    where = dict(zip(dataset.tiles.names, dataset.tiles.places.tolist(), strict=True))
    assert np.isnan(where["b/x.jpeg"]).all()
    assert where["b/-95.062_29.828.jpeg"] == [-95.062, 29.828]
    assert dataset.unreadable == ()
