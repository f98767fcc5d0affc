"""The reading stage of a run: pick the working size, decode every picture once, list what fails."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protect.data.cache import (
    Grid,
    MixedSizes,
    Origin,
    PixelCache,
    build_cache,
    choose_grid,
    choose_size,
    probe_sizes,
    square,
)
from protect.data.discover import Listing, Sample
from protect.data.walk import some_names
from protect.documents.manifest import Refused
from protect.errors import InputError
from protect.events import Listener, Notice, StageStarted

NOTABLE_GROWTH = 2
"""From this factor on it is said beforehand that the copy will need more room."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reading stage found.

    Attributes:
        pictures: The readable pictures, decoded.
        samples: The same, as files, in the same order.
        refused: Those that cannot be protected, sorted by source.
        grid: On which grid `pictures` are.
        size: Side in pixels at which the surrogate sees them.
        room: Side at which a stranger with a GPU would see them.
        origins: Source name -> the file, of every picture of the listing.
        notes: What the owner should know about the pictures.
    """

    pictures: PixelCache
    samples: tuple[Sample, ...]
    refused: tuple[Refused, ...]
    grid: Grid
    size: int
    room: int
    origins: Mapping[str, Origin]
    notes: tuple[str, ...]

    @property
    def digests(self) -> dict[str, str]:
        """Source name -> digest of the file; empty for pictures that were refused."""
        return {name: origin.sha256 for name, origin in self.origins.items()}

    def grid_within(self, side: int) -> tuple[int, int]:
        """Return height and width of noise no finer than the pictures, nor than so many pixels."""
        return min(self.grid.height, side), min(self.grid.width, side)

    def n_levels(self, samples: Iterable[Sample]) -> int:
        """Return how many values pictures have together: height by width by channels."""
        return sum(self.origins[sample.name].n_levels for sample in samples)


def read_pictures(
    listing: Listing,
    path: Path,
    *,
    size: int | None,
    accelerated: bool,
    at_room: bool,
    threads: int,
    max_pixels: int,
    listener: Listener,
) -> Reading:
    """Decode every picture of a listing into the file at `path`.

    Args:
        listing: What was found in the source.
        path: File to write.
        size: Working size; None picks it from the pictures.
        accelerated: Whether a GPU computes; it affords larger inputs.
        at_room: Whether pictures are kept as large as a stranger with a GPU sees them.
        threads: Decoding threads.
        max_pixels: Larger pictures are refused.
        listener: Told of each picture.
    """
    sizes = choose_sizes(listing, size, accelerated, at_room, max_pixels)
    grid = sizes.grid

    def build(grid: Grid) -> tuple[PixelCache, tuple[Refused, ...], tuple[Origin, ...]]:
        return build_cache(
            listing.samples,
            listing.class_index,
            grid,
            path,
            threads=threads,
            max_pixels=max_pixels,
            listener=listener,
        )

    try:
        pictures, refused, files = build(grid)
    except MixedSizes:
        grid = square(sizes.kept)
        listener(StageStarted("Reading images of mixed sizes", len(listing.samples)))
        pictures, refused, files = build(grid)
    samples = tuple(listing.samples[row] for row in pictures.rows)
    every = sorted(listing.refused + refused, key=lambda item: item.source)
    origins = {sample.name: file for sample, file in zip(listing.samples, files, strict=True)}
    notes = tuple(copies(samples, origins))
    announce(notes, files, listener)
    return Reading(pictures, samples, tuple(every), grid, sizes.working, sizes.room, origins, notes)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What was picked by some of the pictures.

    Attributes:
        working: Side in pixels at which the surrogate sees them.
        room: Side at which a stranger with a GPU would.
        kept: Side of pictures that are kept as squares.
        grid: On which grid they are kept, unless they turn out to have several sizes.
    """

    working: int
    room: int
    kept: int
    grid: Grid


def choose_sizes(
    listing: Listing, size: int | None, accelerated: bool, at_room: bool, max_pixels: int
) -> Sizes:
    """Pick the working size, if it is None, and on which grid pictures are kept."""
    probed = probe_sizes(listing.samples, max_pixels) or [(1, 1)]
    room = choose_size(probed, accelerated=True)
    working = size or choose_size(probed, accelerated)
    kept = room if at_room else working
    return Sizes(working, room, kept, choose_grid(probed, kept))


def copies(samples: Iterable[Sample], origins: Mapping[str, Origin]) -> list[str]:
    """Say which pictures are there several times.

    In several classes one of the labels is wrong; in one class their noises differ all the same.
    """
    first: dict[str, Sample] = {}
    pairs = []
    for sample in samples:
        other = first.setdefault(origins[sample.name].pixels_sha256, sample)
        if other is not sample:
            pairs.append((other, sample))
    return notes_on_copies(pairs)


def notes_on_copies(pairs: Iterable[tuple[Sample, Sample]]) -> list[str]:
    """Say what is wrong with pairs of the same picture."""
    of_classes: list[str] = []
    of_a_class: list[str] = []
    for one, other in pairs:
        found = of_a_class if one.label == other.label else of_classes
        found.append(f"{one.name} and {other.name}")
    notes = []
    if of_classes:
        notes.append(f"the same picture lies in two classes: {some_names(of_classes)}")
    if of_a_class:
        notes.append(
            "the same picture lies in a class twice, and gets other noise each time, which an "
            f"average of the two shows less of; keep one: {some_names(of_a_class)}"
        )
    return notes


def announce(notes: Iterable[str], files: Collection[Origin], listener: Listener) -> None:
    """Say what there is to know, and what room the copy may need where originals are lossy."""
    for note in notes:
        listener(Notice(note, "warning"))
    before, after = sum(file.n_bytes for file in files), sum(file.n_levels for file in files)
    if after > NOTABLE_GROWTH * before:
        listener(
            Notice(
                f"the copy is published as PNG, without loss: up to {after / 1e6:.1f} MB, where "
                f"the originals take {before / 1e6:.1f} MB"
            )
        )


def require_pictures(reading: Reading, skip_refused: bool) -> None:
    """Stop where pictures were refused, unless they may be skipped, or where too few are left.

    Raises:
        InputError: Naming every refused picture with its reason.
    """
    require_readable(reading.refused, skip_refused)
    if len({sample.label for sample in reading.samples}) < 2:
        raise InputError(
            "fewer than two classes have a readable picture, so there is nothing to mislead with",
            "repair the refused pictures",
            [str(item) for item in reading.refused],
        )


def require_readable(refused: Sequence[Refused], skip_refused: bool) -> None:
    """Stop where pictures were refused, unless they may be skipped.

    Raises:
        InputError: Naming every refused picture with its reason.
    """
    if refused and not skip_refused:
        raise InputError(
            f"{len(refused)} pictures cannot be protected; nothing was computed",
            "repair or remove them, or leave them out with --on-error skip",
            [str(item) for item in refused],
        )
