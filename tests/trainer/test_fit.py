"""Training: what depends on the seed and what does not, early stopping, folds, and the networks and settings there are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import SHIPPED
from tests.trainer.tints import LABELS, tints
from trainer.datasets import Dataset, DatasetError, Part, SplitRule, split_all
from trainer.errors import TrainerError
from trainer.fit import LEVELS, FitError, FitParameters, cross_validate, fit
from trainer.fit.batches import Batches
from trainer.fit.fit import _validation
from trainer.run import Run
from trainer.start import Start, StartError, start_from

RULE = SplitRule(folds=4)
DATA = tints()
QUICK: dict[str, Any] = {"tile_px": 32, "epochs": 1, "batch": 12, "learning_rate": 1e-3}


def trained(folder: Path, **more: Any) -> Run:
    """A training on tints; the parameters are those of `FitParameters`."""
    return fit([DATA], ["tints"], RULE, FitParameters(**QUICK | more), folder)


def weights(run: Run) -> list[np.ndarray]:
    return run.network().get_weights()


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One epoch with nothing out of the ordinary."""
    return trained(tmp_path_factory.mktemp("plain") / "run")


def test_network_learns_what_it_is_shown(tmp_path: Path) -> None:
    run = trained(tmp_path, epochs=8, batch=4, learning_rate=3e-3, augmentation="turns")
    losses = [epoch["loss"] for epoch in run.record["history"]]
    assert len(losses) == 8
    assert losses[-1] < 0.6 * losses[0]
    assert run.record["metrics"]["tints"]["balanced_accuracy"] > 0.8


def test_record_says_what_the_training_was_given(plain: Run) -> None:
    record = json.loads((plain.folder / "run.json").read_text())
    assert record == plain.record
    assert record["labels"] == list(LABELS)
    assert record["parameters"]["batch"] == 12
    assert record["split"]["folds"] == 4
    (data,) = record["data"]
    assert (data["name"], data["learned_from"], data["held_out"]) == ("tints", 36, 12)
    assert data["fingerprint"] == DATA.fingerprint()
    assert record["metrics"]["tints"]["tiles"] == 12
    assert record["workers"] == 1


def test_finished_folder_has_the_network_the_record_and_no_checkpoint(plain: Run) -> None:
    assert sorted(file.name for file in plain.folder.iterdir()) == ["model.keras", "run.json"]


def test_same_seed_gives_the_same_network(plain: Run, tmp_path: Path) -> None:
    again = trained(tmp_path)
    assert same(weights(again), weights(plain))
    assert again.record["history"] == plain.record["history"]


@pytest.mark.parametrize("other", [{"seed": 2}, {"optimizer": "adam"}], ids=str)
def test_other_settings_give_another_network(plain: Run, tmp_path: Path, other: dict[str, Any]) -> None:
    run = trained(tmp_path, **other)
    assert not same(weights(run), weights(plain))
    assert np.isfinite(run.record["history"][0]["loss"])


def test_averaged_weights_lie_between_those_of_the_steps(plain: Run, tmp_path: Path) -> None:
    # Without averaging the last step alone counts, which moved away from where it began.
    last = trained(tmp_path, average=0.0)
    kernel = [np.asarray(run.network().get_layer("logits").kernel) for run in (plain, last)]
    assert 0 < np.abs(kernel[0] - kernel[1]).max() < 0.01


def test_early_stopping_keeps_the_best_weights_on_its_part(tmp_path: Path) -> None:
    # So fast that it soon gets worse.
    run = trained(tmp_path, epochs=12, patience=2, learning_rate=0.3)
    losses = [epoch["validation_loss"] for epoch in run.record["history"]]
    best = int(np.argmin(losses))
    assert best + 2 == len(losses) - 1 < 11, losses
    watched, _ = _validation(split_all([DATA], RULE), RULE, FitParameters(patience=2))
    assert watched is not None
    probabilities = np.asarray(run.network()(watched.images.astype(np.float32), training=False))
    own = probabilities[np.arange(len(watched)), watched.labels]
    assert -np.log(np.maximum(own, 1e-7)).mean() == pytest.approx(losses[best], rel=1e-3)


@pytest.mark.parametrize("rule", [RULE, SplitRule("random", folds=3), SplitRule("given")], ids=["auto", "random", "given"])
def test_early_stopping_watches_tiles_that_would_have_been_learned_from(rule: SplitRule) -> None:
    data = Dataset("tints", LABELS, DATA.tiles, np.arange(len(DATA.tiles)) < 12)
    parts = split_all([data], rule)
    watched, (learned,) = _validation(parts, rule, FitParameters(patience=1))
    assert watched is not None
    assert sorted(watched.names + learned.names) == sorted(parts[0].train.names)
    assert len(watched) == pytest.approx(0.1 * len(parts[0].train), abs=2)
    assert not set(watched.digests()) & set(parts[0].held_out.digests())


def test_without_patience_all_tiles_are_learned_from() -> None:
    parts = split_all([DATA], RULE)
    assert _validation(parts, RULE, FitParameters()) == (None, [parts[0].train])


@pytest.mark.parametrize("network", ["seed-cnn", "mobilenet-v2"])
def test_other_networks_train(tmp_path: Path, network: str) -> None:
    side = 128 if network == "seed-cnn" else 32
    # Averaging, of each of many variables, takes longer to prepare than to do.
    parameters = FitParameters(network=network, tile_px=side, epochs=1, batch=8, optimizer="adam", average=0)
    run = fit([tints(10, side)], ["tints"], SplitRule(), parameters, tmp_path)
    assert run.network().name == network
    assert np.isfinite(run.record["history"][0]["loss"])


def test_mixed_precision_trains_a_network_that_is_kept_in_float32(tmp_path: Path) -> None:
    run = trained(tmp_path, precision="mixed_bfloat16")
    assert np.isfinite(run.record["history"][0]["loss"])
    assert {layer.compute_dtype for layer in run.network().layers} == {"float32"}


def test_xla_trains_the_same_network_but_for_rounding(plain: Run, tmp_path: Path) -> None:
    run = trained(tmp_path, compile="on")
    assert run.record["history"][0]["loss"] == pytest.approx(plain.record["history"][0]["loss"], rel=0.02)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"network": "resnet"}, "network resnet: expected one of overflight-s, seed-cnn, mobilenet-v2"),
        ({"weights": "imagenet"}, "weights imagenet"),
        ({"weights": "/no/such.keras"}, "/no/such.keras"),
        ({"augmentation": "wild"}, "wild"),
    ],
)
def test_what_is_not_there_is_one_line_and_begins_no_run(tmp_path: Path, parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(TrainerError) as caught:
        trained(tmp_path / "run", **parameters)
    assert named in str(caught.value)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": ["127.0.0.1:1"], "task": {"type": "worker", "index": 0}}',
    ],
)
def test_malformed_tf_config_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainerError, match=r'^TF_CONFIG: expected \{"cluster"'):
        trained(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_batches_are_shared_among_workers_and_their_devices() -> None:
    def batches(worker: int, workers: int, devices: int) -> Batches:
        share, how = (worker, workers), [LEVELS["turns"]]
        return Batches([DATA.tiles], [1], labels=2, batch=12, how=how, seed=1, worker=share, devices=devices)

    whole = [sorted(map(float, labels[:, 0])) for _, labels in batches(0, 1, 1).epoch(0)]
    shared = [batches(worker, 2, 2) for worker in range(2)]
    assert {one.steps for one in shared} == {4}
    assert {one.shape for one in shared} == {(3, 32, 32, 3)}
    pieces = [list(one.epoch(0)) for one in shared]
    assert [len(one) for one in pieces] == [8, 8]
    for step, labels in enumerate(whole):
        together = np.concatenate([one[2 * step + device][1].numpy()[:, 0] for one in pieces for device in range(2)])
        assert sorted(map(float, together)) == labels


def held_out(folder: Path) -> Part:
    record = json.loads((folder / "run.json").read_text())
    return split_all([DATA], SplitRule(**record["split"]))[0]


def test_cross_validation_holds_every_tile_out_once_and_goes_on_where_it_was(tmp_path: Path) -> None:
    rule, parameters = SplitRule(folds=2), FitParameters(**QUICK)
    result = cross_validate([DATA], ["tints"], rule, parameters, tmp_path)
    assert json.loads((tmp_path / "folds.json").read_text()) == result
    folds = [tmp_path / "fold-1", tmp_path / "fold-2"]
    names = [held_out(fold).held_out.names for fold in folds]
    assert sorted(names[0] + names[1]) == sorted(DATA.tiles.names)
    assert [fold["tints"] for fold in result["folds"]] == [Run.open(fold).record["metrics"]["tints"] for fold in folds]
    accuracies = [fold["tints"]["balanced_accuracy"] for fold in result["folds"]]
    spread = result["balanced_accuracy"]["tints"]
    assert (spread["least"], spread["most"]) == (min(accuracies), max(accuracies))
    assert spread["mean"] == pytest.approx(np.mean(accuracies), abs=1e-4)

    # As if it had been interrupted between the folds.
    (tmp_path / "folds.json").unlink()
    (folds[1] / "run.json").unlink()
    first = (folds[0] / "model.keras").stat().st_mtime_ns
    before = weights(Run(folds[1], {}))
    (folds[1] / "model.keras").unlink()
    assert cross_validate([DATA], ["tints"], rule, parameters, tmp_path) == result
    assert (folds[0] / "model.keras").stat().st_mtime_ns == first
    assert same(weights(Run(folds[1], {})), before)


def test_folds_that_would_all_be_the_same_are_refused(tmp_path: Path) -> None:
    data = Dataset("tints", LABELS, DATA.tiles, np.arange(len(DATA.tiles)) < 12)
    with pytest.raises(TrainerError, match="tints: split as the data set says in every fold alike"):
        cross_validate([data], ["tints"], SplitRule(folds=2), FitParameters(**QUICK), tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_split_that_leaves_a_label_out_is_refused_before_a_run_begins(tmp_path: Path) -> None:
    few = DATA.tiles.take(np.array([0, 1, 3, 5]))
    with pytest.raises(DatasetError, match="no tile of 'brown' left to"):
        fit([Dataset("few", LABELS, few)], ["few"], SplitRule(folds=2), FitParameters(**QUICK), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_learns_on_from_the_network_of_a_bundle(plain: Run, tmp_path: Path) -> None:
    start = Start("tints-1 abc", "overflight-s", LABELS, (plain.folder / "model.keras").read_bytes())
    parameters = FitParameters(**QUICK | {"learning_rate": 1e-6, "weights": start.name})
    run = fit([DATA], ["tints"], RULE, parameters, tmp_path, start=start)
    assert run.record["parameters"]["weights"] == "tints-1 abc"
    before, after = (keras_kernels(one) for one in (plain, run))
    assert not same(before, after)
    assert max(np.abs(a - b).max() for a, b in zip(before, after, strict=True)) < 1e-4


def keras_kernels(run: Run) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in run.network().trainable_variables]


def test_bundle_whose_network_is_damaged_is_one_line() -> None:
    with pytest.raises(StartError, match=r"^tints-1 abc: its network cannot be read") as caught:
        Start("tints-1 abc", "overflight-s", LABELS, b"no network").build()
    assert str(caught.value).isprintable()


def test_bundle_that_carries_no_network_to_learn_on_from_is_one_line(tmp_path: Path) -> None:
    bundle = shutil.copytree(SHIPPED, tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"].pop("trainer/model.keras", None)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle / "manifest.sig").unlink(missing_ok=True)
    with pytest.raises(StartError, match=r"holds no trainer/model\.keras"):
        start_from(bundle)


def test_tiles_of_several_data_sets_are_measured_each_for_itself(tmp_path: Path) -> None:
    second = replace(tints(24, seed=7), name="others", repeats=2)
    run = fit([DATA, second], ["tints", "others"], RULE, FitParameters(**QUICK), tmp_path)
    assert {name: measured["tiles"] for name, measured in run.record["metrics"].items()} == {"tints": 12, "others": 6}
    assert [data["repeats"] for data in run.record["data"]] == [1, 2]


def test_training_that_comes_to_no_number_ends_with_an_error_and_no_network(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"epoch \d+, step \d+: the loss is (nan|inf); try a lower --learning-rate"):
        trained(tmp_path / "run", epochs=3, learning_rate=1e30)
    assert not (tmp_path / "run" / "model.keras").exists()
    assert "metrics" not in (tmp_path / "run" / "run.json").read_text()
