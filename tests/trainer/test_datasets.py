"""The readers: labelled tiles of one size and colour order, and one line where a place does not hold what it should."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer.pictures import error_of, labels_of, mean_colours, noise, plain, put, tree
from trainer.datasets import TILE_PX, Dataset, DatasetError, read, read_all
from trainer.datasets.rendered import render_tiles


def harvey(folder: Path) -> Path:
    for seed, part in enumerate(("train", "validation")):
        put(folder / part / "damage" / "-95.101_29.101.png", plain((200, seed, 0)))
        put(folder / part / "no_damage" / "-95.202_29.202.png", plain((0, seed, 200)))
    return folder


# Which tree is a data set


@pytest.mark.parametrize("labels", [("field", "roof"), ("field", "roof", "water")])
def test_folder_for_each_label_is_a_data_set(tmp_path: Path, labels: tuple[str, ...]) -> None:
    dataset = read(str(tree(tmp_path / "photos", *reversed(labels))))
    assert dataset.name == "photos"
    assert dataset.labels == labels
    assert dataset.tiles.images.shape == (3 * len(labels), TILE_PX, TILE_PX, 3)
    assert dataset.tiles.images.dtype == np.uint8
    assert labels_of(dataset) == [label for label in labels for _ in range(3)]
    assert dataset.tiles.names == tuple(f"{label}/{index}.png" for label in labels for index in range(3))
    assert dataset.given_held_out is None
    assert (dataset.unreadable, dataset.duplicates, dataset.resized) == ((), (), 0)


def test_tiles_are_the_pixels_of_their_files_in_red_green_blue(tmp_path: Path) -> None:
    put(tmp_path / "a" / "1.png", noise(1))
    put(tmp_path / "b" / "2.png", noise(2))
    assert (read(str(tmp_path)).tiles.images == [noise(1), noise(2)]).all()


@pytest.mark.parametrize("held_out", ["validation", "val", "test"])
def test_train_beside_validation_is_a_data_set_with_a_split_of_its_own(tmp_path: Path, held_out: str) -> None:
    tree(tmp_path / "train", "a", "b", count=3)
    tree(tmp_path / held_out, "a", "b", count=1)
    dataset = read(str(tmp_path))
    assert dataset.given_held_out is not None
    assert dataset.given_held_out.tolist() == [False] * 6 + [True] * 2
    assert labels_of(dataset) == ["a", "a", "a", "b", "b", "b", "a", "b"]
    assert dataset.tiles.names[-1] == f"{held_out}/b/0.png"


def test_validation_and_test_are_both_held_out(tmp_path: Path) -> None:
    for folder, count in (("train", 3), ("val", 1), ("test", 2)):
        tree(tmp_path / folder, "a", "b", count=count)
    dataset = read(str(tmp_path))
    assert dataset.given_held_out is not None
    held_out = [name for name, out in zip(dataset.tiles.names, dataset.given_held_out, strict=True) if out]
    assert held_out == ["val/a/0.png", "test/a/0.png", "test/a/1.png", "val/b/0.png", "test/b/0.png", "test/b/1.png"]


def test_train_and_validation_of_different_labels_are_an_error_that_names_them(tmp_path: Path) -> None:
    tree(tmp_path / "train", "a", "b")
    tree(tmp_path / "validation", "a", "c")
    assert error_of(tmp_path) == f"{tmp_path / 'validation'}: its folders are not those of {tmp_path / 'train'} (a, b)"


def test_pictures_of_folders_below_belong_to_the_label_above(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / "b" / "2024" / "may" / "x.jpeg", noise(9))
    dataset = read(str(tmp_path))
    assert dict(zip(dataset.tiles.names, labels_of(dataset), strict=True))["b/2024/may/x.jpeg"] == "b"


def test_hidden_folders_and_files_are_passed_over(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    put(tmp_path / ".cache" / "x.png", noise(1))
    put(tmp_path / "a" / ".thumbnails" / "x.png", noise(2))
    (tmp_path / "a" / "._0.png").write_bytes(b"what a Mac writes beside each file")
    dataset = read(str(tmp_path))
    assert dataset.labels == ("a", "b")
    assert dataset.tiles.names == ("a/0.png", "b/0.png")
    assert dataset.unreadable == ()


def test_pictures_that_nobody_has_labelled_yet_are_passed_over(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", "unlabelled")
    assert read(str(tmp_path)).labels == ("a", "b")


def test_files_that_are_no_pictures_by_their_name_are_passed_over(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    (tmp_path / "README.md").write_text("about these tiles")
    (tmp_path / "a" / "README.md").write_text("about these tiles")
    assert len(read(str(tmp_path)).tiles) == 6
    assert read(str(tmp_path)).unreadable == ()


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert error_of(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such folder"


def test_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    file = put(tmp_path / "a.png", noise(1))
    assert error_of(file) == f"{file}: no such folder"


def test_folder_of_pictures_without_labels_is_an_error(tmp_path: Path) -> None:
    put(tmp_path / "1.png", noise(1))
    assert error_of(tmp_path) == f"{tmp_path}: expected a folder for each label, two at least; found none"


def test_one_label_only_is_an_error_that_names_it(tmp_path: Path) -> None:
    assert error_of(tree(tmp_path, "a")) == f"{tmp_path}: expected a folder for each label, two at least; found a"


@pytest.mark.parametrize("inside", [[], ["README.md"]])
def test_folder_of_a_label_without_a_picture_is_named(tmp_path: Path, inside: list[str]) -> None:
    tree(tmp_path, "a", "c")
    (tmp_path / "b").mkdir()
    for name in inside:
        (tmp_path / "b" / name).write_text("about these tiles")
    assert error_of(tmp_path).startswith(f"{tmp_path / 'b'}: holds no image (")


def test_validation_without_a_picture_of_a_label_is_named(tmp_path: Path) -> None:
    tree(tmp_path / "train", "a", "b")
    tree(tmp_path / "validation", "a")
    (tmp_path / "validation" / "b").mkdir()
    assert error_of(tmp_path).startswith(f"{tmp_path / 'validation' / 'b'}: holds no image (")


# Names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"two  words.png", "two  words.png"),
        (b"two\nlines.png", "two\\nlines.png"),
        (b"\xff\xfe.png", "\\udcff\\udcfe.png"),
        ("größe.png".encode(), "größe.png"),
        (b"\x1b[2J.png", "\\x1b[2J.png"),
    ],
)
def test_pictures_may_have_any_name_and_are_listed_in_one_line(tmp_path: Path, name: bytes, shown: str) -> None:
    tree(tmp_path, "a", "b", count=1)
    picture = put(tmp_path / "a" / "first.png", noise(5))
    shutil.copy(picture, os.fsencode(tmp_path / "b") + b"/" + name)
    shutil.copy(picture, os.fsencode(tmp_path / "a") + b"/" + name)
    put(tmp_path / "b" / "last.png", noise(6))
    broken = os.fsencode(tmp_path / "b") + b"/x" + name
    Path(os.fsdecode(broken)).write_bytes(b"")
    dataset = read(str(tmp_path))
    assert f"b/{shown} (under two labels)" in dataset.duplicates
    assert dataset.unreadable == (f"b/x{shown}: empty file",)
    for name_of_tile in dataset.tiles.names:
        assert name_of_tile.isprintable()


def test_tile_of_any_name_can_be_learned_from(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", count=1)
    shutil.move(tmp_path / "a" / "0.png", os.fsencode(tmp_path / "a") + b"/\xff\n.png")
    assert read(str(tmp_path)).tiles.names == ("a/\\udcff\\n.png", "b/0.png")


@pytest.mark.parametrize("name", [b"two\nlines", b"\xff"])
def test_label_that_cannot_be_printed_is_an_error(tmp_path: Path, name: bytes) -> None:
    tree(tmp_path, "a", "b")
    os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    assert "has a name that cannot be a label" in error_of(tmp_path)


def test_label_may_have_a_space(tmp_path: Path) -> None:
    assert read(str(tree(tmp_path, "bare ground", "roof"))).labels == ("bare ground", "roof")


def test_folder_with_a_line_break_in_its_name_can_be_read_and_is_named_in_one_line(tmp_path: Path) -> None:
    dataset = read(str(tree(tmp_path / "two\nlines", "a", "b")))
    assert dataset.name == "two\\nlines"
    assert error_of(tmp_path / "no\nwhere") == f"{tmp_path}/no\\nwhere: no such folder"


# Arguments


@pytest.mark.parametrize(("times", "repeats"), [("", 1), ("*1", 1), ("*12", 12), ("*9999", 9999)])
def test_reader_and_how_often_each_tile_comes_up_stand_before_the_place(tmp_path: Path, times: str, repeats: int) -> None:
    tree(tmp_path, "damaged", "undamaged")
    for reader in ("folder", "haiti"):
        dataset = read(f"{reader}{times}:{tmp_path}")
        assert (dataset.repeats, len(dataset.tiles)) == (repeats, 6)


def test_place_may_hold_colons_and_line_breaks(tmp_path: Path) -> None:
    folder = tree(tmp_path / "a:b" / "c\nd", "x", "y")
    assert len(read(f"folder:{folder}").tiles) == 6


@pytest.mark.parametrize("times", ["*0", "*0000"])
def test_tile_that_never_comes_up_is_an_error(tmp_path: Path, times: str) -> None:
    tree(tmp_path, "a", "b")
    assert error_of(f"folder{times}:{tmp_path}").endswith("each tile must come up at least once in an epoch")


def test_unknown_reader_is_an_error_that_names_the_known_ones() -> None:
    said = error_of("hurricane:/data")
    assert said == "hurricane:/data: no reader hurricane, expected one of folder, haiti, harvey, rendered"


@pytest.mark.parametrize("argument", ["harvey", "Harvey:/data", ":/data", "haiti*:/data", "haiti*-1:/data", "harvey:"])
def test_what_names_no_reader_is_the_name_of_a_folder(argument: str) -> None:
    assert error_of(argument) == f"{argument}: no such folder"


def test_empty_argument_is_an_error_and_not_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree(tmp_path, "a", "b"))
    assert error_of("") == "the name of a data set is empty, expected a folder or READER:LOCATION"
    assert read(".").name == tmp_path.name


def test_data_sets_of_one_name_are_an_error(tmp_path: Path) -> None:
    for parent in ("north", "south"):
        tree(tmp_path / parent / "tiles", "a", "b")
    assert error_of(tmp_path / "north" / "tiles", tmp_path / "south" / "tiles") == (
        "tiles: two data sets have this name, expected a different one for each"
    )


def test_data_sets_of_different_labels_are_an_error(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "one", "a", "b"), tree(tmp_path / "two", "a", "b", "c")
    assert error_of(one, two) == "two: has the labels a, b, c, expected a, b"


def test_data_set_of_other_labels_than_a_network_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"^one: has the labels a, b, expected damaged, undamaged$"):
        read_all([str(tree(tmp_path / "one", "a", "b"))], ("damaged", "undamaged"))


def test_labels_come_in_the_order_of_the_network(tmp_path: Path) -> None:
    argument = str(tree(tmp_path, "a", "b", "c"))
    (as_read,), (ordered,) = read_all([argument]), read_all([argument], ("c", "a", "b"))
    assert ordered.labels == ("c", "a", "b")
    assert ordered.tiles.labels.tolist() == [1, 1, 1, 2, 2, 2, 0, 0, 0]
    assert ordered.tiles.labels.dtype == as_read.tiles.labels.dtype
    assert labels_of(ordered) == labels_of(as_read)
    assert ordered.fingerprint() == as_read.fingerprint()


# The readers that know their data


def test_harvey_reads_both_parts_with_the_damaged_label_first(tmp_path: Path) -> None:
    dataset = read(f"harvey:{harvey(tmp_path)}")
    assert (dataset.name, dataset.labels) == ("harvey", ("damaged", "undamaged"))
    assert dataset.tiles.labels.tolist() == [0, 1, 0, 1]
    assert mean_colours(dataset) == [[200, 0, 0], [0, 0, 200], [200, 1, 0], [0, 1, 200]]
    assert dataset.given_held_out is not None
    assert dataset.given_held_out.tolist() == [False, False, True, True]
    assert dataset.tiles.places.tolist() == [[-95.101, 29.101], [-95.202, 29.202]] * 2


def test_harvey_without_one_of_its_folders_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = harvey(tmp_path)
    shutil.rmtree(folder / "validation" / "no_damage")
    assert error_of(f"harvey:{folder}") == f"{folder / 'validation' / 'no_damage'}: no such folder"


def test_haiti_has_no_split_of_its_own(tmp_path: Path) -> None:
    dataset = read(f"haiti:{tree(tmp_path, 'damaged', 'undamaged')}")
    assert (dataset.name, dataset.labels, dataset.given_held_out) == ("haiti", ("damaged", "undamaged"), None)
    assert dataset.tiles.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_haiti_of_other_labels_is_an_error_that_names_the_folder_it_lacks(tmp_path: Path) -> None:
    tree(tmp_path, "damage", "undamaged")
    assert error_of(f"haiti:{tmp_path}") == f"{tmp_path / 'damaged'}: no such folder"


def test_haiti_reads_the_real_tiles(data: Path) -> None:
    dataset = read(f"haiti:{data / 'haiti'}")
    assert (len(dataset.tiles), dataset.duplicates, dataset.unreadable, dataset.resized) == (179, (), (), 0)
    # They are grey, and nobody knows where each was.
    assert np.ptp(dataset.tiles.images.astype(int), axis=3).max() == 0
    assert np.isnan(dataset.tiles.places).all()


@pytest.fixture(scope="module")
def rendered() -> Dataset:
    """More tiles than one town has blocks."""
    return read("rendered:50")


def test_rendered_gives_as_many_tiles_as_it_was_asked_for_and_holds_others_out(rendered: Dataset) -> None:
    assert (rendered.name, rendered.labels) == ("rendered", ("damaged", "undamaged"))
    # Fewer would make the measure of accuracy too coarse.
    assert rendered.tiles.images.shape == (50 + 96, TILE_PX, TILE_PX, 3)
    assert rendered.tiles.images.dtype == np.uint8
    assert rendered.given_held_out is not None
    assert rendered.given_held_out.tolist() == [False] * 50 + [True] * 96


def test_rendered_holds_tiles_of_both_labels_in_both_parts(rendered: Dataset) -> None:
    for part in (rendered.tiles.labels[:50], rendered.tiles.labels[50:]):
        assert 0.25 < part.mean() < 0.75


def test_rendered_draws_no_tile_twice(rendered: Dataset) -> None:
    assert len(set(rendered.tiles.digests())) == len(rendered.tiles)


def test_rendered_gives_the_same_tiles_every_time_however_many(rendered: Dataset) -> None:
    # 1,000,000 is where the towns to learn from begin, 2,000,000 where those that are held out do.
    for seed, first in ((1_000_000, 0), (2_000_000, 50)):
        again = render_tiles(seed, 3, "")
        assert (again.images == rendered.tiles.images[first : first + 3]).all()
        assert (again.labels == rendered.tiles.labels[first : first + 3]).all()


def test_rendered_damage_is_what_the_town_says(town_tiles: list[tuple[np.ndarray, bool]], rendered: Dataset) -> None:
    # Ruins have more edges than roofs, in the towns of the demo as in those to learn from.
    def edges(image: NDArray[np.uint8]) -> float:
        return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).std())

    demo = [(edges(cv2.resize(tile, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)), bad) for tile, bad in town_tiles]
    learned = [(edges(tile), label == 0) for tile, label in zip(rendered.tiles.images, rendered.tiles.labels, strict=True)]
    for tiles in (demo, learned):
        assert np.mean([edge for edge, damaged in tiles if damaged]) > np.mean([edge for edge, damaged in tiles if not damaged])


@pytest.mark.parametrize("count", ["0", "-5", "many", "9.5", "1e3", " 5", "1000001", "9" * 5000])
def test_rendered_with_something_else_than_a_number_of_tiles_is_an_error(count: str) -> None:
    assert error_of(f"rendered:{count}") == (
        f"rendered:{count}: expected the number of tiles, 1 to 1000000, as in rendered:960"
    )


# The fingerprint


def test_fingerprint_does_not_depend_on_names_order_or_place(tmp_path: Path) -> None:
    for name, order in (("one", (1, 2, 3)), ("two", (3, 1, 2))):
        for at, seed in enumerate(order):
            put(tmp_path / name / "a" / f"{at}.png", noise(seed))
        put(tmp_path / name / "b" / f"{name}.png", noise(4))
    one, two = read(str(tmp_path / "one")), read(str(tmp_path / "two"))
    assert (one.tiles.images != two.tiles.images).any()
    assert one.fingerprint() == two.fingerprint()
    assert len(one.fingerprint()) == 64


def test_fingerprint_changes_with_one_pixel_one_label_and_one_tile(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    prints = [read(str(tmp_path)).fingerprint()]
    pixels = cv2.imread(str(tmp_path / "a" / "1.png"))[..., ::-1].copy()
    pixels[5, 6, 2] ^= 1
    put(tmp_path / "a" / "1.png", pixels)
    prints.append(read(str(tmp_path)).fingerprint())
    shutil.move(tmp_path / "a" / "1.png", tmp_path / "b" / "9.png")
    prints.append(read(str(tmp_path)).fingerprint())
    (tmp_path / "b" / "9.png").unlink()
    prints.append(read(str(tmp_path)).fingerprint())
    shutil.move(tmp_path / "b", tmp_path / "c")
    prints.append(read(str(tmp_path)).fingerprint())
    assert len(set(prints)) == 5
