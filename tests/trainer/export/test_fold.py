"""Folding changes how a network computes, not what."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from trainer.fold import fold
from trainer.networks import overflight_s

TILE_PX = 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Pictures of many brightnesses and colours, RGB."""
    rng = np.random.default_rng(4)
    colours = rng.uniform(0, 255, (24, 1, 1, 3))
    return np.clip(colours + rng.normal(0, 40, (24, TILE_PX, TILE_PX, 3)), 0, 255).astype(np.uint8).astype(np.float32)


@pytest.fixture(scope="module")
def trained(images: np.ndarray) -> keras.Model:
    """A network whose statistics are all away from where training begins: to fold batch norms that do nothing is no test."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    model = overflight_s(2, TILE_PX)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            channels = layer.get_weights()[0].shape
            gamma, variance = rng.uniform(0.5, 1.5, channels), rng.uniform(0.5, 2, channels)
            layer.set_weights([gamma, rng.normal(0, 0.3, channels), rng.normal(0, 0.3, channels), variance])
    # The last layer tells these pictures apart, as that of a trained network does.
    last = model.get_layer("probabilities")
    features = judge(keras.Model(model.input, last.input), images)
    kernel = rng.normal(0, 1, (features.shape[1], 2))
    kernel /= (features @ kernel).std(axis=0)
    last.set_weights([kernel, -(features @ kernel).mean(axis=0)])
    return model


def judge(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


def test_folded_network_gives_the_same_probabilities_for_bgr(trained: keras.Model, images: np.ndarray) -> None:
    expected = judge(trained, images)
    # The check says something only if the probabilities differ from picture to picture and with the order of colours.
    assert np.ptp(expected[:, 0]) > 0.2
    assert np.abs(judge(trained, images[..., ::-1]) - expected).max() > 0.02
    np.testing.assert_allclose(judge(fold(trained), images[..., ::-1]), expected, rtol=0, atol=2e-3)


def test_folded_network_has_no_batch_norm_and_scales_no_pixels(trained: keras.Model, images: np.ndarray) -> None:
    kinds = {type(layer) for layer in fold(trained).layers}
    assert layers.BatchNormalization not in kinds
    assert layers.Rescaling not in kinds


def test_folded_weights_lose_nothing_in_half_precision(trained: keras.Model) -> None:
    for layer in fold(trained).layers:
        for weight in layer.get_weights():
            assert np.isfinite(weight.astype(np.float16)).all()
            assert (weight == weight.astype(np.float16).astype(np.float32)).all()


def test_network_that_is_folded_is_not_changed_itself(trained: keras.Model, images: np.ndarray) -> None:
    weights = [weight.copy() for weight in trained.get_weights()]
    expected = judge(trained, images)
    fold(trained)
    assert all((before == after).all() for before, after in zip(weights, trained.get_weights(), strict=True))
    np.testing.assert_array_equal(judge(trained, images), expected)


def norm(x: keras.KerasTensor, **options: bool) -> keras.KerasTensor:
    """A batch norm that does something."""
    normal = keras.initializers.RandomNormal
    return layers.BatchNormalization(
        beta_initializer=normal(stddev=0.5, seed=2),
        moving_mean_initializer=normal(stddev=0.5, seed=3),
        moving_variance_initializer=keras.initializers.RandomUniform(0.5, 2, seed=4),
        **options,
    )(x)


def small_network(pixels: keras.KerasTensor) -> keras.Model:
    """A convolution with a bias and a batch norm behind it, on pixels that are not scaled."""
    x = layers.Conv2D(4, 3, bias_initializer=keras.initializers.RandomNormal(seed=1))(pixels)
    x = norm(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(pixels, layers.Dense(2, activation="softmax")(x))


def assert_folds_to_the_same(model: keras.Model) -> None:
    images = np.random.default_rng(5).uniform(0, 1, (8, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(judge(fold(model), images[..., ::-1]), judge(model, images), rtol=0, atol=2e-3)


def test_network_without_a_scale_and_with_biases_is_folded_too() -> None:
    assert_folds_to_the_same(small_network(keras.Input((16, 16, 3), name="images")))


def test_network_whose_input_has_no_name_is_folded_too() -> None:
    assert_folds_to_the_same(small_network(keras.Input((16, 16, 3))))


def activated_before_the_norm(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return norm(layers.Conv2D(4, 3, activation="relu")(pixels))


def read_with_and_without_the_norm(pixels: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(4, 3)(pixels)
    return layers.Add()([x, norm(x)])


def norm_without_a_scale(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return norm(layers.Conv2D(4, 3)(pixels), scale=False)


@pytest.mark.parametrize("part", [activated_before_the_norm, read_with_and_without_the_norm, norm_without_a_scale])
def test_batch_norm_that_a_convolution_cannot_simply_apply_is_folded_right_or_refused(
    part: Callable[[keras.KerasTensor], keras.KerasTensor],
) -> None:
    pixels = keras.Input((16, 16, 3), name="images")
    x = layers.GlobalAveragePooling2D()(part(pixels))
    model = keras.Model(pixels, layers.Dense(2, activation="softmax")(x))
    try:
        assert_folds_to_the_same(model)
    except ValueError as refused:
        assert model.name in str(refused)


def test_network_that_does_not_begin_with_a_convolution_is_refused() -> None:
    pixels = keras.Input((16, 16, 3))
    model = keras.Model(pixels, layers.Dense(2, activation="softmax")(layers.Flatten()(pixels)))
    with pytest.raises(ValueError, match="expected one"):
        fold(model)


def test_network_that_begins_with_two_convolutions_is_refused() -> None:
    # Both would have to be turned to BGR.
    pixels = keras.Input((16, 16, 3))
    both = layers.Add()([layers.Conv2D(4, 3)(pixels), layers.Conv2D(4, 3)(pixels)])
    model = keras.Model(pixels, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(both)))
    with pytest.raises(ValueError, match="expected one"):
        fold(model)
