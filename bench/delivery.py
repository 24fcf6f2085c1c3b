"""How fast alerts leave the journal: ``python -m bench.delivery``, or ``make bench-delivery``.

Drains a journal with many undelivered alerts through a mosquitto of its own, several times, beside the limit of the same
machine in the same minutes: the same messages published by paho alone, as many of them under way at once. Then alerts are
decided one by one, and what is measured is the time from the journal to the broker's acknowledgement. Nobody subscribes: a
receiver is another machine's work. The machine may be shared, so the ratio tells more than the alerts per second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.machine import describe_machine, mosquitto
from edge.config import UplinkConfig
from edge.journal import Journal, read_alerts
from edge.messages import StatusMessage, rfc3339, utc_now
from edge.uplink import Uplink
from tests.e2e.outage import alert_record, fill_journal

_DEVICE = "uav-1"
_UNDER_WAY = 250
_PAUSE_S = 0.02
_LOOK_S = 0.0002


def main() -> int:
    """Measure and print; it does not end as long as an alert is not delivered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--alerts", type=int, default=20_000, help="that a run drains (20,000)")
    parser.add_argument("--singles", type=int, default=200, help="that are decided one by one (200)")
    parser.add_argument("--runs", type=int, default=5, help="runs, interleaved with the limit (5)")
    options = parser.parse_args()
    limits, rates, growths = [], [], []
    with tempfile.TemporaryDirectory() as temporary, mosquitto(Path(temporary)) as url:
        for run in range(options.runs):
            path = Path(temporary) / f"{run}.db"
            fill_journal(path, options.alerts, _DEVICE)
            limits.append(_publish([message for _, message, _ in read_alerts(path)], url))
            rate, growth = _drain(path, url)
            rates.append(rate)
            growths.append(growth)
            path.unlink()
        waits_ms = _decide_one_by_one(Path(temporary) / "singles.db", url, options.singles)
    _print(options.alerts, limits, rates, growths, waits_ms)
    return 0


def _drain(path: Path, url: str) -> tuple[float, float]:
    """Alerts/s from the start of the uplink to the last delivery that is noted, and by how many MB the memory grew."""
    memory = psutil.Process().memory_info
    journal = Journal(path, _DEVICE)
    try:
        alerts, before = journal.alerts.waiting, memory().rss
        started = time.perf_counter()
        with _uplink(journal, url):
            while journal.alerts.waiting:
                time.sleep(_LOOK_S)
            return alerts / (time.perf_counter() - started), (memory().rss - before) / 1e6
    finally:
        journal.close()


def _decide_one_by_one(path: Path, url: str, alerts: int) -> list[float]:
    """Milliseconds from the call of the journal to the delivery that is noted, for each alert."""
    waits_ms = []
    journal = Journal(path, _DEVICE)
    try:
        with _uplink(journal, url) as uplink:
            for number in range(alerts + 1):
                record = alert_record(number)
                started = time.perf_counter()
                journal.record([record])
                uplink.wake()
                while journal.alerts.waiting:
                    time.sleep(_LOOK_S)
                waits_ms.append((time.perf_counter() - started) * 1000)
                time.sleep(_PAUSE_S)
    finally:
        journal.close()
    # The first one waits for the connection.
    return waits_ms[1:]


@contextmanager
def _uplink(journal: Journal, url: str) -> Iterator[Uplink]:
    """One that runs while the block lasts."""
    uplink = Uplink(
        UplinkConfig(url=url),
        _DEVICE,
        journal,
        status=lambda: StatusMessage(_DEVICE, "online", [], "0", rfc3339(utc_now())),
        condition=lambda reason: None,
        connected=lambda: None,
        failed=_end,
    )
    uplink.start()
    uplink.hurry()
    try:
        yield uplink
    finally:
        uplink.stop()


def _end(error: BaseException) -> None:
    """The end of the uplink's thread, without which nothing would ever be delivered."""
    traceback.print_exception(error)
    os._exit(1)


def _publish(messages: list[bytes], url: str) -> float:
    """Messages/s that paho alone publishes, from its start to the last acknowledgement."""
    room, address = threading.Semaphore(_UNDER_WAY), urlsplit(url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(0)
    client.on_publish = lambda *_: room.release()
    started = time.perf_counter()
    client.connect(str(address.hostname), address.port or 1883)
    client.loop_start()
    for message in messages:
        room.acquire()
        client.publish(f"overflight/{_DEVICE}/alert", message, qos=1)
    for _ in range(_UNDER_WAY):
        room.acquire()
    rate = len(messages) / (time.perf_counter() - started)
    client.disconnect()
    client.loop_stop()
    return rate


def _print(alerts: int, limits: list[float], rates: list[float], growths: list[float], waits_ms: list[float]) -> None:
    ratios = [rate / limit for rate, limit in zip(rates, limits, strict=True)]
    fifth, last = statistics.quantiles(waits_ms, n=20)[0], statistics.quantiles(waits_ms, n=20)[-1]
    table = [
        ("alerts/s drained, from the start to the last delivery noted", "3000", _spread(rates, "{:.0f}")),
        ("the same against the limit of this machine", "", _spread(ratios, "{:.2f}")),
        ("limit: the same messages by paho alone, messages/s", "", _spread(limits, "{:.0f}")),
        (f"growth of the memory while {alerts} alerts drain, MB", "10", _spread(growths, "{:.1f}")),
        (
            "journal to acknowledgement, one alert by itself, ms (5 % to 95 %)",
            "",
            f"{statistics.median(waits_ms):.1f} ({fifth:.1f} to {last:.1f})",
        ),
    ]
    print(f"{describe_machine()}\n{len(rates)} runs; median (least to most)\n")
    print(f"{'what':68}{'floor':>8}  measured")
    for what, floor, measured in table:
        print(f"{what:68}{floor:>8}  {measured}")


def _spread(values: list[float], form: str) -> str:
    text = form.format(statistics.median(values))
    return f"{text} ({form.format(min(values))} to {form.format(max(values))})" if len(values) > 1 else text


if __name__ == "__main__":
    sys.exit(main())
