"""Folding changes how a network computes, not what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from trainer.export.fold import fold
from trainer.networks import build

TILE_PX = {"overflight-s": 64, "seed-cnn": 128, "mobilenet-v2": 64}

Part = Callable[[keras.KerasTensor], keras.KerasTensor]


def pictures(tile_px: int, count: int = 12) -> NDArray[np.float32]:
    """Pictures of many brightnesses and colours, RGB in whole levels of 0..255."""
    rng = np.random.default_rng(4)
    colours = rng.uniform(0, 255, (count, 1, 1, 3))
    return np.clip(colours + rng.normal(0, 40, (count, tile_px, tile_px, 3)), 0, 255).round().astype(np.float32)


def judge(model: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(model(images, training=False))


def trained(name: str, labels: int = 2) -> keras.Model:
    """A network whose statistics are those of pictures, as a trained one's: to fold batch norms that do nothing is no test."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    model = build(name, labels, TILE_PX[name])
    images = pictures(TILE_PX[name])
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            values = judge(keras.Model(model.input, layer.input), images)
            channels = (values.shape[-1],)
            mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
            layer.set_weights([rng.uniform(0.5, 1.5, channels), rng.normal(0, 0.3, channels), mean, variance])
    # The last layer tells these pictures apart by what differs most, as that of a trained network does.
    last = model.get_layer("logits")
    features = judge(keras.Model(model.input, last.input), images)
    directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)[2]
    kernel = directions[: last.units].T
    kernel /= (features @ kernel).std(axis=0)
    last.set_weights([kernel, -(features @ kernel).mean(axis=0)])
    return model


@pytest.fixture(scope="module", params=TILE_PX)
def network(request: pytest.FixtureRequest) -> keras.Model:
    return trained(request.param)


@pytest.fixture(scope="module")
def images(network: keras.Model) -> NDArray[np.float32]:
    return pictures(network.input_shape[1])


# What it computes


def test_folded_network_gives_the_same_probabilities_for_bgr(network: keras.Model, images: NDArray[np.float32]) -> None:
    expected = judge(network, images)
    # The check says something only if the probabilities differ from picture to picture and with the order of colours.
    assert np.ptp(expected[:, 0]) > 0.3
    assert np.abs(judge(network, images[..., ::-1]) - expected).max() > 0.02
    np.testing.assert_allclose(judge(fold(network), images[..., ::-1]), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("labels", [2, 5])
def test_folded_network_has_as_many_labels(labels: int) -> None:
    model = trained("overflight-s", labels)
    seen = pictures(64)
    np.testing.assert_allclose(judge(fold(model), seen[..., ::-1]), judge(model, seen), rtol=0, atol=5e-3)


def logits_of(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Up to a number that is the same for all labels."""
    logarithms = np.log(probabilities.astype(np.float64))
    return logarithms - logarithms.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.7, 3.0])
def test_temperature_divides_the_logits(network: keras.Model, images: NDArray[np.float32], temperature: float) -> None:
    bgr = images[..., ::-1]
    plain, cooled = (logits_of(judge(fold(network, at), bgr)) for at in (1.0, temperature))
    assert np.abs(plain).max() > 0.5
    np.testing.assert_allclose(cooled, plain / temperature, rtol=0, atol=0.02 * np.abs(plain).max() / temperature)


def test_temperature_of_a_network_without_logits_is_an_error() -> None:
    model = small_network(keras.Input((16, 16, 3)))
    with pytest.raises(ValueError, match="has no layer named logits to apply a temperature to"):
        fold(model, 1.5)


# What it is made of


def test_convolutions_apply_their_batch_norms(network: keras.Model) -> None:
    kinds = {type(layer) for layer in fold(network).layers}
    assert layers.BatchNormalization not in kinds
    # The offset of MobileNet's scale stays outside: at the edge, 0 is what the offset has made 0.
    assert (layers.Rescaling in kinds) == (network.name == "mobilenet-v2")


def test_depthwise_convolutions_stay_what_they_are(network: keras.Model) -> None:
    def count(model: keras.Model) -> int:
        return sum(type(layer) is layers.DepthwiseConv2D for layer in model.layers)

    assert count(fold(network)) == count(network) == (17 if network.name == "mobilenet-v2" else 0)


def test_folded_weights_lose_nothing_in_half_precision(network: keras.Model) -> None:
    for weight in fold(network, 1.3).get_weights():
        with np.errstate(over="raise"):
            half = weight.astype(np.float16)
        assert np.isfinite(half).all()
        assert (weight == half.astype(np.float32)).all()


def test_network_that_is_folded_is_not_changed_itself(network: keras.Model, images: NDArray[np.float32]) -> None:
    weights = [weight.copy() for weight in network.get_weights()]
    expected = judge(network, images)
    fold(network, 2.0)
    assert all((before == after).all() for before, after in zip(weights, network.get_weights(), strict=True))
    np.testing.assert_array_equal(judge(network, images), expected)


def test_network_can_be_folded_again(network: keras.Model, images: NDArray[np.float32]) -> None:
    bgr = images[..., ::-1]
    np.testing.assert_array_equal(judge(fold(network), bgr), judge(fold(network), bgr))


# Networks of other shapes: folded right, or refused


def norm(x: keras.KerasTensor, **options: Any) -> keras.KerasTensor:
    """A batch norm that does something."""
    return layers.BatchNormalization(
        beta_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=2),
        moving_mean_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=3),
        moving_variance_initializer=keras.initializers.RandomUniform(0.5, 2, seed=4),
        **options,
    )(x)


def biased(kind: type[layers.Layer], *arguments: int, **options: Any) -> layers.Layer:
    """A convolution whose bias is not 0."""
    return kind(*arguments, bias_initializer=keras.initializers.RandomNormal(seed=1), **options)


def judged(pixels: keras.KerasTensor, x: keras.KerasTensor) -> keras.Model:
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(2, activation="softmax")(x), name="small")


def small_network(pixels: keras.KerasTensor) -> keras.Model:
    """A convolution with a bias and a batch norm behind it, on pixels that are not scaled."""
    keras.utils.set_random_seed(6)
    return judged(pixels, layers.ReLU()(norm(biased(layers.Conv2D, 4, 3)(pixels))))


def assert_folds_to_the_same(model: keras.Model) -> None:
    seen = np.random.default_rng(5).uniform(0, 1, (8, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(judge(fold(model), seen[..., ::-1]), judge(model, seen), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", [None, "images", "pixels"])
def test_network_without_a_scale_and_with_biases_is_folded_whatever_its_input_is_called(name: str | None) -> None:
    assert_folds_to_the_same(small_network(keras.Input((16, 16, 3), name=name)))


def activated_before_the_norm(x: keras.KerasTensor) -> keras.KerasTensor:
    return norm(layers.Conv2D(4, 3, activation="relu")(x))


def read_with_and_without_the_norm(x: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(4, 3)(x)
    return layers.Add()([x, norm(x)])


@pytest.mark.parametrize("part", [activated_before_the_norm, read_with_and_without_the_norm])
def test_batch_norm_that_a_convolution_cannot_apply_is_refused(part: Part) -> None:
    pixels = keras.Input((16, 16, 3))
    with pytest.raises(ValueError, match=r"small: .* cannot apply the batch norm .*: its own output is used"):
        fold(judged(pixels, part(pixels)))


def norm_without_a_scale(x: keras.KerasTensor) -> keras.KerasTensor:
    return norm(layers.Conv2D(4, 3)(x), scale=False)


def norm_without_an_offset(x: keras.KerasTensor) -> keras.KerasTensor:
    return norm(biased(layers.Conv2D, 4, 3)(x), center=False)


def depthwise_with_a_bias(x: keras.KerasTensor) -> keras.KerasTensor:
    return norm(biased(layers.DepthwiseConv2D, 3)(layers.Conv2D(5, 3)(x)))


def depthwise_without_a_bias(x: keras.KerasTensor) -> keras.KerasTensor:
    return norm(layers.DepthwiseConv2D(3, use_bias=False)(norm(layers.Conv2D(5, 3, use_bias=False)(x))))


def depthwise_of_several_filters(x: keras.KerasTensor) -> keras.KerasTensor:
    return norm(biased(layers.DepthwiseConv2D, 3, depth_multiplier=3)(layers.Conv2D(5, 3)(x)))


def norm_behind_an_activation(x: keras.KerasTensor) -> keras.KerasTensor:
    return norm(layers.ReLU()(layers.Conv2D(4, 3)(x)))


def scale_between_convolutions(x: keras.KerasTensor) -> keras.KerasTensor:
    scaled = layers.Rescaling(0.5)(layers.Conv2D(4, 3, padding="same")(x))
    return layers.Add()([layers.Conv2D(4, 3, padding="same")(scaled), scaled])


@pytest.mark.parametrize(
    "part",
    [
        norm_without_a_scale,
        norm_without_an_offset,
        depthwise_with_a_bias,
        depthwise_without_a_bias,
        depthwise_of_several_filters,
        norm_behind_an_activation,
        scale_between_convolutions,
    ],
)
@pytest.mark.parametrize(("scale", "offset"), [(None, 0.0), (2.0, 0.0), (2.0, -1.0)])
def test_parts_are_folded_to_the_same(part: Part, scale: float | None, offset: float) -> None:
    keras.utils.set_random_seed(8)
    pixels = keras.Input((16, 16, 3))
    assert_folds_to_the_same(judged(pixels, part(pixels if scale is None else layers.Rescaling(scale, offset)(pixels))))


def no_convolution(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.AveragePooling2D(2)(x)


def two_convolutions(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Add()([layers.Conv2D(4, 3)(x), layers.Conv2D(4, 3)(x)])


def depthwise_first(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.DepthwiseConv2D(3)(x)


def pixels_used_again(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(x)])


def scaled_pixels_used_again(x: keras.KerasTensor) -> keras.KerasTensor:
    return pixels_used_again(layers.Rescaling(0.5)(x))


def channels_scaled_each_for_itself(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Conv2D(4, 3)(layers.Rescaling([1.0, 0.5, 0.25])(x))


def channels_offset_each_for_itself(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Conv2D(4, 3)(layers.Rescaling(1.0, [0.1, 0.2, 0.3])(x))


@pytest.mark.parametrize(
    "part",
    [
        no_convolution,
        two_convolutions,
        depthwise_first,
        pixels_used_again,
        scaled_pixels_used_again,
        channels_scaled_each_for_itself,
        channels_offset_each_for_itself,
    ],
)
def test_network_whose_first_kernels_alone_cannot_turn_the_colours_round_is_refused(part: Part) -> None:
    pixels = keras.Input((16, 16, 3))
    with pytest.raises(ValueError, match=r"small begins with .*, expected one convolution"):
        fold(judged(pixels, part(pixels)))
