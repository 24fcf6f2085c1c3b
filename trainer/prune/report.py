"""What pruning did, in words and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Less than that comes and goes from one measurement to the next on a machine that also does other things.
_LEAST_DIFFERENCE = 0.1
_SIZES = {
    "keras_file": "Keras file",
    "keras_file_gzip": "Keras file, gzip",
    "weights_gzip": "weights alone (FP32), gzip",
    "ir_fp16": "IR, FP16",
    "ir_fp16_gzip": "IR, FP16, gzip",
}


def markdown(result: Mapping[str, Any]) -> str:
    """The record that `trainer.prune.prune` makes, as Markdown."""
    lines = [f"# {result['network']}: {result['wanted']:.1%} of the weights pruned", ""]
    lines += ["| layer | weights | wanted zeros | zeros |", "| --- | ---: | ---: | ---: |"]
    for layer in result["layers"]:
        wanted = f"{layer['wanted']:.2%}" if layer["wanted"] else "left alone"
        lines.append(f"| {layer['name']} | {layer['weights']} | {wanted} | {layer['zeros'] / layer['weights']:.2%} |")
    lines += [
        "",
        f"Zero are {result['reached']:.2%} of the pruned kernels' weights, {result['reached_of_all_weights']:.2%} of all.",
    ]
    lines += ["", "| held out of | tiles | accuracy before | after | balanced before | after | newly wrong | newly right |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, measured in result["accuracy"].items():
        before, after = measured["before"], measured["after"]
        lines.append(
            f"| {name} | {before['tiles']} | {before['accuracy']:.2%} | {after['accuracy']:.2%} "
            f"| {before['balanced_accuracy']:.2%} | {after['balanced_accuracy']:.2%} "
            f"| {measured['newly_wrong']} | {measured['newly_right']} |"
        )
    lines += ["", f"The pruned network has also learned for {result['epochs']} more epochs: what it gains may come from that."]
    lines += ["", "| | before | after | after / before |", "| --- | ---: | ---: | ---: |"]
    before, after = result["size_bytes"]["before"], result["size_bytes"]["after"]
    for key, title in _SIZES.items():
        lines.append(f"| {title}, bytes | {before[key]} | {after[key]} | {after[key] / before[key]:.3f} |")
    speed = result["speed"]
    times = f"{speed['before_ms']:.3f} | {speed['after_ms']:.3f} | {speed['ratio']:.3f}"
    lines.append(f"| one image, OpenVINO on one CPU thread, ms | {times} |")
    return "\n".join([*lines, "", verdict(speed)]) + "\n"


def verdict(speed: Mapping[str, Any]) -> str:
    """What may be said of the speed that was measured, in words: a difference that chance explains is none."""
    ratio, equals = speed["ratio"], speed["ratio_of_equals"]
    measured = f"Medians of runs that took turns; of two copies of one network, one took {equals:.3f} times as long."
    if abs(ratio - 1) <= max(_LEAST_DIFFERENCE, 2 * abs(equals - 1)):
        said = "No difference in speed was measured."
    elif ratio < 1:
        said = "The pruned network was measured to be faster on this machine."
    else:
        said = "The pruned network was measured to be slower on this machine."
    return (
        f"{measured} {said} Zeros that lie anywhere in a kernel do not by themselves make it faster: a dense kernel multiplies "
        "by them as by any other number. What they save is bytes, once the file is compressed."
    )
