"""The configuration: one YAML file, every key with a default that works, typed and validated.

`load` reads the file, lets ``OVERFLIGHT_<SECTION>_<KEY>`` variables override it and raises `ConfigError` with one line
that names the file, the key and what is allowed.
"""

from edge.config.reading import DEFAULT_PATH, ConfigError, build, describe, load
from edge.config.sections import (
    CameraConfig,
    CaptureConfig,
    Config,
    HealthConfig,
    JournalConfig,
    ModelConfig,
    PositionConfig,
    TriageConfig,
    UplinkConfig,
    broker_address,
)

__all__ = [
    "DEFAULT_PATH",
    "CameraConfig",
    "CaptureConfig",
    "Config",
    "ConfigError",
    "HealthConfig",
    "JournalConfig",
    "ModelConfig",
    "PositionConfig",
    "TriageConfig",
    "UplinkConfig",
    "broker_address",
    "build",
    "describe",
    "load",
]
