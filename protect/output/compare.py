"""A published picture beside its original: how far apart they are, and what each of them shows."""

from dataclasses import dataclass

from protect.data.decode import Picture, pixel_digest
from protect.errors import ImageRefused
from protect.output.quality import Quality, measure


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two decoded pictures have to do with each other.

    Attributes:
        quality: How far apart they are.
        original: Digest of what the original shows, whatever its file.
        published: The same of the published picture.
    """

    quality: Quality
    original: str
    published: str


def compare(original: Picture, published: Picture) -> Comparison:
    """Compare a published picture with its original.

    Raises:
        ImageRefused: If they are not of one size and of equally many channels.
    """
    if published.pixels.shape != original.pixels.shape:
        raise ImageRefused(
            f"it is {published.width}x{published.height} of {published.pixels.shape[2]} channels, "
            f"its original {original.width}x{original.height} of {original.pixels.shape[2]}",
        )
    return Comparison(
        quality=measure(original.pixels, published.pixels),
        original=pixel_digest(original),
        published=pixel_digest(published),
    )
