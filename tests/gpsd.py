"""A real gpsd, fed with the logs of receivers by its own gpsfake."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


class Gpsd:
    """It begins with the logs 1.4 s after its start, so that whoever connects at once misses nothing."""

    def __init__(self, folder: Path, port: int, *logs: Path, repeats: bool = False, sentence_s: float = 0.0) -> None:
        """
        Args:
            logs: Of one receiver each.
            repeats: Play them again and again, and not once and then end.
            sentence_s: Pause after each sentence.
        """
        self.port = port
        self._said = folder / f"gpsd-{port}.json"
        self._log = folder / f"gpsd-{port}.log"
        command = ["gpsfake", "-P", port, "-s", 38400, "-c", sentence_s, "-p", "-q", "-W", 20]
        command += ["-r", '?WATCH={"enable":true,"json":true}', *([] if repeats else ["-1"]), *logs]
        with self._said.open("wb") as said, self._log.open("wb") as log:
            # Where gpsfake puts gpsd's control socket.
            environment = os.environ | {"TMPDIR": str(folder)}
            # A session of its own, because gpsd is gpsfake's child.
            self._process = subprocess.Popen(
                [str(part) for part in command], stdout=said, stderr=log, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except ConnectionError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"gpsd does not listen: {self._log.read_text()}")

    @property
    def said(self) -> list[dict[str, Any]]:
        """What it told gpsfake's own client."""
        return [json.loads(line) for line in self._said.read_bytes().splitlines() if line.startswith(b"{")]

    def finish(self) -> None:
        """Wait until the logs are played."""
        self._process.wait(30)

    def send(self, number: signal.Signals) -> None:
        """Send a signal: SIGKILL, or SIGSTOP for one that hangs."""
        os.killpg(self._process.pid, number)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self._process.wait(10)
