"""How much a bundle, a key folder or a stick may claim: every bound of this room, in one place.

They lie far above what an honest bundle needs and far below what would hurt a small device. Nothing is read, copied or
listed beyond them.
"""

from __future__ import annotations

# The manifest.
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 64
MAX_FILE_BYTES = 1 << 30
MAX_BUNDLE_BYTES = 2 << 30
"""All files of a bundle together."""
MAX_PATH_LETTERS = 240
"""Of a file below the bundle; FAT takes 255 with the bundle's own folder."""
MAX_PATH_PART_LETTERS = 100
MAX_LABELS = 1000
MAX_CALIBRATION_DATA = 64
MAX_METRICS_LEVELS = 16
"""Objects and lists inside each other."""

# Signatures and keys.
MAX_SIGNATURE_BYTES = 1024
MAX_KEY_BYTES = 512
"""Of the file of a public key."""
MAX_KEYS = 64
"""Files of keys in a folder."""
MAX_WITHDRAWN_BYTES = 64 << 10
"""Of the file that names the withdrawn keys: about a thousand of them with a remark each."""

# The self-test.
MAX_EXPECTED_BYTES = 1 << 20
MAX_SCENES = 64
MAX_SCENE_BYTES = 16 << 20
MAX_SCENE_PIXELS = 4096 * 4096
MAX_TOLERANCE = 0.1
"""Of a probability. A self-test that allows more tests nothing."""

# The store and sticks.
KEPT_BUNDLES = 3
MAX_RESULT_BYTES = 64 << 10
"""Of what the last install came to."""
MAX_REFUSALS = 100
MAX_TRIALS = 100
"""Bundles of which it is known how they did in service."""
MAX_REASON_LETTERS = 500
MAX_FOLDER_ENTRIES = 1000
"""Entries of a folder that are looked at, on a stick or beside the keys."""
SPARE_BYTES = 16 << 20
"""Disk space that an install leaves free: the journal must go on."""
READ_BYTES = 1 << 20
"""Largest piece of a file in memory while it is hashed or copied."""
LOCK_S = 30.0
"""How long a change of the store waits for another one; a self-test takes a few seconds."""
