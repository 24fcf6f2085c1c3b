"""What is taken from a stick: the newest bundle that is trusted and newer; why the others are not, in one line each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import BundleError, Trust, TrustedKeys
from edge.bundle.limits import MAX_FOLDER_ENTRIES
from edge.bundle.usb import Stick, newest_on_stick
from edge.records import ModelName
from tests.edge.bundle.bundles import OTHER_KEY, OTHER_PRIVATE, TRUST, write_bundle

ACTIVE = ModelName("town", 2, "0" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder ``overflight`` of a stick."""
    (tmp_path / "overflight").mkdir()
    return tmp_path / "overflight"


def look(folder: Path, active: ModelName | None = ACTIVE, **more: Any) -> Stick:
    stick = newest_on_stick(folder.parent, TRUST, active, **more)
    assert all(reason.isprintable() for reason in stick.passed_over)
    return stick


def test_the_newest_bundle_comes_first(folder: Path) -> None:
    for version in (3, 10, 4):
        write_bundle(folder / f"town-{version}", version=version)
    assert look(folder) == Stick((folder / "town-10", folder / "town-4", folder / "town-3"), (), ())


def test_where_nothing_is_active_every_bundle_is_newer(folder: Path) -> None:
    write_bundle(folder / "town", version=1)
    write_bundle(folder / "village", name="village", version=5)
    assert look(folder, None).newer == (folder / "village", folder / "town")


def test_what_is_not_newer_is_passed_over(folder: Path) -> None:
    write_bundle(folder / "a", version=1)
    write_bundle(folder / "b", version=2)
    write_bundle(folder / "c", version=9, name="village")
    assert look(folder) == Stick(
        (),
        (),
        (
            f"{folder}/a: version 1 is not newer than the active version 2",
            f"{folder}/b: version 2 is not newer than the active version 2",
            f"{folder}/c: is village, and town is active; it can be installed by its path",
        ),
    )


def test_what_failed_before_is_refused(folder: Path) -> None:
    write_bundle(folder / "a", version=9)
    assert look(folder, refusal=lambda digest: "blind in the rain").refused == (
        f"{folder}/a: version 9 failed before: blind in the rain",
    )


def test_a_bundle_of_an_unknown_key_does_not_keep_the_others_out(folder: Path) -> None:
    write_bundle(folder / "a", version=9, key=OTHER_PRIVATE)
    write_bundle(folder / "b", version=8, key=None)
    write_bundle(folder / "c", version=3)
    stick = look(folder)
    assert stick.newer == (folder / "c",)
    assert stick.refused[0] == f"{folder}/a: manifest.sig: signed by key {OTHER_KEY.id}, which is not trusted"
    assert stick.refused[1].startswith(f"{folder}/b: is not signed")


def test_a_withdrawn_key_is_refused(folder: Path) -> None:
    write_bundle(folder / "a", version=9, key=OTHER_PRIVATE)
    stick = newest_on_stick(folder.parent, Trust(TrustedKeys((), frozenset({OTHER_KEY.id}))), ACTIVE)
    assert stick.newer == ()
    assert stick.refused[0].endswith("which is withdrawn")


@pytest.mark.timeout(30)
def test_what_is_no_bundle_is_passed_over(folder: Path) -> None:
    (folder / "a").mkdir()
    os.mkfifo(folder / "b")
    write_bundle(folder.parent / "elsewhere", version=9)
    (folder / "c").symlink_to("../elsewhere")
    (folder / "d\x1b[2J").mkdir()
    (folder / "e").symlink_to("nowhere")
    (folder / "notes.txt").write_text("a plain file is nothing to speak of")
    assert look(folder) == Stick(
        (),
        (
            f"{folder}/b: Not a directory",
            f"{folder}/c: c is a link",
            f"{folder}/e: e is a link",
        ),
        (
            f"{folder}/a: has no manifest.json",
            f"{folder}/d\\x1b[2J: has no manifest.json",
        ),
    )


def test_a_link_in_place_of_the_folder_is_not_followed(folder: Path) -> None:
    write_bundle(folder / "town", version=9)
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to("elsewhere")
    with pytest.raises(BundleError, match="cannot be read: overflight is a link"):
        look(folder)


def test_no_more_entries_are_looked_at_than_are_allowed(folder: Path) -> None:
    for number in range(MAX_FOLDER_ENTRIES + 5):
        (folder / f"{number}").touch()
    assert look(folder).passed_over == (f"{folder}: has more than {MAX_FOLDER_ENTRIES} entries; the others were not looked at",)


def test_a_stick_without_the_folder_has_nothing(folder: Path) -> None:
    folder.rmdir()
    assert look(folder) == Stick((), (), (f"{folder.parent}: has no folder overflight",))


@pytest.mark.parametrize("damage", [shutil.rmtree, lambda path: (shutil.rmtree(path), path.touch())])
def test_a_stick_that_is_not_there_is_said(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder.parent)
    with pytest.raises(BundleError) as caught:
        look(folder)
    assert str(caught.value).startswith(f"{folder.parent}: cannot be read: ")
