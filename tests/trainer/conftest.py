"""What several tests of the trainer need: a network that was trained, made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


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
