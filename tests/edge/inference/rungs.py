"""Rungs for ladders. Hardware that fails in a given way cannot be had for a test, so their engines do nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.bundle.selftest import Weights
from edge.inference.engine import Engine, EngineError, Request

Rung = tuple[str, Callable[[], Engine]]


class IdleEngine:
    """An engine that can be loaded and closed, and is not asked for more."""

    device = "CPU"
    weights: Weights = "float"

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False

    def start(self, images: object) -> Request:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


class Stick:
    """A rung that can be pulled out and put in again, and what became of it."""

    name = "MYRIAD"

    def __init__(self) -> None:
        self.is_there = True
        self.is_sound = True
        self.loaded: list[IdleEngine] = []
        self.tried_at: list[float] = []

    def load(self) -> Engine:
        self.tried_at.append(time.monotonic())
        if not self.is_there:
            raise EngineError("no stick")
        self.loaded.append(IdleEngine(self.name))
        return self.loaded[-1]

    def check(self, engine: Engine) -> None:
        if engine.name == self.name and not self.is_sound:
            raise EngineError("gives nonsense")

    @property
    def rung(self) -> Rung:
        return self.name, self.load


class Told:
    """What a ladder says, and what of it holds."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str | None]] = []

    def __call__(self, rung: str, reason: str | None) -> None:
        self.all.append((rung, reason))

    @property
    def lost(self) -> dict[str, str]:
        return {rung: reason for rung, reason in dict(self.all).items() if reason is not None}


def works(name: str) -> Rung:
    return name, lambda: IdleEngine(name)


def broken(name: str, reason: str) -> Rung:
    def load() -> Engine:
        raise EngineError(reason)

    return name, load
