"""The budget of a thin link: what may wait keeps to it over any time, what is urgent only pays afterwards."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.uplink.budget import OVERHEAD_BYTES, Budget
from tests.edge.uplink.clock import Clock

RATE = 1000
LARGEST = 6000


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_without_a_cap_nothing_waits_and_what_is_sent_is_counted() -> None:
    budget = Budget(None)
    for _ in range(3):
        budget.spend(10_000)
        assert budget.wait_s() == budget.wait_s(1_000_000) == 0
    assert budget.spent_bytes == 3 * (10_000 + OVERHEAD_BYTES)


def test_what_is_urgent_may_go_into_debt_and_waits_until_it_is_paid(clock: Clock) -> None:
    budget = Budget(RATE, clock=clock)
    budget.spend(5000)
    debt_s = (5000 + OVERHEAD_BYTES) / RATE - 1
    assert budget.wait_s() == pytest.approx(debt_s)
    clock.pass_s(debt_s / 2)
    assert budget.wait_s() == pytest.approx(debt_s / 2)
    clock.pass_s(debt_s / 2 + 1e-6)
    assert budget.wait_s() == 0
    # What is not urgent waits until it is there beforehand.
    assert budget.wait_s(400) == pytest.approx((400 + OVERHEAD_BYTES) / RATE, abs=1e-3)


def test_a_message_larger_than_a_second_s_worth_waits_until_it_can_be_paid_for(clock: Clock) -> None:
    budget = Budget(RATE, LARGEST, clock)
    budget.spend(LARGEST)
    assert budget.wait_s(LARGEST) == pytest.approx((LARGEST + OVERHEAD_BYTES) / RATE)
    clock.pass_s((LARGEST + OVERHEAD_BYTES) / RATE)
    assert budget.wait_s(LARGEST) == 0


def test_what_is_larger_than_was_foreseen_waits_for_a_full_bucket_and_not_for_ever(clock: Clock) -> None:
    budget = Budget(RATE, clock=clock)
    assert budget.wait_s(1_000_000) == 0
    budget.spend(1_000_000)
    clock.pass_s(1_000_090 / RATE)
    assert budget.wait_s(1_000_000) == 0


def test_a_pause_saves_up_no_more_than_the_burst(clock: Clock) -> None:
    budget = Budget(RATE, clock=clock)
    clock.pass_s(3600)
    sent = 0
    while budget.wait_s(110) == 0:
        budget.spend(110)
        sent += 1
    assert sent == RATE // 200


_EVENTS = st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.integers(1, LARGEST)), min_size=1, max_size=60)


@given(_EVENTS)
def test_over_any_time_no_more_is_sent_than_the_cap_and_the_burst(events: list[tuple[float, bool, int]]) -> None:
    clock = Clock()
    budget = Budget(RATE, LARGEST, clock)
    burst = LARGEST + OVERHEAD_BYTES
    sent: list[tuple[float, int]] = []
    for pause_s, urgent, size in events:
        clock.pass_s(pause_s)
        if budget.wait_s(0 if urgent else size) == 0:
            budget.spend(size)
            sent.append((clock.now_s, size + OVERHEAD_BYTES))
    for first in range(len(sent)):
        for last, total in enumerate(accumulate(size for _, size in sent[first:]), first):
            passed_s = sent[last][0] - sent[first][0]
            # The last one may have run into debt, and the first one have been sent after such a one had been paid.
            assert total <= RATE * passed_s + burst + sent[last][1] + 1e-3
