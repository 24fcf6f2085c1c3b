"""Takes the smallest weights out of a network while it learns on, and says what that did."""

from trainer.prune.masks import Masks, PruneError, sparsity_at
from trainer.prune.prune import PruneParameters, prune
from trainer.prune.report import markdown

__all__ = ["Masks", "PruneError", "PruneParameters", "markdown", "prune", "sparsity_at"]
