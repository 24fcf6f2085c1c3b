"""The public data sets: brought from copies and git repositories that lie on this machine, checked, and never half written."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.cli import main
from trainer.datasets import read
from trainer.fetch import SETS, FetchError, fetch
from trainer.fetch.fetch import _weigh
from trainer.fetch.pickled import PickledError, read_pickled_tiles
from trainer.fetch.sets import NOTICE, PublicSet

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (128, 128), np.uint8)


def harvey(folder: Path, parts: tuple[str, str] = ("train", "validation")) -> Path:
    """Two tiles of each label on each side."""
    for seed in range(8):
        file = folder / parts[seed % 2] / ("damage", "no_damage")[seed // 2 % 2] / f"-95.{seed}00_29.{seed}00.jpeg"
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), picture(seed))
    return folder


def repository(folder: Path) -> str:
    """Make a folder a git repository with all that is in it; returns its URL."""
    git = ["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "tiles"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    return folder.as_uri()


def known(folder: Path, name: str = "harvey") -> PublicSet:
    """The data set of that name as if a folder held the version that is known."""
    wanted = SETS[name]
    counts, digest = _weigh(wanted, wanted.find(folder, False))
    return replace(wanted, counts=counts, digest=digest)


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def pickled(folder: Path, count: int) -> list[NDArray[np.uint8]]:
    """Tiles as the original repository of haiti keeps them, every second one undamaged."""
    tiles = [picture(seed) for seed in range(count)]
    folder.mkdir(parents=True)
    (folder / "x.pickle").write_bytes(pickle.dumps(np.stack(tiles)[..., None], protocol=3))
    (folder / "y.pickle").write_bytes(pickle.dumps([seed % 2 for seed in range(count)], protocol=3))
    return tiles


@pytest.mark.parametrize("name", ["haiti", "harvey"])
def test_the_real_data_are_the_version_that_is_known(data: Path, name: str) -> None:
    wanted = SETS[name]
    assert _weigh(wanted, wanted.find(data / name, False)) == (wanted.counts, wanted.digest)


def test_the_real_tiles_of_haiti_are_fetched_from_a_copy(data: Path, tmp_path: Path) -> None:
    assert main(["fetch", "haiti", "--from", str(data / "haiti"), "--out", str(tmp_path / "haiti")]) == 0
    assert len(read(f"haiti:{tmp_path / 'haiti'}").tiles) == 179


def test_a_repository_in_the_original_layout_gives_what_the_reader_reads(tmp_path: Path) -> None:
    source = harvey(tmp_path / "original", ("train_another", "validation_another"))
    harvey(source, ("test_another", "test"))
    (source / "README.md").write_text("# DamageDetection\n")
    wanted = known(source)
    fetched = fetch(wanted, tmp_path / "out", repository(source))
    assert (fetched.is_known, fetched.was_there) == (True, False)
    assert fetched.counts == {f"{part}/{label}": 2 for part in ("train", "validation") for label in ("damage", "no_damage")}
    assert len(read(f"harvey:{tmp_path / 'out'}").tiles) == 8
    assert (tmp_path / "out" / NOTICE).read_text() == wanted.notice
    # Neither the rest of the repository nor a trace of the clone.
    assert {file.split("/")[0] for file in files(tmp_path / "out")} == {"train", "validation", NOTICE}
    assert {entry.name for entry in tmp_path.iterdir()} == {"original", "out"}


def test_a_bare_repository_is_cloned(tmp_path: Path) -> None:
    source = harvey(tmp_path / "original")
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", repository(source), str(bare)], check=True, capture_output=True)
    fetch(known(source), tmp_path / "out", str(bare))
    assert len(files(tmp_path / "out")) == 9


def test_the_pickled_tiles_of_the_original_repository_become_images(tmp_path: Path) -> None:
    tiles = pickled(tmp_path / "original" / "model" / "tensorflow", 8)
    url = repository(tmp_path / "original")
    wanted = known(tmp_path / "original", "haiti")
    fetch(wanted, tmp_path / "out", url)
    # Tiles 2 and 5 are none of this version.
    assert sorted(files(tmp_path / "out")) == [
        NOTICE,
        *(f"damaged/haiti_00{number}.png" for number in (0, 4, 6)),
        *(f"undamaged/haiti_00{number}.png" for number in (1, 3, 7)),
    ]
    stored = cv2.imread(str(tmp_path / "out" / "undamaged" / "haiti_003.png"), cv2.IMREAD_UNCHANGED)
    assert (stored == tiles[3]).all()
    # Read again as images they are the same version.
    assert fetch(wanted, tmp_path / "out").was_there

    everything = fetch(wanted, tmp_path / "all", url, any_version=True)
    assert (everything.counts, everything.is_known) == ({"damaged": 4, "undamaged": 4}, False)


class Evil:
    """Unpickled by Python itself it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch escaped",)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (Evil(), "asks for posix.system"),
        ([1, 2], "expected an array"),
        (np.zeros((2, 64, 64, 1), np.uint8), "expected an array"),
        (np.zeros((2, 128, 128, 1), np.float32), "expected an array"),
        (np.zeros((3, 128, 128, 1), np.uint8), "a label for each of the 3"),
    ],
)
def test_a_pickle_that_holds_anything_else_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Any, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = tmp_path / "x.pickle", tmp_path / "y.pickle"
    x.write_bytes(pickle.dumps(images))
    y.write_bytes(pickle.dumps([0, 1]))
    with pytest.raises(PickledError, match=reason):
        read_pickled_tiles(x, y)
    assert not (tmp_path / "escaped").exists()


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pickle").write_bytes(pickle.dumps(np.zeros((2, 128, 128, 1), np.uint8)))
    for labels in ([0, 2], ["damaged", "undamaged"], 7):
        (tmp_path / "y.pickle").write_bytes(pickle.dumps(labels))
        with pytest.raises(PickledError, match="label"):
            read_pickled_tiles(tmp_path / "x.pickle", tmp_path / "y.pickle")
    content = (tmp_path / "x.pickle").read_bytes()
    for length in range(0, len(content), 1499):
        (tmp_path / "x.pickle").write_bytes(content[:length])
        with pytest.raises(PickledError, match="no pickled array"):
            read_pickled_tiles(tmp_path / "x.pickle", tmp_path / "y.pickle")


def one_less(folder: Path) -> None:
    next((folder / "train" / "damage").iterdir()).unlink()


def one_more(folder: Path) -> None:
    assert cv2.imwrite(str(folder / "train" / "damage" / "-95.9_29.9.jpeg"), picture(99))


def one_other(folder: Path) -> None:
    assert cv2.imwrite(str(next((folder / "train" / "damage").iterdir())), picture(99))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (one_less, "1 images are missing, 0 are too many (train/damage 1 of 2, "),
        (one_more, "0 images are missing, 1 are too many (train/damage 3 of 2, "),
        (one_other, "has 8 images as expected, but not the known ones"),
    ],
)
def test_another_version_is_refused_unless_any_is_taken(tmp_path: Path, change: Callable[[Path], None], reason: str) -> None:
    source = harvey(tmp_path / "copy")
    wanted = known(source)
    change(source)
    with pytest.raises(FetchError) as caught:
        fetch(wanted, tmp_path / "out", str(source))
    assert reason in str(caught.value)
    assert "--any" in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not fetch(wanted, tmp_path / "out", str(source), any_version=True).is_known
    assert (tmp_path / "out" / NOTICE).is_file()


def test_the_command_prints_the_notice_before_it_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = harvey(tmp_path / "copy")
    assert main(["fetch", "harvey", "--from", str(source), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == SETS["harvey"].notice
    assert "train/damage 2 of 5000" in said.err
    assert main(["fetch", "harvey", "--from", str(source), "--any", "--out", str(tmp_path / "out")]) == 0
    assert "fetched, not the version that is known: train/damage 2, " in capsys.readouterr().out


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    source = harvey(tmp_path / "copy")
    wanted = known(source)
    fetch(wanted, tmp_path / "out", str(source))
    (tmp_path / "out" / "mine.txt").write_text("a note")
    before = files(tmp_path / "out")
    shutil.rmtree(source)
    assert fetch(wanted, tmp_path / "out", "/nowhere").was_there
    assert files(tmp_path / "out") == before


def test_a_fetch_that_lost_a_file_is_brought_again(tmp_path: Path) -> None:
    source = harvey(tmp_path / "copy")
    wanted = known(source)
    fetch(wanted, tmp_path / "out", str(source))
    before = files(tmp_path / "out")
    one_less(tmp_path / "out")
    assert not fetch(wanted, tmp_path / "out", str(source)).was_there
    assert files(tmp_path / "out") == before


def test_a_folder_of_others_is_not_replaced(tmp_path: Path) -> None:
    source = harvey(tmp_path / "copy")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(FetchError, match="it is not replaced"):
        fetch(known(source), tmp_path / "out", str(source))
    assert files(tmp_path / "out") == {"thesis.txt": b"years of work"}


def test_a_link_in_a_copy_is_not_followed(tmp_path: Path) -> None:
    source = harvey(tmp_path / "copy")
    wanted = known(source)
    assert cv2.imwrite(str(tmp_path / "private.jpeg"), picture(99))
    (source / "train" / "damage" / "link.jpeg").symlink_to(tmp_path / "private.jpeg")
    assert fetch(wanted, tmp_path / "out", str(source)).is_known


def test_a_clone_that_fails_says_what_git_said_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = (tmp_path / "nowhere").as_uri()
    assert main(["fetch", "harvey", "--from", url, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"overflight-train: {url}: cannot be cloned: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_git_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="git is not installed"):
        fetch(SETS["harvey"], tmp_path / "out", "https://example.org/tiles.git")


def test_a_source_cannot_be_an_option_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FetchError, match="cannot be cloned"):
        fetch(SETS["harvey"], tmp_path / "out", "--upload-pack=touch escaped")
    assert not (tmp_path / "escaped").exists()


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "copy" / "photos").mkdir(parents=True)
    with pytest.raises(FetchError, match="is laid out neither as harvey:FOLDER"):
        fetch(SETS["harvey"], tmp_path / "out", str(tmp_path / "copy"))
    with pytest.raises(FetchError, match="is laid out neither as haiti:FOLDER"):
        fetch(SETS["haiti"], tmp_path / "out", str(tmp_path / "copy"))
