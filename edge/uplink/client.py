"""A client of a broker, as the configuration wants it."""

from __future__ import annotations

import ssl
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from edge.config import ConfigError, UplinkConfig, broker_address
from edge.text import one_line

PORTS = {"mqtt": 1883, "mqtts": 8883}


class Client(mqtt.Client):
    """paho's client, which remembers why it could not connect."""

    connect_error: OSError | None = None

    @property
    def why_not_connected(self) -> str:
        """The reason in one line."""
        return one_line(self.connect_error)

    def reconnect(self) -> MQTTErrorCode:
        try:
            return super().reconnect()
        except OSError as error:
            self.connect_error = error
            raise
        except UnicodeError as error:
            # A host name that cannot be: paho expects nothing but OSError, and its thread would die.
            self.connect_error = OSError(str(error))
            raise self.connect_error from error


def make_client(config: UplinkConfig, client_id: str) -> Client:
    """A client with the protocol, the credentials and the certificates of the configuration.

    Raises:
        ConfigError: One of the files cannot be used; secrets are never in the message.
    """
    protocol = mqtt.MQTTv5 if config.protocol == "5" else mqtt.MQTTv311
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.connect_timeout = 5.0
    if config.username_file:
        password = _secret("password_file", config.password_file) if config.password_file else None
        client.username_pw_set(_secret("username_file", config.username_file), password)
    if broker_address(config.url).scheme == "mqtts":
        try:
            client.tls_set(config.ca_file or None, config.certificate_file or None, config.key_file or None)
        except (OSError, ssl.SSLError, ValueError) as error:
            files = ", ".join(name for name in (config.ca_file, config.certificate_file, config.key_file) if name)
            raise ConfigError(f"uplink.ca_file, certificate_file, key_file: cannot use {files}: {one_line(error)}") from error
    return client


def connect(client: mqtt.Client, config: UplinkConfig) -> None:
    """Connect a client that `make_client` made, and wait for that.

    Raises:
        OSError: The broker cannot be reached.
    """
    address = broker_address(config.url)
    client.connect(str(address.hostname), address.port or PORTS[address.scheme], config.keepalive_s)


def _secret(key: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"uplink.{key}: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
