"""ONNX files of others: OpenVINO reads them, and its own preprocessing is put before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.text import one_line
from trainer.export.record import ExportError
from trainer.export.sources import INPUT, OUTPUT, SCALES, Foreign
from trainer.quiet import kept_back


def onnx_to_ir(path: Path, foreign: Foreign) -> tuple[Any, int, int]:
    """An OpenVINO model of uint8 BGR pixels of any size, with the height and width of the tiles inside.

    Raises:
        ExportError: The file cannot be read, or is no classifier of these labels.
    """
    import openvino as ov
    from openvino import opset13 as ops
    from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm
    from openvino.tools.ovc import convert_model

    try:
        # Its native part also says what is wrong, past Python.
        with kept_back(shown_on_failure=False):
            model = convert_model(str(path))
    except Exception as error:
        # The converter's front ends promise no closed set of errors.
        raise ExportError(f"{path}: no ONNX file that can be read: {one_line(error)}") from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ExportError(f"{path}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs, expected one of each")
    layout, height, width, channels = _layout(path, model.input(0).get_partial_shape())
    _take_any_number(path, model)
    outputs = model.output(0).get_partial_shape()
    count = outputs[1].get_length() if outputs.rank == 2 and outputs[1].is_static else 0
    if count not in {len(foreign.labels), 1} or (count == 1 and len(foreign.labels) != 2):
        raise ExportError(f"{path}: gives {outputs}, which is not one probability for each of {', '.join(foreign.labels)}")
    if count == 1:
        second = model.output(0).get_node().input_value(0)
        both = ops.concat([ops.subtract(ops.constant(1.0, ov.Type.f32), second), second], axis=1)
        model = ov.Model([ops.result(both)], model.get_parameters(), "network")
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(
        ColorFormat.BGR
    ).set_spatial_dynamic_shape()
    steps.input().model().set_layout(ov.Layout(layout))
    factor, offset = SCALES[foreign.values]
    change = steps.input().preprocess().convert_element_type(ov.Type.f32).resize(ResizeAlgorithm.RESIZE_LINEAR)
    change.convert_color(ColorFormat.RGB if channels == 3 else ColorFormat.GRAY)
    change.mean(-offset / factor).scale(1 / factor)
    built = steps.build()
    built.input(0).get_node().set_friendly_name(INPUT)
    built.input(0).get_tensor().set_names({INPUT})
    built.output(0).get_tensor().set_names({OUTPUT})
    built.set_rt_info("model.onnx", ["conversion_parameters", "input_model"])
    return built, height, width


def _take_any_number(path: Path, model: Any) -> None:
    """Many files are made for one image at a time, without a need."""
    shape = model.input(0).get_partial_shape()
    try:
        shape[0] = -1
        model.reshape(shape)
    except RuntimeError as error:
        raise ExportError(f"{path}: takes a fixed number of images, expected any number: {one_line(error)}") from error
    outputs = model.output(0).get_partial_shape()
    if outputs.rank.is_static and outputs.rank.get_length() and outputs[0].is_static:
        raise ExportError(f"{path}: gives {outputs} whatever it is given, expected a row for each image")


def _layout(path: Path, shape: Any) -> tuple[str, int, int, int]:
    """Layout, height, width and channels of an input."""
    sizes = [dimension.get_length() if dimension.is_static else 0 for dimension in shape]
    for layout in ("NCHW", "NHWC"):
        if len(sizes) == 4:
            channels, height, width = (sizes[layout.index(axis)] for axis in "CHW")
            if channels in {1, 3} and height > 3 and width > 3:
                return layout, height, width, channels
    raise ExportError(f"{path}: takes {shape}, expected pixels of a fixed size with 1 or 3 channels")
