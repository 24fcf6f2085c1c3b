"""The argument parser of all commands."""

from __future__ import annotations

import argparse
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read what is right, instead of printing all that could be."""

    def error(self, message: str) -> NoReturn:
        """Print the line to standard error and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} ({self.prog} --help)\n")
