"""Which weights of a network are held at zero."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError


class PruneError(TrainerError):
    """A network cannot be pruned as asked; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class LayerSparsity:
    """How many weights of a layer's kernel are zero.

    Attributes:
        wanted: Share of them that was asked for, 0..1; 0 of a layer that is left alone.
    """

    name: str
    weights: int
    zeros: int
    wanted: float


def sparsity_at(step: int, ramp: int, initial: float, final: float) -> float:
    """The share of weights to hold at zero after a step: fast at first, while there are many that do not matter.

    ``final + (initial - final) (1 - step / ramp)³`` (Zhu and Gupta, 2017, arXiv:1710.01878, equation 1).

    Args:
        step: From 0.
        ramp: Step at which the final share is reached.
        initial: 0..1, as `final`.
    """
    return final + (initial - final) * (1 - min(step / ramp, 1.0)) ** 3


class Masks:
    """Holds the smallest weights of each layer at zero, the same share in each; a weight that is zero stays so.

    Pruned are the kernels of convolutions and dense layers. As in the paper's MobileNets, depthwise kernels are left alone:
    they are few, and each decides over a whole channel. So are biases and batch norms, and, unless asked for, the first
    convolution, which sees the pixels, and the last dense layer, which decides.
    """

    def __init__(self, model: keras.Model, sparsity: float, *, all_layers: bool = False) -> None:
        """
        Args:
            sparsity: Share of the weights of each layer that shall be zero in the end, between 0 and 1.
            all_layers: Also prune the first convolution and the last dense layer.

        Raises:
            PruneError: The share is out of range, or no layer is left to prune.
        """
        if not 0 < sparsity < 1:
            raise PruneError(f"sparsity {sparsity:g}: expected a number between 0 and 1, as 0.7 for seven weights of ten")
        self._model = model
        self._sparsity = sparsity
        self._layers = _prunable(model, all_layers=all_layers)
        if not self._layers:
            raise PruneError(f"{model.name}: has no layer to prune between its first convolution and its last dense layer")
        self._masks = [np.ones(layer.kernel.shape, np.float32) for layer in self._layers]
        self._initial = [min(float((_kernel(layer) == 0).mean()), sparsity) for layer in self._layers]

    def update(self, step: int, ramp: int) -> None:
        """Choose anew, after a step, which weights to hold at zero; arguments as of `sparsity_at`."""
        for index, (layer, initial) in enumerate(zip(self._layers, self._initial, strict=True)):
            size = np.abs(_kernel(layer))
            # What was held at zero comes first, so that the zeros only grow.
            size[self._masks[index] == 0] = -1
            zeros = round(sparsity_at(step, ramp, initial, self._sparsity) * size.size)
            mask = np.ones(size.size, np.float32)
            mask[np.argsort(size, axis=None, kind="stable")[:zeros]] = 0
            self._masks[index] = mask.reshape(size.shape)

    def apply(self) -> None:
        """Set the held weights of the network to zero."""
        for layer, mask in zip(self._layers, self._masks, strict=True):
            layer.kernel.assign(layer.kernel * mask)

    def reached(self) -> tuple[LayerSparsity, ...]:
        """What every convolution and dense layer has, in the order of the network."""
        return tuple(
            LayerSparsity(
                layer.name,
                int(np.prod(layer.kernel.shape)),
                int((_kernel(layer) == 0).sum()),
                self._sparsity if layer in self._layers else 0.0,
            )
            for layer in self._model.layers
            if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense))
        )


def _kernel(layer: keras.layers.Layer) -> NDArray[np.float32]:
    return np.asarray(layer.kernel.numpy(), np.float32)


def _prunable(model: keras.Model, *, all_layers: bool) -> list[keras.layers.Layer]:
    learning = [layer for layer in model.layers if layer.trainable_weights]
    convolutions = [layer for layer in learning if isinstance(layer, keras.layers.Conv2D)]
    dense = [layer for layer in learning if isinstance(layer, keras.layers.Dense)]
    spared = [] if all_layers else [*convolutions[:1], *dense[-1:]]
    return [layer for layer in learning if layer in [*convolutions, *dense] and layer not in spared]
