"""Makes a trained network ready to be served: batch norms folded, weights that every format can hold.

All engines of a bundle then compute with the very same numbers: FP16 files lose nothing, and the fallback answers what
OpenVINO answers.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers


def fold(model: keras.Model) -> keras.Model:
    """The same function without batch norms that follow a convolution, its weights rounded to FP16 precision.

    At inference a batch norm is a scale and an offset for each channel, which the convolution before it can apply itself
    (Jacob et al., 2018, arXiv:1712.05877, section 3.2).

    Args:
        model: A functional model.
    """
    norms = {
        norm.input._keras_history.operation.name: norm
        for norm in model.layers
        if isinstance(norm, layers.BatchNormalization)
        and type(norm.input._keras_history.operation) is layers.Conv2D
    }
    folded_names = {norm.name for norm in norms.values()}

    def clone(layer: layers.Layer) -> layers.Layer:
        if layer.name in folded_names:
            return layers.Identity(name=layer.name)
        config = layer.get_config()
        if layer.name in norms:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    folded = keras.models.clone_model(model, clone_function=clone)
    for layer in folded.layers:
        if layer.name in norms:
            weights = _folded_weights(model.get_layer(layer.name), norms[layer.name])
        elif layer.name in folded_names:
            continue
        else:
            weights = model.get_layer(layer.name).get_weights()
        layer.set_weights([weight.astype(np.float16).astype(np.float32) for weight in weights])
    return folded


def _folded_weights(convolution: layers.Conv2D, norm: layers.BatchNormalization) -> list[np.ndarray]:
    kernel, *rest = convolution.get_weights()
    bias = rest[0] if rest else np.zeros(kernel.shape[-1], np.float32)
    gamma, beta, mean, variance = (np.asarray(value) for value in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [kernel * scale, beta + (bias - mean) * scale]
