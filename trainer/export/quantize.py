"""Quantizes an OpenVINO model to INT8 after training, and says whether that was worth it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.export.record import Gate
from trainer.metrics import balanced_accuracy

# NNCF looks at 300 by default; statistics of more hardly change.
_SUBSET = 300


def quantize(model: Any, images: NDArray[np.uint8]) -> Any:
    """Quantize weights and activations with NNCF (post-training; Jacob et al., 2018, arXiv:1712.05877).

    Args:
        model: Takes uint8 BGR.
        images: (n, side, side, 3) RGB, tiles that the network learned from: activations are scaled to what they give.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    # It draws its bars on standard output, which belongs to the result.
    with redirect_stdout(sys.stderr if sys.stderr.isatty() else io.StringIO()):
        chosen = images[np.linspace(0, len(images) - 1, min(_SUBSET, len(images))).astype(int)]
        data = nncf.Dataset([np.ascontiguousarray(image[None, ..., ::-1]) for image in chosen])
        return nncf.quantize(
            model,
            data,
            subset_size=len(chosen),
            preset=nncf.QuantizationPreset.MIXED,
            # The thorough correction takes seconds longer and moves the probabilities of the shipped network by 0.1 points
            # on average, the fast one by a whole point.
            fast_bias_correction=False,
        )


def weigh(
    fp32: Mapping[str, NDArray[np.floating[Any]]],
    int8: Mapping[str, NDArray[np.floating[Any]]],
    labels: Mapping[str, NDArray[np.int32]],
    most_lost: float,
) -> Gate:
    """Compare decisions on held-out tiles.

    A data set counts against INT8 if it lost more balanced accuracy than allowed and more than one tile's worth of it: of 37
    tiles, one that changes sides is 2.7 points and says nothing.

    Args:
        fp32: Probabilities by data set, (n, labels); `int8` alike.
        labels: True ones by data set, (n,).
        most_lost: Allowed loss of balanced accuracy, 0..1.
    """
    before = {name: balanced_accuracy(fp32[name], labels[name]) for name in labels}
    after = {name: balanced_accuracy(int8[name], labels[name]) for name in labels}
    one_tile = {name: 1 / (len(np.unique(true)) * np.bincount(true)[np.unique(true)].min()) for name, true in labels.items()}
    allowed = {name: max(most_lost, one_tile[name]) for name in labels}
    passed = all(before[name] - after[name] <= allowed[name] + 1e-9 for name in labels)
    return Gate(_rounded(before), _rounded(after), _rounded(allowed), passed)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in values.items()}
