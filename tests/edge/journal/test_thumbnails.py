"""Pictures: kept by their alert, the newest first, never more than there may be, and never in the way of an alert."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import Journal, Thumbnail
from edge.journal.thumbnails import MOST
from tests.edge.journal.frames import alerting, quiet, waiting_sequences


def test_a_picture_is_kept_with_the_number_and_the_id_of_its_alert(path: Path) -> None:
    records = [alerting("a", jpeg=b"first"), alerting("b"), alerting("c", jpeg=b"third")]
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.thumbnails.newest() is None
        journal.record([*records, quiet("d")])
        assert journal.thumbnails.waiting == 2
        journal.alerts.deliver([1, 3])
    with closing(Journal(path, "uav-1")) as journal:
        assert journal.thumbnails.waiting == 2
        assert journal.thumbnails.newest() == Thumbnail(3, records[2].alerts[0].id, b"third")
        journal.thumbnails.drop([3])
        assert journal.thumbnails.newest() == Thumbnail(1, records[0].alerts[0].id, b"first")
        journal.thumbnails.drop([1])
        assert (journal.thumbnails.waiting, journal.thumbnails.newest()) == (0, None)


def test_a_picture_follows_its_alert(journal: Journal) -> None:
    journal.record([alerting(name, jpeg=name.encode()) for name in "abc"])
    assert journal.thumbnails.newest() is None
    journal.alerts.deliver([2])
    assert (newest := journal.thumbnails.newest()) is not None
    assert newest.jpeg == b"b"


def test_a_picture_outlives_its_alert(journal: Journal) -> None:
    # Alerts that are delivered are forgotten first, and should not keep their pictures here for ever.
    journal.record([alerting("a", jpeg=b"jpeg")])
    journal.alerts.deliver([1])
    with journal._database.writing() as connection:
        connection.execute("DELETE FROM alerts")
    assert (newest := journal.thumbnails.newest()) is not None
    assert newest.sequence == 1


def test_a_frame_that_was_there_brings_no_picture(journal: Journal) -> None:
    journal.record([alerting("a")])
    journal.record([alerting("a", jpeg=b"again")])
    assert journal.thumbnails.waiting == 0


def test_the_oldest_beyond_the_bound_are_dropped(journal: Journal) -> None:
    for start in range(0, MOST + 20, 255):
        journal.record([alerting(str(number), jpeg=b"jpeg") for number in range(start, min(start + 255, MOST + 20))])
    assert journal.thumbnails.waiting == MOST
    journal.record([alerting("new", jpeg=b"jpeg")])
    assert journal.thumbnails.waiting == MOST
    journal.thumbnails.drop(range(22, MOST + 22))
    assert journal.thumbnails.waiting == 0


def test_an_alert_is_kept_where_there_is_no_room_for_its_picture(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    # SQLite's own limit stands in for a disk that has just that much room.
    connection = journal._database._connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0] + 6}")
    assert journal.record([alerting("a", jpeg=bytes(100_000))]) == 1
    assert waiting_sequences(journal) == [1]
    assert journal.thumbnails.waiting == 0
    assert "database or disk is full: kept without pictures" in caplog.text
