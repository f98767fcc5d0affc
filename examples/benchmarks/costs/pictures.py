"""Reading, changing and writing pictures against a loop of a few lines of Pillow and NumPy."""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from costs.clock import in_turns
from costs.figures import Comparison
from protect.bait.patterns import ClassPatterns, random_start
from protect.budget import resize_noise
from protect.config.choices import DEFAULT_MAX_PIXELS
from protect.config.values import Eps
from protect.data.decode import decode
from protect.data.discover import Sample
from protect.documents.manifest import ImageRecord
from protect.output.encode import COMPRESS_LEVEL
from protect.output.names import output_names
from protect.output.writer import Writer
from protect.system.device import generator
from protect.system.parallel import ordered_map
from protect.system.workers import Workers

PART = "io"
GOAL = 1.1
LEVELS = (1, 3, 6, 9)
LABEL = "photo"
LARGEST_PATTERN = 224
"""Side of the noise for photos above it, as a run on a GPU makes it."""
JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of picture file.

    Attributes:
        side: Of the squares that photos are cut to and shrunk to; None keeps them as they are.
        suffix: ".png" or ".jpg".
        cuts: Squares out of each photo: small ones take too little time to measure a few.
    """

    side: int | None
    suffix: str
    cuts: int = 1

    def __str__(self) -> str:
        return f"{f'{self.side} px' if self.side else 'whole'} {self.suffix[1:].upper()}"


CASES = (
    Case(64, ".png", cuts=40),
    Case(64, ".jpg", cuts=40),
    Case(224, ".png", cuts=5),
    Case(224, ".jpg", cuts=5),
    Case(512, ".jpg"),
    Case(None, ".jpg"),
)


@dataclass(frozen=True, slots=True)
class Publish:
    """Publishes a picture under its name, here or in another process.

    Attributes:
        writer: Writes it.
        names: Source name -> output name.
    """

    writer: Writer
    names: Mapping[str, str]

    def __call__(self, sample: Sample) -> ImageRecord:
        """Write one picture; see `Writer.publish`."""
        return self.writer.publish(sample, self.names[sample.name])


class Photos:
    """The files of a case, the tool that protects them, and a bare loop that does the same.

    Args:
        case: Which kind of files.
        originals: Photos to make them of.
        folder: Empty; files are made and written there.
    """

    def __init__(self, case: Case, originals: Sequence[Path], folder: Path) -> None:
        self.samples = tuple(
            _make(case, path, number, folder / "photos")
            for path in originals
            for number in range(case.cuts)
        )
        side = min(case.side or LARGEST_PATTERN, LARGEST_PATTERN)
        patterns = ClassPatterns(
            random_start(1, 3, generator(0, "patterns")), side, side, Eps.parse("8/255").levels
        )
        self.noise = patterns.noise()
        self.folder = folder
        self.writer = Writer(
            folder=folder / "protected",
            noise=self.noise,
            seed=0,
            class_index={LABEL: 0},
            levels=Eps.parse("8/255").levels,
            max_pixels=DEFAULT_MAX_PIXELS,
        )
        self.publish = Publish(self.writer, output_names([sample.name for sample in self.samples]))
        self.fitting: dict[tuple[int, int], NDArray[np.int16]] = {}
        for sample in self.samples:
            picture = decode(sample.path)
            size = picture.height, picture.width
            levels = resize_noise(self.noise.patterns, *size)[0].round()
            self.fitting[size] = levels.permute(1, 2, 0).numpy().astype(np.int16)

    def protected(self) -> list[NDArray[np.uint8]]:
        """Return the pixels that are published."""
        return [self.writer.render(sample).pixels for sample in self.samples]

    def write(self, threads: int = 1) -> None:
        """Do what a run does in its last stage, with the proof of every file."""
        self._write_by(self.publish, threads)

    def write_helped(self, workers: Workers[Sample, ImageRecord], threads: int) -> None:
        """Do the same in processes that have started."""
        self._write_by(workers, threads)

    def _write_by(self, write: Callable[[Sample], ImageRecord], threads: int) -> None:
        for _ in ordered_map(write, self.samples, threads):
            pass

    def write_unproved(self) -> None:
        """Do what of it the bare loop does too: decode, apply, encode."""
        for sample in self.samples:
            (self.folder / "unproved.png").write_bytes(self.writer.render(sample).data)

    def write_bare(self) -> None:
        """Open, convert, add noise, save, with the noise at hand in the size of each picture."""
        for sample in self.samples:
            with Image.open(sample.path) as image:
                pixels = np.asarray(image.convert("RGB"))
            changed = pixels + self.fitting[pixels.shape[0], pixels.shape[1]]
            published = np.clip(changed, 0, 255).astype(np.uint8)
            Image.fromarray(published).save(self.folder / "bare.png")


def measure_io(originals: Sequence[Path], folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """Compare for each kind of file, with one thread and with two, and PNG's levels of effort.

    Args:
        originals: Photos.
        folder: Empty.
        quick: Whether the smallest kind does.
    """
    cases, pairs = (CASES[:1], 2) if quick else (CASES, 5)
    made = {case: Photos(case, originals, folder / str(case)) for case in cases}
    with _one_thread():
        for case, photos in made.items():
            yield from _against_pillow(case, photos, pairs)
        for case, photos in made.items():
            yield from _with_two(case, photos, min(pairs, 3))
        for case, photos in made.items():
            yield from _efforts(str(case), photos.protected())


def measure_flat_efforts(folder: Path, count: int) -> Iterator[Comparison]:
    """Compare PNG's levels of effort on pictures that are published already, such as drawings.

    Args:
        folder: Of a run's output.
        count: How many of them.
    """
    paths = sorted(folder.rglob("*.png"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    yield from _efforts(folder.name, [decode(path).pixels for path in chosen])


def _against_pillow(case: Case, photos: Photos, pairs: int) -> Iterator[Comparison]:
    per_picture = 1000 / len(photos.samples)
    for what, ours in (
        ("decode, apply, encode", photos.write_unproved),
        ("the same and the proof of each file", photos.write),
    ):
        seconds = in_turns(ours, photos.write_bare, pairs)
        yield Comparison.of_pairs(
            PART,
            f"{case}: {what}",
            "ms CPU/picture",
            [(mine.cpu * per_picture, bare.cpu * per_picture) for mine, bare in seconds],
            "bare Pillow",
            GOAL,
        )


def _with_two(case: Case, photos: Photos, pairs: int) -> Iterator[Comparison]:
    """Compare two threads, and two processes, with one thread."""
    with Workers(photos.publish, 2) as workers:
        photos.write_helped(workers, 2)  # they have started
        for what, two_do in (
            ("two threads", lambda: photos.write(2)),
            ("two processes", lambda: photos.write_helped(workers, 2)),
        ):
            seconds = in_turns(two_do, photos.write, pairs)
            count = len(photos.samples)
            yield Comparison.of_pairs(
                PART,
                f"{case}: {what}",
                "pictures/s",
                [(count / two.wall, count / one.wall) for two, one in seconds],
                "one thread",
            )


def _efforts(name: str, published: Sequence[NDArray[np.uint8]]) -> Iterator[Comparison]:
    """Compare size and time of each level with those of the level that is used."""
    images = [Image.fromarray(pixels.squeeze()) for pixels in published]
    values = sum(pixels.size for pixels in published)
    used_size, used_seconds = _encode_all(images, COMPRESS_LEVEL)
    for level in LEVELS:
        size, seconds = _encode_all(images, level)
        for what, unit, mine, used in (
            ("size", "bytes/value", size / values, used_size / values),
            ("time", "ns CPU/value", seconds * 1e9 / values, used_seconds * 1e9 / values),
        ):
            yield Comparison.of_pairs(
                PART,
                f"{name}, effort {level}: {what}",
                unit,
                [(mine, used)],
                f"effort {COMPRESS_LEVEL}",
            )


def _encode_all(images: Sequence[Image.Image], level: int) -> tuple[int, float]:
    """Return the bytes and the CPU seconds, the least of three."""
    times = []
    for _ in range(3):
        start, size = time.thread_time(), 0
        for image in images:
            file = io.BytesIO()
            image.save(file, "PNG", compress_level=level)
            size += file.tell()
        times.append(time.thread_time() - start)
    return size, min(times)


def _make(case: Case, original: Path, number: int, folder: Path) -> Sample:
    with Image.open(original) as image:
        photo = image.convert("RGB")
    if case.side:
        # All cuts of a photo differ, so that no file is the same as another.
        edge = min(photo.size) - number
        left, top = (photo.width - edge) // 2, (photo.height - edge) // 2
        box = (left, top, left + edge, top + edge)
        photo = photo.resize((case.side, case.side), Image.Resampling.LANCZOS, box)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{original.stem}-{number}{case.suffix}"
    photo.save(path, quality=JPEG_QUALITY)
    return Sample(name=path.name, path=path, label=LABEL)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread an operation: the costs are those of one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
