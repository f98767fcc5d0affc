"""Every picture decoded as a run does, to find what fails, and nothing kept but a few in memory."""

from protect.data.cache import Origin, build_cache, read_all, square
from protect.data.decode import Picture
from protect.data.discover import Listing
from protect.data.reading import (
    Reading,
    announce,
    choose_sizes,
    copies,
)
from protect.documents.manifest import Refused
from protect.errors import ImageRefused
from protect.events import Listener, StageAdvanced

FEWEST_KEPT = 256
"""Pictures: two batches of the engine's, or more."""


def scan_pictures(
    listing: Listing,
    *,
    size: int | None,
    accelerated: bool,
    at_room: bool,
    threads: int,
    max_pixels: int,
    keep: int,
    listener: Listener,
) -> Reading:
    """Find what `read_pictures` would find, without writing anything.

    Args:
        listing: What was found in the source.
        size: Working size; None picks it from the pictures.
        accelerated: Whether a GPU computes.
        at_room: Whether pictures are kept as large as a stranger with a GPU sees them.
        threads: Decoding threads.
        max_pixels: Larger pictures are refused.
        keep: How many pictures are wanted in memory; as many, or 256 if that is more, where there
            are so many.
        listener: Told of each picture.

    Returns:
        The same as `read_pictures`, but that `pictures` are at least so many of them, spread over
        the samples, in memory.
    """
    sizes = choose_sizes(listing, size, accelerated, at_room, max_pixels)
    grid = sizes.grid
    samples, refused = [], list(listing.refused)
    origins: dict[str, Origin] = {}

    def shape_of(picture: Picture) -> tuple[int, int]:
        return picture.height, picture.width

    every = read_all(listing.samples, max_pixels, threads, shape_of)
    for sample, (found, origin) in zip(listing.samples, every, strict=True):
        listener(StageAdvanced())
        origins[sample.name] = origin
        if isinstance(found, ImageRefused):
            refused.append(Refused.of(sample.name, found))
            continue
        samples.append(sample)
        if grid.exact and found != (grid.height, grid.width):
            grid = square(sizes.kept)
    kept = samples[:: max(1, len(samples) // max(keep, FEWEST_KEPT))]
    pictures, _, _ = build_cache(
        kept,
        listing.class_index,
        grid,
        None,
        threads=threads,
        max_pixels=max_pixels,
        listener=lambda _: None,
    )
    notes = tuple(copies(samples, origins))
    announce(notes, origins.values(), listener)
    return Reading(
        pictures=pictures,
        samples=tuple(samples),
        refused=tuple(sorted(refused, key=lambda item: item.source)),
        grid=grid,
        size=sizes.working,
        room=sizes.room,
        origins=origins,
        notes=notes,
    )
