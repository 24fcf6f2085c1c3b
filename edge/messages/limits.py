"""How large a message may be, in bytes: what is larger is refused before anybody looks inside.

A device's memory must not depend on who may publish to its topics, nor the ground station's on a device.
"""

ALERT_MAX_BYTES = 262_144
STATUS_MAX_BYTES = 65_536
HEALTH_MAX_BYTES = 65_536
LOG_MAX_BYTES = 65_536
COMMAND_MAX_BYTES = 16_384
REPLY_MAX_BYTES = 65_536
# Room for as many missing sequences as an acknowledgement may name.
ACK_MAX_BYTES = 262_144
