"""The model of a disk after a power cut: what was synced is there, what was not may be missing."""

from __future__ import annotations

from tests.edge.journal.disk import Call, Disk, Kind

FILE = Call(Kind.CREATE, 5, 0, b"/d/file")
FOLDER = Call(Kind.OPEN, 6, 0, b"/d")
SYNC_FILE = Call(Kind.SYNC, 5, 0, b"")
SYNC_FOLDER = Call(Kind.SYNC, 6, 0, b"")


def write(offset: int, data: bytes) -> Call:
    """A write to the file."""
    return Call(Kind.WRITE, 5, offset, data)


def left(*calls: Call, names: bool = False, data: bool = False) -> dict[str, bytes | None]:
    """What is there after calls and a power cut; names, data: whether of those also what was not synced."""
    disk = Disk("/d")
    for call in calls:
        disk.do(call)
    return disk.image(lambda _: names, lambda _: data, torn=False)


def test_what_was_not_synced_may_be_missing_or_there() -> None:
    calls = (FILE, FOLDER, SYNC_FOLDER, write(0, b"one"), SYNC_FILE, write(3, b"two"))
    assert left(*calls) == {"/d/file": b"one"}
    assert left(*calls, data=True) == {"/d/file": b"onetwo"}


def test_a_file_s_name_is_synced_with_its_folder_alone() -> None:
    calls = (FILE, FOLDER, write(0, b"one"), SYNC_FILE)
    assert left(*calls) == {}
    assert left(*calls, SYNC_FOLDER) == {"/d/file": b"one"}


def test_a_file_is_lost_with_a_folder_that_was_not_synced() -> None:
    calls = [Call(Kind.OPEN, 6, 0, b"/d"), Call(Kind.MKDIR, -1, 0, b"/d/new"), Call(Kind.CREATE, 5, 0, b"/d/new/file")]
    calls += [Call(Kind.OPEN, 7, 0, b"/d/new"), Call(Kind.SYNC, 7, 0, b"")]
    assert left(*calls) == {}
    assert left(*calls, SYNC_FOLDER) == {"/d/new": None, "/d/new/file": b""}


def test_a_name_that_was_removed_may_come_back() -> None:
    calls = (FILE, FOLDER, write(0, b"one"), SYNC_FILE, SYNC_FOLDER, Call(Kind.UNLINK, -1, 0, b"/d/file"))
    assert left(*calls) == {"/d/file": b"one"}
    assert left(*calls, names=True) == left(*calls, SYNC_FOLDER) == {}


def test_a_file_takes_the_place_of_another_at_once() -> None:
    calls = (FILE, FOLDER, write(0, b"one"), SYNC_FILE, SYNC_FOLDER, Call(Kind.RENAME, -1, 0, b"/d/file\0/d/other"))
    assert left(*calls) == {"/d/file": b"one"}
    assert left(*calls, names=True) == {"/d/other": b"one"}


def test_what_a_failed_sync_was_asked_for_is_synced_by_no_later_one() -> None:
    calls = (FILE, FOLDER, SYNC_FOLDER, write(0, b"one"), Call(Kind.FAILED_SYNC, 5, 0, b""), write(3, b"two"), SYNC_FILE)
    assert left(*calls) == {"/d/file": b"\0\0\0two"}
    assert left(*calls, data=True) == {"/d/file": b"onetwo"}


def test_a_torn_write_is_kept_by_sectors() -> None:
    disk = Disk("/d")
    for call in (FILE, FOLDER, SYNC_FOLDER, write(500, b"x" * 1000)):
        disk.do(call)
    answers = iter([True, False, True])
    image = disk.image(lambda _: True, lambda _: next(answers), torn=True)
    # The parts of the write lie in the sectors that begin at 0, 512 and 1024.
    assert image == {"/d/file": bytes(500) + b"x" * 12 + bytes(512) + b"x" * 476}


def test_a_file_may_keep_its_old_size() -> None:
    calls = (FILE, FOLDER, SYNC_FOLDER, write(0, b"one"), SYNC_FILE, Call(Kind.TRUNCATE, 5, 1, b""))
    assert left(*calls) == {"/d/file": b"one"}
    assert left(*calls, data=True) == left(*calls, SYNC_FILE) == {"/d/file": b"o"}
