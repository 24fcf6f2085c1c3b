"""What can be exported: a run folder, or a model that was made elsewhere.

Whatever it was, what comes out is one function from decoded pixels to probabilities, with all preprocessing inside.
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edge.text import one_line
from trainer.export.fold import fold
from trainer.export.record import ExportError
from trainer.run import MODEL, Run

INPUT, OUTPUT = "images", "probabilities"
ValueRange = Literal["0..1", "0..255", "-1..1"]

SCALES: dict[str, tuple[float, float]] = {"0..1": (1 / 255, 0.0), "0..255": (1.0, 0.0), "-1..1": (2 / 255, -1.0)}
# Rec. 601, of blue, green and red, as OpenCV makes a picture grey.
_LUMA = (0.114, 0.587, 0.299)


@dataclass(frozen=True, slots=True)
class Source:
    """A network that can be written in any format.

    Attributes:
        function: (n, height, width, 3) uint8 BGR of any size → {"probabilities": (n, labels)}; weights are constants in it.
        served: The module of the same function with its weights as variables, for a SavedModel.
        height: Of the tiles inside, pixels; `width` alike.
        keras_file: The network that can learn on; None if there is none.
        run: Record of the run folder; empty if it was made elsewhere.
    """

    name: str
    network: str
    labels: tuple[str, ...]
    height: int
    width: int
    function: Any
    served: tf.Module
    keras_file: Path | None = None
    run: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a model that was made elsewhere does not say of itself.

    Attributes:
        labels: In the order of its output; of a single output, which is the probability of the second, both.
        values: What its pixels must be.
    """

    labels: tuple[str, ...]
    values: ValueRange = "0..1"


class Served(tf.Module):  # type: ignore[misc]
    """A function of pixels that a SavedModel can hold."""

    def __init__(self, infer: Callable[[Any], Any], size: tuple[int, int], keep: Any) -> None:
        """
        Args:
            infer: (n, height, width, 3) float32 BGR in 0..255 → (n, labels).
            size: Height and width that it takes.
            keep: What owns its variables.
        """
        super().__init__()
        self._infer = infer
        self._size = size
        self.keep = keep

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name=INPUT)])  # type: ignore[untyped-decorator]
    def serve(self, images: Any) -> dict[str, Any]:
        return {OUTPUT: self._infer(tf.image.resize(tf.cast(images, tf.float32), self._size))}


def open_run(run: Run, temperature: float) -> Source:
    """A network that `trainer.fit` made.

    Args:
        temperature: By which its logits are divided.

    Raises:
        RunError: The network is missing or damaged.
    """
    record = {name: value for name, value in run.record.items() if name != "history"}
    source = open_network(run.network(), run.labels, temperature)
    return replace(source, name=str(run.folder), keras_file=run.folder / MODEL, run=record)


def open_network(model: keras.Model, labels: tuple[str, ...], temperature: float = 1.0) -> Source:
    """A network of `trainer.networks`."""
    folded = fold(model, temperature)
    height, width = model.input_shape[1:3]
    served = Served(lambda pixels: folded(pixels, training=False), (height, width), folded)
    return _source(model.name, model.name, labels, served)


def open_foreign(path: Path, foreign: Foreign) -> Source:
    """A ``.keras`` file or a SavedModel of others.

    Raises:
        ExportError: It cannot be read, or is no classifier of these labels.
    """
    if (path / "saved_model.pb").is_file():
        infer, shape, outputs, keep = _saved_model(path)
    elif path.suffix == ".keras":
        try:
            model = keras.models.load_model(path, compile=False)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ExportError(f"{path}: no Keras model that can be read: {one_line(error)}") from error
        shape, outputs, keep = model.input_shape, model.output_shape, model

        def infer(pixels: Any) -> Any:
            return model(pixels, training=False)

    else:
        raise ExportError(f"{path}: expected a run folder, a SavedModel, a .keras or an .onnx file")
    if len(shape) != 4 or shape[0] is not None or None in shape[1:] or shape[3] not in {1, 3}:
        raise ExportError(f"{path}: takes {shape}, expected pixels (any number, height, width, 1 or 3)")
    adapt = _adapted(path, outputs, foreign.labels)
    factor, offset = SCALES[foreign.values]

    def from_pixels(pixels: Any) -> Any:
        colour = pixels[..., ::-1] if shape[3] == 3 else tf.reduce_sum(pixels * _LUMA, axis=-1, keepdims=True)
        return adapt(infer(colour * factor + offset))

    size = (int(shape[1] or 0), int(shape[2] or 0))
    return _source(str(path), "", foreign.labels, Served(from_pixels, size, keep))


def _source(name: str, network: str, labels: tuple[str, ...], served: Served) -> Source:
    # Weights become constants: LiteRT's interpreter would not initialize variables.
    function = convert_variables_to_constants_v2(served.serve.get_concrete_function())
    height, width = served._size
    return Source(name, network, labels, height, width, function, served)


def _saved_model(path: Path) -> tuple[Callable[[Any], Any], tuple[int | None, ...], tuple[int | None, ...], Any]:
    """The default signature of a SavedModel, by the TF1 loader: it also reads those whose optimizer today's cannot."""
    v1 = tf.compat.v1
    try:
        with v1.Graph().as_default(), v1.Session() as session:
            loaded = v1.saved_model.loader.load(session, [v1.saved_model.tag_constants.SERVING], str(path))
            signature = loaded.signature_def["serving_default"]
            if len(signature.inputs) != 1 or len(signature.outputs) != 1:
                raise ExportError(f"{path}: expected one input and one output")
            (taken,), (given,) = signature.inputs.values(), signature.outputs.values()
            frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, [given.name.split(":")[0]])
    except (OSError, ValueError, KeyError, RuntimeError, tf.errors.OpError) as error:
        raise ExportError(f"{path}: no SavedModel that can be read: {one_line(error)}") from error

    _rename_functions(frozen)

    def imported(pixels: Any) -> Any:
        return tf.graph_util.import_graph_def(frozen, input_map={taken.name: pixels}, return_elements=[given.name])[0]

    shapes = [
        tuple(None if dimension.size < 0 else int(dimension.size) for dimension in info.tensor_shape.dim)
        for info in (taken, given)
    ]
    # Its functions become part of the one that calls them, or a SavedModel of it could not be loaded.
    inlined = convert_variables_to_constants_v2(v1.wrap_function(imported, [tf.TensorSpec(shapes[0], tf.float32)]))
    return (lambda pixels: inlined(pixels)[0]), shapes[0], shapes[1], tf.Module()


def _rename_functions(graph: Any) -> None:
    """TensorFlow names functions by counting, so those of a graph from elsewhere may have the names of some that are here."""
    definitions = graph.library
    new = {function.signature.name: f"foreign_{function.signature.name}" for function in definitions.function}
    for function in definitions.function:
        function.signature.name = new[function.signature.name]
    for gradient in definitions.gradient:
        gradient.function_name = new[gradient.function_name]
        gradient.gradient_func = new[gradient.gradient_func]
    for node in itertools.chain(graph.node, *(function.node_def for function in definitions.function)):
        node.op = new.get(node.op, node.op)
        for attribute in node.attr.values():
            for called in (attribute.func, *attribute.list.func):
                if called.name in new:
                    called.name = new[called.name]


def _adapted(path: Path, outputs: tuple[int | None, ...], labels: tuple[str, ...]) -> Callable[[Any], Any]:
    """From what the model gives to one probability for each label."""
    if outputs[1:] in {(), (1,)} and len(labels) == 2:
        return lambda given: tf.concat([1 - tf.reshape(given, (-1, 1)), tf.reshape(given, (-1, 1))], axis=1)
    if outputs[1:] == (len(labels),):
        return lambda given: given
    raise ExportError(f"{path}: gives {outputs}, which is not one probability for each of {', '.join(labels)}")
