"""Which engines a device has for a bundle, and in which order they are tried.

A fixed order is the operator's. ``auto`` measures what is there by the bundle's self-test: the fastest comes first, what cannot
be loaded or answers wrongly is said and tried again later, TensorFlow comes last. OpenVINO's own AUTO is never asked: it says
nothing of what it took, and when a stick is missing it goes on with the CPU without a word.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from edge.bundle import Bundle, BundleError, SelfTestError
from edge.inference.bound import within
from edge.inference.engine import ANSWER_S, BATCH, Engine, EngineError, Loader, Mode, WrongAnswerError, as_engine_error
from edge.inference.ladder import LOAD_S
from edge.inference.myriad import MyriadEngine
from edge.inference.openvino import OpenVinoEngine, offered_devices
from edge.inference.selftest import check_engine
from edge.inference.tensorflow import load_tensorflow

_log = logging.getLogger(__name__)

TENSORFLOW, MYRIAD = "TENSORFLOW", "MYRIAD"

_ROUNDS = 5
_AT_ONCE = 4
# The one in use has frames to classify while it is measured.
_CLEARLY = 0.8


@dataclass(frozen=True, slots=True)
class Devices:
    """What a bundle may run on, and how.

    Attributes:
        order: Names of OpenVINO's devices, MYRIAD and TENSORFLOW, the best one first; None: what there is, as measured.
        mode: Throughput where images wait in line, latency where the newest counts.
        cache: Folder for compiled models.
        answer_s: An engine that takes longer to answer has failed.
        retry_s: An engine that failed is tried again after so long; None: never.
        myriad_python: Interpreter of an OpenVINO runtime that knows Movidius sticks; None: there is none.
    """

    order: Sequence[str] | None = None
    mode: Mode = "throughput"
    cache: Path | None = None
    answer_s: float = ANSWER_S
    retry_s: float | None = None
    myriad_python: Path | None = None


ANY_DEVICE = Devices()


@dataclass(frozen=True, slots=True)
class Rungs:
    """The engines of a device for a bundle. None is kept loaded.

    Attributes:
        loaders: In the order in which they are to be tried, by name.
        absent: Why devices that should be there could not be measured, by name; they lie behind those that were.
        is_faster: Whether an engine that is there at last is to be used instead of another one.
    """

    loaders: list[tuple[str, Loader]]
    absent: dict[str, str] = field(default_factory=dict)
    is_faster: Callable[[Engine, Engine], bool] = lambda engine, current: False


def rungs(bundle: Bundle, devices: Devices) -> Rungs:
    """Find out which engines there are, and their order."""
    if devices.order:
        return Rungs([(name, _loader(bundle, name, devices)) for name in devices.order])
    order, absent = _measured(bundle, devices)
    loaders = [(name, _loader(bundle, name, devices)) for name in order]
    return Rungs(loaders, absent, partial(_is_faster, bundle, devices.mode))


def check_serving(bundle: Bundle, devices: Devices) -> tuple[str, str]:
    """Run a bundle's self-test on the engine that would serve: the first that works.

    A device that fails may be broken, and so may the bundle. What tells them apart is the bundle that came with the package:
    where that passes on the device, the new one has to pass, too.

    Returns:
        Name and device of the engine.

    Raises:
        SelfTestError: An engine that works gives wrong answers with it.
        EngineError: An engine that works cannot load it, or gives no answer; or none works, which is the machine's fault.
    """
    reasons = []
    for name, load in rungs(bundle, devices).loaders:
        try:
            return _pass(bundle, name, load)
        except EngineError as error:
            if _passes_shipped(bundle, name, devices):
                if isinstance(error, WrongAnswerError):
                    raise SelfTestError(f"self-test: {error}") from error
                raise EngineError(f"self-test: {name} passes that of the shipped bundle, and not this one: {error}") from error
            _log.warning("inference: %s cannot be used: %s", name, error)
            reasons.append(str(error))
    raise EngineError(f"self-test: no engine works: {'; '.join(reasons)}")


def _pass(bundle: Bundle, name: str, load: Loader) -> tuple[str, str]:
    """Load an engine and run the self-test.

    Raises:
        EngineError: It cannot be loaded, or does not pass.
    """

    def run() -> tuple[str, str]:
        try:
            engine = load()
            try:
                check_engine(bundle, engine)
                return engine.name, engine.device
            finally:
                engine.close()
        except Exception as error:
            raise as_engine_error(error) from error

    return within(LOAD_S, run, f"test {name}")


def _passes_shipped(bundle: Bundle, name: str, devices: Devices) -> bool:
    """Whether a device does right by the bundle that came with the package."""
    if bundle.is_shipped:
        return False
    try:
        shipped = Bundle.shipped()
        _pass(shipped, name, _loader(shipped, name, devices))
    except (BundleError, EngineError) as error:
        _log.info("inference: %s with the shipped bundle: %s", name, error)
        return False
    return True


def check(bundle: Bundle, engine: Engine) -> None:
    """Ask an engine about the scenes of the bundle's self-test, or, where it has none, for any answer at all.

    Raises:
        EngineError: It does not give what it must.
    """
    if bundle.has_selftest:
        check_engine(bundle, engine)
        return
    size = bundle.manifest.input
    given = engine.start([np.zeros((size.height, size.width, 3), np.uint8)]).result().probabilities
    if given.shape != (1, len(bundle.manifest.labels)) or not np.isfinite(given).all():
        raise EngineError("gives no probabilities of a black image")


def _loader(bundle: Bundle, name: str, devices: Devices) -> Loader:
    if name == TENSORFLOW:
        return partial(load_tensorflow, bundle, devices.answer_s)
    if name == MYRIAD:
        return partial(_load_myriad, bundle, devices)
    return partial(OpenVinoEngine, bundle, name, devices.mode, devices.cache, devices.answer_s)


def _load_myriad(bundle: Bundle, devices: Devices) -> Engine:
    if devices.myriad_python is None:
        raise EngineError("model.myriad_python names no interpreter that has the MYRIAD plugin")
    return MyriadEngine(bundle, devices.myriad_python, answer_s=devices.answer_s)


def _measured(bundle: Bundle, devices: Devices) -> tuple[list[str], dict[str, str]]:
    """The devices of this machine, the fastest first, then those that do not pass the self-test, and TensorFlow last.

    Returns:
        Their order, and why some did not pass.
    """
    try:
        offered = offered_devices()
    except EngineError as error:
        _log.warning("inference: %s", error)
        offered = ["CPU"]  # Tried all the same, so that its reason is seen.
    if devices.myriad_python is not None:
        offered.append(MYRIAD)
    if len(offered) == 1:
        # Nothing to choose from; the ladder checks it.
        return [*offered, TENSORFLOW], {}
    took: dict[str, float] = {}
    absent: dict[str, str] = {}
    for name in offered:
        try:
            took[name] = within(LOAD_S, partial(_try, bundle, _loader(bundle, name, devices), devices.mode), f"try {name}")
        except EngineError as error:
            absent[name] = str(error)
        else:
            _log.info("inference: %s takes %.2f ms a tile", name, took[name])
    return [*sorted(took, key=lambda name: took[name]), *absent, TENSORFLOW], absent


def _try(bundle: Bundle, load: Callable[[], Engine], mode: Mode) -> float:
    """Milliseconds that a device takes for a tile.

    Raises:
        EngineError: It cannot be loaded, or does not pass the self-test.
    """
    try:
        engine = load()
        try:
            check(bundle, engine)
            return _measure(bundle, engine, mode)
        finally:
            engine.close()
    except Exception as error:
        raise as_engine_error(error) from error


def _is_faster(bundle: Bundle, mode: Mode, engine: Engine, current: Engine) -> bool:
    try:
        before_ms = _measure(bundle, current, mode)
    except EngineError:
        # Whoever has frames in hand finds out, and leaves it.
        return True
    try:
        took_ms = _measure(bundle, engine, mode)
    except EngineError as error:
        _log.warning("inference: %s on %s: %s", engine.name, engine.device, error)
        return False
    return took_ms < _CLEARLY * before_ms


def _measure(bundle: Bundle, engine: Engine, mode: Mode) -> float:
    """Milliseconds that an engine takes for a tile, in the way that it will be asked.

    Raises:
        EngineError: It gives no answer.
    """
    size, count = bundle.manifest.input, BATCH if mode == "throughput" else 1
    at_once = _AT_ONCE if mode == "throughput" else 1
    tiles = [np.zeros((size.height, size.width, 3), np.uint8)] * count
    took = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        for request in [engine.start(tiles) for _ in range(at_once)]:
            request.result()
        took.append((time.perf_counter() - begun) * 1000 / count / at_once)
    return statistics.median(took)
