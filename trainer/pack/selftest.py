"""The self-test of a bundle: rendered scenes, and the probabilities that every engine must give for them.

A device runs it before a bundle may go live. The scenes are drawn (`edge.demo.town`), so no picture of a data set travels in
a bundle, and half of them are larger than the network's tile, so that the resize inside is tested as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.bundle.bundle import EXPECTED
from edge.bundle.selftest import Expected, Scene, Weights
from edge.demo.town import BLOCK_PX, render_town
from edge.inference.engine import Engine, EngineError
from edge.inference.openvino import OpenVinoEngine
from edge.inference.selftest import Ask, check_answers, check_engine
from edge.inference.tensorflow import LITERT_MODEL, SAVED_MODEL, LiteRtEngine, TensorFlowEngine
from trainer.datasets.readers import DAMAGE_LABELS
from trainer.pack.errors import PackError
from trainer.predict import IR_FILES, openvino_call

TOLERANCE: dict[Weights, float] = {"float": 0.01, "int8": 0.05}
"""How far a probability may be from the expected one: engines add up in different orders, and INT8 rounds on top."""

# No model has learned from this town: the seeds of training and of the demo lie elsewhere.
_SEED = 3_000_000
_ROWS, _COLUMNS = 2, 4

_Image = NDArray[np.uint8]


def write_selftest(folder: Path, labels: tuple[str, ...], size: tuple[int, int]) -> tuple[str, ...]:
    """Draw the scenes and write what the networks of a bundle say of them.

    Args:
        folder: Of the bundle; its networks are there already.
        labels: In the order of their output.
        size: Height and width of the tiles that they take, pixels.

    Returns:
        What the bundle's maker should know, each one line.
    """
    asks = _networks(folder)
    (folder / EXPECTED).parent.mkdir()
    scenes, decided_right = [], set()
    for number, (image, is_damaged) in enumerate(render_scenes(size), 1):
        file = f"{Path(EXPECTED).parent}/scene-{number}.png"
        # By OpenCV itself a full disk would have no reason.
        (folder / file).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        probabilities: dict[Weights, tuple[float, ...]] = {
            kind: tuple(round(float(value), 6) for value in ask([image])[0]) for kind, ask in asks.items()
        }
        scenes.append(Scene(file, probabilities))
        truth = DAMAGE_LABELS[0 if is_damaged else 1]
        if all(labels[int(np.argmax(said))] == truth for said in probabilities.values()):
            decided_right.add(truth)
    expected = Expected(1, labels, tuple(scenes), {kind: TOLERANCE[kind] for kind in asks})
    (folder / EXPECTED).write_bytes(msgspec.json.format(msgspec.json.encode(expected), indent=2) + b"\n")
    # What knows other labels cannot be right about ruins.
    missed = [] if set(labels) != set(DAMAGE_LABELS) else [label for label in DAMAGE_LABELS if label not in decided_right]
    return tuple(f"no scene of the self-test that is {label} was decided so" for label in missed)


def check_selftest(bundle: Bundle) -> None:
    """Ask every network of a bundle, as a device would, about the scenes that lie in it.

    Raises:
        PackError: One does not give what is expected.
    """
    try:
        for weights, ask in _networks(bundle.path).items():
            check_answers(bundle, f"IR {weights}", weights, ask)
        for engine in _engines(bundle):
            check_engine(bundle, engine)
            engine.close()
    except EngineError as error:
        raise PackError(f"self-test: {error}") from error


def render_scenes(size: tuple[int, int]) -> list[tuple[_Image, bool]]:
    """Blocks of a town, every second one in ruins; one row of them as large as a tile, the other as they were drawn.

    Args:
        size: Height and width of a tile, pixels.

    Returns:
        Of each scene its pixels, BGR, and whether it lies in ruins.
    """
    damaged = np.indices((_ROWS, _COLUMNS)).sum(axis=0) % 2 == 0
    town = render_town(_SEED, _ROWS, _COLUMNS, damaged)
    scenes = []
    for row, column in np.ndindex(_ROWS, _COLUMNS):
        top, left = row * BLOCK_PX, column * BLOCK_PX
        image = np.ascontiguousarray(town.image[top : top + BLOCK_PX, left : left + BLOCK_PX])
        if row == 0:
            image = np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
        scenes.append((image, bool(damaged[row, column])))
    return scenes


def _networks(folder: Path) -> dict[Weights, Ask]:
    """The IRs of a bundle."""
    asks: dict[Weights, Ask] = {"float": _ask_ir(folder / IR_FILES["fp16"])}
    if (folder / IR_FILES["int8"]).is_file():
        asks["int8"] = _ask_ir(folder / IR_FILES["int8"])
    return asks


def _ask_ir(xml: Path) -> Ask:
    call = openvino_call(xml)
    return lambda images: call(np.stack(images)[..., ::-1])


def _engines(bundle: Bundle) -> Iterator[Engine]:
    """What a device may run: OpenVINO as it takes the bundle on a CPU, and the fallbacks that are in it."""
    yield OpenVinoEngine(bundle, "CPU", "latency", None)
    if bundle.has(LITERT_MODEL):
        yield LiteRtEngine(bundle)
    if bundle.has(f"{SAVED_MODEL}/saved_model.pb"):
        yield TensorFlowEngine(bundle)
