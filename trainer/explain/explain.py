"""Writes for images what a network's decision rests on: pictures, a table, and a page that shows them all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.capture.headers import ImageError
from edge.capture.image import decode
from edge.text import one_line, printable
from trainer.datasets.files import images_in
from trainer.explain.gradcam import ExplainError, GradCam
from trainer.explain.page import page
from trainer.explain.picture import draw
from trainer.explain.subject import Subject
from trainer.files import replaced_folder

TABLE, PAGE = "explanations.csv", "index.html"

# Images computed at once, and pixels kept for that: large images come in smaller batches.
_BATCH, _BATCH_PIXELS = 32, 1 << 26
_MAX_PIXELS = 1 << 26
# No image is that large, so none is shrunk while it is decoded.
_AS_IT_IS = (1 << 16, 1 << 16)

Progress = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One image's line in the table.

    Attributes:
        name: Of the image: path below the folder that was given.
        decided: Label that the network decides for, with its probability, 0..1.
        explained: Label that the heat map speaks of, with its probability, 0..1.
        peak_x: Where the heat map is largest, as a share of the width from the left; None where it is 0 everywhere.
        peak_y: The same of the height from the top.
        top_left: Share of the heat in this quarter of the image, 0..1; `top_right`, `bottom_left`, `bottom_right` alike.
    """

    name: str
    decided: str
    decided_probability: float
    explained: str
    explained_probability: float
    peak_x: float | None
    peak_y: float | None
    top_left: float | None
    top_right: float | None
    bottom_left: float | None
    bottom_right: float | None


@dataclass(frozen=True, slots=True)
class Explanations:
    """What was explained, and ``name: reason`` of what could not be read."""

    explained: tuple[Explanation, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Image:
    name: Path
    bgr: NDArray[np.uint8]


def explain(
    subject: Subject,
    paths: Sequence[Path],
    target: Path,
    *,
    label: str | None = None,
    opacity: float = 0.5,
    progress: Progress = iter,
) -> Explanations:
    """Write a picture for each image, ``explanations.csv`` and ``index.html``.

    Args:
        paths: Images, or folders with images at any depth. Each is seen whole, scaled to the size that the network takes, as
            in training.
        target: Folder to write; an older one of this kind is replaced, anything else is refused.
        label: To explain; None: of each image the one that the network decides for.
        opacity: Of the heat map over the image, 0..1.
        progress: Iterates over the files, and may show how far it is.

    Raises:
        ExplainError: There is no such label or path, no image can be read, two would have one name, or the target is
            something else.
        DatasetError: A folder holds no image.
    """
    if label is not None and label not in subject.labels:
        raise ExplainError(f"label {printable(label)}: {subject.name} knows {', '.join(subject.labels)}")
    if target.exists() and not (target / TABLE).is_file():
        raise ExplainError(f"{target}: exists and holds no {TABLE}; it is not replaced")
    files = _files(paths, target)
    cam = GradCam(subject.model, subject.temperature)
    explained: list[tuple[Explanation, Path]] = []
    unreadable: list[str] = []
    with replaced_folder(target) as folder:
        for batch in _batches(progress(list(files)), files, unreadable):
            explained += _explain_batch(cam, subject, batch, folder, label=label, opacity=opacity)
        if not explained:
            raise ExplainError(f"none of {len(files)} images can be read; {unreadable[0]}")
        lines = tuple(line for line, _ in explained)
        with (folder / TABLE).open("w", newline="", encoding="utf-8") as table:
            writer = csv.DictWriter(table, [field.name for field in fields(Explanation)])
            writer.writeheader()
            writer.writerows(asdict(line) for line in lines)
        (folder / PAGE).write_text(page(subject.name, explained, unreadable), encoding="utf-8")
    return Explanations(lines, tuple(unreadable))


def _files(paths: Sequence[Path], target: Path) -> dict[Path, Path]:
    """The name of each file, which is its path below the folder that was given."""
    written = target.resolve()
    names: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            # What an earlier explanation left there are no images to explain.
            found = {file: file.relative_to(path) for file in images_in(path) if written not in file.resolve().parents}
        elif path.is_file():
            found = {path: Path(path.name)}
        else:
            raise ExplainError(f"{path}: no such file or folder")
        names |= found
    if not names:
        raise ExplainError(f"{', '.join(map(str, paths))}: holds no image besides those in {target}")
    taken: dict[Path, Path] = {}
    for file, name in names.items():
        if name in taken:
            raise ExplainError(f"{taken[name]} and {file} would both be {name}; give a folder that holds both")
        taken[name] = file
    return names


def _batches(files: Iterable[Path], names: Mapping[Path, Path], unreadable: list[str]) -> Iterator[list[_Image]]:
    """The images that can be read, some at a time; of the others the reasons."""
    batch: list[_Image] = []
    for file in files:
        try:
            batch.append(_Image(names[file], decode(file.read_bytes(), _AS_IT_IS, _MAX_PIXELS).pixels))
        except (ImageError, OSError) as error:
            unreadable.append(f"{printable(str(names[file]))}: {one_line(error)}")
        if len(batch) == _BATCH or sum(image.bgr.size // 3 for image in batch) > _BATCH_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch


def _explain_batch(
    cam: GradCam, subject: Subject, batch: Sequence[_Image], folder: Path, *, label: str | None, opacity: float
) -> list[tuple[Explanation, Path]]:
    """Write the pictures of some images; gives each one's line of the table and the path of its picture."""
    height, width = cam.tile_px
    tiles = [cv2.resize(image.bgr, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1] for image in batch]
    seen = cam.explain(np.stack(tiles), None if label is None else subject.labels.index(label))
    explained = []
    for image, probabilities, index, heat in zip(batch, seen.probabilities, seen.labels, seen.heat, strict=True):
        line = _line(printable(image.name.as_posix()), subject.labels, probabilities, int(index), heat)
        picture = image.name.with_name(f"{image.name.name}.png")
        caption = f"{line.explained} {line.explained_probability:.1%}"
        encoded = cv2.imencode(".png", draw(image.bgr, heat, caption, opacity))[1]
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        (folder / picture).write_bytes(encoded.tobytes())
        explained.append((line, picture))
    return explained


def _line(
    name: str, labels: Sequence[str], probabilities: NDArray[np.float32], index: int, heat: NDArray[np.float32]
) -> Explanation:
    decided = int(probabilities.argmax())
    said = (labels[decided], round(float(probabilities[decided]), 4), labels[index], round(float(probabilities[index]), 4))
    if not heat.any():
        return Explanation(name, *said, None, None, None, None, None, None)
    rows, columns = heat.shape
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    # Cut in four, so that a middle row or column can belong to both sides.
    quarters = np.kron(heat, np.full((2, 2), 1 / (4 * heat.sum())))
    shares = [
        round(float(quarters[vertical, horizontal].sum()), 4)
        for vertical in (slice(rows), slice(rows, None))
        for horizontal in (slice(columns), slice(columns, None))
    ]
    return Explanation(name, *said, round((column + 0.5) / columns, 4), round((row + 0.5) / rows, 4), *shares)
