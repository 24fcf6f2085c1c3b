"""The self-test of a bundle: rendered scenes, and the probabilities that every engine must give for them.

A device runs it before a bundle may go live. The scenes are drawn (`edge.demo.town`), so no picture of a data set travels in
a bundle, and half of them are larger than the network's tile, so that the resize inside is tested as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.demo.town import BLOCK_PX, render_town
from edge.inference.engine import Engine, EngineError
from edge.inference.openvino import OpenVinoEngine
from edge.inference.tensorflow import LITERT_MODEL, SAVED_MODEL, LiteRtEngine, TensorFlowEngine
from trainer.datasets.readers import DAMAGE_LABELS
from trainer.pack.errors import PackError
from trainer.predict import IR_FILES, openvino_call

EXPECTED = "selftest/expected.json"
TOLERANCE = {"float": 0.01, "int8": 0.05}
"""How far a probability may be from the expected one: engines add up in different orders, and INT8 rounds on top."""

# No model has learned from this town: the seeds of training and of the demo lie elsewhere.
_SEED = 3_000_000
_ROWS, _COLUMNS = 2, 4

Kind = Literal["float", "int8"]
_Image = NDArray[np.uint8]
_Ask = Callable[[_Image], NDArray[np.float32]]


class Scene(msgspec.Struct, frozen=True):
    """A picture of the self-test.

    Attributes:
        file: Path below the bundle, a PNG.
        probabilities: In the order of the labels, by the kind of weights: ``float``, and ``int8`` where the bundle has them.
    """

    file: str
    probabilities: dict[str, list[float]]


class Expected(msgspec.Struct, frozen=True):
    """The content of ``selftest/expected.json``.

    Attributes:
        tolerance: Largest difference of a probability from the expected one, by the kind of weights.
    """

    schema: Literal[1]
    labels: tuple[str, ...]
    scenes: tuple[Scene, ...]
    tolerance: dict[str, float]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A self-test that was written.

    Attributes:
        warnings: What its maker should know, each one line.
    """

    expected: Expected
    warnings: tuple[str, ...]


def write_selftest(folder: Path, labels: tuple[str, ...], size: tuple[int, int]) -> SelfTest:
    """Draw the scenes and write what the networks of a bundle say of them.

    Args:
        folder: Of the bundle; its networks are there already.
        labels: In the order of their output.
        size: Height and width of the tiles that they take, pixels.
    """
    asks = _networks(folder)
    (folder / EXPECTED).parent.mkdir()
    scenes, decided_right = [], set()
    for number, (image, is_damaged) in enumerate(render_scenes(size), 1):
        file = f"{Path(EXPECTED).parent}/scene-{number}.png"
        # By OpenCV itself a full disk would have no reason.
        (folder / file).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        probabilities: dict[str, list[float]] = {
            kind: [round(float(value), 6) for value in ask(image)] for kind, ask in asks.items()
        }
        scenes.append(Scene(file, probabilities))
        truth = DAMAGE_LABELS[0 if is_damaged else 1]
        if all(labels[int(np.argmax(said))] == truth for said in probabilities.values()):
            decided_right.add(truth)
    expected = Expected(1, labels, tuple(scenes), {kind: TOLERANCE[kind] for kind in asks})
    (folder / EXPECTED).write_bytes(msgspec.json.format(msgspec.json.encode(expected), indent=2) + b"\n")
    # What knows other labels cannot be right about ruins.
    missed = [] if set(labels) != set(DAMAGE_LABELS) else [label for label in DAMAGE_LABELS if label not in decided_right]
    return SelfTest(expected, tuple(f"no scene of the self-test that is {label} was decided so" for label in missed))


def check_selftest(bundle: Bundle, selftest: SelfTest) -> None:
    """Ask every network of a bundle, as a device would, about the scenes that lie in it.

    Raises:
        PackError: One does not give what is expected.
    """
    expected = selftest.expected
    for name, (kind, ask) in _engines(bundle).items():
        for scene in expected.scenes:
            image = cv2.imdecode(np.frombuffer(bundle.read(scene.file), np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                raise PackError(f"{scene.file} cannot be read back")
            try:
                given = ask(np.asarray(image, np.uint8))
            except EngineError as error:
                raise PackError(f"self-test: {error}") from error
            off = np.abs(given - np.array(scene.probabilities[kind]))
            # Written so that NaN fails, too.
            if given.shape != off.shape or not bool((off <= expected.tolerance[kind]).all()):
                label = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
                raise PackError(
                    f"self-test: {name} gives {given[label]:.3f} for {expected.labels[label]} of {scene.file}, expected "
                    f"{scene.probabilities[kind][label]:.3f} within {expected.tolerance[kind]:g}"
                )


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


def _networks(folder: Path) -> dict[Kind, _Ask]:
    """The IRs of a bundle."""
    asks: dict[Kind, _Ask] = {"float": _ask_ir(folder / IR_FILES["fp16"])}
    if (folder / IR_FILES["int8"]).is_file():
        asks["int8"] = _ask_ir(folder / IR_FILES["int8"])
    return asks


def _ask_ir(xml: Path) -> _Ask:
    call = openvino_call(xml)
    return lambda image: call(image[None, ..., ::-1])[0]


def _engines(bundle: Bundle) -> Mapping[str, tuple[Kind, _Ask]]:
    """All that a bundle can be asked through: its IRs, what OpenVINO takes on this CPU, and the fallbacks."""
    networks = _networks(bundle.path)
    engines: dict[str, tuple[Kind, _Ask]] = {f"IR {kind}": (kind, ask) for kind, ask in networks.items()}
    loaders: Sequence[tuple[str, Kind, bool, Callable[[Bundle], Engine]]] = (
        ("OpenVINO", "int8" if "int8" in networks else "float", True, _openvino),
        ("LiteRT", "float", bundle.has(LITERT_MODEL), LiteRtEngine),
        ("SavedModel", "float", bundle.has(f"{SAVED_MODEL}/saved_model.pb"), TensorFlowEngine),
    )
    for name, kind, is_there, load in loaders:
        if is_there:
            try:
                engines[name] = (kind, _ask_engine(load(bundle)))
            except EngineError as error:
                raise PackError(f"self-test: {error}") from error
    return engines


def _openvino(bundle: Bundle) -> Engine:
    return OpenVinoEngine(bundle, "CPU", "latency", None)


def _ask_engine(engine: Engine) -> _Ask:
    return lambda image: engine.start([image]).result().probabilities[0]
