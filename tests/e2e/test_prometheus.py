"""The same figures everywhere: in the health message, for Prometheus, and in ``overflight status``."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import Mosquitto, Overflight, free_port, wait_for
from tests.e2e.conftest import Ground, ruins


def scrape(port: int) -> dict[str, float]:
    """What Prometheus reads, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def status(overflight: Overflight) -> dict[str, Any]:
    """What ``overflight status`` says to programs."""
    said: dict[str, Any] = json.loads(overflight.run("status", "--json").stdout)
    return said


def test_a_running_daemon_tells_the_ground_prometheus_and_this_machine_the_same(
    overflight: Overflight, mosquitto: Mosquitto, listen: Callable[..., Ground], town_tiles: list[tuple[Any, bool]]
) -> None:
    expected = ruins(town_tiles, overflight.inbox)
    (overflight.inbox / "broken.jpg").write_bytes(b"no picture")
    port = free_port()
    overflight.config["uplink"] = {"url": mosquitto.url}
    overflight.config["health"] = {"interval_s": 0.5, "prometheus_port": port}
    ground = listen(mosquitto.port)
    with overflight.running("run") as daemon:
        wait_for(lambda: any(health["rejected"] == 1 and health["alerts_waiting"] == 0 for health in ground.health), 20)
        health, metrics = ground.health[-1], scrape(port)
        assert health["frames"] == len(town_tiles)
        assert health["alerts"] == expected
        for field, metric in (("frames", "frames_total"), ("rejected", "rejected_total"), ("alerts", "alerts_total")):
            assert metrics[f"overflight_{metric}"] == health[field]
        assert metrics["overflight_alerts_waiting"] == health["alerts_waiting"] == 0
        assert metrics['overflight_state{state="online"}'] == 1
        assert metrics['overflight_state{state="degraded"}'] == 0
        # On the loopback interface alone.
        sockets = Path(f"/proc/{daemon.pid}/net/tcp").read_text().splitlines()
        listening = [line.split()[1] for line in sockets if f":{port:04X} 00000000:0000 0A" in line]
        assert listening == [f"0100007F:{port:04X}"]
        mosquitto.stop()
        wait_for(lambda: scrape(port)['overflight_state{state="degraded"}'] == 1)
        assert any(name.startswith('overflight_degraded{reason="connection lost') for name in scrape(port))
        # What is left for this machine is as old as the last change of the status.
        wait_for(lambda: (status(overflight)["health"] or {}).get("frames") == len(town_tiles))
        told = status(overflight)
        assert (told["state"], told["health"]["alerts"]) == ("degraded", expected)
        lines = overflight.run("status").stdout
        assert re.search(r"^speed     \S+ frames/s, \S+ kB/s sent", lines, re.MULTILINE)
        assert re.search(r"^machine   \d+% of the CPU, \d+% of the memory", lines, re.MULTILINE)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(10)
        assert status(overflight)["state"] == "crashed"
    with overflight.running("run") as daemon:
        wait_for(lambda: status(overflight)["state"] == "degraded", 20)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        assert status(overflight)["state"] == "stopped"
