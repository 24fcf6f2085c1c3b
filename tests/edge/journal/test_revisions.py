"""Alerts that are told again: each revision is a message of its own, and no result is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from edge.journal import Counts, FrameRecord, Journal, Limits, read_counts, reader
from edge.messages import decode_alert, uuid7
from edge.records import Alert, Footprint, Observation
from tests.edge.journal.frames import CAMERA, CAPTURED_AT, failed, key_of, observe, quiet

FOOTPRINT = Footprint(((-95.26, 29.51), (-95.24, 29.51), (-95.24, 29.49), (-95.26, 29.49)), 29.5000001, -95.25, 30.0)


def revision(alert: Alert, number: int, observation: Observation | None = None) -> Alert:
    """An alert as it is told again."""
    times = (CAPTURED_AT, CAPTURED_AT + timedelta(seconds=number))
    return Alert(alert.id, observation or alert.observation, "damaged", 0.75, number + 1, number, *times)


def frame(
    name: str, observations: Sequence[Observation], alerts: Sequence[Alert] = (), thumbnails: Sequence[tuple[str, bytes]] = ()
) -> FrameRecord:
    return FrameRecord(key_of(name, CAMERA), "2026-11-21T10:00:00.000Z", "observed", None, observations, alerts, thumbnails)


def seen(name: str, tile: int = 0) -> Observation:
    return observe(name, tile, CAMERA)


def told(journal: Journal) -> list[tuple[int, str, int, int]]:
    """Of each alert that waits its number, frame, revision and count."""
    messages = [decode_alert(alert.message) for alert in reversed(journal.alerts.newest(1, 2**40, 2**30))]
    return [
        (each.properties.sequence, each.properties.frame.name, each.properties.revision, each.properties.count)
        for each in messages
    ]


def results(path: Path, columns: str = "frame, sequence") -> list[tuple[Any, ...]]:
    with reader(path) as database:
        return database.execute(f"SELECT {columns} FROM results ORDER BY frame, tile").fetchall()


def test_each_revision_is_a_message_and_each_result_is_there_once(journal: Journal, path: Path) -> None:
    first, second, third, fourth = (seen(name) for name in "abcd")
    alert = Alert(uuid7(), first, "damaged", 0.75)
    journal.record([frame("a", [first], [alert])])
    # The second tells again of the first; the third is the surest itself; the fourth is no news.
    added = journal.record(
        [
            frame("b", [second], [revision(alert, 1)]),
            frame("c", [third], [revision(alert, 2, third)]),
            frame("d", [fourth]),
            failed("e", "rejected", CAMERA),
        ]
    )
    assert added == 2
    assert journal.record([], [revision(alert, 3, third)]) == 1
    assert told(journal) == [(1, "a", 0, 1), (2, "a", 1, 2), (3, "c", 2, 3), (4, "c", 3, 4)]
    assert results(path) == [("a", 1), ("b", None), ("c", 3), ("d", None), ("e", None)]
    assert read_counts(path) == Counts(observed=4, rejected=1, observations=4, alerts=4, waiting=4)


def test_an_alert_about_an_earlier_frame_may_come_first(journal: Journal, path: Path) -> None:
    first, second = seen("a"), seen("b")
    journal.record([frame("a", [first])])
    journal.record([frame("b", [second], [replace(Alert(uuid7(), first, "damaged", 0.75), count=2, latest=second)])])
    assert told(journal) == [(1, "a", 0, 2)]
    assert results(path) == [("a", None), ("b", None)]


def test_two_alerts_about_one_result_are_both_told(journal: Journal, path: Path) -> None:
    one, other = seen("a"), seen("a", 1)
    alert = Alert(uuid7(), one, "damaged", 0.75)
    journal.record([frame("a", [one, other], [alert, revision(alert, 1)])])
    assert told(journal) == [(1, "a", 0, 1), (2, "a", 1, 2)]
    assert results(path, "frame, tile, sequence") == [("a", "0,0,8,8", 1), ("a", "8,0,8,8", None)]


def test_where_it_is_and_what_it_shows_is_kept(journal: Journal, path: Path) -> None:
    device, ground = seen("a"), replace(seen("b"), footprint=FOOTPRINT)
    journal.record([frame("a", [device, replace(seen("a", 1), fix=None)]), frame("b", [ground])])
    columns = "frame, latitude, longitude, altitude_m, place, fix_source"
    assert results(path, columns) == [
        ("a", 29.5, -95.25, 31.0, "device", "exif"),
        ("a", None, None, None, None, None),
        ("b", 29.5000001, -95.25, 30.0, "ground", "exif"),
    ]


def test_forgetting_leaves_no_gap_that_looks_like_a_loss(journal: Journal, path: Path) -> None:
    alert = Alert(uuid7(), seen("0"), "damaged", 0.75)
    journal.record([frame("0", [alert.observation], [alert])])
    for number in range(1, 2000):
        record = quiet(f"{number}", CAMERA)
        journal.record([replace(record, alerts=[revision(alert, number)])])
    journal.alerts.deliver(range(1, 1901))
    journal.housekeeping(Limits(1, None)).tidy()
    with reader(path) as database:
        left = [sequence for (sequence,) in database.execute("SELECT sequence FROM alerts ORDER BY sequence")]
    assert left == list(range(1901, 2001))


def test_a_later_picture_of_an_alert_takes_the_place_of_an_older_one(journal: Journal) -> None:
    alert, other = (Alert(uuid7(), seen(name), "damaged", 0.75) for name in "ab")
    journal.record([frame("a", [alert.observation], [alert], [(alert.id, b"old")])])
    journal.record([frame("b", [other.observation], [other], [(other.id, b"other")])])
    better = seen("c")
    journal.record([frame("c", [better], [revision(alert, 1, better)], [(alert.id, b"new")])])
    journal.alerts.deliver([1, 2, 3])
    assert journal.thumbnails.waiting == 2
    pictures = []
    while (picture := journal.thumbnails.newest()) is not None:
        pictures.append((picture.alert, picture.jpeg))
        journal.thumbnails.drop([picture.sequence])
    assert pictures == [(alert.id, b"new"), (other.id, b"other")]


def picture_of(journal: Journal) -> tuple[int, bytes] | None:
    """The one that waits, with the number of its alert."""
    journal.alerts.deliver(range(1, journal.alerts.last_sequence + 1))
    assert journal.thumbnails.waiting <= 1
    picture = journal.thumbnails.newest()
    return None if picture is None else (picture.sequence, picture.jpeg)


def test_the_picture_of_the_highest_revision_stays_in_whatever_order_lanes_record(journal: Journal) -> None:
    observations = [seen(name) for name in "abcd"]
    alert = Alert(uuid7(), observations[0], "damaged", 0.75)
    told = [revision(alert, number, each) for number, each in enumerate(observations)]
    records = [
        frame(name, [each.observation], [each], [(alert.id, name.encode())]) for name, each in zip("abcd", told, strict=True)
    ]
    journal.record([records[0]])
    journal.record([records[2], records[1]])
    assert picture_of(journal) == (2, b"c")
    # What was sent already is not followed by an older one.
    journal.thumbnails.drop([2])
    journal.record([quiet("e"), replace(records[1], key=key_of("again", CAMERA))])
    assert picture_of(journal) is None
    journal.record([records[3]])
    assert picture_of(journal) == (5, b"d")


def test_a_revision_that_comes_with_no_frame_may_have_a_picture(journal: Journal) -> None:
    alert = Alert(uuid7(), seen("a"), "damaged", 0.75)
    journal.record([frame("a", [alert.observation], [alert], [(alert.id, b"old")])])
    journal.record([], [revision(alert, 1)], [(alert.id, b"new")])

    assert picture_of(journal) == (2, b"new")


def test_revisions_outlast_a_restart_and_wait_until_they_are_delivered(path: Path) -> None:
    alert = Alert(uuid7(), seen("a"), "damaged", 0.75)
    with closing(Journal(path, "uav-1")) as journal:
        journal.record([frame("a", [alert.observation], [alert])], [revision(alert, 1)])
        journal.alerts.deliver([1])
    with closing(Journal(path, "uav-1")) as journal:
        assert told(journal) == [(2, "a", 1, 2)]
        assert journal.alerts.last_sequence == 2
