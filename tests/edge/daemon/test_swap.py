"""The whole daemon, in this process: a model that is changed while frames run costs none of them, and none comes twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import cv2
import msgspec
import numpy as np
import pytest

from edge.daemon import Daemon, read_report, report_path
from edge.messages import InstallResult, StatusMessage
from tests.conftest import wait_for
from tests.e2e.conftest import rows
from tests.edge.bundle.bundles import TRUST
from tests.edge.daemon.conftest import BLACK, BRIGHT, DARK, Device


class Flight:
    """A daemon that runs, and what it is given to see."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._journal = device.folder / "state" / "journal.db"
        self._seen = 0
        self.daemon = Daemon(device.config)
        self._thread = threading.Thread(target=self.daemon.run, daemon=True)
        self._thread.start()

    def see(self, *images: np.ndarray) -> None:
        """Have frames classified, and wait for that."""
        for image in images:
            self._seen += 1
            (self._device.inbox / f"{self._seen:04}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
        wait_for(lambda: sum(self.observed.values()) >= self._seen)

    @property
    def observed(self) -> Counter[str]:
        """How many frames each model has observed; each of those that were seen must have been, and once."""
        found = rows(self._journal, "SELECT model, frame FROM results WHERE label IS NOT NULL")
        assert len({frame for _, frame in found}) == len(found)
        return Counter(model for model, _ in found)

    @property
    def status(self) -> StatusMessage:
        """What the daemon leaves for `overflight status`."""
        report = read_report(self._journal)
        assert report is not None
        return report.status

    @property
    def model_reasons(self) -> list[str]:
        """Why the status says `degraded`, but for the broker that is not there."""
        return [reason for reason in self.status.reasons if not reason.startswith("uplink: ")]

    def wait_for_version(self, version: int) -> None:
        """Wait until the status names that version, to the ground and to who asks on the device."""
        for status in (self.daemon.status, lambda: self.status):
            wait_for(lambda status=status: status().bundle.version == version)  # type: ignore[misc]

    def end(self) -> None:
        self.daemon.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def flight(device: Device) -> Iterator[Flight]:
    """One that is under way with the first model."""
    device.install(1, proven=True)
    device.model["trial_s"] = 60
    flight = Flight(device)
    wait_for(report_path(device.folder / "state" / "journal.db").exists)
    yield flight
    flight.end()


def test_frames_are_observed_by_the_model_that_is_activated_and_the_status_names_it(flight: Flight, device: Device) -> None:
    flight.see(*[DARK, BRIGHT] * 10)
    device.install(2)
    flight.wait_for_version(2)
    flight.see(*[DARK, BRIGHT] * 10)
    assert flight.observed == {"town-1": 20, "town-2": 20}
    status = flight.status
    assert status.bundle is not None
    assert (status.bundle.name, status.bundle.version, status.engine, status.on) == ("town", 2, "openvino", "CPU")
    assert flight.model_reasons == []

    device.store.rollback(TRUST)
    flight.wait_for_version(1)
    flight.see(*[DARK, BRIGHT] * 5)
    assert flight.observed == {"town-1": 30, "town-2": 20}


def test_frames_in_hand_of_a_model_that_fails_are_observed_by_the_one_before_it(flight: Flight, device: Device) -> None:
    device.install(2, "fails on black")
    flight.wait_for_version(2)
    flight.see(*[DARK, BLACK, BRIGHT] * 10)
    assert sum(flight.observed.values()) == 30
    assert flight.observed["town-1"] >= 1
    flight.wait_for_version(1)
    reason = "model: town 2: no engine works: gave a probability that is no number; town 1 serves again"
    wait_for(lambda: flight.model_reasons == [reason])
    wait_for(lambda: device.store.previous() is None)
    active = device.store.active()
    assert active is not None
    assert active.name.startswith("town-1-")


def test_frames_are_observed_while_a_model_that_fails_its_self_test_is_turned_away(flight: Flight, device: Device) -> None:
    bad = device.install(2, right=False)
    flight.see(*[DARK, BRIGHT] * 10)
    wait_for(lambda: device.store.active() != bad)
    flight.see(*[DARK, BRIGHT] * 10)
    assert flight.observed == {"town-1": 40}
    assert flight.model_reasons[0].startswith("model: town 2: no engine works: openvino on CPU gives ")


def test_last_install_is_in_the_status(flight: Flight, device: Device) -> None:
    assert flight.daemon.status().last_install is None
    result = InstallResult(at="2026-11-21T12:00:00.000Z", source="/media/stick", outcome="failed", reason="is not signed")
    device.store.leave_result(msgspec.json.encode(result))
    wait_for(lambda: flight.daemon.status().last_install == result)
    wait_for(lambda: flight.status.last_install == result)
    # What cannot be understood is no reason to stop.
    device.store.leave_result(b"{")
    wait_for(lambda: flight.daemon.status().last_install is None)


# Frames that are to blame


@pytest.fixture
def proven_flight(device: Device) -> Iterator[Flight]:
    """One whose model has passed its trial, and fails on black frames all the same."""
    device.install(1, "fails on black", proven=True)
    flight = Flight(device)
    yield flight
    flight.end()


def test_frame_that_is_too_much_for_every_engine_costs_itself_alone(proven_flight: Flight, device: Device) -> None:
    for number, image in enumerate([DARK, BLACK, BRIGHT, BLACK, DARK, DARK, BRIGHT, BLACK] * 8):
        (device.inbox / f"{number:04}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    wait_for(lambda: sum(proven_flight.observed.values()) >= 5 * 8)
    journal = device.folder / "state" / "journal.db"
    given_up = "SELECT outcome, reason, count(*) FROM results WHERE outcome != 'observed' GROUP BY reason"
    reason = "cannot be classified: no engine works: gave a probability that is no number"
    wait_for(lambda: rows(journal, given_up) == [("unavailable", reason, 3 * 8)])
    assert proven_flight.observed == {"town-1": 5 * 8}
    # The engines work, and the status says so.
    wait_for(lambda: proven_flight.model_reasons == [])


def test_frames_that_are_to_blame_do_not_keep_others_from_being_classified(proven_flight: Flight, device: Device) -> None:
    for number, image in enumerate([BLACK] * 60 + [BRIGHT] * 20):
        (device.inbox / f"{number:04}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    wait_for(lambda: proven_flight.observed == {"town-1": 20}, 60)
