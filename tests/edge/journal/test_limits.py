"""What is forgotten when a journal is too large or too old, in which order, and what never."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from edge.journal import Journal, JournalFullError, Limits, read_counts
from tests.edge.journal import frames
from tests.edge.journal.frames import CAMERA, waiting_sequences

SMALL = Limits(max_bytes=1, max_age_days=None)
DAY_MS = 86_400_000

# Of a folder that is not there nothing is forgotten.
alerting = partial(frames.alerting, source=CAMERA)
quiet = partial(frames.quiet, source=CAMERA)
failed = partial(frames.failed, source=CAMERA)
fill = partial(frames.fill, source=CAMERA)
key_of = partial(frames.key_of, source=CAMERA)


def make_older(path: Path, days: float, up_to: int) -> None:
    """Have the first frames recorded some days earlier."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE frames SET recorded_ms = recorded_ms - ? WHERE frame <= ?", (round(days * DAY_MS), up_to))


def count(path: Path, table: str) -> int:
    """Rows of a table."""
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_journal_within_its_limits_is_left_alone(journal: Journal, path: Path) -> None:
    journal.record([quiet("a.jpeg"), alerting("b.jpeg"), failed("c.jpeg", "rejected")])
    before = read_counts(path)
    assert journal.housekeeping(Limits(10_000_000, 1.0)).tidy() is None
    assert read_counts(path) == before


def test_history_goes_first_and_only_as_much_as_is_needed(journal: Journal, path: Path) -> None:
    journal.record([quiet(f"{number}.jpeg") for number in range(4000)])
    journal.record([alerting("last.jpeg", jpeg=b"jpeg")])
    limits = Limits(journal.size_bytes * 2 // 3, None)
    pages_before = journal.size_bytes
    assert journal.housekeeping(limits).tidy() is None
    left = read_counts(path).observations
    # The newest stay; the frames, the picture and the alert have not been touched.
    assert 500 < left < 3600, pages_before
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT min(frame), max(frame) FROM observations").fetchone() == (4001 - left + 1, 4000)
    assert (count(path, "frames"), journal.thumbnails.waiting, journal.alerts.waiting) == (4001, 1, 1)


def test_frames_whose_files_are_gone_go_next_and_those_that_are_there_stay(tmp_path: Path, journal: Journal) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    names = [f"{number}.jpeg" for number in range(1200)]
    for name in names[::100]:
        (inbox / name).touch()
    journal.record([quiet(name, source=str(inbox)) for name in names])
    reason = journal.housekeeping(SMALL).tidy()
    assert reason is not None
    left = [name for name in names if journal.outcome_of(frames.key_of(name, str(inbox))) is not None]
    # The newest one stays, too: its number must not be given to another.
    assert left == [*names[::100], names[-1]]


def test_pictures_go_last_and_undelivered_alerts_never(journal: Journal, path: Path) -> None:
    journal.record([alerting(f"{number}.jpeg", jpeg=bytes(2000)) for number in range(30)])
    journal.alerts.deliver([1, 2, 30])
    journal.record([alerting("gone.jpeg"), quiet("quiet.jpeg")])
    reason = journal.housekeeping(SMALL).tidy()
    assert reason is not None
    assert reason.startswith("holds 0.")
    assert reason.endswith("journal.max_bytes allows 0.0 MB")
    assert "undelivered alerts and of frames whose files are still there" in reason
    assert journal.thumbnails.waiting == 0
    assert waiting_sequences(journal) == [*range(3, 30), 31]
    assert read_counts(path).observations == count(path, "alerts") == 28


def test_pictures_stay_where_frames_are_enough(journal: Journal) -> None:
    journal.record([alerting("a.jpeg", jpeg=bytes(1000))])
    journal.record([failed(f"{number}.jpeg", "rejected") for number in range(3000)])
    used = journal.size_bytes
    assert journal.housekeeping(Limits(used // 2, None)).tidy() is None
    assert journal.thumbnails.waiting == 1
    assert 0 < sum(journal.outcome_of(key_of(f"{number}.jpeg")) is not None for number in range(3000)) < 3000


def test_what_is_delivered_later_is_forgotten_later(journal: Journal, path: Path) -> None:
    fill(journal, 10)
    assert journal.housekeeping(SMALL).tidy() is not None
    journal.alerts.deliver(range(1, 10))
    journal.housekeeping(SMALL).tidy()
    assert count(path, "alerts") == 1


def test_the_sequence_goes_on_where_everything_was_delivered_and_forgotten(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 20)
        journal.alerts.deliver_through(20, [])
        journal.housekeeping(SMALL).tidy()
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.alerts.last_sequence == 20
        fill(journal, 1)
        assert waiting_sequences(journal) == [21]


def test_the_number_of_a_forgotten_frame_is_not_given_again(journal: Journal, path: Path) -> None:
    fill(journal, 3)
    journal.housekeeping(SMALL).tidy()
    journal.record([failed("later.jpeg", "rejected")])
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT frame FROM frames WHERE name = 'later.jpeg'").fetchone()[0] > 3


def test_what_is_too_old_is_forgotten_but_undelivered_alerts(journal: Journal, path: Path) -> None:
    journal.record([quiet(f"quiet {number}.jpeg") for number in range(700)])
    fill(journal, 700)
    journal.alerts.deliver(range(1, 600))
    make_older(path, 3, up_to=1350)
    make_older(path, 30, up_to=650)
    limits = Limits(100_000_000, 10)
    assert journal.housekeeping(limits).tidy() is None
    assert (count(path, "observations"), count(path, "alerts")) == (50, 700)
    assert journal.housekeeping(Limits(100_000_000, 2)).tidy() is None
    assert (count(path, "observations"), count(path, "alerts")) == (0, 101)
    assert journal.alerts.waiting == 101


def test_an_old_alert_that_was_delivered_late_does_not_keep_what_is_newer(journal: Journal, path: Path) -> None:
    # The frame of the alert was forgotten while it waited.
    limits = Limits(100_000_000, 2)
    fill(journal, 1)
    journal.record([failed(f"bad {number}.jpeg", "rejected") for number in range(1000)])
    journal.record([quiet(f"quiet {number}.jpeg") for number in range(100)])
    make_older(path, 3, up_to=1050)
    journal.housekeeping(limits).tidy()
    assert count(path, "frames") == 51
    fill(journal, 1)
    journal.alerts.deliver([1])
    make_older(path, 3, up_to=1081)
    journal.housekeeping(limits).tidy()
    assert (count(path, "observations"), count(path, "alerts")) == (20, 1)


def test_a_young_journal_keeps_all_whatever_its_age_limit(journal: Journal, path: Path) -> None:
    journal.record([quiet("a.jpeg"), failed("b.jpeg", "rejected")])
    assert journal.housekeeping(Limits(10_000_000, 0.5)).tidy() is None
    assert (count(path, "frames"), count(path, "observations")) == (2, 1)


def test_each_piece_is_a_transaction_of_its_own_so_that_frames_do_not_wait(journal: Journal, path: Path) -> None:
    journal.record([quiet(f"{number}.jpeg") for number in range(1700)])
    sizes: list[int] = []
    journal._database._connection.set_trace_callback(
        lambda statement: sizes.append(journal._database._connection.total_changes) if statement == "COMMIT" else None
    )
    before = journal._database._connection.total_changes
    journal.housekeeping(SMALL).tidy()
    assert len(sizes) > 4
    steps = [later - earlier for earlier, later in zip([before, *sizes], sizes, strict=False)]
    assert max(steps) <= 1100, steps


def test_what_is_forgotten_makes_room_for_what_comes(journal: Journal, path: Path) -> None:
    limits = Limits(400_000, None)
    housekeeping = journal.housekeeping(limits)
    for batch in range(12):
        journal.record([quiet(f"{batch} {number}.jpeg") for number in range(500)])
        assert housekeeping.tidy() is None
    assert path.stat().st_size < 2 * limits.max_bytes


def test_a_journal_that_cannot_be_written_says_so_when_it_is_tidied(journal: Journal) -> None:
    journal.record([quiet(f"{number}.jpeg") for number in range(10)])
    journal._database._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(JournalFullError):
        journal.housekeeping(SMALL).tidy()


def test_of_a_stick_that_was_pulled_out_no_frame_is_forgotten(journal: Journal, tmp_path: Path) -> None:
    for source in (tmp_path / "gone", tmp_path / "empty"):
        journal.record([frames.quiet(f"{number}", source=str(source)) for number in range(50)])
    (tmp_path / "empty").mkdir()
    journal.housekeeping(Limits(1, None)).tidy()
    assert journal.outcome_of(frames.key_of("7", str(tmp_path / "gone"))) == "observed"
    assert journal.outcome_of(frames.key_of("7", str(tmp_path / "empty"))) == "observed"


def test_numbers_are_never_given_out_again_whatever_was_forgotten(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([alerting(str(number)) for number in range(100)])
        journal.alerts.deliver(range(51, 101))
        for _ in range(2):
            journal.housekeeping(Limits(1, None)).tidy()
            journal.record([quiet("later")])
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.alerts.last_sequence == 100
        assert journal.alerts.waiting == 50
