"""The IR for old runtimes: that it says the same, and what it cannot say. Models are made by today's OpenVINO."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import ANYONE, SHIPPED, Bundle
from edge.inference.engine import EngineError
from edge.inference.ir_v10 import IrV10, ir_v10, rewrite
from edge.inference.openvino import IR, import_openvino

openvino: Any = import_openvino()
ops: Any = pytest.importorskip("openvino.opset14")
SHAPE = [1, 8, 8, 3]

# Without a stick, the plugin still tells which layers it would take.
ASK_THE_PLUGIN = """
import sys
from openvino.inference_engine import IECore
core = IECore()
network = core.read_network(model=sys.argv[1], weights=sys.argv[2])
network.input_info["images"].precision = "U8"
print(len(core.query_network(network, "MYRIAD")))
"""


@pytest.fixture(scope="module")
def shipped() -> IrV10:
    return ir_v10(Bundle.shipped())


def bundle_with(folder: Path, model: Any) -> Bundle:
    """The shipped bundle with another network; None: with none."""
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("ir", "manifest.sig"))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if not name.startswith("ir/")}
    if model is not None:
        openvino.serialize(model, folder / IR[0], folder / IR[1])
        for name in IR:
            content = (folder / name).read_bytes()
            manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Bundle.open(folder, ANYONE)


def layers(model: IrV10) -> list[ET.Element]:
    return ET.fromstring(model.xml).findall("layers/layer")


def pixels() -> Any:
    return ops.parameter(SHAPE, np.uint8, name="images")


def floats(node: Any) -> Any:
    return ops.convert(node, "f32")


def written(folder: Path, result: Any, parameter: Any) -> IrV10:
    """A model as it is before it is rewritten."""
    openvino.serialize(openvino.Model([result], [parameter]), folder / "m.xml", folder / "m.bin")
    return IrV10((folder / "m.xml").read_bytes(), (folder / "m.bin").read_bytes())


def answers(model: IrV10, images: np.ndarray) -> list[np.ndarray]:
    """What today's OpenVINO makes of an IR v10, by the steps of the worker."""
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(openvino.Core().read_model(model.xml, model.weights))
    steps.input().tensor().set_element_type(openvino.Type.u8)
    compiled = openvino.compile_model(steps.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled([images]).values())


def assert_same(folder: Path, make: Callable[[Any], Any]) -> IrV10:
    """That a model says the same before and after it is rewritten."""
    parameter = pixels()
    result = make(floats(parameter))
    before = openvino.compile_model(openvino.Model([result], [parameter]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8)
    model = rewrite(*written(folder, result, parameter))
    for expected, given in zip(before([images]).values(), answers(model, images), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3)
    return model


# The shipped network


def test_shipped_network_is_said_in_the_old_words(shipped: IrV10) -> None:
    root = ET.fromstring(shipped.xml)
    assert root.get("version") == "10"
    assert root.findall(".//rt_info") == []
    assert {layer.get("version") for layer in layers(shipped)} <= {f"opset{number}" for number in range(1, 8)}
    types = [layer.get("type") for layer in layers(shipped)]
    assert types.count("Parameter") == types.count("Result") == 1
    assert "Convert" not in types
    assert "Interpolate" not in types


def test_shipped_network_computes_in_fp16_from_the_input_to_the_output(shipped: IrV10) -> None:
    parameter = next(layer for layer in layers(shipped) if layer.get("type") == "Parameter")
    data = parameter.find("data")
    assert data is not None
    assert data.attrib == {"shape": "1,128,128,3", "element_type": "f16"}
    precisions = {port.get("precision") for layer in layers(shipped) for port in layer.iter("port")}
    assert precisions - {None, "I64", "I32"} == {"FP16"}


def test_edges_join_ports_that_are_there(shipped: IrV10) -> None:
    ports = {
        (side, layer.get("id"), port.get("id"))
        for layer in layers(shipped)
        for side in ("input", "output")
        for port in layer.iterfind(f"{side}/port")
    }
    joined = set()
    for edge in ET.fromstring(shipped.xml).iterfind("edges/edge"):
        joined.add(("output", edge.get("from-layer"), edge.get("from-port")))
        joined.add(("input", edge.get("to-layer"), edge.get("to-port")))
    assert joined == ports


def test_weights_of_the_bundle_go_over_bit_by_bit(shipped: IrV10) -> None:
    bundle, core = Bundle.shipped(), openvino.Core()
    before = core.read_model(bundle.read(IR[0]), openvino.Tensor(np.frombuffer(bundle.read(IR[1]), np.uint8)))
    old = [
        op.data.tobytes() for op in before.get_ordered_ops() if op.get_type_name() == "Constant" and op.data.dtype.kind == "f"
    ]
    new = [
        shipped.weights[int(data.attrib["offset"]) :][: int(data.attrib["size"])]
        for data in ET.fromstring(shipped.xml).iter("data")
        if data.get("element_type") == "f16" and "offset" in data.attrib
    ]
    assert len(old) > 10
    assert sorted(new) == sorted(old)


def test_plugin_of_the_stick_takes_every_layer_of_the_shipped_network(
    shipped: IrV10, myriad_python: Path, libusb: None, tmp_path: Path
) -> None:
    (tmp_path / "m.xml").write_bytes(shipped.xml)
    (tmp_path / "m.bin").write_bytes(shipped.weights)
    command = [myriad_python, "-c", ASK_THE_PLUGIN, tmp_path / "m.xml", tmp_path / "m.bin"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)
    assert int(done.stdout) == len(layers(shipped))


def test_bundle_without_an_ir_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^IR v10: .*the manifest names no ir/model\.[^\n]*$"):
        ir_v10(bundle_with(tmp_path / "bundle", None))


def test_what_a_network_of_any_size_computes_of_its_shape_is_gone(tmp_path: Path) -> None:
    images = ops.parameter([-1, -1, -1, 3], np.uint8, name="images")
    # As the converter writes a Flatten, with the Gather of opset 8.
    count = ops.gather(ops.shape_of(images), np.array([0], np.int64), np.int64(0))
    flat = ops.reshape(floats(images), ops.concat([count, np.array([-1], np.int64)], 0), special_zero=False)
    model = ir_v10(bundle_with(tmp_path / "bundle", openvino.Model([flat], [images])))
    assert [layer.get("type") for layer in layers(model)] == ["Parameter", "Const", "Reshape", "Result"]


# What can be said in older words


def test_softmax_along_the_last_axis_is_said_by_the_first_opsets(tmp_path: Path) -> None:
    model = assert_same(tmp_path, lambda x: ops.softmax(ops.divide(x, np.float32(50)), axis=-1))
    (softmax,) = (layer for layer in layers(model) if layer.get("type") == "SoftMax")
    data = softmax.find("data")
    assert softmax.get("version") == "opset1"
    assert data is not None
    assert data.attrib == {"axis": "3"}


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
def test_pooling_whose_places_nobody_asks_for_is_said_by_the_first_opsets(tmp_path: Path, rounding: str) -> None:
    def pool(x: Any) -> Any:
        return ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], rounding).output(0)

    model = assert_same(tmp_path, pool)
    (layer,) = (layer for layer in layers(model) if layer.get("type") == "MaxPool")
    assert layer.get("version") == "opset1"
    assert len(layer.findall("output/port")) == 1


def test_constants_of_fp32_become_fp16(tmp_path: Path) -> None:
    kernel = np.random.default_rng(2).normal(0, 0.1, (4, 8, 3, 3)).astype(np.float16)
    model = assert_same(tmp_path, lambda x: ops.convolution(x, kernel.astype(np.float32), [1, 1], [1, 1], [1, 1], [1, 1]))
    assert kernel.tobytes() in model.weights


# What cannot be said


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("Slice", lambda x: ops.slice(x, [0], [2], [1], [3])),
        ("GroupNormalization", lambda x: ops.group_normalization(x, np.ones(8, np.float32), np.ones(8, np.float32), 2, 1e-3)),
        ("MaxPool", lambda x: ops.max_pool(x, [1, 1], [1, 1], [0, 0], [0, 0], [3, 3]).output(1)),
        ("MaxPool", lambda x: ops.max_pool(x, [1, 1], [2, 1], [0, 0], [0, 0], [3, 3]).output(0)),
        ("MaxPool", lambda x: ops.max_pool(x, [1, 1], [1, 1], [0, 0], [0, 0], [3, 3], "ceil_torch").output(0)),
    ],
    ids=["slice", "group normalization", "places of maxima", "dilated pooling", "newest rounding"],
)
def test_operation_that_the_old_runtime_lacks_is_refused_by_name(tmp_path: Path, name: str, make: Callable[[Any], Any]) -> None:
    parameter = pixels()
    with pytest.raises(EngineError, match=rf"^IR v10: {name} of opset\d+ \([^\n]+\) cannot be said in opset1 to opset7$"):
        rewrite(*written(tmp_path, make(floats(parameter)), parameter))


def test_constant_beyond_fp16_is_refused_by_name(tmp_path: Path) -> None:
    parameter = pixels()
    huge = ops.add(floats(parameter), ops.constant(np.full(3, 70000, np.float32), name="huge"))
    with pytest.raises(EngineError, match=r"^IR v10: huge holds 70000, more than FP16 can$"):
        rewrite(*written(tmp_path, huge, parameter))


def test_numbers_that_the_old_format_lacks_are_refused_by_name(tmp_path: Path) -> None:
    parameter = pixels()
    doubled = ops.convert(ops.convert(floats(parameter), "f64"), "f32")
    with pytest.raises(EngineError, match=r"^IR v10: \S+ has numbers of FP64, unknown of old$"):
        rewrite(*written(tmp_path, doubled, parameter))


def test_pixels_that_are_used_as_bytes_are_refused(tmp_path: Path) -> None:
    parameter = pixels()
    with pytest.raises(EngineError, match=r"^IR v10: \S+ takes the pixels before they are made floats$"):
        rewrite(*written(tmp_path, floats(ops.equal(parameter, np.uint8(0))), parameter))


def test_custom_operation_is_refused_by_name(shipped: IrV10) -> None:
    custom = re.sub(rb'type="ReLU" version="opset1"', b'type="ReLU" version="extension"', shipped.xml)
    with pytest.raises(EngineError, match=r"^IR v10: ReLU of extension \(\S+\) cannot be said in opset1 to opset7$"):
        rewrite(custom, shipped.weights)
