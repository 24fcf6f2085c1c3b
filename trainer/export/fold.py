"""Makes a trained network ready to be served: batch norms and input scale folded, weights that every format can hold.

All engines of a bundle then compute with the very same numbers: FP16 files lose nothing, and the fallback answers what
OpenVINO answers.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

_LOGITS = "logits"


def fold(model: keras.Model, temperature: float = 1.0) -> keras.Model:
    """The same function of BGR pixels with plain convolutions, its weights rounded to FP16 precision.

    At inference a batch norm is a scale and an offset for each channel, which the convolution before it can apply itself
    (Jacob et al., 2018, arXiv:1712.05877, section 3.2); so can the one behind a scaled input. OpenVINO's converter does
    both, and would round what comes of it once more. Turning the channels of the first kernels round costs nothing, where
    turning those of every picture costs as much as a convolution.

    Args:
        model: A functional model of RGB pixels that begins with a convolution, whose input may be scaled by a number.
        temperature: By which the logits are divided, that is, the weights of the layer named ``logits``.

    Raises:
        ValueError: It begins with something else, a batch norm cannot be folded, or it has no logits.
    """
    norms = {
        _before(layer).name: layer
        for layer in model.layers
        if type(layer) is layers.BatchNormalization and type(_before(layer)) in {layers.Conv2D, layers.DepthwiseConv2D}
    }
    first = _first(model)
    scale = _before(first)
    # An offset cannot be folded: the convolution may pad its input, with what the offset has made 0.
    scaled = {first.name: scale} if type(scale) is layers.Rescaling and scale.offset == 0 else {}
    for layer in norms.values():
        before = _before(layer)
        if before.activation is not keras.activations.linear or len(before._outbound_nodes) != 1:
            raise ValueError(f"{model.name}: {before.name} cannot apply the batch norm {layer.name}: its own output is used")
    gone = {layer.name for layer in (*norms.values(), *scaled.values())}

    def clone(layer: layers.Layer) -> layers.Layer:
        if layer.name in gone:
            return layers.Identity(name=layer.name)
        config = layer.get_config()
        if layer.name in norms:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer: layers.Layer, *inputs: Any, **arguments: Any) -> Any:
        # What stands in for a batch norm knows none of its arguments.
        return layer(*inputs) if layer.name in gone else layer(*inputs, **arguments)

    if temperature != 1.0 and all(layer.name != _LOGITS for layer in model.layers):
        raise ValueError(f"{model.name} has no layer named {_LOGITS} to apply a temperature to")
    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in folded.layers:
        if layer.name in gone or not layer.weights:
            continue
        weights = model.get_layer(layer.name).get_weights()
        if layer.name == first.name:
            weights[0] = weights[0][:, :, ::-1, :]
        if layer.name in scaled:
            weights[0] = weights[0] * scaled[layer.name].scale
        if layer.name in norms:
            weights = _with_norm(layer, weights, norms[layer.name])
        if layer.name == _LOGITS:
            weights = [weight / temperature for weight in weights]
        layer.set_weights([weight.astype(np.float16).astype(np.float32) for weight in weights])
    return folded


def _first(model: keras.Model) -> layers.Layer:
    """The convolution that the pixels go to, and to nothing else: their channels are turned round in its kernels alone."""
    readers = _readers(_operation(model.inputs[0]))
    if (
        len(readers) == 1
        and type(readers[0]) is layers.Rescaling
        and np.ndim(readers[0].scale) == np.ndim(readers[0].offset) == 0
    ):
        readers = _readers(readers[0])
    if [type(reader) for reader in readers] != [layers.Conv2D]:
        names = ", ".join(reader.name for reader in readers)
        raise ValueError(f"{model.name} begins with {names}, expected one convolution")
    return readers[0]


def _readers(layer: layers.Layer) -> list[layers.Layer]:
    return [node.operation for node in layer._outbound_nodes]


def _before(layer: layers.Layer) -> layers.Layer:
    return _operation(layer.input)


def _operation(tensor: Any) -> layers.Layer:
    return tensor._keras_history.operation


def _with_norm(convolution: layers.Layer, weights: list[Any], norm: layers.BatchNormalization) -> list[Any]:
    kernel, *rest = weights
    bias = rest[0] if rest else 0.0
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    gamma = np.asarray(norm.gamma) if norm.scale else np.ones_like(mean)
    beta = np.asarray(norm.beta) if norm.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    if type(convolution) is layers.DepthwiseConv2D:
        # Its channels are the third axis, the filters of each the fourth.
        return [kernel * scale.reshape(kernel.shape[2:]), beta + (bias - mean) * scale]
    return [kernel * scale, beta + (bias - mean) * scale]
