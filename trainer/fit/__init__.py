"""Training: from data sets to a run folder."""

from trainer.fit.augment import LEVELS
from trainer.fit.fit import FitError, fit
from trainer.fit.folds import FOLDS, cross_validate
from trainer.fit.parameters import FitParameters

__all__ = ["FOLDS", "LEVELS", "FitError", "FitParameters", "cross_validate", "fit"]
