"""How much ground a pixel of geotagged tiles shows: ``python -m tools.ground_sample_distance ../shared/data/harvey``.

For data whose source does not say it. Tiles that are named by the place of their middle, ``<longitude>_<latitude>``, and lie a
few tens of metres apart show the same ground twice: by how many pixels it is shifted, against by how many metres their middles
lie apart, is metres a pixel. A shift counts where the middle of either tile is found in the other one and both say the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from geographiclib.geodesic import Geodesic

_NAME = re.compile(r"(-?\d+\.\d+)_(-?\d+\.\d+)")
_NEAR_M = (5.0, 50.0)
_LEAST_SHIFT_PX = 8.0
_LEAST_CORRELATION = 0.9
_AGREE_PX = 0.6

Found = tuple[float, float, Path]


def main() -> int:
    """Measure and print; returns 1 if too few tiles overlap."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of tiles; those of one subfolder are compared with each other")
    parser.add_argument("--pairs", type=int, default=6000, help="pairs that are tried, taken at random (6000)")
    options = parser.parse_args()
    pairs = list(_pairs(options.folder))
    np.random.default_rng(0).shuffle(pairs)
    measured: dict[str, list[float]] = {"x": [], "y": []}
    for first, second in pairs[: options.pairs]:
        shift = _shift(_load(first[2]), _load(second[2]))
        if shift is None:
            continue
        line = Geodesic.WGS84.Inverse(first[1], first[0], second[1], second[0])
        azimuth = np.radians(line["azi1"])
        # What moved to the left is seen from further right.
        for axis, pixels, metres in (("x", -shift[0], np.sin(azimuth)), ("y", shift[1], np.cos(azimuth))):
            if abs(pixels) > _LEAST_SHIFT_PX:
                measured[axis].append(line["s12"] * metres / pixels)
    if min(len(values) for values in measured.values()) < 20:
        print("too few tiles overlap", file=sys.stderr)
        return 1
    for axis, values in measured.items():
        low, quarter, median, three_quarters, high = np.percentile(values, [5, 25, 50, 75, 95])
        print(
            f"{axis}: {median:.4f} m a pixel, half of {len(values)} pairs within {quarter:.4f} to {three_quarters:.4f},"
            f" nine tenths within {low:.4f} to {high:.4f}"
        )
    area_m2 = float(np.median(measured["x"]) * np.median(measured["y"]))
    print(f"side of a square pixel of the same area: {area_m2**0.5:.4f} m")
    return 0


def _pairs(folder: Path) -> Iterator[tuple[Found, Found]]:
    """Tiles of one folder that lie near each other."""
    cells: dict[tuple[Path, int, int], list[Found]] = defaultdict(list)
    # A cell is at least as wide as tiles are apart, up to 60 degrees north and south.
    side_deg = _NEAR_M[1] / 55_000
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if match := _NAME.match(file.name):
            found = float(match[1]), float(match[2]), file
            at = int(found[0] // side_deg), int(found[1] // side_deg)
            for column in (-1, 0, 1):
                for row in (-1, 0, 1):
                    for other in cells.get((file.parent, at[0] + column, at[1] + row), ()):
                        if _NEAR_M[0] < Geodesic.WGS84.Inverse(other[1], other[0], found[1], found[0])["s12"] < _NEAR_M[1]:
                            yield other, found
            cells[file.parent, *at].append(found)


def _load(file: Path) -> Any:
    return cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)


def _shift(first: Any, second: Any) -> tuple[float, float] | None:
    """By how many pixels to the right and down the first tile's ground lies in the second; None: that cannot be said."""
    there, back = _find_middle(first, second), _find_middle(second, first)
    if there is None or back is None or max(abs(there[0] + back[0]), abs(there[1] + back[1])) > _AGREE_PX:
        return None
    return (there[0] - back[0]) / 2, (there[1] - back[1]) / 2


def _find_middle(first: Any, second: Any) -> tuple[float, float] | None:
    """By how much the first one's middle half is shifted in the second, to a fraction of a pixel by the best three."""
    height, width = (side // 4 for side in first.shape)
    scores = cv2.matchTemplate(second, first[height:-height, width:-width], cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    if best < _LEAST_CORRELATION or not (0 < x < scores.shape[1] - 1 and 0 < y < scores.shape[0] - 1):
        return None
    return x + _peak(scores[y, x - 1 : x + 2]) - width, y + _peak(scores[y - 1 : y + 2, x]) - height


def _peak(three: Any) -> float:
    """Where the parabola through three values is highest, from the second on."""
    before, at, after = (float(value) for value in three)
    return (before - after) / (2 * (before - 2 * at + after))


if __name__ == "__main__":
    sys.exit(main())
