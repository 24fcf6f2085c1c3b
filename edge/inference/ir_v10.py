"""A bundle's IR, rewritten for the runtimes that still drive Movidius sticks.

OpenVINO 2021.4 reads version 10 of the IR, and opsets 1 to 7. A stick computes in FP16 alone, and its plugin wants the form
that the Model Optimizer of its time gave: a fixed shape, FP16 from the input to the output, and no conversion of the bytes that
go in, which the plugin makes itself. Weights that a bundle holds in FP16 go over bit by bit.
"""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge.bundle import Bundle, BundleError
from edge.inference.engine import EngineError
from edge.inference.openvino import IR, fix_shape, import_openvino
from edge.text import one_line

_NEWEST_OPSET = 7
_FLOATS = ("FP32", "FP16")
_PRECISIONS = ("FP16", "I64", "I32", "I8", "U8", "BOOL")
"""What may be left when all floats are FP16."""


class IrV10(NamedTuple):
    """The content of the two files of a model."""

    xml: bytes
    weights: bytes


def ir_v10(bundle: Bundle) -> IrV10:
    """Make the IR that takes one image of the bundle's own size, (1, height, width, 3) uint8.

    Raises:
        EngineError: OpenVINO is not installed, or the model holds what the old format cannot express.
    """
    size = bundle.manifest.input
    try:
        openvino = import_openvino()
        from openvino.passes import ConstantFolding, Manager

        weights = openvino.Tensor(np.frombuffer(bundle.read(IR[1]), np.uint8))
        model = openvino.Core().read_model(bundle.read(IR[0]), weights)
        fix_shape(model, (1, size.height, size.width, 3))
        # What a model of any size computes of its shapes is now known, and would often be in newer words than the rest.
        folding = Manager()
        folding.register_pass(ConstantFolding())
        folding.run_passes(model)
        with tempfile.TemporaryDirectory() as folder:
            xml, content = Path(folder, "model.xml"), Path(folder, "model.bin")
            openvino.serialize(model, xml, content)
            return rewrite(xml.read_bytes(), content.read_bytes())
    except (ImportError, RuntimeError, OSError, BundleError) as error:
        raise EngineError(f"IR v10: {one_line(error)}") from error


def rewrite(xml: bytes, weights: bytes) -> IrV10:
    """Turn an IR v11 of fixed shape into an IR v10 in FP16.

    Args:
        xml: As today's OpenVINO writes it.

    Raises:
        EngineError: It holds what the old format cannot express.
    """
    root = ET.fromstring(xml)  # noqa: S314 - OpenVINO wrote it
    root.set("version", "10")
    for parent in list(root.iter()):
        for note in parent.findall("rt_info"):
            parent.remove(note)
    for layer in root.iterfind("layers/layer"):
        _use_old_opset(layer, root)
    _drop_conversions(root)
    weights = _halve_constants(root, weights)
    _halve_types(root)
    return IrV10(ET.tostring(root), weights)


def _use_old_opset(layer: ET.Element, root: ET.Element) -> None:
    """Write an operation in the words of an opset that the old runtime knows.

    Raises:
        EngineError: There are none.
    """
    opset = layer.get("version", "").removeprefix("opset")
    if opset.isdecimal() and int(opset) <= _NEWEST_OPSET and layer.find("body") is None:
        return
    data = layer.find("data")
    match layer.get("type"):
        case "SoftMax" if data is not None:
            # The newer one may count its axis from the back.
            axis, dimensions = int(data.get("axis", "1")), len(layer.findall("input/port/dim"))
            data.attrib = {"axis": str(axis % dimensions)}
        case "MaxPool" if data is not None and _has_old_pooling(layer, data, root):
            # The newer one can tell where each greatest value was.
            for name in ("dilations", "index_element_type", "axis"):
                data.attrib.pop(name, None)
            given = _one(layer, "output")
            given.remove(given.findall("port")[1])
        case _:
            what = f"{layer.get('type')} of {layer.get('version')} ({layer.get('name')})"
            raise EngineError(f"IR v10: {what} cannot be said in opset1 to opset{_NEWEST_OPSET}")
    layer.set("version", "opset1")


def _has_old_pooling(layer: ET.Element, data: ET.Element, root: ET.Element) -> bool:
    """Whether a pooling asks for nothing that the first opset's could not do."""
    second = layer.findall("output/port")[1].get("id")
    asked = any(edge.get("from-layer") == layer.get("id") and edge.get("from-port") == second for edge in root.iter("edge"))
    undilated = set(data.get("dilations", "1").replace(" ", "").split(",")) == {"1"}
    return undilated and not asked and data.get("rounding_type") in ("floor", "ceil")


def _drop_conversions(root: ET.Element) -> None:
    """Take out what makes no difference once all floats are FP16: conversions of weights, and of the bytes that go in.

    Raises:
        EngineError: The bytes are used as such.
    """
    layers, edges = _one(root, "layers"), _one(root, "edges")
    inputs = {layer.get("id"): layer for layer in layers if layer.get("type") == "Parameter"}
    for layer in inputs.values():
        _one(layer, "data").set("element_type", "f16")
        _one(layer, "output/port").set("precision", "FP16")
    takes_pixels = {edge.get("to-layer") for edge in edges if edge.get("from-layer") in inputs}
    for layer in list(layers):
        if layer.get("type") == "Convert" and _one(layer, "output/port").get("precision") in _FLOATS:
            if layer.get("id") in takes_pixels or _one(layer, "input/port").get("precision") in _FLOATS:
                _take_out(layer, root)
        elif layer.get("id") in takes_pixels:
            raise EngineError(f"IR v10: {layer.get('name')} takes the pixels before they are made floats")


def _take_out(layer: ET.Element, root: ET.Element) -> None:
    """Remove a layer of one input and one output, and join the edges."""
    edges = _one(root, "edges")
    into = next(edge for edge in edges if edge.get("to-layer") == layer.get("id"))
    for edge in edges:
        if edge.get("from-layer") == layer.get("id"):
            edge.attrib |= {end: into.attrib[end] for end in ("from-layer", "from-port")}
    edges.remove(into)
    _one(root, "layers").remove(layer)


def _halve_constants(root: ET.Element, weights: bytes) -> bytes:
    """Turn constants of FP32 into FP16.

    Raises:
        EngineError: One is larger than FP16 goes.
    """
    halved = bytearray()
    for layer in root.iterfind("layers/layer[@type='Const']"):
        data = _one(layer, "data")
        start = int(data.get("offset", ""))
        content = weights[start : start + int(data.get("size", ""))]
        if data.get("element_type") == "f32":
            exact = np.frombuffer(content, np.float32)
            if np.abs(exact).max(initial=0) > np.finfo(np.float16).max:
                raise EngineError(f"IR v10: {layer.get('name')} holds {np.abs(exact).max():g}, more than FP16 can")
            content = exact.astype(np.float16).tobytes()
        halved += bytes(-len(halved) % 8)
        data.attrib |= {"offset": str(len(halved)), "size": str(len(content))}
        halved += content
    return bytes(halved)


def _halve_types(root: ET.Element) -> None:
    """Name FP16 wherever FP32 is named.

    Raises:
        EngineError: There are numbers of another kind.
    """
    for data in root.iter("data"):
        data.attrib |= {name: "f16" for name, value in data.attrib.items() if value == "f32"}
    for layer in root.iterfind("layers/layer"):
        for port in layer.iter("port"):
            if port.get("precision") == "FP32":
                port.set("precision", "FP16")
            if port.get("precision", "FP16") not in _PRECISIONS:
                raise EngineError(f"IR v10: {layer.get('name')} has numbers of {port.get('precision')}, unknown of old")


def _one(parent: ET.Element, path: str) -> ET.Element:
    """The first element at a path, which every IR has."""
    element = parent.find(path)
    if element is None:
        raise EngineError(f"IR v10: a {parent.tag} without {path}")
    return element
