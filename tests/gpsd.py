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
        # Where gpsfake puts gpsd's control socket.
        self._environment = os.environ | {"TMPDIR": str(folder)}
        self._command = ["gpsfake", "-P", str(port), "-s", "38400", "-c", str(sentence_s), "-n", "-p", "-q", "-W", "20"]
        self._command += ["-r", '?WATCH={"enable":true,"json":true}', *([] if repeats else ["-1"]), *(str(log) for log in logs)]
        # gpsfake may be earlier than gpsd's port, and then gives up.
        if not any(self._start() for _ in range(5)):
            raise RuntimeError(f"gpsd does not listen: {self._log.read_text()}")

    def _start(self) -> bool:
        with self._said.open("wb") as said, self._log.open("wb") as log:
            # A session of its own, because gpsd is gpsfake's child.
            self._process = subprocess.Popen(
                self._command, stdout=said, stderr=log, env=self._environment, start_new_session=True
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._process.poll() is None:
            time.sleep(0.1)
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                # Its greeting; and gpsfake has not given up meanwhile.
                if probe.recv(100) and self._is_up_for(0.2):
                    return True
        self.stop()
        return False

    def _is_up_for(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

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
