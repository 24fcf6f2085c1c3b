"""What the journal keeps of frames, and that a transaction is there whole or not at all."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.journal import Counts, FrameRecord, Journal, Run, read_counts, reader
from edge.messages import decode_alert, uuid7
from edge.records import Alert, FrameKey, Outcome
from tests.edge.journal.frames import alerting, failed, fill, key_of, observe, quiet, waiting_names, waiting_sequences


def results(path: Path) -> list[dict[str, Any]]:
    """All rows of the view that is made for people."""
    with reader(path) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM results ORDER BY frame, tile")]


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
    journal.record([FrameRecord(other, None, "rejected", "not an image")])
    assert journal.outcome_of(other) == "rejected"


def test_the_same_frame_twice_is_kept_once(journal: Journal, path: Path) -> None:
    assert journal.record([alerting("a.jpeg")]) == 1
    first = journal.alerts.newest(1, 10, 10)

    assert journal.record([alerting("a.jpeg")]) == 0
    assert journal.alerts.newest(1, 10, 10) == first
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=1, alerts=1, waiting=1)


def test_the_same_frame_twice_in_one_transaction_is_kept_once(journal: Journal) -> None:
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


def test_of_a_frame_of_many_tiles_only_those_with_an_alert_are_sent(journal: Journal, path: Path) -> None:
    tiles = [observe("a.jpeg", tile) for tile in range(3)]
    alerts = [Alert(uuid7(), tiles[number], "damaged", 0.75) for number in (2, 0)]

    assert journal.record([FrameRecord(key_of("a.jpeg"), None, "observed", None, tiles, alerts)]) == 2
    messages = [decode_alert(alert.message) for alert in reversed(journal.alerts.newest(1, 10, 10))]
    assert [(message.properties.frame.tile[0], message.id) for message in messages] == [(0, alerts[1].id), (16, alerts[0].id)]
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=3, alerts=2, waiting=2)


def test_a_message_says_which_device_journal_and_sequence_it_is_of(journal: Journal) -> None:
    fill(journal, 2)
    properties = [decode_alert(alert.message).properties for alert in journal.alerts.newest(1, 10, 10)]
    assert [(each.device, each.journal, each.sequence) for each in properties] == [
        ("uav-1", journal.id, 2),
        ("uav-1", journal.id, 1),
    ]


def test_the_sequence_goes_on_without_gaps_over_restarts(path: Path) -> None:
    ids = set()
    for run in range(3):
        with closing(Journal(path, "uav-1")) as journal:
            assert journal.alerts.last_sequence == 2 * run
            journal.record([alerting(f"{run}a"), alerting(f"{run}b")])
            ids.add(journal.id)
    with closing(Journal(path, "uav-1")) as journal:
        assert waiting_sequences(journal) == [1, 2, 3, 4, 5, 6]
        assert waiting_names(journal) == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert len(ids) == 1


def test_a_resent_message_is_the_same_to_the_byte(path: Path) -> None:
    with closing(Journal(path, "uav-1")) as journal:
        fill(journal, 1)
        sent = journal.alerts.newest(1, 1, 1)
    # The name of the device may change in between: what was decided under the old one stays so.
    with closing(Journal(path, "renamed")) as journal:
        assert journal.alerts.newest(1, 1, 1) == sent


def test_two_journals_have_two_ids(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "a.db", "uav-1")) as one, closing(Journal(tmp_path / "b.db", "uav-1")) as other:
        assert one.id != other.id


# Failures within a transaction


def test_a_failure_keeps_nothing_and_leaves_no_gap(journal: Journal, path: Path) -> None:
    journal.record([alerting("first")])

    def frames() -> Iterator[FrameRecord]:
        yield alerting("lost", source="/new")
        yield failed("lost, too", "rejected")
        raise RuntimeError("the stage before fails")

    with pytest.raises(RuntimeError, match="the stage before fails"):
        journal.record(frames())
    assert (journal.alerts.last_sequence, journal.alerts.waiting) == (1, 1)
    assert journal.outcome_of(key_of("lost", "/new")) is None
    assert read_counts(path) == Counts(observed=1, rejected=0, observations=1, alerts=1, waiting=1)

    # The folder of the frame that was given up was new: it is new again.
    journal.record([alerting("lost", source="/new"), alerting("last")])
    assert waiting_sequences(journal) == [1, 2, 3]
    assert waiting_names(journal) == ["first", "lost", "last"]
    assert [(row["frame"], row["source"]) for row in results(path)] == [
        ("first", "/inbox"),
        ("last", "/inbox"),
        ("lost", "/new"),
    ]


def test_a_frame_that_cannot_be_kept_keeps_nothing_of_its_transaction(journal: Journal) -> None:
    nameless = FrameRecord(FrameKey("/inbox", None, 1, 1), None, "observed", None)  # type: ignore[arg-type]

    with pytest.raises(sqlite3.IntegrityError):
        journal.record([alerting("good"), nameless])
    assert journal.outcome_of(key_of("good")) is None
    assert (journal.alerts.last_sequence, journal.alerts.waiting) == (0, 0)
    assert journal.record([alerting("good")]) == 1
    assert waiting_sequences(journal) == [1]


def test_counts_are_right_while_one_thread_records_and_another_delivers(journal: Journal, path: Path) -> None:
    errors: list[BaseException] = []
    recorded = threading.Event()

    def record() -> None:
        try:
            for number in range(100):
                journal.record([alerting(f"{number}a"), alerting(f"{number}b")])
                assert journal.outcome_of(key_of(f"{number}a")) == "observed"
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            errors.append(error)
        finally:
            recorded.set()

    thread = threading.Thread(target=record)
    thread.start()
    delivered: set[int] = set()
    while not recorded.is_set():
        # The odd ones only: what waits is spread over all of them.
        some = {alert.sequence for alert in journal.alerts.newest(1, 2**40, 10) if alert.sequence % 2}
        assert journal.alerts.deliver(some) == len(some)
        delivered |= some
    thread.join()

    assert not errors
    assert journal.alerts.last_sequence == 200
    assert waiting_sequences(journal) == [sequence for sequence in range(1, 201) if sequence not in delivered]
    assert journal.alerts.waiting == read_counts(path).waiting == 200 - len(delivered)


# For people


def test_what_was_observed_can_be_read_in_the_view_results(path: Path) -> None:
    run = Run("0.4.0", 2, 4, "Linux", "Debian GNU/Linux 12", 8_000_000_000, True)
    with closing(Journal(path, "uav-1", run)) as journal:
        journal.record([quiet("a.jpeg"), failed("b.jpeg", "rejected"), alerting("c.jpeg"), failed("d.jpeg", "unavailable")])
        quiet_row, rejected, alert, unavailable = results(path)
        with reader(path) as database:
            assert database.execute("SELECT * FROM runs").fetchall()[0][2:] == (
                "0.4.0",
                2,
                4,
                "Linux",
                "Debian GNU/Linux 12",
                8_000_000_000,
                1,
            )

    assert json.loads(quiet_row.pop("probabilities")) == {"damaged": 0.75, "undamaged": 0.25}
    now_ms = quiet_row.pop("recorded_ms")
    assert now_ms > 1_700_000_000_000
    assert quiet_row == {
        "frame": "a.jpeg",
        "source": "/inbox",
        "size_bytes": 4096,
        "modified_ns": 1_795_255_200_000_000_000,
        "captured_ms": 1_795_255_200_000,
        "total_ms": 12.5,
        "outcome": "observed",
        "reason": None,
        "run": 1,
        "sequence": None,
        "delivered": None,
        "tile": "0,0,8,8",
        "label": "damaged",
        "latitude": 29.5,
        "longitude": -95.25,
        "altitude_m": 31.0,
        "place": "device",
        "fix_source": "exif",
        "model": "terrain-damage-3",
        "engine": "openvino",
        "device": "CPU",
        "inference_ms": 0.5,
    }
    assert (alert["sequence"], alert["tile"], alert["model"]) == (1, "0,0,8,8", "terrain-damage-3")
    assert (rejected["outcome"], rejected["reason"], rejected["tile"]) == ("rejected", "not an image", None)
    assert unavailable["outcome"] == "unavailable"


def test_each_start_is_a_run_of_its_own(path: Path) -> None:
    run = Run("0.4.0", None, None, "Linux", "Debian", 1, False)
    for name in ("a", "b"):
        with closing(Journal(path, "uav-1", run)) as journal:
            journal.record([quiet(name)])
    assert [(row["frame"], row["run"]) for row in results(path)] == [("a", 1), ("b", 2)]


def test_its_size_is_that_of_its_files(journal: Journal, path: Path) -> None:
    before = journal.size_bytes
    fill(journal, 50)
    assert journal.size_bytes == path.stat().st_size + Path(f"{path}-wal").stat().st_size > before
