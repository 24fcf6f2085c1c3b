"""The rendered town: the truth of every block is known, and the same seed draws the same town."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edge.demo.town import BLOCK_PX, render_town


def test_same_seed_draws_the_same_town() -> None:
    one, other = render_town(5, 2, 3), render_town(5, 2, 3)
    assert (one.image == other.image).all()
    assert (one.damaged == other.damaged).all()


def test_same_seed_draws_the_same_town_in_another_process() -> None:
    code = (
        "import zlib; from edge.demo.town import render_town; town = render_town(5, 2, 3);"
        "print(zlib.crc32(town.image.tobytes()), town.damaged.tolist())"
    )
    command = [sys.executable, "-c", code]
    printed = [subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout for _ in range(2)]
    assert printed[0] == printed[1] != ""


def test_another_seed_draws_another_town() -> None:
    assert (render_town(5, 2, 3).image != render_town(6, 2, 3).image).any()


def test_town_is_as_large_as_its_blocks() -> None:
    town = render_town(1, 2, 3)
    assert town.image.shape == (2 * BLOCK_PX, 3 * BLOCK_PX, 3)
    assert town.image.dtype == np.uint8
    assert town.damaged.shape == (2, 3)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (3, 4)])
def test_every_town_has_blocks_of_both_kinds(seed: int, rows: int, columns: int) -> None:
    damaged = render_town(seed, rows, columns).damaged
    assert 0 < damaged.sum() < damaged.size


def test_blocks_in_ruins_are_those_that_were_asked_for() -> None:
    wanted = np.array([[True, False], [False, True]])
    assert (render_town(3, 2, 2, wanted).damaged == wanted).all()


def test_ruins_show_in_the_picture() -> None:
    # The same town whole and in ruins: the blocks must differ by more than the noise that all pictures have.
    whole = render_town(3, 2, 2, np.zeros((2, 2), np.bool_)).image
    again = render_town(4, 2, 2, np.zeros((2, 2), np.bool_)).image
    ruined = render_town(3, 2, 2, np.ones((2, 2), np.bool_)).image

    def edges(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image.astype(int), axis=1)).mean())

    assert edges(ruined) > 1.2 * max(edges(whole), edges(again))
