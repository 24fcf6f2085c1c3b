"""How frames are cut: every pixel is in a tile, tiles overlap as asked, are of the model's size, and not too many."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.capture.image import open_image
from edge.capture.tiles import ENLARGED_AT_MOST, Plan, cut, plan_tiles
from edge.config import CaptureConfig
from edge.records import Tile


@dataclass(frozen=True)
class Input:
    """What a model takes."""

    height: int = 128
    width: int = 128
    ground_sample_distance_m: float | None = 0.5


MODEL, UNKNOWN = Input(), Input(ground_sample_distance_m=None)

sides = st.integers(1, 6000)
models = st.builds(Input, st.integers(8, 300), st.integers(8, 300), st.floats(0.01, 2))
captures = st.builds(
    CaptureConfig,
    tiles=st.none() | st.builds("{}x{}".format, st.integers(1, 99), st.integers(1, 99)),
    tile_overlap=st.floats(0, 0.75),
    max_tiles=st.integers(1, 400),
)


def starts(plan: Plan, axis: int) -> list[int]:
    return sorted({corner[axis] for corner in plan.corners})


def assert_covers(plan: Plan, size: tuple[int, int]) -> None:
    """Rows and columns of tiles that leave no pixel out, from edge to edge and not beyond."""
    columns = sorted({(tile.left, tile.left + tile.width) for tile in plan.tiles})
    rows = sorted({(tile.top, tile.top + tile.height) for tile in plan.tiles})
    assert len(plan.tiles) == len(rows) * len(columns) == len(plan.corners)
    for spans, length in ((columns, size[0]), (rows, size[1])):
        assert (spans[0][0], spans[-1][1]) == (0, length)
        assert all(0 <= first < end <= length for first, end in spans)
        assert all(after[0] <= before[1] for before, after in pairwise(spans))


@settings(max_examples=500, deadline=None)
@given(sides, sides, st.none() | st.floats(0.001, 20), models | st.just(UNKNOWN), captures)
def test_every_pixel_is_in_a_tile_and_there_are_not_too_many(
    width: int, height: int, ground_m: float | None, model: Input, capture: CaptureConfig
) -> None:
    plan = plan_tiles((width, height), ground_m, model, capture)
    assert_covers(plan, (width, height))
    assert 1 <= len(plan.tiles) <= capture.max_tiles


@settings(max_examples=500, deadline=None)
@given(sides, sides, st.floats(0.001, 20), models, captures)
def test_tiles_by_the_ground_overlap_as_asked_and_are_evenly_spread(
    width: int, height: int, ground_m: float, model: Input, capture: CaptureConfig
) -> None:
    plan = plan_tiles((width, height), ground_m, model, capture)
    if plan.scaled_px is None:
        assert plan.tiles == (Tile(0, 0, width, height),)
        return
    for axis, tile_px, scaled_px in ((0, model.width, plan.scaled_px[1]), (1, model.height, plan.scaled_px[0])):
        found = starts(plan, axis)
        assert (found[0], found[-1] + tile_px) == (0, scaled_px)
        steps = [after - before for before, after in pairwise(found)]
        assert all(step <= max(1, tile_px * (1 - capture.tile_overlap)) for step in steps)
        assert not steps or max(steps) - min(steps) <= 1
    # Never stretched: there is a scale that both sides were rounded from.
    bounds = [
        ((scaled_px - 0.5) / px, (scaled_px + 0.5) / px) for scaled_px, px in zip(plan.scaled_px, (height, width), strict=True)
    ]
    least, most = max(low for low, _ in bounds), min(high for _, high in bounds)
    assert least <= most * (1 + 1e-9)
    assert least <= ENLARGED_AT_MOST


def test_tile_shows_as_much_ground_as_the_model_learned_from() -> None:
    # 0.1 m a pixel, 0.5 m of the model: five pixels for one, 640 for a tile.
    plan = plan_tiles((4000, 3000), 0.1, MODEL, CaptureConfig(tile_overlap=0.25))
    assert plan.scaled_px == (600, 800)
    assert {(tile.width, tile.height) for tile in plan.tiles} == {(640, 640)}
    assert starts(plan, 0) == [0, 96, 192, 288, 384, 480, 576, 672]
    assert starts(plan, 1) == [0, 94, 188, 283, 377, 472]
    assert plan.tiles[-1] == Tile(3360, 2360, 640, 640)


def test_frame_of_the_model_s_own_size_and_ground_is_one_tile() -> None:
    plan = plan_tiles((128, 128), 0.5, MODEL, CaptureConfig())
    assert (plan.tiles, plan.scaled_px) == ((Tile(0, 0, 128, 128),), (128, 128))


def test_frame_that_shows_less_than_a_tile_is_cut_into_squares_of_its_shorter_side() -> None:
    # 40 m high, where a tile is 64 m.
    plan = plan_tiles((1600, 800), 0.05, MODEL, CaptureConfig(tile_overlap=0))
    assert plan.scaled_px == (128, 256)
    assert plan.tiles == (Tile(0, 0, 800, 800), Tile(800, 0, 800, 800))


def test_frame_that_is_coarser_than_the_model_is_enlarged_to_twice_its_size_at_most() -> None:
    capture = CaptureConfig(tile_overlap=0)
    assert plan_tiles((640, 640), 0.75, MODEL, capture).scaled_px == (960, 960)
    assert plan_tiles((640, 640), 1.0, MODEL, capture).scaled_px == (1280, 1280)
    assert plan_tiles((640, 640), 5.0, MODEL, capture).scaled_px == (1280, 1280)


def test_frame_that_is_narrower_than_half_a_tile_is_one() -> None:
    for size in ((63, 4000), (4000, 63), (1, 1)):
        plan = plan_tiles(size, 0.5, MODEL, CaptureConfig())
        assert (plan.tiles, plan.scaled_px) == ((Tile(0, 0, *size),), None)
    assert len(plan_tiles((64, 640), 0.5, MODEL, CaptureConfig(tile_overlap=0)).tiles) == 10


def test_tiles_get_larger_when_there_would_be_too_many() -> None:
    def plan(max_tiles: int) -> Plan:
        return plan_tiles((5472, 3648), 0.05, MODEL, CaptureConfig(max_tiles=max_tiles))

    enough = plan(4096)
    assert enough.scaled_px == (365, 547)
    for max_tiles in (len(enough.tiles) - 1, 12, 6, 2):
        fewer = plan(max_tiles)
        assert max_tiles / 2 <= len(fewer.tiles) <= max_tiles
        assert fewer.tiles[0].width > enough.tiles[0].width
    assert plan(1).scaled_px is None


def test_photo_of_odd_size_is_decoded_at_half_of_it_where_half_is_wanted() -> None:
    plan = plan_tiles((4001, 2251), 0.25, MODEL, CaptureConfig())
    assert plan.scaled_px == (1126, 2000)
    content = cv2.imencode(".jpg", np.zeros((2251, 4001, 3), np.uint8))[1].tobytes()
    assert open_image(content, 10**8).decode(plan.serve_px).shape == (1126, 2001, 3)


@pytest.mark.parametrize(("ground_m", "model"), [(None, MODEL), (0.1, UNKNOWN), (None, UNKNOWN)])
def test_without_the_ground_of_both_a_frame_is_cut_into_the_parts_of_the_configuration(
    ground_m: float | None, model: Input
) -> None:
    whole = plan_tiles((401, 300), ground_m, model, CaptureConfig())
    assert (whole.tiles, whole.scaled_px, whole.serve_px) == ((Tile(0, 0, 401, 300),), None, (128, 128))
    plan = plan_tiles((401, 300), ground_m, model, CaptureConfig(tiles="2x3"))
    assert [tile.left for tile in plan.tiles] == [0, 134, 267, 0, 134, 267]
    assert [(tile.top, tile.height) for tile in plan.tiles] == [(0, 150)] * 3 + [(150, 150)] * 3
    assert plan.scaled_px == (256, 384)


def test_more_parts_than_a_frame_has_pixels_are_as_many_as_it_has() -> None:
    plan = plan_tiles((5, 3), None, MODEL, CaptureConfig(tiles="9x9"))
    assert len(plan.tiles) == 15
    assert_covers(plan, (5, 3))


def grey_ramp(width: int, height: int) -> np.ndarray:
    """Blue grows to the right and green downwards, so that every place has its own colour."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)[None, :]
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    return image


@pytest.mark.parametrize("ground_m", [0.05, 0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("decoded_at", [1, 2])
def test_each_tile_shows_what_lies_in_its_box(ground_m: float, decoded_at: int) -> None:
    frame = grey_ramp(2000, 1400)
    decoded = cv2.resize(frame, (2000 // decoded_at, 1400 // decoded_at), interpolation=cv2.INTER_AREA)
    plan = plan_tiles((2000, 1400), ground_m, MODEL, CaptureConfig())
    scaled, images = cut(decoded, plan)
    assert scaled.shape[:2] == plan.scaled_px
    assert len(images) == len(plan.tiles)
    for tile, image in zip(plan.tiles, images, strict=True):
        assert image.shape == (128, 128, 3)
        box = frame[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        assert np.abs(image.reshape(-1, 3).mean(0) - box.reshape(-1, 3).mean(0)).max() < 1.0
        for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            assert np.abs(image[y, x].astype(int) - box[y, x]).max() <= 2


def test_whole_frame_stays_as_it_was_decoded() -> None:
    decoded = grey_ramp(300, 200)
    scaled, images = cut(decoded, plan_tiles((2400, 1600), None, MODEL, CaptureConfig()))
    assert scaled is decoded
    assert images[0] is decoded


def test_frame_is_scaled_by_averages_and_not_by_picking_pixels() -> None:
    stripes = np.zeros((1280, 1280, 3), np.uint8)
    stripes[:, ::2] = 200
    plan = plan_tiles((1280, 1280), 0.2, MODEL, CaptureConfig())
    for image in cut(stripes, plan)[1]:
        assert np.abs(image.astype(int) - 100).max() <= 45
        assert abs(image.mean() - 100) < 1


@pytest.mark.parametrize("across", [False, True])
def test_sides_that_shrink_are_averaged_also_where_the_other_side_grows(across: bool) -> None:
    stripes = np.zeros((1000, 4000, 3), np.uint8)
    stripes[:, ::2] = 200
    frame, tiles = (np.ascontiguousarray(stripes.swapaxes(0, 1)), "1x8") if across else (stripes, "8x1")
    plan = plan_tiles((frame.shape[1], frame.shape[0]), None, MODEL, CaptureConfig(tiles=tiles))
    # 4000 pixels become 128, and 1000 become 1024.
    assert plan.scaled_px == ((128, 1024) if across else (1024, 128))
    for image in cut(frame, plan)[1]:
        assert np.abs(image.astype(int) - 100).max() <= 10
