"""A slow pass over one ruin: the real daemon tells of one alert, a few times, whatever happens to it meanwhile."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from edge.inference.engine import BATCH
from tests.conftest import Mosquitto, Overflight, wait_for
from tests.e2e.conftest import Ground, rows
from tests.e2e.delivery import check_nothing_is_lost, is_delivered
from tests.receiver import Received, receiving

FRAMES = 100
IN_HAND = 2 * BATCH * (os.cpu_count() or 1)
BEGIN = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
SOUTH, WEST = 29.76, -95.37
DEG_PER_M = 1 / 111_195


def sexagesimal(angle: float) -> tuple[Fraction, Fraction, Fraction]:
    seconds = Fraction(round(abs(angle) * 36_000_000), 10_000)
    return Fraction(seconds // 3600), Fraction(seconds % 3600 // 60), seconds % 60


def photo(pixels: bytes, number: int) -> bytes:
    """A frame that was taken a second and a metre further north than the one before."""
    image = Image.open(BytesIO(pixels))
    exif = Image.Exif()
    taken_at = (BEGIN + timedelta(seconds=number)).strftime("%Y:%m:%d %H:%M:%S")
    exif.get_ifd(0x8769).update({0x9003: taken_at, 0x9011: "+00:00"})
    north = SOUTH + number * DEG_PER_M
    exif.get_ifd(0x8825).update({1: "N", 2: sexagesimal(north), 3: "W", 4: sexagesimal(WEST)})
    file = BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.fixture
def photos(make_jpeg: Callable[..., bytes]) -> list[bytes]:
    return [photo(make_jpeg(), number) for number in range(FRAMES)]


@pytest.fixture
def device(overflight: Overflight, mosquitto: Mosquitto) -> Overflight:
    """One that alerts about every frame, and merges all of the pass."""
    overflight.config["uplink"] = {"url": mosquitto.url, "stored_within_s": 1, "delivery": "ground"}
    overflight.config["triage"] = {"threshold": 0.0, "merge_m": 150}
    overflight.config["capture"]["settle_s"] = 0.02
    overflight.config["journal"]["batch_s"] = 0.1
    return overflight


def put(device: Overflight, photos: list[bytes], first: int, last: int) -> None:
    for number in range(first, last):
        (device.inbox / "new").write_bytes(photos[number])
        (device.inbox / "new").rename(device.inbox / f"{number:03}.jpg")


def observed(device: Overflight) -> list[str]:
    """The frames that have a result, each as often as it has one."""
    return [name for (name,) in rows(device.journal, "SELECT frame FROM results WHERE label IS NOT NULL ORDER BY frame")]


def stop(daemon: subprocess.Popen[str]) -> None:
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0


def test_a_slow_pass_over_one_ruin_is_one_alert_of_a_few_messages(
    device: Overflight, mosquitto: Mosquitto, photos: list[bytes], tmp_path: Path
) -> None:
    with receiving(tmp_path / "received.db", mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        with device.running("run") as daemon:
            for first in range(0, FRAMES, 10):
                put(device, photos, first, first + 10)
            wait_for(lambda: len(observed(device)) == FRAMES, 30)
            stop(daemon)
        # What was decided when it stopped is sent by the next one.
        with device.running("run"):
            wait_for(lambda: is_delivered(device.journal, received.count) and not waiting(device), 20)
        check_one_alert(device, received)
    listed = device.run("journal export", "--format", "csv", "--alerts").stdout
    (alert,) = csv.DictReader(io.StringIO(listed))
    assert (alert["alert_count"], alert["place"]) == (str(FRAMES), "device")


def waiting(device: Overflight) -> int:
    return int(rows(device.journal, "SELECT count(*) FROM alerts WHERE delivered = 0")[0][0])


def check_one_alert(device: Overflight, received: Received) -> None:
    """The receiver has every revision of the one alert, and the last says it all."""
    check_nothing_is_lost(device.journal, received)
    assert received.count <= 9
    (stands,) = received.newest.values()
    assert (stands["count"], stands["revision"]) == (FRAMES, received.count - 1)
    assert (stands["first_at"], stands["last_at"]) == ("2026-11-21T10:00:00.000Z", "2026-11-21T10:01:39.000Z")
    assert observed(device) == [f"{number:03}.jpg" for number in range(FRAMES)]


def test_with_once_the_last_word_is_delivered_as_well(
    device: Overflight, mosquitto: Mosquitto, photos: list[bytes], tmp_path: Path
) -> None:
    put(device, photos, 0, FRAMES)
    with receiving(tmp_path / "received.db", mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        finished = device.run("run", "--once")
        assert finished.returncode == 0, finished.stderr
        check_one_alert(device, received)


def test_what_is_quiet_for_long_enough_is_told_to_the_end(
    device: Overflight, mosquitto: Mosquitto, photos: list[bytes], listen: Callable[[int], Ground]
) -> None:
    device.config["triage"]["merge_s"] = 3.0
    ground = listen(mosquitto.port)
    put(device, photos, 0, 3)
    with device.running("run"):
        wait_for(lambda: any(alert["properties"].get("count") == 3 for alert in ground.alerts), 20)
    assert len(ground.alert_ids) == 1
    # A picture comes with the alert, and again only where a later frame shows it better: these all show the same.
    assert [kind for kind, _ in ground.order].count("thumbnail") <= 1


def test_a_daemon_that_is_killed_in_the_middle_loses_nothing(
    device: Overflight, mosquitto: Mosquitto, photos: list[bytes], tmp_path: Path
) -> None:
    with receiving(tmp_path / "received.db", mosquitto.port) as received:
        wait_for(lambda: received.connections == 1)
        put(device, photos, 0, 60)
        with device.running("run") as daemon:
            wait_for(lambda: len(observed(device)) >= 20, 30)
            daemon.send_signal(signal.SIGKILL)
            daemon.wait(10)
        before = len(observed(device))
        put(device, photos, 60, FRAMES)
        with device.running("run") as daemon:
            wait_for(lambda: len(observed(device)) == FRAMES, 30)
            stop(daemon)
        with device.running("run"):
            wait_for(lambda: is_delivered(device.journal, received.count) and not waiting(device), 20)
        check_nothing_is_lost(device.journal, received)
        assert observed(device) == [f"{number:03}.jpg" for number in range(FRAMES)]
        # One before, of which at most the half was not told yet, and one after; what was in hand may count in both.
        assert len(received.newest) <= 2
        counts = [alert.get("count", 1) for alert in received.newest.values()]
        assert FRAMES - before / 2 <= sum(counts) <= FRAMES + IN_HAND
        assert received.count <= 18


def test_only_what_lies_in_the_area_is_alerted_about_and_health_counts_the_rest(
    device: Overflight, mosquitto: Mosquitto, photos: list[bytes], listen: Callable[[int], Ground], tmp_path: Path
) -> None:
    middle = SOUTH + 4.5 * DEG_PER_M
    # What an aircraft sees up to 1000 m outside is told as well.
    north = middle - 1000 * DEG_PER_M
    corners = [[-96, 29], [-95, 29], [-95, north], [-96, north], [-96, 29]]
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))
    device.config["triage"] = {"threshold": 0.0, "area": str(area)}
    device.config["health"] = {"interval_s": 0.2}
    ground = listen(mosquitto.port)
    put(device, photos, 0, 10)
    with device.running("run"):
        wait_for(lambda: bool(ground.health) and ground.health[-1]["outside_area"] == 5, 20)
        wait_for(lambda: len(ground.alerts) == 5)
    norths = [alert["geometry"]["coordinates"][1] for alert in ground.alerts]
    assert max(norths) < middle
    assert math.isclose(min(norths), SOUTH, abs_tol=1e-6)


def test_an_area_that_is_none_ends_the_start_with_one_line(device: Overflight, tmp_path: Path) -> None:
    device.config["triage"]["area"] = str(tmp_path / "absent.geojson")
    finished = device.run("run", "--once")

    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.endswith(
        f"triage.area: {tmp_path}/absent.geojson: No such file or directory: expected GeoJSON with a Polygon or MultiPolygon"
    )
