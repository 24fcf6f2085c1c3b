"""The networks by name: their shapes and parts, what they may start from, and one line where they cannot be made."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from trainer.networks import NETWORKS, NetworkError, build

NAMES = ("overflight-s", "seed-cnn", "mobilenet-v2")


def pixels(count: int, tile_px: int) -> NDArray[np.float32]:
    """Pictures of many brightnesses, RGB in 0..255."""
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 40, (count, tile_px, tile_px, 3)) + rng.uniform(0, 255, (count, 1, 1, 3))
    return np.clip(noise, 0, 255).astype(np.float32)


def probabilities(model: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(model(images, training=False))


def trained(name: str, labels: int = 2, seed: int = 1) -> keras.Model:
    """A network that no other start gives."""
    keras.utils.set_random_seed(seed)
    model = build(name, labels, 128)
    rng = np.random.default_rng(seed)
    model.set_weights([weight + np.abs(rng.normal(0, 0.05, weight.shape)) for weight in model.get_weights()])
    return model


def error_of(name: str, labels: int = 2, tile_px: int = 128, weights: object = "none") -> str:
    """Why a network cannot be made, which must be one line of a length that can be read."""
    with pytest.raises(NetworkError) as caught:
        build(name, labels, tile_px, str(weights))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_networks_have_names() -> None:
    assert NETWORKS == NAMES


@pytest.mark.parametrize(
    ("name", "labels", "tile_px"),
    [
        *(("overflight-s", labels, tile_px) for labels in (2, 5) for tile_px in (64, 128)),
        ("seed-cnn", 2, 128),
        ("mobilenet-v2", 2, 128),
        ("mobilenet-v2", 5, 64),
    ],
)
def test_network_gives_a_probability_for_each_label(name: str, labels: int, tile_px: int) -> None:
    keras.utils.set_random_seed(1)
    model = build(name, labels, tile_px)
    assert model.name == name
    assert model.input_shape == (None, tile_px, tile_px, 3)
    assert model.output_shape == (None, labels)
    given = probabilities(model, pixels(3, tile_px))
    assert given.shape == (3, labels)
    assert given.dtype == np.float32
    assert given.min() >= 0
    assert given.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_network_tells_brightness_and_colour_apart_before_it_has_learned(name: str) -> None:
    # Else pixels would be lost on the way, by a wrong scale for instance.
    keras.utils.set_random_seed(1)
    model = build(name, 2, 128)
    dark, bright = np.full((1, 128, 128, 3), 20, np.float32), np.full((1, 128, 128, 3), 220, np.float32)
    red = dark.copy()
    red[..., 0] = 220
    features = keras.Model(model.input, model.get_layer("logits").input)
    answers = [probabilities(features, image) for image in (dark, bright, red)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(answers[one] - answers[other]).max() > 1e-3 * np.abs(answers[one]).max()


@pytest.mark.parametrize("name", NAMES)
def test_last_layer_with_weights_computes_the_logits(name: str) -> None:
    last = [layer for layer in build(name, 2, 128).layers if layer.weights][-1]
    assert (last.name, type(last)) == ("logits", layers.Dense)


@pytest.mark.parametrize("name", ["overflight-s", "seed-cnn"])
def test_same_seed_makes_the_same_network(name: str) -> None:
    made = []
    for seed in (5, 5, 6):
        keras.utils.set_random_seed(seed)
        made.append(np.concatenate([weight.ravel() for weight in build(name, 2, 128).get_weights()]))
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_overflight_s_has_only_layers_that_old_runtimes_know() -> None:
    kinds = {type(layer) for layer in build("overflight-s", 2, 128).layers}
    assert kinds == {
        layers.InputLayer,
        layers.Rescaling,
        layers.Conv2D,
        layers.BatchNormalization,
        layers.ReLU,
        layers.Add,
        layers.GlobalAveragePooling2D,
        layers.Dropout,
        layers.Dense,
    }


def test_overflight_s_is_small() -> None:
    model = build("overflight-s", 2, 128)
    assert model.count_params() == 348_498
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            assert (layer.kernel_size, layer.groups, layer.dilation_rate) == ((3, 3), 1, (1, 1))


def test_seed_cnn_is_the_network_of_2020() -> None:
    model = build("seed-cnn", 2, 128)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 115_649
    parts = [
        (type(layer).__name__, getattr(layer, "filters", None) or getattr(layer, "units", None) or getattr(layer, "rate", None))
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.MaxPooling2D | layers.Dropout | layers.Dense)
    ]
    block = [("Conv2D", 64), ("MaxPooling2D", None), ("Dropout", 0.5)]
    assert parts == [("Conv2D", 1), *block, *block, *block, ("Conv2D", 64), ("Dense", 64), ("Dense", 1)]
    assert model.get_layer("logits").activation is keras.activations.sigmoid


def test_seed_cnn_sees_grey_by_rec_601() -> None:
    model = build("seed-cnn", 2, 128)
    grey = keras.Model(model.input, model.get_layer("grey").output)
    images = pixels(2, 128)
    expected = images @ np.array([0.299, 0.587, 0.114]) / 255
    assert np.abs(probabilities(grey, images)[..., 0] - expected).max() < 1e-5
    assert not model.get_layer("grey").trainable_weights


def test_seed_cnn_output_is_that_of_its_sigmoid_for_the_second_label() -> None:
    model = trained("seed-cnn")
    second = keras.Model(model.input, model.get_layer("logits").output)
    images = pixels(4, 128)
    assert probabilities(model, images)[:, 1] == pytest.approx(probabilities(second, images)[:, 0], abs=1e-6)


@pytest.mark.parametrize("labels", [3, 5])
def test_seed_cnn_refuses_more_than_two_labels(labels: int) -> None:
    assert error_of("seed-cnn", labels) == f"network seed-cnn: seed-cnn decides between 2 labels, not {labels}"


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_unknown_network_is_an_error_that_names_the_known_ones(weights: str) -> None:
    said = error_of("resnet-9000", weights=weights)
    assert said == "network resnet-9000: expected one of overflight-s, seed-cnn, mobilenet-v2"


@pytest.mark.parametrize("name", ["overflight-s", "seed-cnn"])
def test_weights_of_imagenet_are_for_backbones_only(name: str) -> None:
    said = error_of(name, weights="imagenet")
    assert said == f"weights imagenet: {name} has none; expected none or a path, or one of mobilenet-v2"


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize(("name", "labels"), [("overflight-s", 2), ("overflight-s", 5), ("seed-cnn", 2)])
def test_network_that_starts_from_weights_answers_what_theirs_did(tmp_path: Path, name: str, labels: int, suffix: str) -> None:
    model = trained(name, labels)
    path = tmp_path / f"learned{suffix}"
    (model.save if suffix == ".keras" else model.save_weights)(path)
    images = pixels(4, 128)
    expected = probabilities(model, images)
    keras.utils.set_random_seed(9)
    np.testing.assert_array_equal(probabilities(build(name, labels, 128, str(path)), images), expected)
    assert np.abs(probabilities(build(name, labels, 128), images) - expected).max() > 1e-3


def test_backbone_starts_from_all_weights_but_the_head_whatever_the_labels(tmp_path: Path) -> None:
    model = trained("mobilenet-v2", 2)
    model.save(tmp_path / "learned.keras")
    started = build("mobilenet-v2", 5, 128, str(tmp_path / "learned.keras"))
    images = pixels(2, 128)
    inner, started_inner = (keras.Model(net.input, net.get_layer("logits").input) for net in (model, started))
    np.testing.assert_array_equal(probabilities(started_inner, images), probabilities(inner, images))
    assert started.output_shape == (None, 5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", ["missing.keras", "missing.weights.h5", "missing"])
def test_weights_that_are_not_there_are_an_error_that_names_them(tmp_path: Path, name: str, file: str) -> None:
    said = error_of(name, weights=tmp_path / file)
    assert said.startswith(f"network {name} with the weights {tmp_path / file}: ")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *(("overflight-s", f"{state}{suffix}") for state in ("text", "empty", "half") for suffix in (".keras", ".weights.h5")),
        ("overflight-s", "tile.png"),
        ("mobilenet-v2", "text.keras"),
        ("mobilenet-v2", "half.weights.h5"),
    ],
)
def test_weights_that_are_damaged_are_an_error_that_names_them(tmp_path: Path, name: str, file: str) -> None:
    path = tmp_path / file
    match path.name.split(".")[0]:
        case "half":
            model = build(name, 2, 128)
            (model.save if path.suffix == ".keras" else model.save_weights)(path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.write_text("these were weights once")
    assert error_of(name, weights=path).startswith(f"network {name} with the weights {path}: ")


@pytest.mark.parametrize(
    ("other", "suffix"),
    [*((other, ".keras") for other in NAMES), ("seed-cnn", ".weights.h5")],
)
def test_weights_of_another_network_are_an_error_that_names_them(tmp_path: Path, other: str, suffix: str) -> None:
    path = tmp_path / f"other{suffix}"
    model = build(other, 2, 128)
    (model.save if suffix == ".keras" else model.save_weights)(path)
    for name in NAMES:
        if name != other:
            assert error_of(name, weights=path).startswith(f"network {name} with the weights {path}: ")


def test_weights_of_other_labels_are_an_error_that_names_them(tmp_path: Path) -> None:
    build("overflight-s", 2, 128).save(tmp_path / "two.keras")
    said = error_of("overflight-s", 5, weights=tmp_path / "two.keras")
    assert said.startswith(f"network overflight-s with the weights {tmp_path / 'two.keras'}: ")


def test_folder_in_the_place_of_weights_is_an_error(tmp_path: Path) -> None:
    assert error_of("overflight-s", weights=tmp_path).startswith(f"network overflight-s with the weights {tmp_path}: ")


def test_network_that_needs_larger_tiles_says_so_in_one_line() -> None:
    assert error_of("seed-cnn", tile_px=64).startswith("network seed-cnn: ")
    assert "at least 32x32" in error_of("mobilenet-v2", tile_px=16)
