"""``overflight-train keygen``."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "make a key pair that bundles are signed with"
DESCRIPTION = (
    "Write NAME.key, the private key that pack --key signs with (keep it away from devices and repositories), and NAME.pub, "
    "the public key that a device trusts. An existing key is never overwritten."
)
TENSORFLOW = False
EXAMPLE = "overflight-train keygen --out keys --name field-team"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As in `Command`."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write them")
    parser.add_argument("--name", default="overflight", metavar="NAME", help="of the key (default overflight)")
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="encrypt the private key with the first line of FILE"
    )


def run(options: argparse.Namespace) -> int:
    """As in `Command`."""
    from trainer.keys import generate_key, read_password

    password = read_password(options.password_file) if options.password_file is not None else None
    private, public = generate_key(options.out, options.name, password)
    print(f"{private}: private, {'encrypted' if password is not None else 'not encrypted'}")
    print(f"{private.with_suffix('.pub')}: key {public.id}, for the trusted keys of a device")
    return 0
