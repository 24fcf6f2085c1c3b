"""A Movidius stick that is none: the real worker process, with a runtime that takes the CPU for a stick."""

from __future__ import annotations

import sys
from pathlib import Path

# Python imports this by itself before the worker begins.
_RUNTIME = """
import fcntl, os, sys
sys.modules["openvino_telemetry"] = None
import openvino

class Core(openvino.Core):
    available_devices = ["CPU", "MYRIAD"]

    def compile_model(self, model, device, properties):
        if device != "MYRIAD" or os.path.exists({pulled!r}):
            raise RuntimeError("Can not init Myriad device: NC_ERROR")
        if not hasattr(self, "taken"):
            # As a real one: it belongs to one process at a time.
            self.taken = open({taken!r}, "w")
            try:
                fcntl.flock(self.taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError("Can not init Myriad device: NC_ERROR") from None
        return super().compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})

openvino.Core = Core
"""


class StandInStick:
    """What `model.myriad_python` names where there is no stick.

    Attributes:
        python: The interpreter.
    """

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: Where the interpreter and its runtime are to lie.
        """
        self._pulled = folder / "pulled"
        runtime = folder / "runtime"
        runtime.mkdir(parents=True)
        (runtime / "sitecustomize.py").write_text(_RUNTIME.format(pulled=str(self._pulled), taken=str(folder / "taken")))
        self.python = folder / "python"
        self.python.write_text(f'#!/bin/sh\nPYTHONPATH="{runtime}" exec "{sys.executable}" "$@"\n')
        self.python.chmod(0o755)

    def pull(self) -> None:
        """From now on no model can be loaded on it; one that is goes on until its worker is killed."""
        self._pulled.touch()

    def put_in(self) -> None:
        """It is there again."""
        self._pulled.unlink(missing_ok=True)
