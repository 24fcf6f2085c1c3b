"""Listing a tree: its order, what is left out, and which folders are not listed again because nothing came or went."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.capture.listing import Listing


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def age(*folders: Path) -> None:
    """Let folders look as if nothing had come or gone for a minute: fresh changes are always listed again."""
    for folder in folders:
        long_ago = time.time() - 60
        os.utime(folder, (long_ago, long_ago))


def names(listing: Listing, root: Path, below: Path | None = None) -> list[str]:
    return [os.path.relpath(path, root) for path in listing.scan(None if below is None else str(below))]


@contextmanager
def watched(listing: Listing) -> Iterator[queue.Queue[str]]:
    """The paths that the file system tells of while the block lasts."""
    told: queue.Queue[str] = queue.Queue()
    observer = listing.watch(told.put)
    assert observer is not None
    try:
        yield told
    finally:
        observer.stop()
        observer.join(5)


def told_until(told: queue.Queue[str], path: Path) -> set[str]:
    """All paths told of up to the one that the test waits for."""
    paths = set()
    while str(path) not in paths:
        paths.add(told.get(timeout=10))
    return paths


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a/2.jpg", "a/1.jpg", "a.jpg", "a-1.jpg", "a/b/3.jpg", "c/1.jpg", "B.jpg")
    listed = names(Listing(str(tmp_path), skip=()), tmp_path)
    assert listed == ["B.jpg", "a-1.jpg", "a.jpg", "a/1.jpg", "a/2.jpg", "a/b/3.jpg", "b.jpg", "c/1.jpg"]


def test_names_that_start_with_a_dot_are_left_out_with_all_below_them(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", ".b.jpg", ".cache/c.jpg", "d/.e/f.jpg")
    assert names(Listing(str(tmp_path), skip=()), tmp_path) == ["a.jpg"]


def test_skipped_names_are_left_out_below_the_root_only(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "done/b.jpg", "done/sub/c.jpg", "done-2/d.jpg", "flight/done/e.jpg")
    listing = Listing(str(tmp_path), skip=("done", "rejected"))
    assert names(listing, tmp_path) == ["a.jpg", "done-2/d.jpg", "flight/done/e.jpg"]
    assert names(listing, tmp_path, below=tmp_path / "done" / "sub") == []
    assert names(listing, tmp_path, below=tmp_path / "flight") == ["flight/done/e.jpg"]


def test_names_that_are_not_utf8_are_listed(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(path, "wb"):
        pass
    assert [os.fsencode(found) for found in Listing(str(tmp_path), skip=()).scan()] == [path]


def test_loop_of_links_ends_and_gives_each_file_once(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "z").symlink_to(tmp_path / "sub")
    assert names(Listing(str(tmp_path), skip=()), tmp_path) == ["a.jpg", "sub/b.jpg"]


def test_folder_of_a_link_is_listed(tmp_path: Path) -> None:
    root, card = tmp_path / "inbox", tmp_path / "card"
    root.mkdir()
    make(card, "a.jpg")
    (root / "link").symlink_to(card)
    assert names(Listing(str(root), skip=()), root) == ["link/a.jpg"]


def test_unchanged_folders_are_not_listed_again(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg", "sub/deep/c.jpg")
    age(tmp_path / "sub" / "deep", tmp_path / "sub", tmp_path)
    listing = Listing(str(tmp_path), skip=())
    assert names(listing, tmp_path) == ["a.jpg", "sub/b.jpg", "sub/deep/c.jpg"]
    assert names(listing, tmp_path) == []


def test_changed_folder_is_listed_again_though_those_around_it_are_not(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg", "sub/deep/c.jpg")
    age(tmp_path / "sub" / "deep", tmp_path / "sub", tmp_path)
    listing = Listing(str(tmp_path), skip=())
    names(listing, tmp_path)
    # No event tells of this file: a scan must find it by itself.
    make(tmp_path, "sub/deep/d.jpg")
    assert names(listing, tmp_path) == ["sub/deep/c.jpg", "sub/deep/d.jpg"]


def test_new_folder_below_a_listed_one_is_found_by_the_next_scan(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    age(tmp_path)
    listing = Listing(str(tmp_path), skip=())
    names(listing, tmp_path)
    make(tmp_path, "new/deep/b.jpg")
    assert "new/deep/b.jpg" in names(listing, tmp_path)


def test_file_that_comes_within_the_time_step_of_a_file_system_is_not_missed(tmp_path: Path) -> None:
    # FAT keeps the time of a folder in steps of two seconds: two changes within one look like one.
    listing = Listing(str(tmp_path), skip=())
    make(tmp_path, "a.jpg")
    status = tmp_path.stat()
    assert names(listing, tmp_path) == ["a.jpg"]
    make(tmp_path, "b.jpg")
    os.utime(tmp_path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert names(listing, tmp_path) == ["a.jpg", "b.jpg"]


def test_everything_is_listed_again_now_and_then(tmp_path: Path) -> None:
    # A file that is rewritten in place changes nothing about its folder.
    make(tmp_path, "sub/a.jpg")
    age(tmp_path / "sub", tmp_path)
    listing = Listing(str(tmp_path), skip=())
    scans = [names(listing, tmp_path) for _ in range(21)]
    assert [number for number, listed in enumerate(scans) if listed] == [0, 10, 20]


def test_a_folder_below_is_listed_whether_it_changed_or_not(tmp_path: Path) -> None:
    make(tmp_path, "sub/deep/a.jpg")
    age(tmp_path / "sub" / "deep", tmp_path / "sub", tmp_path)
    listing = Listing(str(tmp_path), skip=())
    names(listing, tmp_path)
    assert names(listing, tmp_path, below=tmp_path / "sub") == ["sub/deep/a.jpg"]


def test_folder_that_is_gone_is_named_in_the_log_and_costs_itself_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    age(tmp_path / "a", tmp_path / "b", tmp_path)
    listing = Listing(str(tmp_path), skip=())
    scan = listing.scan()
    assert next(scan) == str(tmp_path / "a" / "1.jpg")
    (tmp_path / "b" / "2.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert list(scan) == []
    assert f"{str(tmp_path / 'b')!a}: cannot be listed" in caplog.text
    make(tmp_path, "b/3.jpg")
    assert names(listing, tmp_path) == ["b/3.jpg"]


def test_root_that_is_gone_gives_nothing_and_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert names(Listing(str(tmp_path / "gone"), skip=()), tmp_path) == []
    assert "gone" in caplog.text


def test_closed_files_moved_files_and_new_folders_are_told_of(tmp_path: Path) -> None:
    root, outside = tmp_path / "inbox", tmp_path / "outside"
    make(root, "sub/old.jpg")
    make(outside, "moved.jpg", "card/1.jpg")
    with watched(Listing(str(root), skip=())) as told:
        (root / "sub" / "written.jpg").write_bytes(b"x")
        told_until(told, root / "sub" / "written.jpg")
        (outside / "moved.jpg").rename(root / "moved.jpg")
        told_until(told, root / "moved.jpg")
        (root / "moved.jpg").rename(root / "renamed.jpg")
        told_until(told, root / "renamed.jpg")
        (outside / "card").rename(root / "card")
        told_until(told, root / "card")


def test_changes_below_skipped_names_are_not_told_of(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    with watched(Listing(str(tmp_path), skip=("done",))) as told:
        (tmp_path / "done" / "a.jpg").write_bytes(b"x")
        (tmp_path / "done" / "sub").mkdir()
        (tmp_path / "last.jpg").write_bytes(b"x")
        paths = told_until(told, tmp_path / "last.jpg")
    assert not [path for path in paths if path.startswith(f"{tmp_path}/done")]


def test_changes_below_hidden_folders_are_not_told_of(tmp_path: Path) -> None:
    # Programs that synchronise folders write into a hidden one and move what is complete out of it.
    (tmp_path / ".partial").mkdir()
    with watched(Listing(str(tmp_path), skip=())) as told:
        (tmp_path / ".partial" / "a.jpg").write_bytes(b"x")
        (tmp_path / ".new").mkdir()
        (tmp_path / "last.jpg").write_bytes(b"x")
        paths = told_until(told, tmp_path / "last.jpg")
    assert not [path for path in paths if "/." in path]


def test_folder_that_cannot_be_watched_is_said_and_left_to_scans(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Listing(str(tmp_path / "gone"), skip=()).watch(lambda path: None) is None
    assert "cannot be watched" in caplog.text
