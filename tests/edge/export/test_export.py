"""``overflight journal export``: every result, whatever happens to the journal meanwhile."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
import tracemalloc
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge.export.results import ALERTS, FRAMES, OBSERVATIONS, Result, results
from edge.journal import Journal, JournalError, Limits, reader
from edge.records import Clock, Footprint
from tests.conftest import PROJECT
from tests.edge.export.conftest import FILE_WRITTEN_AT, HOUSTON, Flight, failed, observed

MANY = 50_000


def rows_of(flight: Flight, *arguments: object) -> list[dict[str, str]]:
    """What an export as CSV says."""
    return list(csv.DictReader(io.StringIO(flight.prints("export", "--format", "csv", *arguments))))


def make_many(journal: Path) -> None:
    """Let the journal's last frame, which is observed, be there many times."""
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute(
            "INSERT INTO frames SELECT value, run, source, value, size_bytes, modified_ns, recorded_ms, captured_ms, total_ms,"
            " outcome, reason, clock FROM json_each(?), (SELECT * FROM frames ORDER BY frame DESC LIMIT 1)",
            (json.dumps(list(range(1000, 1000 + MANY))),),
        )
        database.execute(
            "INSERT INTO observations SELECT NULL, frames.frame, tile, label, probabilities, latitude, longitude, altitude_m,"
            " fix_source, model, engine, inference_ms, on_ground, footprint FROM frames, (SELECT * FROM observations LIMIT 1)"
            " WHERE frames.frame >= 1000"
        )


def test_every_tile_is_a_row_and_a_frame_without_a_result_is_one(flight: Flight) -> None:
    flight.flies([observed("a.jpg", alerts=True), failed("b.png"), observed("c.webp", tiles=2)], delivered=[1])
    alert, rejected, *tiles = rows_of(flight)
    assert alert | {"recorded_at": ""} == {
        "frame": "a.jpg",
        "source": "/inbox",
        "size_bytes": "4096",
        "type": "image/jpeg",
        "created_at": "2026-11-21T10:00:00.000Z",
        "created_from": "file",
        "clock": "system",
        "recorded_at": "",
        "outcome": "observed",
        "reason": "",
        "tile": "0,0,8,8",
        "label": "damaged",
        "confidence": "0.75",
        "probabilities": '{"damaged":0.75,"undamaged":0.25}',
        "inference_ms": "0.5",
        "total_ms": "4.0",
        "latitude": "29.5",
        "longitude": "-95.25",
        "altitude_m": "31.0",
        "place": "device",
        "footprint": "",
        "fix_source": "exif",
        "model": "terrain-damage-3",
        "engine": "openvino",
        "device": "CPU",
        "alert_sequence": "1",
        "alert_delivered": "true",
        "alert_revision": "0",
        "alert_count": "1",
        "run": "1",
        "version": "0.1.0",
        "physical_cores": "4",
        "logical_cores": "8",
        "system": "Linux",
        "system_version": "Debian GNU/Linux 12 (bookworm), 6.1.0",
        "memory_bytes": "8000000000",
        "in_container": "true",
    }
    assert (rejected["frame"], rejected["outcome"], rejected["reason"]) == ("b.png", "rejected", "not an image")
    assert (rejected["label"], rejected["engine"], rejected["system"]) == ("", "", "Linux")
    assert [(tile["frame"], tile["type"], tile["tile"]) for tile in tiles] == [
        ("c.webp", "image/webp", "0,0,8,8"),
        ("c.webp", "image/webp", "8,0,8,8"),
    ]
    assert [tile["alert_sequence"] for tile in tiles] == ["", ""]


def test_a_frame_that_was_unavailable_at_first_is_there_once_with_its_result(flight: Flight) -> None:
    flight.flies([failed("a.jpg", "unavailable", "permission denied"), observed("b.jpg"), observed("a.jpg", alerts=True)])
    assert sorted((row["frame"], row["label"]) for row in rows_of(flight)) == [("a.jpg", "damaged"), ("b.jpg", "undamaged")]


# The ground under a photo of Fiji, whose middle lies behind the date line.
FIJI = Footprint(((179.999, -17.0), (-179.998, -17.0), (-179.998, -17.1), (179.999, -17.1)), -17.05, -179.9995, 12.0)


def test_where_a_result_is_and_what_it_shows_is_exported_in_every_form(flight: Flight) -> None:
    flight.flies([observed("a.jpg", alerts=True, footprint=FIJI)])
    (row,) = rows_of(flight)
    (feature,) = json.loads(flight.prints("export", "--format", "geojson"))["features"]
    file = flight.folder / "results.parquet"
    flight.prints("export", "--format", "parquet", "--output", file)
    (record,) = pq.read_table(file).to_pylist()
    shape = feature["properties"]["footprint"]

    assert feature["geometry"] == {"type": "Point", "coordinates": [-179.9995, -17.05, 12.0]}
    assert (shape["type"], len(shape["coordinates"])) == ("MultiPolygon", 2)
    assert (row["latitude"], row["longitude"], row["altitude_m"], row["place"]) == ("-17.05", "-179.9995", "12.0", "ground")
    assert json.loads(row["footprint"]) == json.loads(record["footprint"]) == shape
    assert (record["place"], record["latitude"]) == ("ground", -17.05)


def test_an_alert_that_was_told_again_is_there_once_as_it_was_told_last(flight: Flight) -> None:
    first, second, third, other = (observed(name, alerts=True) for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    (alert,) = first.alerts
    # The second tells again of the first; the third is the surest itself.
    again = replace(alert, revision=1, count=2)
    surest = replace(third.alerts[0], id=alert.id, revision=2, count=4)
    flight.flies([first, replace(second, alerts=[again]), replace(third, alerts=[surest]), other, failed("e.jpg")])

    assert [(row["frame"], row["alert_sequence"]) for row in rows_of(flight)] == [
        ("a.jpg", "1"),
        ("b.jpg", ""),
        ("c.jpg", "3"),
        ("d.jpg", "4"),
        ("e.jpg", ""),
    ]
    columns = ("frame", "alert_sequence", "alert_revision", "alert_count")
    assert [tuple(row[name] for name in columns) for row in rows_of(flight, "--alerts")] == [
        ("c.jpg", "3", "2", "4"),
        ("d.jpg", "4", "0", "1"),
    ]


def test_a_damaged_alert_costs_no_other(flight: Flight) -> None:
    first, second, third = (observed(name, alerts=True) for name in ("a.jpg", "b.jpg", "c.jpg"))
    again = replace(first.alerts[0], revision=1, count=2)
    flight.flies([first, second, replace(third, alerts=[again])])
    for damaged in ("sequence = 2", "repeats"):
        with closing(sqlite3.connect(flight.journal)) as database, database:
            database.execute(f"UPDATE alerts SET message = x'00' WHERE {damaged}")
        rows = rows_of(flight, "--alerts")
    # Which alert the last one told again of can no longer be known.
    assert [(row["frame"], row["alert_sequence"], row["alert_revision"]) for row in rows] == [
        ("a.jpg", "1", "0"),
        ("b.jpg", "2", "0"),
        ("", "3", "1"),
    ]
    assert len(rows_of(flight)) == 3


def test_an_alert_about_an_earlier_frame_is_exported_with_that_frame(flight: Flight) -> None:
    first, second = observed("a.jpg", alerts=True), observed("b.jpg", alerts=True)
    flight.flies([replace(first, alerts=[]), replace(second, alerts=[replace(first.alerts[0], count=2)])])
    (alert,) = rows_of(flight, "--alerts")

    assert (alert["frame"], alert["alert_count"]) == ("a.jpg", "2")
    assert [row["frame"] for row in rows_of(flight)] == ["a.jpg", "b.jpg"]
    assert json.loads(flight.prints("report", "--json"))["total"]["results"] == 2


@pytest.mark.parametrize(
    ("clock", "created_from"),
    [("image", "image"), ("name", "name"), ("system", "file"), ("gps", "file"), ("unsynchronised", "file")],
)
def test_the_time_of_creation_says_who_knows_it(flight: Flight, clock: Clock, created_from: str) -> None:
    flight.flies([replace(observed("a.jpg"), clock=clock)])
    (row,) = rows_of(flight)
    (feature,) = json.loads(flight.prints("export", "--format", "geojson"))["features"]

    expected = {"created_at": "2026-11-21T10:00:00.000Z", "created_from": created_from, "clock": clock}
    assert {name: row[name] for name in expected} == {name: feature["properties"][name] for name in expected} == expected


def test_of_a_frame_of_an_older_version_it_is_the_image_s_where_it_is_not_its_file_s(flight: Flight) -> None:
    older = [replace(each, clock=None) for each in (observed("a.jpg"), observed("b.jpg", captured_at=FILE_WRITTEN_AT))]
    flight.flies([*older, failed("c.jpg")])
    assert {row["clock"] for row in rows_of(flight)} == {""}
    assert [(row["created_at"], row["created_from"]) for row in rows_of(flight)] == [
        ("2026-11-21T10:00:00.000Z", "image"),
        ("2026-11-21T10:00:05.000Z", "file"),
        ("2026-11-21T10:00:05.000Z", "file"),
    ]


def test_what_was_forgotten_to_make_room_is_not_invented_and_no_alert_that_waits_is_missing(flight: Flight) -> None:
    flight.flies([observed("a.jpg"), observed("b.jpg", alerts=True), observed("c.jpg", alerts=True)], delivered=[1])
    with closing(Journal(flight.journal, "uav-1")) as journal:
        journal.housekeeping(Limits(max_bytes=1, max_age_days=None)).tidy()
    # Where their folder is there and they are not, frames are forgotten, too.
    with closing(sqlite3.connect(flight.journal)) as database, database:
        database.execute("DELETE FROM frames")
    (waiting,) = rows_of(flight)
    assert (waiting["frame"], waiting["source"], waiting["type"]) == ("c.jpg", "/inbox", "image/jpeg")
    assert (waiting["created_at"], waiting["created_from"]) == ("2026-11-21T10:00:00.000Z", "file")
    assert (waiting["label"], waiting["alert_sequence"], waiting["alert_delivered"]) == ("damaged", "2", "false")
    assert (waiting["size_bytes"], waiting["recorded_at"], waiting["run"]) == ("", "", "")


def test_a_frame_whose_result_was_forgotten_is_still_there(flight: Flight) -> None:
    flight.flies([observed("a.jpg"), observed("b.jpg")])
    with closing(sqlite3.connect(flight.journal)) as database, database:
        database.execute("DELETE FROM observations WHERE frame = 1")
    assert [(row["frame"], row["outcome"], row["label"]) for row in rows_of(flight)] == [
        ("a.jpg", "observed", ""),
        ("b.jpg", "observed", "undamaged"),
    ]


def test_csv_takes_no_file_name_for_a_formula_and_leaves_numbers_alone(flight: Flight) -> None:
    names = ["=1+1.jpg", "+1.jpg", "-1.jpg", "@a.jpg", "a=1.jpg"]
    flight.flies([observed(name) for name in names])
    rows = rows_of(flight)
    assert [row["frame"] for row in rows] == ["'=1+1.jpg", "'+1.jpg", "'-1.jpg", "'@a.jpg", "a=1.jpg"]
    assert {row["longitude"] for row in rows} == {"-95.25"}
    features = json.loads(flight.prints("export", "--format", "geojson"))["features"]
    assert [feature["properties"]["frame"] for feature in features] == names


def test_geojson_is_a_feature_collection(flight: Flight) -> None:
    flight.flies([observed("ä.jpg", alerts=True), observed("b.jpg", place=None), failed("c.jpg")])
    collection = json.loads(flight.prints("export", "--format", "geojson"))
    assert collection["type"] == "FeatureCollection"
    first, *others = collection["features"]
    assert (first["type"], first["geometry"]) == ("Feature", {"type": "Point", "coordinates": [HOUSTON[1], HOUSTON[0], 31.0]})
    assert first["properties"]["frame"] == "ä.jpg"
    assert first["properties"]["created_at"] == "2026-11-21T10:00:00.000Z"
    assert first["properties"]["probabilities"] == {"damaged": 0.75, "undamaged": 0.25}
    assert [feature["geometry"] for feature in others] == [None, None]


def test_parquet_has_a_type_for_each_column(flight: Flight) -> None:
    output = flight.folder / "flight.parquet"
    flight.flies([observed("a.jpg", alerts=True), failed("b.png")])
    assert flight.prints("export", "--format", "parquet", "--output", output) == ""
    table = pq.read_table(output)
    assert table.schema.names == list(Result.__struct_fields__)
    types = {
        "frame": pa.string(),
        "created_at": pa.timestamp("ms", tz="UTC"),
        "probabilities": pa.map_(pa.string(), pa.float64()),
        "latitude": pa.float64(),
        "alert_sequence": pa.int64(),
        "alert_delivered": pa.bool_(),
        "physical_cores": pa.int32(),
    }
    assert {name: table.schema.field(name).type for name in types} == types
    alert, rejected = table.to_pylist()
    assert alert["created_at"] == datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
    assert dict(alert["probabilities"]) == {"damaged": 0.75, "undamaged": 0.25}
    assert (alert["alert_delivered"], alert["in_container"]) == (False, True)
    assert {rejected[name] for name in ("label", "probabilities", "latitude", "alert_delivered")} == {None}


@pytest.mark.parametrize(
    ("form", "count"),
    [
        ("csv", lambda content: len(content.splitlines()) - 1),
        ("geojson", lambda content: len(json.loads(content)["features"])),
        ("parquet", lambda content: pq.read_table(io.BytesIO(content)).num_rows),
    ],
)
def test_a_journal_of_nothing_is_a_table_of_nothing(flight: Flight, form: str, count: Any) -> None:
    flight.flies([])
    flight.prints("export", "--format", form, "--output", flight.folder / "flight")
    assert count((flight.folder / "flight").read_bytes()) == 0


def test_only_alerts_and_only_what_is_new(flight: Flight) -> None:
    flight.flies([observed("a.jpg"), observed("b.jpg", alerts=True), failed("c.jpg")])
    assert [row["frame"] for row in rows_of(flight, "--alerts")] == ["b.jpg"]
    with closing(sqlite3.connect(flight.journal)) as database, database:
        moment = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
        database.execute("UPDATE frames SET recorded_ms = ? + frame * 1000", (round(moment.timestamp()) * 1000,))
    for time in ("2026-11-21T10:00:02Z", "2026-11-21 10:00:02", "2026-11-21T11:00:02+01:00"):
        assert [row["frame"] for row in rows_of(flight, "--since", time)] == ["b.jpg", "c.jpg"]
    assert len(rows_of(flight, "--since", "2026-11-21")) == 3
    assert rows_of(flight, "--since", "2026-11-22") == []


@pytest.mark.parametrize("query", [OBSERVATIONS, ALERTS, FRAMES])
def test_the_journal_is_read_through_without_sorting_or_gathering(flight: Flight, query: str) -> None:
    flight.flies([observed("a.jpg", alerts=True), observed("b.jpg")])
    with reader(flight.journal) as database:
        first, *others = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", (0,))]
    assert first.startswith(("SCAN results", "SCAN frames", "SEARCH results USING INTEGER PRIMARY KEY"))
    assert others
    assert [step for step in others if "USING INTEGER PRIMARY KEY (rowid=?)" not in step] == []


def test_memory_does_not_grow_with_the_journal(flight: Flight) -> None:
    flight.flies([observed("a.jpg")])
    make_many(flight.journal)
    with reader(flight.journal) as database:
        tracemalloc.start()
        try:
            count = sum(1 for _ in results(database))
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert count == MANY + 1
    assert peak_bytes < 200_000


def test_an_export_sees_one_moment_of_a_journal_that_is_written_meanwhile(flight: Flight) -> None:
    with closing(Journal(flight.journal, "uav-1")) as journal:
        journal.record([observed("a.jpg", alerts=True), observed("b.jpg")])
        with reader(flight.journal) as database:
            rows = results(database)
            seen = [next(rows).frame]
            journal.record([observed("c.jpg", alerts=True), failed("d.jpg")])
            seen += [row.frame for row in rows]
        assert seen == ["a.jpg", "b.jpg"]
        assert [row["frame"] for row in rows_of(flight)] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_a_daemon_that_starts_while_a_journal_is_read_without_a_lock_is_noticed(flight: Flight) -> None:
    flight.flies([observed("a.jpg")])
    with pytest.raises(JournalError, match="a daemon began to write into it"), reader(flight.journal):
        flight.flies([observed("b.jpg")])


def test_a_file_takes_its_name_when_it_is_complete(flight: Flight) -> None:
    output = flight.folder / "flight.csv"
    output.write_text("the last export")
    flight.flies([observed("a.jpg"), observed("b.jpg")])
    with closing(sqlite3.connect(flight.journal)) as database, database:
        database.execute("UPDATE observations SET probabilities = 'damaged' WHERE frame = 2")
    assert flight.refuses("export", "--format", "csv", "--output", output)[0] == 1
    assert output.read_text() == "the last export"
    with closing(sqlite3.connect(flight.journal)) as database, database:
        database.execute("UPDATE observations SET probabilities = '{}' WHERE frame = 2")
    flight.prints("export", "--format", "csv", "--output", output)
    assert len(output.read_text().splitlines()) == 3
    assert list(flight.folder.glob(".*")) == []


def test_a_pipe_is_written_to_and_stays_a_pipe(flight: Flight) -> None:
    flight.flies([observed("a.jpg")])
    pipe = flight.folder / "pipe"
    os.mkfifo(pipe)
    # Open for both, so that nobody waits; what is written is less than a pipe holds.
    descriptor = os.open(pipe, os.O_RDWR)
    try:
        flight.prints("export", "--format", "csv", "--output", pipe)
        assert pipe.is_fifo()
        assert len(os.read(descriptor, 65_536).splitlines()) == 2
    finally:
        os.close(descriptor)


def test_a_mistake_is_one_line_that_says_what_is_allowed(flight: Flight) -> None:
    flight.flies([observed("a.jpg")])
    content = flight.journal.read_bytes()
    for arguments, said in (
        (("--format", "xlsx"), "invalid choice: 'xlsx' (choose from"),
        ((), "required: --format"),
        (("--format", "parquet"), "overflight: --format parquet: needs --output FILE"),
        (("--format", "csv", "--since", "yesterday"), "expected a time such as 2026-11-21T10:00:00Z, got 'yesterday'"),
        (("--format", "csv", "--output", "/nowhere/a.csv"), "overflight: --output: /nowhere: no such folder"),
        (
            ("--format", "csv", "--output", flight.folder),
            f"overflight: --output: {flight.folder}: is a folder, expected a file",
        ),
        (("--format", "csv", "--output", flight.journal), f"overflight: --output: {flight.journal}: is the journal itself"),
    ):
        status, line = flight.refuses("export", *arguments)
        assert (status, said in line) == (2, True), line
    assert flight.journal.read_bytes() == content


def test_without_a_journal_the_file_is_not_made(flight: Flight) -> None:
    output = flight.folder / "flight.csv"
    assert flight.refuses("export", "--format", "csv", "--output", output) == (
        1,
        f"overflight: journal {flight.journal}: no such file",
    )
    assert not output.exists()


def test_the_query_of_the_readme_works(flight: Flight) -> None:
    flight.flies([observed("a.jpg", alerts=True), observed("b.jpg", tiles=2, inference_ms=0.25), failed("c.jpg")])
    (query,) = re.findall(r"```sql\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    with reader(flight.journal) as database:
        assert database.execute(query).fetchall() == [
            ("undamaged", "openvino", "CPU", 2, 0.25, 4.0),
            ("damaged", "openvino", "CPU", 1, 0.5, 4.0),
        ]


def command(flight: Flight, *arguments: object, max_file_bytes: int | None = None, **variables: str) -> tuple[int, str]:
    """Run the command in a process of its own; returns its status and standard error."""

    def limit() -> None:
        if max_file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

    finished = subprocess.run(
        [sys.executable, "-m", "edge", "journal", "export", *map(str, arguments)],
        cwd=PROJECT,
        env=os.environ | {"OVERFLIGHT_JOURNAL_PATH": str(flight.journal)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=limit,
    )
    assert finished.stdout == ""
    return finished.returncode, finished.stderr


@pytest.mark.parametrize("form", ["csv", "geojson", "parquet"])
def test_without_room_there_is_one_line_and_the_old_file(flight: Flight, form: str) -> None:
    flight.flies([observed(f"{number}.jpg") for number in range(200)])
    output = flight.folder / "flight"
    output.write_text("the last export")
    assert command(flight, "--format", form, "--output", output, max_file_bytes=4096) == (
        1,
        f"overflight: {output}: cannot be written: File too large\n",
    )
    assert output.read_text() == "the last export"
    assert list(flight.folder.glob(".*")) == []


def test_without_pyarrow_parquet_says_what_to_install(flight: Flight) -> None:
    flight.flies([observed("a.jpg")])
    hidden = flight.folder / "hidden"
    hidden.mkdir()
    (hidden / "pyarrow.py").write_text("raise ImportError('not here')")
    output = flight.folder / "flight.parquet"
    assert command(flight, "--format", "parquet", "--output", output, PYTHONPATH=str(hidden)) == (
        1,
        "overflight: --format parquet: needs pyarrow (pip install 'overflight[parquet]'): not here\n",
    )
    assert not output.exists()


@pytest.mark.parametrize("form", ["csv", "geojson"])
def test_a_reader_that_leaves_early_is_no_error(flight: Flight, form: str) -> None:
    flight.flies([observed(f"{number}.jpg") for number in range(2000)])
    environment = os.environ | {"OVERFLIGHT_JOURNAL_PATH": str(flight.journal)}
    arguments = [sys.executable, "-m", "edge", "journal", "export", "--format", form]
    with subprocess.Popen(arguments, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
