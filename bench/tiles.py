"""How fast a photo of 20 megapixels becomes classified, placed tiles: ``python -m bench.tiles``, or ``make bench-tiles``.

The photo is one of ../shared/data/drone-photos, enlarged and mirrored to the 5472×3648 pixels of a one-inch camera, with its
EXIF and XMP. It takes the way of a lane: read, located, cut for the model, decoded, inferred, observed; by two threads, as
the daemon has two lanes on two cores. What the camera shows of the ground is set here for each row: straight down from a
height, through a lens of 8.8 mm before a sensor 13.2 mm wide. The model is the shipped one, said to be of each row's ground
sample distance.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
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
from edge.config import CaptureConfig, PositionConfig, build
from edge.daemon.hand import FrameInHand, Hand
from edge.daemon.models import Models
from edge.daemon.service import Service
from edge.health import Conditions
from edge.inference.engine import BATCH
from edge.position import Locator
from edge.records import Fix, Footprint, Frame, Tile
from edge.survey import Surveyor

WIDTH, HEIGHT = 5472, 3648
_FLOOR_PER_S = 5.0
_SENSOR_M, _FOCAL_M = 13.2e-3, 8.8e-3
_METRES_A_DEGREE = 111_320.0
_GROUND_M = (0.5, 0.1, 0.05)
_HEIGHTS_M = (40, 100)
_CAPTURE = CaptureConfig()


@dataclass(frozen=True)
class Below:
    """Flat ground straight below; north is where the frame's top is."""

    fix: Fix
    height_m: float

    @property
    def ground_sample_distance_m(self) -> float:
        return self.height_m * _SENSOR_M / _FOCAL_M / WIDTH

    def footprint(self, tile: Tile) -> Footprint:
        right, bottom = tile.left + tile.width, tile.top + tile.height
        corners = tuple(
            self._at(x, y) for x, y in ((tile.left, tile.top), (right, tile.top), (right, bottom), (tile.left, bottom))
        )
        longitude, latitude = self._at(tile.left + tile.width / 2, tile.top + tile.height / 2)
        return Footprint(corners, latitude, longitude)  # type: ignore[arg-type]

    def _at(self, x: float, y: float) -> tuple[float, float]:
        metres = self.ground_sample_distance_m
        north_m, east_m = (HEIGHT / 2 - y) * metres, (x - WIDTH / 2) * metres
        east_degree_m = _METRES_A_DEGREE * np.cos(np.radians(self.fix.latitude))
        return self.fix.longitude + east_m / east_degree_m, self.fix.latitude + north_m / _METRES_A_DEGREE


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
        photo.write_bytes(enlarged(source.read_bytes(), options.quality))
        models = Models(build({"model": {"store": ""}}, "bench", {}), Path(temporary), "throughput", Conditions(lambda: None))
        try:
            print(f"{describe_machine()}\nphoto: {WIDTH}x{HEIGHT}, {photo.stat().st_size / 1e6:.1f} MB; two threads\n")
            print(
                f"{'height':>8}{'model':>9}{'tiles':>7}{'decoded':>11}{'photos/s':>10}{'floor':>7}   CPU ms: decode  cut  infer"
            )
            speeds = [
                _row(models.service, photo, height_m, ground_m, options.photos)
                for height_m in _HEIGHTS_M
                for ground_m in _GROUND_M
            ]
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
    surveyor = Surveyor(
        Locator.from_config(PositionConfig(sources=["exif"])), _CAPTURE, lambda frame, fix: Below(fix, height_m)
    )
    seen: list[int] = []
    _fly(service, surveyor, photo, 1, [])
    started = time.perf_counter()
    lanes = [threading.Thread(target=_fly, args=(service, surveyor, photo, count // 2, seen)) for _ in range(2)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    speed = len(seen) / (time.perf_counter() - started)
    decoded, *parts = _parts(service, photo, height_m)
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
            for observation, (serving, _) in zip(observations, frame.answers, strict=True):
                serving.triage.decide(observation)
            seen.append(len(observations))

    for _ in range(count):
        opened, found = _read(photo, times)
        serving = service.take()
        note(hand.add(FrameInHand(found, surveyor.survey(opened, serving.classifier.input), time.monotonic(), serving)))
    while not hand.is_empty:
        note(hand.settle())


def _read(photo: Path, times: CaptureTimes) -> tuple[OpenedFrame, FoundFile]:
    key = key_of(str(photo), str(photo.parent), os.stat(photo))
    return read_frame(str(photo), key, _CAPTURE, times), FoundFile(key, str(photo), may_grow=False)


def _parts(service: Service, photo: Path, height_m: float) -> tuple[str, float, float, float]:
    """The size that a photo is decoded to, and CPU milliseconds of its parts, each by itself."""
    classifier = service.current.classifier
    opened, _ = _read(photo, CaptureTimes())
    frame: Frame = opened.frame
    below = Below(Fix(0, 0, "bench", frame.captured_at), height_m)
    plan = plan_tiles((WIDTH, HEIGHT), below.ground_sample_distance_m, classifier.input, _CAPTURE)
    taken: list[list[float]] = []
    for _ in range(3):
        start = time.process_time()
        pixels = opened.image.decode(plan.serve_px)
        decoded = time.process_time()
        images = cut(pixels, plan)[1]
        was_cut = time.process_time()
        for at in range(0, len(images), BATCH):
            classifier.classify(images[at : at + BATCH])
        taken.append([decoded - start, was_cut - decoded, time.process_time() - was_cut])
    decode_s, cut_s, infer_s = (statistics.median(each) for each in zip(*taken, strict=True))
    return f"{pixels.shape[1]}x{pixels.shape[0]}", decode_s * 1000, cut_s * 1000, infer_s * 1000


if __name__ == "__main__":
    sys.exit(main())
