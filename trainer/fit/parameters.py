"""What a training depends on besides its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FitParameters:
    """The same parameters and data give the same network on one machine.

    Attributes:
        network: Its name in `trainer.networks`.
        weights: What it starts from: ``none``, ``imagenet``, or the path of a Keras file.
        epochs: Times through the data.
        batch: Tiles in a step, of all workers together.
        optimizer: AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101) or Adam.
        learning_rate: At its height: it rises for an epoch, then falls along a cosine to 0.
        average: Share of the training over which the weights are averaged (Polyak and Juditsky, 1992); 0: not at all.
        patience: Stop when the loss on the validation part has not fallen for so many epochs; 0: never.
        validation: Share of the training tiles kept apart for that.
        precision: ``auto`` takes bfloat16 on a GPU and float32 on a CPU, where bfloat16 was measured to be slower.
        compile: With XLA; ``auto`` does so on a GPU, on a CPU it was measured to take twice as long.
    """

    network: str = "overflight-s"
    weights: str = "none"
    epochs: int = 60
    seed: int = 1
    batch: int = 64
    tile_px: int = 128
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    average: float = 0.05
    augmentation: str = "light"
    patience: int = 0
    validation: float = 0.1
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
