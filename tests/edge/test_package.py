"""What a user of the package meets first. Imports are looked at in a process of their own: this one has loaded everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import edge
from tests.conftest import PROJECT


def loaded_by(code: str) -> set[str]:
    """The top names of the modules that are loaded after `code` ran."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("OVERFLIGHT_")},
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_the_package_loads_neither_a_runtime_nor_a_decoder() -> None:
    loaded = loaded_by("import edge")

    assert "edge" in loaded
    assert not loaded & {"tensorflow", "ai_edge_litert", "keras", "openvino", "cv2", "numpy", "exifread", "PIL"}


def test_opening_a_bundle_loads_neither_a_runtime_nor_a_decoder() -> None:
    loaded = loaded_by("import edge; edge.Bundle.shipped()")

    assert not loaded & {"tensorflow", "ai_edge_litert", "keras", "openvino", "cv2", "numpy"}


def test_naming_the_classifier_does_not_load_tensorflow() -> None:
    loaded = loaded_by("import edge; edge.Classifier")

    assert not loaded & {"tensorflow", "keras"}


def test_no_module_of_the_edge_imports_trainer_ground_or_tensorflow() -> None:
    walk = (
        "import edge, importlib, pkgutil\n"
        "names = [module.name for module in pkgutil.walk_packages(edge.__path__, 'edge.')]\n"
        "assert len(names) > 20, names\n"
        # __main__ would run the command.
        "for name in names: name.endswith('__main__') or importlib.import_module(name)\n"
    )

    assert not loaded_by(walk) & {"trainer", "ground", "tensorflow", "keras"}


def test_classifier_and_bundle_are_reachable() -> None:
    from edge.bundle import Bundle
    from edge.inference import Classifier

    assert edge.Bundle is Bundle
    assert edge.Classifier is Classifier


def test_everything_that_the_package_promises_is_there() -> None:
    names = "import edge\nfrom edge import *\nassert all(name in globals() for name in edge.__all__), dir()"

    assert "edge" in loaded_by(names)
    assert {"Bundle", "Classifier", "Alert", "Fix", "Frame", "Observation", "Prediction", "Tile"} <= set(edge.__all__)


def test_an_unknown_attribute_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match=r"'edge' has no attribute 'Classifer'"):
        _ = edge.Classifer
    assert not hasattr(edge, "nonsense")
