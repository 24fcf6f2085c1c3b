"""The networks that can be trained, by name.

Each takes RGB tiles, (n, tile_px, tile_px, 3) in 0..255, and gives probabilities, (n, labels), whose rows sum to 1. Its last
layer that has weights is a dense one which computes logits: `trainer.export.fold` divides them by the temperature.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable

import keras

from edge.text import one_line
from trainer.errors import TrainerError
from trainer.networks.backbone import mobilenet_v2
from trainer.networks.overflight_s import overflight_s
from trainer.networks.seed_cnn import seed_cnn


class NetworkError(TrainerError):
    """A network cannot be made as asked; the message is one line that says what is allowed."""


_NETWORKS: dict[str, Callable[[int, int], keras.Model]] = {"overflight-s": overflight_s, "seed-cnn": seed_cnn}
_BACKBONES: dict[str, Callable[[int, int, str | None], keras.Model]] = {"mobilenet-v2": mobilenet_v2}
NETWORKS = (*_NETWORKS, *_BACKBONES)


def build(name: str, labels: int, tile_px: int, weights: str = "none") -> keras.Model:
    """Make a network.

    Args:
        weights: What it starts from: ``none``, ``imagenet`` (backbones only; downloaded once), or the path of a Keras file, of
            which a backbone takes all but the head.

    Raises:
        NetworkError: The name is unknown, or the network cannot have so many labels or these weights.
    """
    if name not in NETWORKS:
        raise NetworkError(f"network {name}: expected one of {', '.join(NETWORKS)}")
    if weights == "imagenet" and name not in _BACKBONES:
        raise NetworkError(f"weights imagenet: {name} has none; expected none or a path, or one of {', '.join(_BACKBONES)}")
    try:
        # Keras warns of every part of weights that do not fit before it fails.
        with warnings.catch_warnings(action="ignore"):
            return _make(name, labels, tile_px, None if weights == "none" else weights)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        of = "" if weights == "none" else f" with the weights {weights}"
        raise NetworkError(f"network {name}{of}: {one_line(error)[:300]}") from error


def _make(name: str, labels: int, tile_px: int, weights: str | None) -> keras.Model:
    if name in _BACKBONES:
        return _BACKBONES[name](labels, tile_px, weights)
    model = _NETWORKS[name](labels, tile_px)
    if weights is not None:
        model.load_weights(weights)
    return model
