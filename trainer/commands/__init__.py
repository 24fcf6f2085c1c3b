"""The commands of ``overflight-train``, one module each.

A module says what it is for (``SUMMARY``, ``DESCRIPTION``, ``EXAMPLE``), what it takes (``add_arguments``) and does it
(``run``, which returns the exit status). Importing it brings no TensorFlow, so that a typing mistake is answered at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Protocol, cast

from trainer.commands import compare, evaluate, explain, export, fetch, fit, harvest, keygen, pack, prune


class Command(Protocol):
    """What each module of a command has."""

    SUMMARY: str
    DESCRIPTION: str
    EXAMPLE: str
    TENSORFLOW: bool
    """Whether it computes with TensorFlow, which is then imported before anything else."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what the command takes."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; returns the exit status."""


COMMANDS: Mapping[str, Command] = {
    "fetch": cast(Command, fetch),
    "fit": cast(Command, fit),
    "evaluate": cast(Command, evaluate),
    "export": cast(Command, export),
    "compare": cast(Command, compare),
    "explain": cast(Command, explain),
    "prune": cast(Command, prune),
    "pack": cast(Command, pack),
    "keygen": cast(Command, keygen),
    "harvest": cast(Command, harvest),
}
