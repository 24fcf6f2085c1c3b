"""How fast a photo of 20 megapixels becomes classified, placed tiles: ``python -m bench.tiles``, or ``make bench-tiles``.

The photo is one of ../shared/data/drone-photos, enlarged and mirrored to the 5472×3648 pixels of a one-inch camera, with its
EXIF and XMP, which are made to say another height for each row. It takes the way of a lane: read, located, cut for the model,
decoded, inferred, observed; by two threads, as the daemon has two lanes on two cores. The model is the shipped one, said to be
of each row's ground sample distance. The milliseconds are of CPU, for each part by itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from bench.machine import describe_machine
from edge.capture.directory import FoundFile
from edge.capture.files import OpenedFrame, key_of, read_frame
from edge.capture.tiles import cut, plan_tiles
from edge.capture.times import CaptureTimes
from edge.config import build
from edge.daemon.hand import FrameInHand, Hand
from edge.daemon.models import Models
from edge.daemon.service import Service
from edge.health import Conditions
from edge.inference.engine import BATCH
from edge.position import Locator
from edge.position.footprint import view_of
from edge.survey import Surveyor

WIDTH, HEIGHT = 5472, 3648
_FLOOR_PER_S = 5.0
_GROUND_M = (0.5, 0.1, 0.05)
_HEIGHTS_M = (40, 100)
# The photo's own height in its XMP.
_HEIGHT = b'RelativeAltitude="+39.80"'
# A lens of 8.8 mm before a sensor 13.2 mm wide.
_CONFIG = build({"model": {"store": ""}, "camera": {"horizontal_fov_deg": 73.74}}, "bench", {})


def main() -> int:
    """Measure and print; returns 1 if a row is below the floor."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with drone-photos")
    parser.add_argument("--photos", type=int, default=20, help="photos for each row (20)")
    parser.add_argument("--quality", type=int, default=92, help="of the JPEG (92)")
    options = parser.parse_args()
    source = options.data / "drone-photos" / "DJI_0018.JPG"
    if not source.is_file():
        parser.error(f"{source}: no such file")
    with tempfile.TemporaryDirectory() as temporary:
        photo = Path(temporary) / "photo.jpg"
        content = enlarged(source.read_bytes(), options.quality)
        assert _HEIGHT in content
        models = Models(_CONFIG, Path(temporary), "throughput", Conditions(lambda: None))
        try:
            print(f"{describe_machine()}\nphoto: {WIDTH}x{HEIGHT}, {len(content) / 1e6:.1f} MB; two threads\n")
            header = f"{'height':>8}{'model':>9}{'tiles':>7}{'decoded':>11}{'photos/s':>10}{'floor':>7}"
            print(f"{header}   CPU ms: decode  cut  infer  place")
            speeds: list[float] = []
            for height_m in _HEIGHTS_M:
                height = f"{height_m:+.2f}"[:6]
                photo.write_bytes(content.replace(_HEIGHT, f'RelativeAltitude="{height}"'.encode()))
                speeds += [_row(models.service, photo, height_m, ground_m, options.photos) for ground_m in _GROUND_M]
        finally:
            models.close()
    return 0 if min(speeds) >= _FLOOR_PER_S else 1


def enlarged(photo: bytes, quality: int) -> bytes:
    """A JPEG of 5472×3648 pixels that shows a photo, and below it its mirror image; with the photo's EXIF and XMP."""
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert pixels is not None
    wide = cv2.resize(pixels, (WIDTH, round(pixels.shape[0] * WIDTH / pixels.shape[1])), interpolation=cv2.INTER_CUBIC)
    whole = np.vstack([wide, wide[::-1]])[:HEIGHT]
    encoded = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    tags, at = b"", 2
    while photo[at : at + 2] == b"\xff\xe1":
        end = at + 2 + int.from_bytes(photo[at + 2 : at + 4], "big")
        tags += photo[at:end]
        at = end
    return encoded[:2] + tags + encoded[2:]


def _row(service: Service, photo: Path, height_m: float, ground_m: float, count: int) -> float:
    """Measure one height and one model; returns photos per second."""
    classifier = service.current.classifier
    classifier.input = msgspec.structs.replace(classifier.input, ground_sample_distance_m=ground_m)
    surveyor = Surveyor.from_config(_CONFIG, Locator.from_config(_CONFIG.position))
    seen: list[int] = []
    _fly(service, surveyor, photo, 1, [])
    started = time.perf_counter()
    lanes = [threading.Thread(target=_fly, args=(service, surveyor, photo, count // 2, seen)) for _ in range(2)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    speed = len(seen) / (time.perf_counter() - started)
    decoded, parts = _parts(service, photo)
    cells = "".join(f"{part:7.0f}" for part in parts)
    print(f"{height_m:6.0f} m{ground_m:7g} m{seen[0]:7}{decoded:>11}{speed:10.1f}{_FLOOR_PER_S:7.0f}{'':7}{cells}")
    return speed


def _fly(service: Service, surveyor: Surveyor, photo: Path, count: int, seen: list[int]) -> None:
    """What a lane does with a photo, again and again; notes how many observations came of each."""
    hand, times = Hand(service), CaptureTimes()

    def note(frames: Any) -> None:
        for frame in frames:
            observations = [frame.survey.observation(at, answer) for at, (_, answer) in enumerate(frame.answers)]
            assert all(observation.fix and observation.footprint for observation in observations)
            frame.serving.triage.decide_all(observations)
            seen.append(len(observations))

    for _ in range(count):
        opened, found = _read(photo, times)
        serving = service.take()
        note(hand.add(FrameInHand(found, surveyor.survey(opened, serving.classifier.input), time.monotonic(), serving)))
    while not hand.is_empty:
        note(hand.settle())


def _read(photo: Path, times: CaptureTimes) -> tuple[OpenedFrame, FoundFile]:
    key = key_of(str(photo), str(photo.parent), os.stat(photo))
    return read_frame(str(photo), key, _CONFIG.capture, times), FoundFile(key, str(photo), may_grow=False)


def _parts(service: Service, photo: Path) -> tuple[str, list[float]]:
    """The size that a photo is decoded to, and CPU milliseconds of its parts, each by itself."""
    classifier = service.current.classifier
    opened, _ = _read(photo, CaptureTimes())
    fix = Locator.from_config(_CONFIG.position).locate(opened.frame)
    assert fix is not None
    view = view_of(opened.frame, fix, _CONFIG.camera)
    assert view is not None
    plan = plan_tiles((WIDTH, HEIGHT), view.ground_sample_distance_m, classifier.input, _CONFIG.capture)
    taken: list[list[float]] = []
    for _ in range(3):
        start = time.process_time()
        pixels = opened.image.decode(plan.serve_px)
        decoded = time.process_time()
        images = cut(pixels, plan)[1]
        was_cut = time.process_time()
        for at in range(0, len(images), BATCH):
            classifier.classify(images[at : at + BATCH])
        inferred = time.process_time()
        view.footprints(plan.tiles)
        taken.append([decoded - start, was_cut - decoded, inferred - was_cut, time.process_time() - inferred])
    parts_ms = [statistics.median(each) * 1000 for each in zip(*taken, strict=True)]
    return f"{pixels.shape[1]}x{pixels.shape[0]}", parts_ms


if __name__ == "__main__":
    sys.exit(main())
