"""The readers: labelled tiles of one size and colour order, and one line where a place does not hold what it should."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.datasets import LABELS, TILE_PX, Dataset, DatasetError, Tiles, read

RED, BLUE = (0, 0, 200), (200, 0, 0)


def put(file: Path, colour: tuple[int, int, int] = RED, height: int = TILE_PX, width: int = TILE_PX) -> Path:
    """A picture of one colour, BGR."""
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full((height, width, 3), colour, np.uint8))
    return file


def harvey(folder: Path) -> Path:
    for part in ("train", "validation"):
        put(folder / part / "damage" / "-95.1_29.1.jpeg", RED)
        put(folder / part / "no_damage" / "-95.2_29.2.jpeg", BLUE)
    return folder


def haiti(folder: Path, count: int = 10) -> Path:
    for index in range(count):
        # The brightness tells which file of its class a tile came from.
        put(folder / "damaged" / f"{index:02}.png", (0, 0, 20 * index))
        put(folder / "undamaged" / f"{index:02}.png", (20 * index, 0, 0))
    return folder


def mean_colours(tiles: Tiles) -> list[list[int]]:
    """Of each tile, RGB."""
    return tiles.images.mean(axis=(1, 2)).round().astype(int).tolist()


def error_of(argument: str) -> str:
    with pytest.raises(DatasetError) as caught:
        read(argument)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def rendered() -> Dataset:
    """More tiles than one town has blocks."""
    return read("rendered:50")


def test_rendered_gives_as_many_tiles_as_it_was_asked_for_and_holds_others_out(rendered: Dataset) -> None:
    assert rendered.name == "rendered"
    assert rendered.train.images.shape == (50, TILE_PX, TILE_PX, 3)
    assert rendered.train.images.dtype == np.uint8
    assert len(rendered.train) == len(rendered.train.labels) == 50
    # Fewer would make the measure of accuracy too coarse.
    assert len(rendered.held_out) == 96


def test_rendered_holds_tiles_of_both_labels_in_both_parts(rendered: Dataset) -> None:
    for part in (rendered.train, rendered.held_out):
        share = (part.labels == LABELS.index("damaged")).mean()
        assert 0.25 < share < 0.75


def test_rendered_draws_no_tile_twice(rendered: Dataset) -> None:
    tiles = [tile.tobytes() for part in (rendered.train, rendered.held_out) for tile in part.images]
    assert len(set(tiles)) == len(tiles)


def test_rendered_gives_the_same_tiles_every_time_however_many(rendered: Dataset) -> None:
    again = read("rendered:3")
    assert (again.train.images == rendered.train.images[:3]).all()
    assert (again.train.labels == rendered.train.labels[:3]).all()
    assert (again.held_out.images == rendered.held_out.images).all()
    assert (again.held_out.labels == rendered.held_out.labels).all()


def test_harvey_reads_both_parts_with_the_damaged_label_first(tmp_path: Path) -> None:
    dataset = read(f"harvey:{harvey(tmp_path)}")
    assert dataset.name == "harvey"
    for part in (dataset.train, dataset.held_out):
        assert part.labels.tolist() == [LABELS.index("damaged"), LABELS.index("undamaged")]
        # RGB: the first is red.
        assert np.abs(np.array(mean_colours(part)) - [[200, 0, 0], [0, 0, 200]]).max() <= 3


def test_haiti_holds_every_fifth_tile_of_each_label_out(tmp_path: Path) -> None:
    dataset = read(f"haiti:{haiti(tmp_path)}")
    assert mean_colours(dataset.held_out) == [[0, 0, 0], [100, 0, 0], [0, 0, 0], [0, 0, 100]]
    assert dataset.held_out.labels.tolist() == [0, 0, 1, 1]
    assert [sum(colour) for colour in mean_colours(dataset.train)] == [20, 40, 60, 80, 120, 140, 160, 180] * 2
    assert dataset.train.labels.tolist() == [0] * 8 + [1] * 8


def test_haiti_reads_the_real_tiles(data: Path) -> None:
    dataset = read(f"haiti:{data / 'haiti'}")
    assert len(dataset.train) + len(dataset.held_out) == 179
    assert dataset.train.images.shape[1:] == (TILE_PX, TILE_PX, 3)
    # They are grey.
    assert np.ptp(dataset.train.images.astype(int), axis=3).max() == 0


@pytest.mark.parametrize(("height", "width"), [(64, 64), (300, 200), (1, 1)])
def test_images_of_another_size_are_scaled(tmp_path: Path, height: int, width: int) -> None:
    folder = harvey(tmp_path)
    put(folder / "train" / "damage" / "-95.1_29.1.jpeg", RED, height, width)
    dataset = read(f"harvey:{folder}")
    assert dataset.train.images.shape == (2, TILE_PX, TILE_PX, 3)
    assert np.abs(np.array(mean_colours(dataset.train)[0]) - [200, 0, 0]).max() <= 3


def test_grey_image_gives_three_equal_channels(tmp_path: Path) -> None:
    folder = haiti(tmp_path)
    ramp = np.tile(np.arange(TILE_PX, dtype=np.uint8), (TILE_PX, 1))
    assert cv2.imwrite(str(folder / "damaged" / "00.png"), ramp)
    tile = read(f"haiti:{folder}").held_out.images[0]
    assert (tile == ramp[..., None]).all()


def test_files_that_are_no_pictures_by_their_name_are_passed_over(tmp_path: Path) -> None:
    folder = harvey(tmp_path)
    (folder / "train" / "damage" / "README.md").write_text("about these tiles")
    assert len(read(f"harvey:{folder}").train) == 2


@pytest.mark.parametrize("argument", ["", "harvey", "rendered", "hurricane:/data", "Harvey:/data", ":/data"])
def test_unknown_reader_is_an_error_that_names_the_known_ones(argument: str) -> None:
    message = error_of(argument)
    assert message.startswith(f"{argument}: ")
    for reader in ("haiti", "harvey", "rendered"):
        assert reader in message


@pytest.mark.parametrize("count", ["", "0", "-5", "many", "9.5", "1e3", " 5"])
def test_rendered_with_something_else_than_a_number_of_tiles_is_an_error(count: str) -> None:
    assert f"rendered:{count}: " in error_of(f"rendered:{count}")


@pytest.mark.parametrize("reader", ["harvey", "haiti"])
def test_folder_that_does_not_exist_is_named(tmp_path: Path, reader: str) -> None:
    message = error_of(f"{reader}:{tmp_path / 'nowhere'}")
    assert str(tmp_path / "nowhere") in message
    assert "no such folder" in message


def test_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_text("no folder")
    assert str(tmp_path / "damaged") in error_of(f"haiti:{tmp_path}")


def test_folder_of_one_label_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = harvey(tmp_path)
    (folder / "validation" / "no_damage" / "-95.2_29.2.jpeg").unlink()
    (folder / "validation" / "no_damage").rmdir()
    assert str(folder / "validation" / "no_damage") in error_of(f"harvey:{folder}")


def test_folder_without_a_picture_is_named(tmp_path: Path) -> None:
    folder = haiti(tmp_path)
    for file in (folder / "undamaged").iterdir():
        file.unlink()
    message = error_of(f"haiti:{folder}")
    assert str(folder / "undamaged") in message
    assert ".png" in message


@pytest.mark.parametrize("content", [b"", b"this is a text", b"\x89PNG\r\n\x1a\n"])
def test_picture_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = haiti(tmp_path) / "damaged" / "03.png"
    file.write_bytes(content)
    assert str(file) in error_of(f"haiti:{tmp_path}")


def test_picture_that_claims_an_absurd_size_is_named(tmp_path: Path) -> None:
    file = haiti(tmp_path) / "damaged" / "03.png"

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    assert str(file) in error_of(f"haiti:{tmp_path}")
