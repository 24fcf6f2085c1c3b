"""Files as they come in the field: broken, growing, moved, linked, unreadable."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.journal import read_alerts
from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import count, rows, ruins


@pytest.fixture
def delivered(overflight: Overflight, mosquitto: Mosquitto) -> Overflight:
    """The command with a broker."""
    overflight.config["uplink"] = {"url": mosquitto.url}
    return overflight


def huge_png() -> bytes:
    """A PNG of a few bytes that says it is 50,000 × 50,000."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def write_bad_files(inbox: Path, jpeg: bytes) -> dict[str, str]:
    """Every kind of bad file beside a good one; returns what the journal must say of each."""
    (inbox / "good.jpg").write_bytes(jpeg)
    (inbox / "empty.jpg").write_bytes(b"")
    (inbox / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (inbox / "text.jpg").write_text("no picture")
    (inbox / "huge.png").write_bytes(huge_png())
    Path(os.fsdecode(os.path.join(os.fsencode(inbox), b"caf\xe9.jpg"))).write_bytes(jpeg)
    (inbox / "dangling.jpg").symlink_to("nowhere.jpg")
    (inbox / "loop").symlink_to(inbox, target_is_directory=True)
    (inbox / "forbidden.jpg").write_bytes(jpeg)
    (inbox / "forbidden.jpg").chmod(0)
    (inbox / "notes.txt").write_text("not a frame")
    return {
        "empty.jpg": "empty file",
        "truncated.jpg": "truncated JPEG: its end is missing",
        "text.jpg": "not an image: its first bytes are of no known format",
        "huge.png": "claims 50000x50000 pixels, more than max_pixels (100000000)",
        "forbidden.jpg": "cannot be read: Permission denied",
    }


def run_without_rights(command: Overflight) -> subprocess.CompletedProcess[str]:
    """Run once without the right of root to read what is forbidden."""
    drop = []
    if os.geteuid() == 0:
        capabilities = "-dac_override,-dac_read_search"
        drop = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    arguments = [*drop, *command.command("run", "-c", command.config_file, "--once")]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=command.environment, check=False)


@pytest.mark.parametrize("after", ["keep", "move", "delete"])
def test_a_bad_file_costs_itself_alone_and_is_recorded_with_its_reason(
    delivered: Overflight, make_jpeg: Callable[..., bytes], after: str
) -> None:
    expected = write_bad_files(delivered.inbox, make_jpeg())
    delivered.config["capture"]["after"] = after
    finished = run_without_rights(delivered)
    assert finished.returncode == 0, finished.stderr
    recorded = dict(rows(delivered.journal, "SELECT frame, reason FROM results WHERE outcome != 'observed'"))
    assert recorded == expected
    observed = {name for (name,) in rows(delivered.journal, "SELECT frame FROM results WHERE outcome = 'observed'")}
    assert observed == {"good.jpg", "caf\\xe9.jpg"}
    for name, reason in expected.items():
        assert f"{name}: {reason}" in finished.stdout

    present = {name for name in os.listdir(os.fsencode(delivered.inbox)) if not name.startswith(b".")}
    bad = {name.encode() for name in expected}
    others = {b"dangling.jpg", b"loop", b"notes.txt"}
    if after == "keep":
        assert present == bad | others | {b"good.jpg", b"caf\xe9.jpg"}
    elif after == "delete":
        assert present == bad | others
    else:
        assert present == others | {b"done", b"rejected"}
        assert set(os.listdir(os.fsencode(delivered.inbox / "rejected"))) == bad
        assert set(os.listdir(os.fsencode(delivered.inbox / "done"))) == {b"good.jpg", b"caf\xe9.jpg"}


def test_files_that_arrive_while_it_watches_are_classified(
    delivered: Overflight, town_tiles: list[tuple[Any, bool]], tmp_path: Path
) -> None:
    delivered.config["capture"]["rescan_s"] = 600
    ruins(town_tiles, tmp_path / "elsewhere", number=4)
    with delivered.running("run") as daemon:
        wait_for(delivered.journal.exists)
        time.sleep(0.5)
        shutil.copy(tmp_path / "elsewhere" / "000.jpg", delivered.inbox / "copied.jpg")
        os.rename(tmp_path / "elsewhere" / "001.jpg", delivered.inbox / "moved.jpg")
        os.rename(tmp_path / "elsewhere", delivered.inbox / "folder")
        wait_for(lambda: count(delivered.journal, "observations") == 5)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
    names = {name for (name,) in rows(delivered.journal, "SELECT frame FROM results")}
    assert names == {"copied.jpg", "moved.jpg", "folder/000.jpg", "folder/002.jpg", "folder/003.jpg"}


def test_a_file_that_grows_for_seconds_is_classified_when_it_is_complete(
    delivered: Overflight, make_jpeg: Callable[..., bytes]
) -> None:
    jpeg = make_jpeg(width=1024, height=1024)
    delivered.config["capture"] |= {"settle_s": 0.4, "incomplete_s": 3}

    def grow() -> None:
        with (delivered.inbox / "slow.jpg").open("wb") as file:
            for start in range(0, len(jpeg), len(jpeg) // 10 + 1):
                file.write(jpeg[start : start + len(jpeg) // 10 + 1])
                file.flush()
                # Every third pause is longer than a file takes to settle.
                time.sleep(0.6 if start % 3 == 0 else 0.1)

    with delivered.running("run"):
        wait_for(delivered.journal.exists)
        grower = threading.Thread(target=grow)
        grower.start()
        grower.join()
        wait_for(lambda: count(delivered.journal, "frames") == 1)
    assert rows(delivered.journal, "SELECT frame, size_bytes, outcome FROM results") == [("slow.jpg", len(jpeg), "observed")]


def test_a_folder_that_does_not_exist_yet_is_waited_for_and_said_once(
    delivered: Overflight, make_jpeg: Callable[..., bytes]
) -> None:
    delivered.inbox.rmdir()
    with delivered.running("run") as daemon:
        time.sleep(3)
        delivered.inbox.mkdir()
        (delivered.inbox / "a.jpg").write_bytes(make_jpeg())
        wait_for(lambda: count(delivered.journal, "observations") == 1)
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=10)
    assert log.count("does not exist yet") == 1


def test_a_file_that_is_written_again_is_a_new_frame(delivered: Overflight, make_jpeg: Callable[..., bytes]) -> None:
    for seed in (1, 2):
        (delivered.inbox / "a.jpg").write_bytes(make_jpeg(seed))
        assert delivered.run("run", "--once").returncode == 0
    assert count(delivered.journal, "observations") == 2


def test_files_that_vanish_in_the_middle_are_counted_and_cost_nothing_else(
    delivered: Overflight, make_jpeg: Callable[..., bytes]
) -> None:
    jpeg = make_jpeg(width=1600, height=1200)
    for number in range(300):
        (delivered.inbox / f"{number:03}.jpg").write_bytes(jpeg)
    with delivered.running("run", "--once", "--json") as daemon:
        # Listing runs ahead of reading by the queue between them: of the last files some are listed when they go.
        wait_for(lambda: count(delivered.journal, "frames") > 0)
        for number in range(299, 20, -1):
            (delivered.inbox / f"{number:03}.jpg").unlink(missing_ok=True)
        output, log = daemon.communicate(timeout=60)
    summary = json.loads(output)
    assert daemon.returncode == 0, log
    assert summary["rejected_count"] == 0
    assert summary["vanished"] > 0
    assert summary["frames"] == count(delivered.journal, "observations")


def test_a_photo_of_a_drone_has_its_own_position_and_time(delivered: Overflight, data: Path) -> None:
    delivered.config["capture"]["source"] = str(data / "drone-photos")
    delivered.config["triage"] = {"threshold": 0.0}
    assert delivered.run("run", "--once").returncode == 0
    alerts = [json.loads(message) for _, message, _ in read_alerts(delivered.journal)]
    # At 40 m each shows 68 by 38 m, which the model's tiles of 60 m would not fit into: squares of 38 m.
    tiles = Counter(alert["properties"]["frame"]["name"] for alert in alerts)
    assert (len(tiles), set(tiles.values())) == (6, {3})
    for alert in alerts:
        fix = alert["properties"]["fix"]
        for longitude, latitude, altitude_m in (alert["geometry"]["coordinates"], fix["point"]):
            assert longitude == pytest.approx(-91.994, abs=0.002)
            assert latitude == pytest.approx(46.843, abs=0.002)
            assert 150 < altitude_m < 210
        assert (fix["source"], alert["properties"]["place"]) == ("exif", "ground")
        assert alert["properties"]["frame"]["tile"][3] == 2250
