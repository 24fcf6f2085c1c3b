"""Frames from a folder: each file once, complete, in order, whatever is done to the folder meanwhile."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.capture.directory import DirectorySource, FoundFile
from edge.capture.files import FileChangedError
from edge.capture.image import ImageError, IncompleteImageError
from edge.config import CaptureConfig
from edge.records import FrameKey, Outcome

SERVE_PX = (128, 128)
# Long enough for anything that a test expects not to happen, on a busy machine.
QUIET_S = 0.6

Outcomes = dict[FrameKey, Outcome]


def source_of(folder: Path, outcomes: Outcomes | None = None, **capture: object) -> DirectorySource:
    """A source with short times; rescans are so rare that only events find what comes later."""
    settings = {"settle_s": 0.1, "incomplete_s": 0.5, "rescan_s": 3600.0, **capture}
    journal = {} if outcomes is None else outcomes
    return DirectorySource(CaptureConfig(source=str(folder), **settings), journal.get)  # type: ignore[arg-type]


def put(file: Path, content: bytes, age_s: float = 60.0) -> Path:
    """Write a file that looks as if it had been left alone for a while."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    then = time.time() - age_s
    os.utime(file, (then, then))
    return file


def work_off(
    source: DirectorySource, outcomes: Outcomes, judge: Callable[[FoundFile], Outcome] = lambda found: "observed"
) -> list[str]:
    """Deal with all files that are there, as the daemon does: into the journal first, then what `after` says."""
    given = []
    for found in source.files(once=True):
        given.append(found.key.name)
        outcomes[found.key] = judge(found)
        source.finish(found, outcomes[found.key])
    return given


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@contextmanager
def watching(source: DirectorySource) -> Iterator[queue.Queue[FoundFile]]:
    """The files that a source gives while the block lasts."""
    given: queue.Queue[FoundFile] = queue.Queue()

    def watch() -> None:
        for found in source.files(once=False):
            given.put(found)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield given
    finally:
        source.stop()
        thread.join(10)
        assert not thread.is_alive(), "stop() did not end files()"


@contextmanager
def watching_events(folder: Path, source: DirectorySource) -> Iterator[queue.Queue[FoundFile]]:
    """As `watching`, from when the folder has been listed: what comes from now on only an event can tell of."""
    first = put(folder / "0-first.jpg", b"first")
    with watching(source) as given:
        assert given.get(timeout=10).path == str(first)
        yield given


def assert_nothing_comes(given: queue.Queue[FoundFile]) -> None:
    with pytest.raises(queue.Empty):
        given.get(timeout=QUIET_S)


def test_files_are_given_in_name_order_with_those_of_subfolders(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/2.jpg", "a/1.PNG", "a.jpeg", "a/b/3.tif", "c/1.webp"):
        put(tmp_path / name, b"x")
    outcomes: Outcomes = {}
    given = work_off(source_of(tmp_path, outcomes), outcomes)
    assert given == ["a.jpeg", "a/1.PNG", "a/2.jpg", "a/b/3.tif", "b.jpg", "c/1.webp"]


def test_frame_knows_its_file_its_pixels_and_when_it_was_written(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    content = make_jpeg(width=300, height=200)
    file = put(tmp_path / "sub" / "a.jpg", content)
    os.utime(file, ns=(0, 1_700_000_000_250_000_000))
    source = source_of(tmp_path)
    found = next(source.files(once=True))
    opened = source.read(found)
    frame = opened.frame
    assert frame.key == FrameKey(str(tmp_path), "sub/a.jpg", len(content), 1_700_000_000_250_000_000)
    assert (frame.width, frame.height) == (300, 200)
    assert opened.image.decode(SERVE_PX).shape == (200, 300, 3)
    assert frame.captured_at == datetime.fromtimestamp(1_700_000_000.25, UTC)


@pytest.mark.parametrize("modified_s", [-300_000_000, 0, 9_000_000_000])
def test_file_whose_time_no_calendar_of_a_camera_holds_is_given_and_loaded_all_the_same(
    tmp_path: Path, make_jpeg: Callable[..., bytes], modified_s: int
) -> None:
    file = put(tmp_path / "a.jpg", make_jpeg())
    os.utime(file, (modified_s, modified_s))
    source = source_of(tmp_path, after="move")
    found = next(source.files(once=True))
    assert source.read(found).frame.captured_at.tzinfo is UTC
    source.finish(found, "observed")
    assert below(tmp_path) == {"done/a.jpg"}


def test_each_file_is_given_once_also_after_a_restart(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", b"a")
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes)
    assert work_off(source, outcomes) == ["a.jpg"]
    assert work_off(source, outcomes) == []
    assert work_off(source_of(tmp_path, outcomes), outcomes) == []
    put(tmp_path / "b.jpg", b"b")
    assert work_off(source_of(tmp_path, outcomes), outcomes) == ["b.jpg"]


def test_keep_leaves_files_where_they_are(tmp_path: Path) -> None:
    put(tmp_path / "good.jpg", b"x")
    put(tmp_path / "sub" / "bad.jpg", b"x")
    outcomes: Outcomes = {}
    work_off(source_of(tmp_path, outcomes), outcomes, lambda found: "rejected" if "bad" in found.path else "observed")
    assert below(tmp_path) == {"good.jpg", "sub/bad.jpg"}


def test_move_puts_files_into_done_or_rejected_with_their_subfolders(tmp_path: Path) -> None:
    put(tmp_path / "good.jpg", b"good")
    put(tmp_path / "sub" / "good.jpg", b"below")
    put(tmp_path / "sub" / "bad.jpg", b"bad")
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes, after="move")
    work_off(source, outcomes, lambda found: "rejected" if "bad" in found.path else "observed")
    assert below(tmp_path) == {"done/good.jpg", "done/sub/good.jpg", "rejected/sub/bad.jpg"}
    assert (tmp_path / "done" / "sub" / "good.jpg").read_bytes() == b"below"
    # What lies there is not taken for new.
    assert work_off(source_of(tmp_path, {}, after="move"), {}) == []


def test_delete_removes_what_was_observed_and_leaves_what_was_rejected(tmp_path: Path) -> None:
    put(tmp_path / "good.jpg", b"x")
    put(tmp_path / "bad.jpg", b"x")
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes, after="delete")
    work_off(source, outcomes, lambda found: "rejected" if "bad" in found.path else "observed")
    assert below(tmp_path) == {"bad.jpg"}


def test_name_that_is_taken_in_done_is_not_overwritten(tmp_path: Path) -> None:
    outcomes: Outcomes = {}
    for content in (b"one", b"second", b"the third"):
        # Cameras begin to count anew after the card was formatted.
        put(tmp_path / "DJI_0001.JPG", content)
        work_off(source_of(tmp_path, outcomes, after="move"), outcomes)
    done = {file.read_bytes() for file in (tmp_path / "done").iterdir()}
    assert done == {b"one", b"second", b"the third"}
    assert below(tmp_path) == {"done/DJI_0001.JPG", "done/DJI_0001-1.JPG", "done/DJI_0001-2.JPG"}


@pytest.mark.parametrize(
    ("after", "outcome", "left"),
    [
        ("keep", "observed", {"a.jpg"}),
        ("move", "observed", {"done/a.jpg"}),
        ("move", "rejected", {"rejected/a.jpg"}),
        ("delete", "observed", set()),
        ("delete", "rejected", {"a.jpg"}),
    ],
)
def test_file_that_a_power_cut_left_between_journal_and_move_is_seen_to_after_the_restart(
    tmp_path: Path, after: str, outcome: Outcome, left: set[str]
) -> None:
    put(tmp_path / "a.jpg", b"x")
    found = next(source_of(tmp_path).files(once=True))
    restarted = source_of(tmp_path, {found.key: outcome}, after=after)
    assert list(restarted.files(once=True)) == []
    assert below(tmp_path) == left


def test_file_that_cannot_be_moved_stays_and_is_not_given_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "a.jpg", b"x")
    (tmp_path / "done").write_text("a file where the folder should be")
    outcomes: Outcomes = {}
    assert work_off(source_of(tmp_path, outcomes, after="move"), outcomes) == ["a.jpg"]
    assert "cannot move" in caplog.text
    assert work_off(source_of(tmp_path, outcomes, after="move"), outcomes) == []
    assert (tmp_path / "a.jpg").exists()


@pytest.mark.parametrize("after", ["move", "delete"])
def test_newer_file_of_the_same_name_is_not_taken_away_with_the_one_that_was_observed(tmp_path: Path, after: str) -> None:
    file = put(tmp_path / "a.jpg", b"old")
    source = source_of(tmp_path, after=after)
    found = next(source.files(once=True))
    put(file, b"newer", age_s=30)
    source.finish(found, "observed")
    assert file.read_bytes() == b"newer"


def test_file_that_grows_in_steps_is_given_once_and_complete(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    content = make_jpeg(width=200, height=150)
    source = source_of(tmp_path, settle_s=0.6)
    with watching_events(tmp_path, source) as given:
        step = len(content) // 10 + 1
        for start in range(0, len(content), step):
            # Closed after every step, so that each one is an event of its own.
            with (tmp_path / "a.jpg").open("ab") as file:
                file.write(content[start : start + step])
            time.sleep(0.1)
        found = given.get(timeout=10)
        assert found.key.size_bytes == len(content)
        assert source.read(found).image.decode(SERVE_PX).shape == (150, 200, 3)
        assert_nothing_comes(given)


def test_file_that_is_still_being_written_is_waited_for_in_a_single_run(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    writing = threading.Event()

    def write() -> None:
        for _ in range(8):
            time.sleep(0.1)
            with file.open("ab") as end:
                end.write(b"x")
        writing.set()

    writer = threading.Thread(target=write)
    writer.start()
    found = next(source_of(tmp_path, settle_s=0.6).files(once=True))
    assert writing.is_set()
    assert found.key.size_bytes == 9
    writer.join()


def test_truncated_image_is_given_again_when_its_rest_came(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    content = make_jpeg()
    source = source_of(tmp_path, incomplete_s=30.0)
    with watching_events(tmp_path, source) as given:
        (tmp_path / "a.jpg").write_bytes(content[:500])
        found = given.get(timeout=10)
        assert found.may_grow
        with pytest.raises(IncompleteImageError):
            source.read(found)
        source.put_back(found)
        # It is not given over and over while it is waited for.
        assert_nothing_comes(given)
        with (tmp_path / "a.jpg").open("ab") as file:
            file.write(content[500:])
        found = given.get(timeout=10)
        assert source.read(found).image.decode(SERVE_PX).shape == (128, 128, 3)


def test_image_that_is_never_completed_is_given_a_last_time_as_one_that_does_not_grow(
    tmp_path: Path, make_jpeg: Callable[..., bytes]
) -> None:
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes)
    (tmp_path / "a.jpg").write_bytes(make_jpeg()[:500])
    given = []
    # Also a single run waits, and ends then.
    for found in source.files(once=True):
        given.append(found.may_grow)
        with pytest.raises(IncompleteImageError):
            source.read(found)
        if found.may_grow:
            source.put_back(found)
        else:
            outcomes[found.key] = "rejected"
            source.finish(found, "rejected")
    assert given == [True, False]


def test_truncated_image_that_has_long_been_there_is_not_waited_for(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    put(tmp_path / "a.jpg", make_jpeg()[:500])
    assert not next(source_of(tmp_path).files(once=True)).may_grow


def test_file_from_the_future_is_given_once_it_was_left_alone(tmp_path: Path) -> None:
    # A camera's clock may be ahead: the time of a file says nothing about when it was written.
    put(tmp_path / "a.jpg", b"x", age_s=-86_400)
    outcomes: Outcomes = {}
    assert work_off(source_of(tmp_path, outcomes), outcomes) == ["a.jpg"]


def test_file_that_is_rewritten_later_is_given_again(tmp_path: Path) -> None:
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes)
    with watching_events(tmp_path, source) as given:
        for content in (b"one", b"another"):
            (tmp_path / "a.jpg").write_bytes(content)
            found = given.get(timeout=10)
            assert (found.key.name, found.key.size_bytes) == ("a.jpg", len(content))
            outcomes[found.key] = "observed"
            source.finish(found, "observed")
        assert_nothing_comes(given)


def test_file_in_hand_is_not_given_again_when_an_older_version_of_it_is_finished(tmp_path: Path) -> None:
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes)
    with watching_events(tmp_path, source) as given:
        (tmp_path / "a.jpg").write_bytes(b"one")
        old = given.get(timeout=10)
        (tmp_path / "a.jpg").write_bytes(b"another")
        new = given.get(timeout=10)
        assert new.key != old.key
        outcomes[old.key] = "observed"
        source.finish(old, "observed")
        # A program that opens a file for writing and changes nothing causes an event all the same.
        (tmp_path / "a.jpg").open("ab").close()
        assert_nothing_comes(given)


def test_name_that_is_not_utf8_is_given_with_its_bytes_written_out(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    put(Path(os.fsdecode(path)), make_jpeg())
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes, after="move")
    found = next(source.files(once=True))
    assert found.key.name == "caf\\xe9.jpg"
    assert source.read(found).image.decode(SERVE_PX).shape[1] == 128
    source.finish(found, "observed")
    assert os.listdir(os.fsencode(tmp_path / "done")) == [b"caf\xe9.jpg"]


def test_name_with_control_characters_is_printable_in_the_key(tmp_path: Path) -> None:
    # The name goes into log lines and to the ground: a line feed or an escape in it must not.
    put(tmp_path / "a\nb\x1b[2J.jpg", b"x")
    found = next(source_of(tmp_path).files(once=True))
    assert found.key.name.isprintable()


def test_name_in_utf8_is_kept(tmp_path: Path) -> None:
    put(tmp_path / "Überflug 1.jpg", b"x")
    assert next(source_of(tmp_path).files(once=True)).key.name == "Überflug 1.jpg"


def test_file_that_vanishes_before_it_is_read_is_released(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    file = put(tmp_path / "a.jpg", make_jpeg())
    source = source_of(tmp_path)
    given = source.files(once=True)
    found = next(given)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        source.read(found)
    source.release(found)
    # It does not keep a single run from ending.
    assert list(given) == []


@pytest.mark.parametrize("after", ["keep", "move", "delete"])
def test_file_that_vanishes_before_it_is_finished_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, after: str
) -> None:
    put(tmp_path / "a.jpg", b"x")
    put(tmp_path / "b.jpg", b"x")
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes, after=after)

    def judge(found: FoundFile) -> Outcome:
        if found.key.name == "a.jpg":
            os.unlink(found.path)
        return "observed"

    assert work_off(source, outcomes, judge) == ["a.jpg", "b.jpg"]
    assert not caplog.records


def test_link_to_a_file_is_given_under_its_own_name(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    target = put(tmp_path / "card" / "original.jpg", make_jpeg())
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "link.jpg").symlink_to(target)
    source = source_of(inbox)
    found = next(source.files(once=True))
    assert found.key.name == "link.jpg"
    assert source.read(found).image.decode(SERVE_PX).shape[1] == 128


@pytest.mark.parametrize("after", ["move", "delete"])
def test_link_is_seen_to_and_what_it_points_at_is_left_alone(tmp_path: Path, after: str) -> None:
    target = put(tmp_path / "card" / "original.jpg", b"x")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "link.jpg").symlink_to(target)
    outcomes: Outcomes = {}
    assert work_off(source_of(inbox, outcomes, after=after), outcomes) == ["link.jpg"]
    assert not os.path.lexists(inbox / "link.jpg")
    assert target.read_bytes() == b"x"


def test_dangling_link_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "nowhere.jpg")
    put(tmp_path / "b.jpg", b"x")
    outcomes: Outcomes = {}
    assert work_off(source_of(tmp_path, outcomes), outcomes) == ["b.jpg"]


def test_loop_of_links_ends(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", b"x")
    put(tmp_path / "sub" / "b.jpg", b"x")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    outcomes: Outcomes = {}
    assert work_off(source_of(tmp_path, outcomes), outcomes) == ["a.jpg", "sub/b.jpg"]


def test_link_to_itself_is_passed_over_and_costs_no_other_file(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", b"x")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    outcomes: Outcomes = {}
    assert work_off(source_of(tmp_path, outcomes), outcomes) == ["a.jpg"]


def test_loop_of_links_that_is_made_while_the_folder_is_watched_gives_nothing_twice(tmp_path: Path) -> None:
    put(tmp_path / "done" / "old.jpg", b"x")
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes)
    with watching_events(tmp_path, source) as given:
        (tmp_path / "up").symlink_to(tmp_path)
        assert_nothing_comes(given)


def test_folder_that_does_not_exist_yet_is_waited_for_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "mnt" / "card"
    source = source_of(folder)
    with watching(source) as given:
        # Longer than the pause between two looks, so that saying it at each would show.
        time.sleep(2.2)
        put(tmp_path / "new" / "card" / "a.jpg", b"x")
        (tmp_path / "new").rename(tmp_path / "mnt")
        assert given.get(timeout=10).key.name == "a.jpg"
    assert [record.message for record in caplog.records if "does not exist yet" in record.message] == [
        f"{folder} does not exist yet: waiting for it"
    ]


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    for name in (".a.jpg", "b.txt", "c.jpg.part", "d", "e.mp4", ".trash/f.jpg", "g.jpg"):
        put(tmp_path / name, b"x")
    (tmp_path / "folder.jpg").mkdir()
    outcomes: Outcomes = {}
    assert work_off(source_of(tmp_path, outcomes), outcomes) == ["g.jpg"]


def test_hidden_and_foreign_files_are_passed_over_when_an_event_names_them(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    (tmp_path / "done").mkdir()
    with watching_events(tmp_path, source_of(tmp_path)) as given:
        (tmp_path / ".a.jpg").write_bytes(b"x")
        (tmp_path / "b.txt").write_bytes(b"x")
        (tmp_path / "done" / "c.jpg").write_bytes(b"x")
        (tmp_path / ".partial" / "d.jpg").write_bytes(b"x")
        assert_nothing_comes(given)


def test_pipe_with_the_name_of_a_picture_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    put(tmp_path / "b.jpg", b"x")
    outcomes: Outcomes = {}
    assert work_off(source_of(tmp_path, outcomes), outcomes) == ["b.jpg"]


def test_pipe_that_takes_the_place_of_a_listed_file_does_not_hang(tmp_path: Path) -> None:
    file = put(tmp_path / "a.jpg", b"x")
    source = source_of(tmp_path)
    found = next(source.files(once=True))
    file.unlink()
    os.mkfifo(file)
    raised: list[Exception] = []

    def load() -> None:
        try:
            source.read(found)
        except (FileChangedError, ImageError, OSError) as error:
            raised.append(error)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(3)
    hung = thread.is_alive()
    if hung:
        # Somebody who writes lets the thread go.
        os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
        thread.join(3)
    assert not hung
    assert raised


def test_file_that_is_moved_into_the_folder_is_found_by_its_event(tmp_path: Path) -> None:
    inbox, outside = tmp_path / "inbox", put(tmp_path / "outside.jpg", b"x")
    with watching_events(inbox, source_of(inbox)) as given:
        outside.rename(inbox / "a.jpg")
        assert given.get(timeout=10).key.name == "a.jpg"


def test_folder_full_of_files_that_is_moved_in_is_found_by_its_event(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    for name in ("2.jpg", "1.jpg", "deep/3.jpg", ".hidden.jpg", "notes.txt"):
        put(tmp_path / "card" / name, b"x")
    with watching_events(inbox, source_of(inbox)) as given:
        (tmp_path / "card").rename(inbox / "flight")
        found = [given.get(timeout=10).key.name for _ in range(3)]
        assert found == ["flight/1.jpg", "flight/2.jpg", "flight/deep/3.jpg"]
        # The new folder is watched from now on.
        put(tmp_path / "late.jpg", b"x").rename(inbox / "flight" / "deep" / "late.jpg")
        assert given.get(timeout=10).key.name == "flight/deep/late.jpg"
        assert_nothing_comes(given)


def test_file_of_which_no_event_tells_is_found_by_listing_again(tmp_path: Path) -> None:
    # The system's events do not reach through links, so here all of them are lost.
    inbox, card = tmp_path / "inbox", tmp_path / "card"
    inbox.mkdir()
    put(card / "1.jpg", b"x")
    (inbox / "link").symlink_to(card)
    with watching(source_of(inbox, rescan_s=0.2)) as given:
        assert given.get(timeout=10).key.name == "link/1.jpg"
        put(card / "2.jpg", b"x")
        assert given.get(timeout=10).key.name == "link/2.jpg"
        assert_nothing_comes(given)


def test_stop_ends_the_watch_of_a_folder(tmp_path: Path) -> None:
    # `watching` asserts that the thread ends, long before the next time that the folder is listed.
    with watching_events(tmp_path, source_of(tmp_path)):
        pass


def test_stop_ends_the_wait_for_a_folder(tmp_path: Path) -> None:
    with watching(source_of(tmp_path / "never")) as given:
        time.sleep(0.1)
    assert given.empty()


def test_stop_ends_a_single_run_that_waits_for_a_file_in_hand(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", b"x")
    source = source_of(tmp_path)
    given = source.files(once=True)
    next(given)
    stopper = threading.Timer(0.2, source.stop)
    stopper.start()
    assert list(given) == []
    stopper.join()


def test_nothing_more_is_given_after_stop(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / f"{number}.jpg", b"x")
    source = source_of(tmp_path)
    given = source.files(once=True)
    next(given)
    source.stop()
    assert list(given) == []


def test_nothing_more_of_a_folder_that_was_moved_in_is_given_after_stop(tmp_path: Path) -> None:
    # A card with thousands of photos must not keep the daemon from ending.
    inbox = tmp_path / "inbox"
    put(inbox / "0.jpg", b"x")
    for number in range(5):
        put(tmp_path / "card" / f"{number}.jpg", b"x")
    source = source_of(inbox)
    given = source.files(once=False)
    next(given)
    (tmp_path / "card").rename(inbox / "flight")
    assert next(given).key.name == "flight/0.jpg"
    source.stop()
    assert list(given) == []


def test_file_over_max_bytes_is_refused_unread(tmp_path: Path) -> None:
    file = put(tmp_path / "a.jpg", b"\xff\xd8")
    # A terabyte of nothing: reading it would take memory that no machine has.
    os.truncate(file, 1 << 40)
    os.utime(file, (0, 0))
    source = source_of(tmp_path, max_bytes=1000)
    found = next(source.files(once=True))
    with pytest.raises(ImageError, match=r"1099511627776 bytes, more than max_bytes \(1000\)"):
        source.read(found)


def test_file_of_just_max_bytes_is_read(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    content = make_jpeg()
    put(tmp_path / "a.jpg", content)
    source = source_of(tmp_path, max_bytes=len(content))
    assert source.read(next(source.files(once=True))).frame.key.size_bytes == len(content)


def test_image_over_max_pixels_is_refused(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    put(tmp_path / "a.jpg", make_jpeg(width=200, height=100))
    source = source_of(tmp_path, max_pixels=19_999)
    with pytest.raises(ImageError, match="200x100"):
        source.read(next(source.files(once=True)))


def test_file_that_changed_since_it_was_listed_is_not_loaded(tmp_path: Path, make_jpeg: Callable[..., bytes]) -> None:
    content = make_jpeg()
    file = put(tmp_path / "a.jpg", content)
    source = source_of(tmp_path)
    found = next(source.files(once=True))
    # Of the same size: its time alone tells.
    put(file, make_jpeg(seed=1)[: len(content)].ljust(len(content), b"\0"), age_s=30)
    with pytest.raises(FileChangedError):
        source.read(found)
    put(file, content + b"more", age_s=60)
    with pytest.raises(FileChangedError):
        source.read(found)


def test_file_that_changed_while_it_was_read_comes_up_again_in_its_new_form(
    tmp_path: Path, make_jpeg: Callable[..., bytes]
) -> None:
    file = put(tmp_path / "a.jpg", b"old")
    source = source_of(tmp_path)
    given = source.files(once=True)
    found = next(given)
    put(file, make_jpeg(), age_s=30)
    with pytest.raises(FileChangedError):
        source.read(found)
    source.put_back(found)
    again = next(given)
    assert again.key.size_bytes == file.stat().st_size
    assert source.read(again).frame.width == 128


def test_file_that_the_system_refused_is_given_again_only_after_something_about_it_changed(tmp_path: Path) -> None:
    file = put(tmp_path / "a.jpg", b"x")
    outcomes: Outcomes = {}
    source = source_of(tmp_path, outcomes)
    assert work_off(source, outcomes, lambda found: "unavailable") == ["a.jpg"]
    assert work_off(source, outcomes, lambda found: "unavailable") == []
    # As somebody does who lets us read it: that changes neither size nor time of modification.
    file.chmod(0o640)
    assert work_off(source, outcomes) == ["a.jpg"]


@pytest.mark.parametrize(("after", "left"), [("move", {"rejected/a.jpg"}), ("delete", {"a.jpg"})])
def test_file_that_the_system_refused_is_set_aside_and_never_deleted(tmp_path: Path, after: str, left: set[str]) -> None:
    put(tmp_path / "a.jpg", b"x")
    outcomes: Outcomes = {}
    work_off(source_of(tmp_path, outcomes, after=after), outcomes, lambda found: "unavailable")
    assert below(tmp_path) == left
