"""An MQTT broker inside this process, for a machine that has none. amqtt speaks MQTT 3.1.1."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any

from edge.config import UplinkConfig

_START_S = 10.0


class BrokerError(Exception):
    """The embedded broker cannot be started; the message is the reason in one line."""


class EmbeddedBroker:
    """A broker on a free port of the loopback interface. Use it as a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker", daemon=True)
        self._broker: Any = None
        self._port = _free_port()

    @property
    def uplink(self) -> UplinkConfig:
        """How to connect to it."""
        return UplinkConfig(url=f"mqtt://127.0.0.1:{self._port}", protocol="3.1.1")

    def __enter__(self) -> EmbeddedBroker:
        """Start it.

        Raises:
            BrokerError: It does not come up.
        """
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_START_S)
        except Exception as error:
            raise BrokerError(f"the embedded broker does not start on port {self._port}: {error}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop it."""
        asyncio.run_coroutine_threadsafe(self._broker.shutdown(), self._loop).result(_START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_S)
        self._loop.close()

    async def _start(self) -> None:
        from amqtt.broker import Broker

        # It tells of every connection that ends, which at the end of a demo is all of them.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        listener = {"type": "tcp", "bind": f"127.0.0.1:{self._port}"}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        self._broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
        await self._broker.start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
