"""A stream that comes live: it is followed by a thread, lost, found again, and watched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edge.clock import Clock
from edge.position.live import LiveProvider
from edge.position.report import Position, Report, StreamError
from edge.records import Clock as ClockName
from edge.records import Frame, FrameKey
from tests.conftest import wait_for

Script = Callable[[int], Generator[Report | None, None, None]]


class ScriptedStream:
    """A stream that says what a test wants; the real ones are tested with real receivers."""

    name = "scripted"
    is_recording = False

    def __init__(self, script: Script) -> None:
        self._script = script
        self.opened = 0
        self.closed = 0

    def reports(self) -> Generator[Report | None, None, None]:
        self.opened += 1
        try:
            yield from self._script(self.opened)
        finally:
            self.closed += 1


def frame(exposed_s: float | None, captured_at: datetime | None = None, clock: ClockName = "system") -> Frame:
    moment = captured_at or datetime(2020, 1, 1, tzinfo=UTC)
    pixels = np.zeros((8, 8, 3), np.uint8)
    return Frame(FrameKey("/in", "a.jpg", 1, 1), moment, 8, 8, pixels, clock=clock, exposed_s=exposed_s)


def provider_of(
    stream: ScriptedStream, told: list[str | None], clock: Clock | None = None, silent_s: float = 10.0
) -> LiveProvider:
    return LiveProvider(
        stream,
        "scripted:here",
        clock or Clock(),
        lambda _, reason: told.append(reason),
        max_age_s=2.0,
        max_speed_m_s=150.0,
        silent_s=silent_s,
    )


def standing_still(_: int = 1) -> Generator[Report | None, None, None]:
    while True:
        yield Report(time.monotonic(), position=Position(29.76, -95.37))
        time.sleep(0.02)


def test_a_frame_is_placed_by_when_it_was_exposed_whatever_its_capture_time_says() -> None:
    provider = provider_of(ScriptedStream(standing_still), [])
    provider.start()
    wait_for(lambda: provider.health().fixes > 3)

    fix = provider.locate(frame(time.monotonic()))
    lost = provider.locate(frame(time.monotonic() - 60))
    provider.close()

    assert fix is not None
    assert (fix.latitude, fix.longitude, fix.source) == (29.76, -95.37, "scripted")
    assert fix.age_s < 1
    assert lost is None


def test_a_frame_with_a_time_of_its_own_is_placed_by_that() -> None:
    provider = provider_of(ScriptedStream(standing_still), [])
    provider.start()
    wait_for(lambda: provider.health().fixes > 3)

    now = datetime.now(UTC)
    assert provider.locate(frame(None, now, "image")) is not None
    assert provider.locate(frame(None, now, "name")) is not None
    assert provider.locate(frame(None, now - timedelta(hours=1), "image")) is None
    provider.close()


def test_a_file_of_which_nobody_knows_the_moment_has_no_position() -> None:
    # Its time is one that the clock showed twice, or of before this machine was started.
    provider = provider_of(ScriptedStream(standing_still), [])
    provider.start()
    wait_for(lambda: provider.health().fixes > 3)

    now = datetime.now(UTC)
    assert [provider.locate(frame(None, now, clock)) for clock in ("system", "gps", "unsynchronised")] == [None] * 3
    provider.close()


def test_an_error_that_nobody_expected_is_said_and_the_stream_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    def script(opened: int) -> Generator[Report | None, None, None]:
        if opened == 1:
            raise RuntimeError("a defect")
        yield from standing_still()

    told: list[str | None] = []
    provider = provider_of(ScriptedStream(script), told)
    provider.start()
    wait_for(lambda: told == ["RuntimeError: a defect", "gives no position yet", None])
    provider.close()

    assert "Traceback" in caplog.text


def test_where_both_know_utc_the_delay_of_the_line_is_taken_out() -> None:
    # Ten metres a second to the north, each fix half a second late.
    def script(_: int) -> Generator[Report | None, None, None]:
        while True:
            time.sleep(0.02)
            utc_s = time.time() - 0.5
            place = Position(29.0 + (utc_s - begun_s) * 10 / 110_855, -95.37)
            yield Report(time.monotonic(), own_s=utc_s, utc_s=utc_s, position=place)

    begun_s = time.time()
    provider = provider_of(ScriptedStream(script), [], Clock(synchronised=lambda: True))
    provider.start()
    wait_for(lambda: provider.health().fixes > 60)
    exposed_s = time.monotonic() - 0.7
    fix = provider.locate(frame(exposed_s))
    provider.close()

    assert fix is not None
    flown_m = (fix.latitude - 29.0) * 110_855
    assert flown_m == pytest.approx((exposed_s - time.monotonic() + time.time() - begun_s) * 10, abs=0.5)


def test_a_lost_stream_is_said_and_found_again() -> None:
    def script(opened: int) -> Generator[Report | None, None, None]:
        if opened == 1:
            yield Report(time.monotonic(), position=Position(29.76, -95.37))
            raise StreamError("the other end is gone")
        yield from standing_still()

    told: list[str | None] = []
    stream = ScriptedStream(script)
    provider = provider_of(stream, told)
    provider.start()
    wait_for(lambda: told == ["the other end is gone", "gives no position yet", None])
    provider.close()

    assert stream.opened == stream.closed == 2


def test_a_receiver_that_is_back_and_has_no_fix_is_not_said_to_be_gone() -> None:
    def script(opened: int) -> Generator[Report | None, None, None]:
        if opened == 1:
            raise StreamError("connection refused")
        while True:
            time.sleep(0.01)
            yield Report(time.monotonic(), refused="no fix")

    told: list[str | None] = []
    provider = provider_of(ScriptedStream(script), told, silent_s=1.0)
    provider.start()
    wait_for(lambda: len(told) == 3)
    provider.close()

    assert told[:2] == ["connection refused", "gives no position yet"]
    assert told[2] is not None
    assert told[2].startswith("gives no position (refused: no fix ")


def test_a_stream_that_is_silent_is_closed_and_opened_again() -> None:
    def script(_: int) -> Generator[Report | None, None, None]:
        while True:
            time.sleep(0.01)
            yield None

    told: list[str | None] = []
    stream = ScriptedStream(script)
    provider = provider_of(stream, told, silent_s=0.1)
    provider.start()
    wait_for(lambda: stream.opened >= 2)
    provider.close()

    assert any(reason is not None and reason.startswith("silent for") for reason in told)


def test_a_receiver_without_a_fix_is_said_with_what_was_refused() -> None:
    def script(_: int) -> Generator[Report | None, None, None]:
        while True:
            time.sleep(0.01)
            yield Report(time.monotonic(), refused="no fix")

    told: list[str | None] = []
    provider = provider_of(ScriptedStream(script), told, silent_s=0.2)
    provider.start()
    wait_for(lambda: bool(told))
    provider.close()

    assert told[0] is not None
    assert told[0].startswith("gives no position (refused: no fix ")
    assert provider.health().fixes == 0


@pytest.mark.parametrize(("old_s", "reason"), [(15.0, "stale"), (10.0**9, "before the last start")])
def test_a_fix_that_the_receiver_remembers_is_refused_where_the_clock_is_right(old_s: float, reason: str) -> None:
    def script(_: int) -> Generator[Report | None, None, None]:
        while True:
            time.sleep(0.01)
            utc_s = time.time() - old_s
            yield Report(time.monotonic(), own_s=utc_s, utc_s=utc_s, position=Position(29.76, -95.37))

    provider = provider_of(ScriptedStream(script), [], Clock(synchronised=lambda: True))
    provider.start()
    wait_for(lambda: provider.health().refused.get(reason, 0) > 2)
    provider.close()

    assert provider.health().fixes == 0


def test_gps_time_reaches_the_clock() -> None:
    ahead_s = 86_400.0

    def script(_: int) -> Generator[Report | None, None, None]:
        while True:
            time.sleep(0.01)
            utc_s = time.time() + ahead_s
            yield Report(time.monotonic(), own_s=utc_s, utc_s=utc_s, position=Position(29.76, -95.37))

    clock = Clock(synchronised=lambda: False)
    provider = provider_of(ScriptedStream(script), [], clock)
    provider.start()
    wait_for(lambda: provider.health().fixes > 3)
    provider.close()

    moment = clock.at(time.monotonic())
    assert moment.clock == "gps"
    assert abs(moment.utc.timestamp() - time.time() - ahead_s) < 0.5


def test_nothing_is_left_when_it_is_closed() -> None:
    before = threading.active_count()
    stream = ScriptedStream(standing_still)
    provider = provider_of(stream, [])
    provider.start()
    wait_for(lambda: provider.health().connected)
    provider.close()

    assert threading.active_count() == before
    assert stream.closed == 1
