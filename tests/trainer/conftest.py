"""What several tests of the trainer need: a network that was trained, made once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

# As the command does before it imports TensorFlow, which tests import by themselves.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def fitted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short training on rendered tiles; not to be written to."""
    from trainer.cli import main

    run = tmp_path_factory.mktemp("fitted") / "run"
    assert main(["fit", "--data", "rendered:96", "--epochs", "2", "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def rendered_images() -> np.ndarray:
    """Some of the tiles that `fitted_run` learned from: (16, 128, 128, 3) uint8, RGB."""
    from trainer.datasets import read

    return read("rendered:16").tiles.images[:16]


@pytest.fixture(scope="session")
def exported(fitted_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `fitted_run` in every format; not to be written to."""
    from trainer.cli import main

    folder = tmp_path_factory.mktemp("exported") / "town"
    # What so short a training brings is not worth a gate.
    assert main(["export", str(fitted_run), "--force-int8", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key to sign with; the public one lies beside it."""
    from trainer.keys import generate_key

    return generate_key(tmp_path_factory.mktemp("keys"), "field-team")[0]


@pytest.fixture(scope="session")
def packed(exported: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `exported`, signed by `key`; not to be written to."""
    from trainer.cli import main

    folder = tmp_path_factory.mktemp("packed") / "town-3"
    assert main(["pack", str(exported), "--name", "town", "--version", "3", "--key", str(key), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def town_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 12 rendered photos of each label, of a town that no network has learned from; not to be written to."""
    import cv2

    from edge.demo.town import BLOCK_PX, render_town

    folder = tmp_path_factory.mktemp("town") / "photos"
    damaged = np.indices((4, 6)).sum(axis=0) % 2 == 0
    town = render_town(78, 4, 6, damaged)
    for row, column in np.ndindex(4, 6):
        file = folder / ("damaged" if damaged[row, column] else "undamaged") / f"{row}-{column}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        block = town.image[row * BLOCK_PX : (row + 1) * BLOCK_PX, column * BLOCK_PX : (column + 1) * BLOCK_PX]
        assert cv2.imwrite(str(file), cv2.resize(block, (128, 128), interpolation=cv2.INTER_AREA))
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a training that learned what it could in seconds, its data beside it; not to be written to."""
    from tests.trainer.tints import HOW, tint_folder
    from trainer.cli import main

    folder = tmp_path_factory.mktemp("tiny")
    data = tint_folder(folder / "tints")
    assert main(["fit", "--data", str(data), *HOW, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def tiny_export(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `tiny_run` in every format; not to be written to."""
    from trainer.cli import main

    folder = tmp_path_factory.mktemp("exports") / "tiny"
    assert main(["export", str(tiny_run), "--force-int8", "--out", str(folder)]) == 0
    return folder
