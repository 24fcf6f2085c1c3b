"""MQTT: drains the journal, tells how the device is, and takes what the ground says."""

from edge.uplink.client import connect, make_client
from edge.uplink.uplink import Uplink

__all__ = ["Uplink", "connect", "make_client"]
