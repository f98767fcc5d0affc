"""Pictures decoded once into an uncompressed file, so that memory stays flat for any number.

Owns the working size: at which height and width the networks are shown the pictures.
"""

import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from protect.data.decode import Picture, as_rgb, decode, pixel_digest
from protect.data.discover import Sample
from protect.documents.manifest import Refused
from protect.errors import ImageRefused, InputError, MachineError
from protect.events import Listener, StageAdvanced
from protect.system.parallel import ordered_map

Kept = TypeVar("Kept")

SMALLEST_SIZE = 64
"""Pretrained networks learn poorly from inputs below this, so smaller pictures are enlarged."""
LARGEST_SIZE_CPU = 96
LARGEST_SIZE_ACCELERATOR = 224
LARGEST_EXACT_GRID = 256
"""Pictures that all have one size up to this are cached as they are."""
PROBES = 64
HANDFUL = 8
"""Pictures that a thread reads at a time: a tiny one takes no longer than handing it over."""
REWRITE_BATCH = 256


@dataclass(frozen=True, slots=True)
class Grid:
    """Height and width of the cached pictures.

    Attributes:
        height: Rows.
        width: Columns.
        exact: Whether every picture has this size by itself; otherwise they are resized to it.
    """

    height: int
    width: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a picture was read from.

    Attributes:
        sha256: Digest of the file; empty where it could not be read.
        pixels_sha256: Digest of what it shows; the same for the same picture in another format.
        n_bytes: Size of the file.
        n_levels: Size of the picture without compression: height by width by channels.
    """

    sha256: str = ""
    pixels_sha256: str = ""
    n_bytes: int = 0
    n_levels: int = 0

    @classmethod
    def of(cls, picture: Picture) -> "Origin":
        """Return that of a decoded picture."""
        return cls(picture.sha256, pixel_digest(picture), picture.n_bytes, picture.pixels.size)


class PixelCache:
    """N pictures of one size on disk, as 8-bit RGB.

    Args:
        pixels: (N, H, W, 3), uint8, usually memory-mapped.
        rows: (n,), which rows of `pixels` are used.
        labels: (n,), int64, class indices.
        grey: (n,), bool, which pictures are grey.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], rows: NDArray[np.int64], labels: Tensor, grey: Tensor
    ) -> None:
        self.pixels = pixels
        self.rows = rows
        self.labels = labels
        self.grey = grey

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process without the pixels, which it maps from the same file."""
        state = vars(self).copy()
        if isinstance(self.pixels, np.memmap):
            self.pixels.flush()
            state["pixels"] = self.pixels.filename
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the pixels again, to read only."""
        if isinstance(state["pixels"], Path):
            state["pixels"] = np.load(state["pixels"], mmap_mode="r")
        vars(self).update(state)

    def __len__(self) -> int:
        """Return n."""
        return len(self.rows)

    def batch(self, index: Tensor) -> Tensor:
        """Return the pictures at `index` (B,): (B, 3, H, W), uint8, on the CPU."""
        picked = self.pixels[self.rows[index.numpy()]]
        _forget(self.pixels)
        return torch.from_numpy(picked).permute(0, 3, 1, 2)

    def rewritten(self, path: Path, change: Callable[[Tensor, Tensor], Tensor]) -> "PixelCache":
        """Write changed pictures to another file, a piece at a time.

        Args:
            path: File to write, as large as the pictures.
            change: Takes index (B,) and pictures (B, 3, H, W), uint8, and returns such pictures.
        """
        pixels = _create(path, (len(self), *self.pixels.shape[1:]))
        for index in torch.split(torch.arange(len(self)), REWRITE_BATCH):
            changed = change(index, self.batch(index))
            pixels[index.numpy()] = changed.permute(0, 2, 3, 1).numpy()
            _forget(pixels)
        return PixelCache(pixels, np.arange(len(self)), self.labels, self.grey)

    def subset(self, index: NDArray[np.int64]) -> "PixelCache":
        """Return a view of the pictures at `index` (m,)."""
        chosen = torch.from_numpy(index)
        return PixelCache(self.pixels, self.rows[index], self.labels[chosen], self.grey[chosen])


def choose_size(sizes: Sequence[tuple[int, int]], accelerated: bool) -> int:
    """Pick the working size: the median short side to a multiple of 32, within what is affordable.

    Args:
        sizes: (height, width) of some pictures, at least one.
        accelerated: Whether a GPU computes; it affords larger inputs.
    """
    median = sorted(min(size) for size in sizes)[len(sizes) // 2]
    largest = LARGEST_SIZE_ACCELERATOR if accelerated else LARGEST_SIZE_CPU
    return min(max(32 * round(median / 32), SMALLEST_SIZE), largest)


def probe_sizes(samples: Sequence[Sample], max_pixels: int) -> list[tuple[int, int]]:
    """Return the (height, width) of up to 64 pictures spread over the samples.

    Pictures that cannot be read are passed over; empty only if none of the probed can be.
    """
    step = max(1, math.ceil(len(samples) / PROBES))
    sizes = []
    for sample in samples[::step]:
        try:
            picture = decode(sample.path, max_pixels)
        except ImageRefused:
            continue
        sizes.append((picture.height, picture.width))
    return sizes


def square(size: int) -> Grid:
    """Return the grid of pictures that are resized to squares."""
    return Grid(size, size, exact=False)


def choose_grid(sizes: Sequence[tuple[int, int]], size: int) -> Grid:
    """Cache pictures as they are where they seem to share one modest size, else as squares."""
    height, width = sizes[0]
    uniform = set(sizes) == {(height, width)}
    if uniform and max(height, width) <= LARGEST_EXACT_GRID:
        return Grid(height, width, exact=True)
    return square(size)


class MixedSizes(Exception):  # noqa: N818 - a finding, not an error
    """A picture does not have the exact grid's size."""


def build_cache(
    samples: Sequence[Sample],
    class_index: dict[str, int],
    grid: Grid,
    path: Path | None,
    *,
    threads: int,
    max_pixels: int,
    listener: Listener,
) -> tuple[PixelCache, tuple[Refused, ...], tuple[Origin, ...]]:
    """Decode every picture into the file at `path`.

    Args:
        samples: The pictures, at least one.
        class_index: Class name -> index.
        grid: Size of the cached pictures.
        path: File to write, of `cache_bytes`; None keeps so much in memory, for a few pictures.
        threads: Decoding threads.
        max_pixels: Larger pictures are refused.
        listener: Told of each picture.

    Returns:
        The readable pictures in order, those that cannot be protected, each with its reason, and
        where each sample came from.

    Raises:
        MixedSizes: If the grid is exact and a picture has another size.
    """

    def fitted(picture: Picture) -> tuple[NDArray[np.uint8], bool]:
        if grid.exact and (picture.height, picture.width) != (grid.height, grid.width):
            raise MixedSizes
        return _fit(as_rgb(picture.pixels), grid), picture.is_grey

    shape = len(samples), grid.height, grid.width, 3
    pixels = np.empty(shape, np.uint8) if path is None else _create(path, shape)
    refused, rows, grey, origins = [], [], [], []
    for row, (found, origin) in enumerate(read_all(samples, max_pixels, threads, fitted)):
        listener(StageAdvanced())
        origins.append(origin)
        if isinstance(found, ImageRefused):
            refused.append(Refused.of(samples[row].name, found))
            continue
        pixels[row], is_grey = found
        if row % REWRITE_BATCH == 0:
            _forget(pixels)
        rows.append(row)
        grey.append(is_grey)
    labels = torch.tensor([class_index[samples[row].label] for row in rows], dtype=torch.int64)
    cache = PixelCache(pixels, np.array(rows, dtype=np.int64), labels, torch.tensor(grey))
    return cache, tuple(refused), tuple(origins)


def load_square(
    samples: Sequence[Sample],
    class_index: dict[str, int],
    size: int,
    path: Path,
    *,
    threads: int,
    max_pixels: int,
    listener: Listener,
) -> tuple[PixelCache, tuple[Origin, ...]]:
    """Decode pictures that must all be readable into squares, as a stranger's loader does.

    Returns:
        The pictures in order, and where each came from.

    Raises:
        InputError: If any cannot be read, naming each.
    """
    cache, refused, origins = build_cache(
        samples,
        class_index,
        square(size),
        path,
        threads=threads,
        max_pixels=max_pixels,
        listener=listener,
    )
    if refused:
        raise InputError(
            f"{len(refused)} pictures cannot be read",
            "remove or repair them",
            [str(item) for item in refused],
        )
    return cache, origins


def _create(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Create a file of pictures with all its space: a full disk is an error now, not a crash later.

    Raises:
        MachineError: If the disk has no room for it.
    """
    try:
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise no_room(math.prod(shape), path.parent, error.strerror or str(error)) from None
    return pixels


def _forget(pixels: NDArray[np.uint8]) -> None:
    """Let the system take back the memory of a mapped file; the pictures stay in the file."""
    if isinstance(pixels.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pixels.base.madvise(mmap.MADV_DONTNEED)


def no_room(n_bytes: int, folder: Path, reason: str) -> MachineError:
    """Say that a folder cannot hold the decoded pictures."""
    return MachineError(
        f"no room for {n_bytes / 1e6:.1f} MB of decoded pictures in {folder}: {reason}",
        "make room there, or set TMPDIR to another disk (verify) or choose another --output (run)",
    )


def cache_bytes(count: int, grid: Grid) -> int:
    """Return how much so many pictures take on disk, to a few bytes."""
    return count * grid.height * grid.width * 3


def read_all(
    samples: Sequence[Sample], max_pixels: int, threads: int, keep: Callable[[Picture], Kept]
) -> Iterator[tuple[Kept | ImageRefused, Origin]]:
    """Decode in threads; what is kept of a picture is made there too, so that few exist at a time.

    Args:
        samples: The pictures.
        max_pixels: Larger pictures are refused.
        threads: Decoding threads; no more whole pictures than these are in memory.
        keep: Makes of a picture what is wanted of it.
    """

    def read(sample: Sample) -> tuple[Kept | ImageRefused, Origin]:
        try:
            picture = decode(sample.path, max_pixels)
        except ImageRefused as refusal:
            return refusal, Origin()
        return keep(picture), Origin.of(picture)

    return ordered_map(read, samples, threads, HANDFUL)


def _fit(pixels: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (grid.height, grid.width):
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((grid.width, grid.height), Image.Resampling.BILINEAR))
