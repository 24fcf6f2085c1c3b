"""What Prometheus gets: asked for as it asks, by HTTP, and read by the library's own parser."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.config import ConfigError
from edge.messages import FixQuality, HealthMessage, PositionHealth
from edge.metrics import Facts, serve_metrics
from tests.conftest import PROJECT, free_port

HEALTH = HealthMessage(
    device="uav-1",
    at="2026-11-21T10:00:00.000Z",
    uptime_s=12.5,
    cpu_percent=25.0,
    memory_percent=50.0,
    process_memory_bytes=1_000_000,
    temperature_c=None,
    disk_free_bytes=2_000_000,
    frames=7,
    rejected=1,
    alerts=3,
    alerts_waiting=2,
    frames_per_s=4.5,
    queues={"found": 5, "recorded": 0},
    fix=FixQuality("exif", 0.25, 2.5),
)


class LaterHealth(msgspec.Struct, frozen=True):
    """Fields that a later health message may bring."""

    network_sent_bytes: int = 10
    cpu_mhz: float = 2_400.0
    load_1min: float = 0.5
    delay_ms: float = 20.0
    note: str = "no number"


def ask(port: int) -> tuple[str, dict[tuple[str, tuple[str, ...]], float]]:
    """The answer, and its samples by name and values of the labels, which come in the order of the labels' names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return text, {(sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}


class Shown:
    """An endpoint that shows what a test gives it."""

    def __init__(self) -> None:
        self.facts = Facts(HEALTH, "online", [])
        self.server = serve_metrics(0, lambda: self.facts)

    def answer(self, facts: Facts) -> tuple[str, dict[tuple[str, tuple[str, ...]], float]]:
        self.facts = facts
        return ask(self.server.port)


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    shown = Shown()
    yield shown
    shown.server.close()


def test_every_number_is_there_in_base_units(shown: Shown) -> None:
    _, samples = shown.answer(Facts(HEALTH, "online", []))

    assert samples == {
        ("overflight_uptime_seconds", ()): 12.5,
        ("overflight_cpu_ratio", ()): 0.25,
        ("overflight_memory_ratio", ()): 0.5,
        ("overflight_process_memory_bytes", ()): 1_000_000,
        ("overflight_disk_free_bytes", ()): 2_000_000,
        ("overflight_frames_total", ()): 7,
        ("overflight_rejected_total", ()): 1,
        ("overflight_alerts_total", ()): 3,
        ("overflight_alerts_waiting", ()): 2,
        ("overflight_thumbnails_waiting", ()): 0,
        ("overflight_uplink_bytes_per_second", ()): 0,
        ("overflight_frames_per_second", ()): 4.5,
        ("overflight_queues", ("found",)): 5,
        ("overflight_queues", ("recorded",)): 0,
        ("overflight_fix_age_seconds", ()): 0.25,
        ("overflight_fix_accuracy_meters", ()): 2.5,
        ("overflight_fix_is_2d", ()): 0,
        ("overflight_outside_area_total", ()): 0,
        ("overflight_state", ("online",)): 1,
        ("overflight_state", ("degraded",)): 0,
        ("overflight_state", ("offline",)): 0,
    }


def test_a_field_that_comes_later_needs_no_change_here(shown: Shown) -> None:
    text, samples = shown.answer(Facts(LaterHealth(), "online", []))

    assert samples["overflight_network_sent_bytes_total", ()] == 10
    assert samples["overflight_cpu_hertz", ()] == 2.4e9
    assert samples["overflight_load_1min", ()] == 0.5
    assert samples["overflight_delay_seconds", ()] == 0.02
    assert "note" not in text


def test_every_provider_of_positions_has_its_own_label(shown: Shown) -> None:
    positions = {
        "gpsd": PositionHealth(connected=False, fixes=7, refused={"no fix": 2, "too old": 1}, reason="connection refused"),
        "mavlink": PositionHealth(connected=True),
    }
    text, samples = shown.answer(Facts(msgspec.structs.replace(HEALTH, positions=positions), "online", []))

    assert {key: value for key, value in samples.items() if key[0].startswith("overflight_position_")} == {
        ("overflight_position_connected", ("gpsd",)): 0,
        ("overflight_position_connected", ("mavlink",)): 1,
        ("overflight_position_fixes_total", ("gpsd",)): 7,
        ("overflight_position_fixes_total", ("mavlink",)): 0,
        ("overflight_position_refused_total", ("gpsd", "no fix")): 2,
        ("overflight_position_refused_total", ("gpsd", "too old")): 1,
    }
    assert "# TYPE overflight_position_refused_total counter\n" in text


def test_types_are_said(shown: Shown) -> None:
    text, _ = shown.answer(Facts(HEALTH, "online", []))

    assert "# TYPE overflight_frames_total counter\n" in text
    assert "# TYPE overflight_alerts_waiting gauge\n" in text


def test_a_degraded_device_says_why(shown: Shown) -> None:
    _, samples = shown.answer(Facts(HEALTH, "degraded", ['uplink: "ground": no broker\\', "models: without bundle"]))

    assert samples["overflight_state", ("degraded",)] == 1
    assert samples["overflight_state", ("online",)] == 0
    assert samples["overflight_degraded", ('"ground": no broker\\', "uplink")] == 1
    assert samples["overflight_degraded", ("without bundle", "models")] == 1


def test_each_request_reads_anew(shown: Shown) -> None:
    for frames in (1, 2):
        _, samples = shown.answer(Facts(msgspec.structs.replace(HEALTH, frames=frames), "online", []))
        assert samples["overflight_frames_total", ()] == frames


def test_nobody_else_can_ask(shown: Shown) -> None:
    def connects(address: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, shown.server.port)) == 0

    assert connects("127.0.0.1")
    # An address of this machine, too, but not the one it listens on.
    assert not connects("127.0.0.2")


def test_a_closed_endpoint_frees_its_port() -> None:
    port = free_port()
    for _ in range(2):
        serve_metrics(port, lambda: Facts(HEALTH, "online", [])).close()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"^health.prometheus_port: {port}: Address already in use: expected a free port"
        ):
            serve_metrics(port, lambda: Facts(HEALTH, "online", []))


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(ConfigError, match=r"^health.prometheus_port: needs prometheus-client \(pip install 'overflight\[prom"):
        serve_metrics(0, lambda: Facts(HEALTH, "online", []))


def test_the_library_is_loaded_only_when_it_is_wanted() -> None:
    code = "import sys, edge.metrics; sys.exit('prometheus_client' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
