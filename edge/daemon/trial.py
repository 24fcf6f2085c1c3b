"""The trial of a new model: what it says of tiles of live frames shows whether it is of any use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge.records import Prediction

if TYPE_CHECKING:
    from edge.records import Image

# Fewer tiles than that can be alike by chance.
_LEAST_TILES = 16
# Even of a still scene a camera's noise moves the last digits.
_ALIKE = 1e-6
# Grey levels of 255 by which the mean of a tile must differ from that of the first: below a lens cap, and while the drone
# stands still over a field, a good model says the same all the time.
_TILES_DIFFER = 2.0
_STEP_PX = 8


class Trial:
    """Watches what a new model says of tiles of live frames."""

    def __init__(self, trial_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            trial_s: From the first tile on.
        """
        self._trial_s = trial_s
        self._clock = clock
        self._begun: float | None = None
        self._first: Prediction | None = None
        self._first_mean = 0.0
        self._differing = 0
        self._varied = False

    @property
    def is_alike(self) -> bool:
        """Whether it said the same of tiles that were not alike, for the whole time."""
        return not self._varied and self._differing >= _LEAST_TILES and self._is_over

    @property
    def is_passed(self) -> bool:
        """Whether it lasted, and told tiles apart."""
        return self._varied and self._is_over

    @property
    def _is_over(self) -> bool:
        return self._begun is not None and self._clock() - self._begun >= self._trial_s

    def saw(self, images: Sequence[Image], predictions: Sequence[Prediction]) -> None:
        """Take what it said of some tiles."""
        if self._varied:
            return
        for image, prediction in zip(images, predictions, strict=True):
            mean = float(image[::_STEP_PX, ::_STEP_PX].mean())
            if self._first is None:
                self._first, self._first_mean, self._begun = prediction, mean, self._clock()
            self._differing += abs(mean - self._first_mean) > _TILES_DIFFER
            self._varied = self._varied or any(
                abs(value - self._first.probabilities[label]) > _ALIKE for label, value in prediction.probabilities.items()
            )
