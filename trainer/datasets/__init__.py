"""Labelled tiles: where they come from, and how they are split into what is learned from and what is measured on."""

from trainer.datasets.arguments import read, read_all
from trainer.datasets.readers import UNLABELLED
from trainer.datasets.split import Part, SplitRule, split_all
from trainer.datasets.tiles import TILE_PX, Dataset, DatasetError, Tiles

__all__ = ["TILE_PX", "UNLABELLED", "Dataset", "DatasetError", "Part", "SplitRule", "Tiles", "read", "read_all", "split_all"]
