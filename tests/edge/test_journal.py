"""The journal: what it keeps, what it refuses, and that nothing acknowledged is lost, by `kill -9` or by a full disk.

The functions at the top are also run in child processes, which are killed or live on a file system of one mebibyte.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.journal import Counts, FrameRecord, Journal, JournalError, JournalFullError, is_open, read_counts
from edge.messages import decode_alert, uuid7
from edge.records import Alert, Fix, Frame, FrameKey, ModelName, Observation, Outcome, Prediction, Tile

PROJECT = Path(__file__).parents[2]
CAPTURED_AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
MODEL = ModelName("terrain-damage", 3, "ab" * 32)
PIXELS = np.zeros((8, 8, 3), np.uint8)


def key_of(name: str) -> FrameKey:
    """The key of a frame with this name."""
    return FrameKey("/inbox", name, 4096, 1_795_255_200_000_000_000)


def observe(name: str, tile: int = 0) -> Observation:
    """An observation of a tile of a frame."""
    frame = Frame(key_of(name), CAPTURED_AT, 16, 8, PIXELS)
    prediction = Prediction({"damaged": 0.75, "undamaged": 0.25}, MODEL, "openvino", "CPU", 0.5)
    return Observation(frame, Tile(8 * tile, 0, 8, 8), prediction, Fix(29.5, -95.25, "exif", CAPTURED_AT, altitude_m=31.0))


def alerting(name: str) -> FrameRecord:
    """A frame of one tile that is alerted about."""
    observation = observe(name)
    alert = Alert(uuid7(), observation, "damaged", 0.75)
    return FrameRecord(key_of(name), "2026-11-21T10:00:00.000Z", "observed", None, [observation], [alert])


def quiet(name: str) -> FrameRecord:
    """A frame of one tile that is not alerted about."""
    return FrameRecord(key_of(name), "2026-11-21T10:00:00.000Z", "observed", None, [observe(name)])


def failed(name: str, outcome: Outcome) -> FrameRecord:
    """A frame that was not observed."""
    return FrameRecord(key_of(name), None, outcome, "not an image")


def waiting_names(journal: Journal) -> list[str]:
    """The frames of the alerts that wait, in their order."""
    return [decode_alert(alert.message).properties.frame.name for alert in journal.waiting_after(0, 1_000_000)]


def waiting_sequences(journal: Journal) -> list[int]:
    """The numbers of the alerts that wait, in their order."""
    return [alert.sequence for alert in journal.waiting_after(0, 1_000_000)]


def record_until_killed(path: str, prefix: str) -> None:
    """Child: record a frame after the other and name each one that is acknowledged."""
    journal = Journal(path, "uav-1")
    for number in range(1_000_000):
        name = f"{prefix}-{number}"
        journal.record([alerting(name)])
        print(name, flush=True)


def record_until_full(journal: Journal, prefix: str) -> tuple[list[str], FrameRecord, str]:
    """Record until there is no room: the frames that were acknowledged, the one that was not, and why."""
    names: list[str] = []
    while True:
        frame = alerting(f"{prefix}-{len(names)}")
        try:
            journal.record([frame])
        except JournalFullError as error:
            return names, frame, str(error)
        names.append(frame.key.name)


def fill(file: Path) -> None:
    """Leave no byte on the file's disk."""
    with file.open("wb", buffering=0) as ballast:
        try:
            for size in (4096, 1):
                while ballast.write(bytes(size)):
                    pass
        except OSError:
            pass


def make_room_while_open(folder: str) -> dict[str, Any]:
    """Child: run into a full disk, see what still works, make room and go on."""
    ballast, path = Path(folder, "ballast"), Path(folder, "journal.db")
    ballast.write_bytes(bytes(300_000))
    journal = Journal(path, "uav-1")
    names, refused, reason = record_until_full(journal, "before")
    fill(Path(folder, "rest"))
    full: dict[str, Any] = {
        "last_sequence": journal.last_sequence,
        "waiting": journal.waiting,
        "sequences": waiting_sequences(journal),
        "outcome_of_refused": journal.outcome_of(refused.key),
        "outcome_of_kept": journal.outcome_of(key_of(names[-1])),
    }
    # The refused transaction left a little room in the write-ahead log, which the first marks may use.
    marked = 0
    try:
        while marked < len(names):
            journal.mark_delivered([marked + 1])
            marked += 1
    except JournalFullError:
        full["mark_delivered"] = "full"
    full["waiting_after_mark"], full["sequences_after_mark"] = journal.waiting, waiting_sequences(journal)
    Path(folder, "rest").unlink()
    ballast.unlink()
    # The same call may be made again.
    added = journal.record([refused])
    journal.record([alerting("after")])
    journal.mark_delivered([marked + 1])
    journal_id, last = journal.id, journal.last_sequence
    journal.close()
    with closing(Journal(path, "uav-1")) as again:
        return {
            "acknowledged": [*names, refused.key.name, "after"],
            "reason": reason,
            "full": full,
            "marked": marked,
            "added": added,
            "last_sequence": last,
            "same_id": again.id == journal_id,
            "waiting": waiting_sequences(again),
            "names": waiting_names(again),
            "outcomes": [again.outcome_of(key_of(name)) for name in [*names, refused.key.name, "after"]],
        }


def make_room_while_closed(folder: str) -> dict[str, Any]:
    """Child: run into a full disk, close there, try to open there, make room and open again."""
    ballast, path = Path(folder, "ballast"), Path(folder, "journal.db")
    ballast.write_bytes(bytes(300_000))
    journal = Journal(path, "uav-1")
    names, _, _ = record_until_full(journal, "before")
    fill(Path(folder, "rest"))
    journal.close()
    try:
        Journal(path, "uav-1").close()
        opened_full = "worked"
    except JournalError as error:
        opened_full = str(error)
    Path(folder, "rest").unlink()
    ballast.unlink()
    with closing(Journal(path, "uav-1")) as again:
        again.record([alerting("after")])
        return {
            "acknowledged": [*names, "after"],
            "opened_full": opened_full,
            "waiting": waiting_sequences(again),
            "names": waiting_names(again),
        }


def begin_on_a_full_disk(folder: str) -> dict[str, Any]:
    """Child: try to begin a journal where there is no room, then where there is."""
    path = Path(folder, "journal.db")
    fill(Path(folder, "rest"))
    try:
        Journal(path, "uav-1").close()
        reason = "worked"
    except JournalError as error:
        reason = str(error)
    Path(folder, "rest").unlink()
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("after")])
        return {"reason": reason, "names": waiting_names(journal), "waiting": waiting_sequences(journal)}


def python(function: Callable[..., Any], *arguments: object) -> list[str]:
    """The command that runs a function of this module in another process and prints what it returns as JSON."""
    code = f"import json, sys\nfrom tests.edge.test_journal import {function.__name__}\n"
    code += f"print(json.dumps({function.__name__}(*sys.argv[1:])))"
    return [sys.executable, "-c", code, *map(str, arguments)]


@contextmanager
def recording_child(path: Path, prefix: str) -> Iterator[subprocess.Popen[str]]:
    """A child that records until it is killed, at the latest at the end of the block."""
    command = python(record_until_killed, path, prefix)
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal goes; nothing is there yet."""
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """A new journal."""
    with closing(Journal(path, "uav-1")) as opened:
        yield opened


# Frames


def test_a_frame_that_was_never_recorded_has_no_outcome(journal: Journal) -> None:
    assert journal.outcome_of(key_of("a.jpeg")) is None


@pytest.mark.parametrize("outcome", ["observed", "rejected", "unavailable"])
def test_the_outcome_of_a_frame_is_remembered_over_a_restart(path: Path, outcome: Outcome) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([failed("a.jpeg", outcome)])
        assert journal.outcome_of(key_of("a.jpeg")) == outcome
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.outcome_of(key_of("a.jpeg")) == outcome


@pytest.mark.parametrize(
    "other",
    [
        FrameKey("/other", "a.jpeg", 4096, 1),
        FrameKey("/inbox", "b.jpeg", 4096, 1),
        FrameKey("/inbox", "a.jpeg", 4097, 1),
        FrameKey("/inbox", "a.jpeg", 4096, 2),
    ],
    ids=["source", "name", "size", "time"],
)
def test_a_frame_that_differs_in_any_part_of_its_key_is_another_one(journal: Journal, other: FrameKey) -> None:
    journal.record([FrameRecord(FrameKey("/inbox", "a.jpeg", 4096, 1), None, "observed", None)])

    assert journal.outcome_of(other) is None


def test_the_same_frame_twice_is_kept_once(journal: Journal, path: Path) -> None:
    assert journal.record([alerting("a.jpeg")]) == 1
    first = journal.waiting_after(0, 10)

    assert journal.record([alerting("a.jpeg")]) == 0
    assert journal.waiting_after(0, 10) == first
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=1, alerts=1, waiting=1)


def test_the_same_frame_twice_in_one_transaction_is_kept_once(journal: Journal, path: Path) -> None:
    assert journal.record([alerting("a.jpeg"), alerting("b.jpeg"), alerting("a.jpeg")]) == 2
    assert waiting_names(journal) == ["a.jpeg", "b.jpeg"]


def test_an_unavailable_frame_may_be_observed_later(journal: Journal, path: Path) -> None:
    journal.record([failed("a.jpeg", "unavailable")])

    assert journal.record([alerting("a.jpeg")]) == 1
    assert journal.outcome_of(key_of("a.jpeg")) == "observed"
    assert waiting_names(journal) == ["a.jpeg"]
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=1, alerts=1, waiting=1)


def test_an_unavailable_frame_may_be_rejected_later(journal: Journal) -> None:
    journal.record([failed("a.jpeg", "unavailable")])
    journal.record([failed("a.jpeg", "rejected")])

    assert journal.outcome_of(key_of("a.jpeg")) == "rejected"


@pytest.mark.parametrize("later", ["rejected", "unavailable"])
def test_an_observed_frame_stays_observed(journal: Journal, later: Outcome) -> None:
    journal.record([quiet("a.jpeg")])
    journal.record([failed("a.jpeg", later)])

    assert journal.outcome_of(key_of("a.jpeg")) == "observed"


def test_a_rejected_frame_stays_rejected(journal: Journal) -> None:
    journal.record([failed("a.jpeg", "rejected")])

    assert journal.record([alerting("a.jpeg")]) == 0
    assert journal.outcome_of(key_of("a.jpeg")) == "rejected"


def test_what_was_observed_can_be_read_in_the_file(journal: Journal, path: Path) -> None:
    journal.record([quiet("a.jpeg"), failed("b.jpeg", "rejected")])
    with closing(sqlite3.connect(path)) as database:
        frames = database.execute("SELECT name, captured_at, outcome, reason FROM frames ORDER BY name").fetchall()
        observation = database.execute(
            "SELECT tile, label, probabilities, latitude, longitude, altitude_m, fix_source, model, engine, device"
            " FROM observations"
        ).fetchone()

    assert frames == [
        ("a.jpeg", "2026-11-21T10:00:00.000Z", "observed", None),
        ("b.jpeg", None, "rejected", "not an image"),
    ]
    assert observation[:2] == ("0,0,8,8", "damaged")
    assert json.loads(observation[2]) == {"damaged": 0.75, "undamaged": 0.25}
    assert observation[3:] == (29.5, -95.25, 31.0, "exif", "terrain-damage-3", "openvino", "CPU")


# Alerts


def test_alerts_are_numbered_from_one_in_the_order_in_which_they_were_decided(journal: Journal) -> None:
    journal.record([alerting("b"), quiet("c"), alerting("a")])
    journal.record([alerting("d")])

    assert waiting_names(journal) == ["b", "a", "d"]
    assert waiting_sequences(journal) == [1, 2, 3]
    assert journal.last_sequence == 3


def test_of_a_frame_of_many_tiles_only_those_with_an_alert_are_sent(journal: Journal, path: Path) -> None:
    tiles = [observe("a.jpeg", tile) for tile in range(3)]
    alerts = [Alert(uuid7(), tiles[number], "damaged", 0.75) for number in (2, 0)]

    assert journal.record([FrameRecord(key_of("a.jpeg"), None, "observed", None, tiles, alerts)]) == 2
    messages = [decode_alert(alert.message) for alert in journal.waiting_after(0, 10)]
    assert [(message.properties.frame.tile[0], message.id) for message in messages] == [(0, alerts[1].id), (16, alerts[0].id)]
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=3, alerts=2, waiting=2)


def test_a_message_says_which_device_journal_and_sequence_it_is_of(journal: Journal) -> None:
    journal.record([alerting("a"), alerting("b")])
    properties = [decode_alert(alert.message).properties for alert in journal.waiting_after(0, 10)]

    assert [(each.device, each.journal, each.sequence) for each in properties] == [
        ("uav-1", journal.id, 1),
        ("uav-1", journal.id, 2),
    ]


def test_the_sequence_goes_on_without_gaps_over_restarts(path: Path) -> None:
    ids = set()
    for run in range(3):
        with closing(Journal(path, "uav-1")) as journal:
            assert journal.last_sequence == 2 * run
            journal.record([alerting(f"{run}a"), alerting(f"{run}b")])
            ids.add(journal.id)
    with closing(Journal(path, "uav-1")) as journal:
        assert waiting_sequences(journal) == [1, 2, 3, 4, 5, 6]
        assert waiting_names(journal) == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert len(ids) == 1


def test_the_sequence_goes_on_where_everything_was_delivered(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("a"), alerting("b")])
        journal.mark_delivered([1, 2])
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("c")])
        assert waiting_sequences(journal) == [3]


def test_a_resent_message_is_the_same_to_the_byte(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("a")])
        sent = journal.waiting_after(0, 1)
    # The name of the device may change in between: what was decided under the old one stays so.
    with closing(Journal(path, "renamed")) as journal:
        assert journal.waiting_after(0, 1) == sent


def test_two_journals_have_two_ids(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "a.db", "uav-1")) as one, closing(Journal(tmp_path / "b.db", "uav-1")) as other:
        assert one.id != other.id


def test_waiting_alerts_come_in_order_after_a_sequence_up_to_a_limit(journal: Journal) -> None:
    journal.record([alerting(str(number)) for number in range(5)])

    assert [alert.sequence for alert in journal.waiting_after(0, 2)] == [1, 2]
    assert [alert.sequence for alert in journal.waiting_after(2, 2)] == [3, 4]
    assert [alert.sequence for alert in journal.waiting_after(4, 2)] == [5]
    assert journal.waiting_after(5, 2) == []
    assert journal.waiting_after(0, 0) == []


def test_delivered_alerts_no_longer_wait_also_after_a_restart(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting(str(number)) for number in range(5)])
        journal.mark_delivered([4, 2])
        assert journal.waiting == 3
        assert [alert.sequence for alert in journal.waiting_after(0, 2)] == [1, 3]
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.waiting == 3
        assert waiting_sequences(journal) == [1, 3, 5]


def test_marking_nothing_changes_nothing(journal: Journal) -> None:
    journal.record([alerting("a")])
    journal.mark_delivered([])

    assert (journal.waiting, waiting_sequences(journal)) == (1, [1])


def test_an_alert_that_is_acknowledged_twice_is_counted_once(journal: Journal, path: Path) -> None:
    journal.record([alerting("a"), alerting("b")])
    journal.mark_delivered([1])
    journal.mark_delivered([1, 1])

    assert journal.waiting == read_counts(path).waiting == 1


# Failures within a transaction


def test_a_failure_keeps_nothing_and_leaves_no_gap(journal: Journal, path: Path) -> None:
    journal.record([alerting("first")])

    def frames() -> Iterator[FrameRecord]:
        yield alerting("lost")
        yield failed("lost, too", "rejected")
        raise RuntimeError("the stage before fails")

    with pytest.raises(RuntimeError, match="the stage before fails"):
        journal.record(frames())
    assert (journal.last_sequence, journal.waiting) == (1, 1)
    assert journal.outcome_of(key_of("lost")) is None
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=1, alerts=1, waiting=1)

    journal.record([alerting("lost"), alerting("last")])
    assert waiting_sequences(journal) == [1, 2, 3]
    assert waiting_names(journal) == ["first", "lost", "last"]


def test_a_frame_that_the_database_refuses_keeps_nothing_of_its_transaction(journal: Journal) -> None:
    nonsense = FrameRecord(key_of("bad"), None, "nonsense", None)  # type: ignore[arg-type]

    with pytest.raises(sqlite3.IntegrityError):
        journal.record([alerting("good"), nonsense])
    assert journal.outcome_of(key_of("good")) is None
    assert (journal.last_sequence, journal.waiting) == (0, 0)
    assert journal.record([alerting("good")]) == 1
    assert waiting_sequences(journal) == [1]


def test_threads_may_record_and_deliver_at_the_same_time(journal: Journal, path: Path) -> None:
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(20):
                journal.record([alerting(f"{thread}-{number}")])
                first = journal.waiting_after(0, 1)
                assert journal.outcome_of(key_of(f"{thread}-{number}")) == "observed"
                assert first
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert waiting_sequences(journal) == list(range(1, 81))
    assert journal.waiting == read_counts(path).waiting == 80


# Counts


def test_counts_are_read_beside_an_open_journal(journal: Journal, path: Path) -> None:
    journal.record([alerting("a"), alerting("b"), quiet("c"), failed("d", "rejected"), failed("e", "unavailable")])
    journal.mark_delivered([1])

    assert read_counts(path) == Counts(observed=3, rejected=2, observations=3, alerts=2, waiting=1)
    # Reading was no reason to stop writing.
    assert journal.record([alerting("f")]) == 1


def test_counts_are_read_of_a_closed_journal(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("a")])

    assert read_counts(path) == Counts(observed=1, rejected=0, observations=1, alerts=1, waiting=1)


def test_counts_of_a_new_journal_are_zero(journal: Journal, path: Path) -> None:
    assert read_counts(path) == Counts(0, 0, 0, 0, 0)


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "no#1.db", "ü.db"])
def test_counts_are_read_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    with closing(Journal(tmp_path / name, "uav-1")) as journal:
        journal.record([quiet("a")])
        assert read_counts(tmp_path / name).observed == 1


def test_counting_a_journal_that_is_not_there_makes_none(path: Path) -> None:
    with pytest.raises(JournalError) as caught:
        read_counts(path)

    assert str(caught.value) == f"journal {path}: no such file"
    assert not path.parent.exists()


def test_counting_a_file_that_is_no_journal_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database " * 1000)

    assert str(file) in refusal(lambda: read_counts(file))


# One owner at a time


def refusal(action: Callable[[], object]) -> str:
    """The message of the error that an action raises, which is one line."""
    with pytest.raises(JournalError) as caught:
        action()
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    return message


def test_the_second_to_open_a_journal_is_told_who_has_it(journal: Journal, path: Path) -> None:
    for _ in range(2):
        message = refusal(lambda: Journal(path, "uav-1"))
        assert message == f"journal {path}: another daemon has it open (process {os.getpid()})"

    assert journal.record([alerting("a")]) == 1


def test_the_process_that_is_named_is_the_one_that_has_it(path: Path) -> None:
    with recording_child(path, "child") as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert f"(process {child.pid})" in refusal(lambda: Journal(path, "uav-1"))
        assert is_open(path)


def test_a_killed_owner_lets_go(path: Path) -> None:
    with recording_child(path, "child") as child:
        assert child.stdout is not None
        child.stdout.readline()

    assert not is_open(path)
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.last_sequence >= 1
        assert str(os.getpid()) in refusal(lambda: Journal(path, "uav-1"))


def test_whether_a_journal_is_open_can_be_asked(path: Path) -> None:
    assert not is_open(path)
    with closing(Journal(path, "uav-1")):
        assert is_open(path)
        assert is_open(path)
    assert not is_open(path)


# What is no journal


def test_a_journal_of_another_version_is_refused_and_left_alone(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting("a")])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    message = refusal(lambda: Journal(path, "uav-1"))

    assert message.startswith(f"journal {path}: ")
    assert "99" in message
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("These are my notes.\n" * 500)
    message = refusal(lambda: Journal(path, "uav-1"))

    assert message == f"journal {path}: file is not a database"
    assert path.read_text() == "These are my notes.\n" * 500


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE contacts (name)")
    before = path.read_bytes()

    assert str(path) in refusal(lambda: Journal(path, "uav-1"))
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    # The power cut between the making of the file and its first transaction leaves one.
    path.parent.mkdir()
    path.touch()
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.record([alerting("a")]) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "state" / "journal.db"

    assert refusal(lambda: Journal(path, "uav-1")).startswith(f"journal {path}: cannot be opened: ")


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    assert refusal(lambda: Journal(tmp_path, "uav-1")).startswith(f"journal {tmp_path}: ")


def test_a_journal_that_was_refused_is_not_held_on_to(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("These are my notes.\n" * 500)
    refusal(lambda: Journal(path, "uav-1"))
    path.unlink()

    assert not is_open(path)
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.record([alerting("a")]) == 1


# What must survive


def test_kill_9_loses_nothing_that_was_acknowledged(path: Path) -> None:
    acknowledged: list[str] = []
    for run, wanted in enumerate((1, 20, 57)):
        with recording_child(path, f"run{run}") as child:
            assert child.stdout is not None
            names = [child.stdout.readline().strip() for _ in range(wanted)]
            os.kill(child.pid, signal.SIGKILL)
            # What the pipe still holds was acknowledged, too.
            names += child.stdout.read().split()
            assert child.wait() == -signal.SIGKILL
        assert len(names) >= wanted
        assert all(name.startswith(f"run{run}-") for name in names)
        acknowledged += names

        with closing(Journal(path, "uav-1")) as journal:
            assert {journal.outcome_of(key_of(name)) for name in acknowledged} == {"observed"}
            kept = waiting_names(journal)
            # A frame may be kept whose acknowledgement was cut off, one in each run.
            assert len(kept) == len(set(kept)) <= len(acknowledged) + run + 1
            assert set(acknowledged) <= set(kept)
            assert waiting_sequences(journal) == list(range(1, len(kept) + 1))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_frames_are_synced_to_the_disk_also_after_deliveries_were_not(journal: Journal) -> None:
    # No test can cut the power: that SQLite is told to sync at every commit (2, FULL) is the nearest thing.
    def synchronous() -> int:
        return int(journal._database.execute("PRAGMA synchronous").fetchone()[0])

    assert synchronous() == 2
    journal.record([alerting("a")])
    journal.mark_delivered([1])
    assert synchronous() == 2


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> Callable[[Callable[[str], dict[str, Any]]], dict[str, Any]]:
    """Runs a function of this module in a child whose folder is a disk of 1 MiB, which no other process sees."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    ways = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])
    permitted = [
        way
        for way in ways
        if shutil.which(way[0])
        and subprocess.run([*way, "sh", "-c", mount, folder, "true"], capture_output=True, check=False).returncode == 0
    ]
    if not permitted:
        reason = "neither unshare --mount nor unshare --user --mount may mount a tmpfs here"
        if os.environ.get("CI"):
            pytest.fail(f"CI must have this: {reason}")
        pytest.skip(reason)

    def run(function: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        command = [*permitted[0], "sh", "-c", mount, str(folder), *python(function, folder)]
        result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        facts: dict[str, Any] = json.loads(result.stdout)
        return facts

    return run


OnASmallDisk = Callable[[Callable[[str], dict[str, Any]]], dict[str, Any]]


def test_a_full_disk_refuses_a_frame_and_takes_it_when_there_is_room(on_a_small_disk: OnASmallDisk) -> None:
    facts = on_a_small_disk(make_room_while_open)
    kept = len(facts["acknowledged"]) - 2
    full, marked = facts["full"], facts["marked"]

    assert kept > 10
    assert "journal.db: database or disk is full" in facts["reason"]
    # On the full disk: what was acknowledged is there and can be read, what was refused is not.
    assert (full["last_sequence"], full["waiting"]) == (kept, kept)
    assert full["sequences"] == list(range(1, kept + 1))
    assert (full["outcome_of_kept"], full["outcome_of_refused"]) == ("observed", None)
    assert full["mark_delivered"] == "full"
    assert full["waiting_after_mark"] == kept - marked
    assert full["sequences_after_mark"] == list(range(marked + 1, kept + 1))
    # With room again: no gap, nothing lost, nothing twice.
    assert facts["added"] == 1
    assert facts["last_sequence"] == kept + 2
    assert facts["waiting"] == list(range(marked + 2, kept + 3))
    assert facts["names"] == facts["acknowledged"][marked + 1 :]
    assert set(facts["outcomes"]) == {"observed"}
    assert facts["same_id"]


def test_a_journal_that_is_closed_on_a_full_disk_loses_nothing(on_a_small_disk: OnASmallDisk) -> None:
    facts = on_a_small_disk(make_room_while_closed)

    assert len(facts["acknowledged"]) > 10
    # Whether SQLite can open it there is its own affair, as long as it says so.
    assert facts["opened_full"] == "worked" or "journal.db: " in facts["opened_full"]
    assert facts["names"] == facts["acknowledged"]
    assert facts["waiting"] == list(range(1, len(facts["names"]) + 1))


def test_a_journal_can_begin_once_there_is_room(on_a_small_disk: OnASmallDisk) -> None:
    facts = on_a_small_disk(begin_on_a_full_disk)

    assert "journal.db: " in facts["reason"]
    assert (facts["names"], facts["waiting"]) == (["after"], [1])
