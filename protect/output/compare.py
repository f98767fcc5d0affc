"""A published picture beside its original: how far apart they are, and what each of them shows."""

from dataclasses import dataclass
from statistics import fmean

from PIL import Image, ImageStat

from protect.data.decode import Picture, Pixels, as_rgb, pixel_digest, same_opacity
from protect.errors import ImageRefused
from protect.output.quality import Quality, measure

ALWAYS_USABLE_LEVELS = 16
LOWEST_PSNR = 20.0
LOWEST_SIGNAL_TO_NOISE = 2.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two decoded pictures have to do with each other.

    Attributes:
        quality: How far apart they are.
        original: Digest of what the original shows, whatever its file.
        published: The same of the published picture.
        same_opacity: Whether the alpha channel is what it was; no distance above counts it.
        usable: Whether the published picture still serves as one, as `is_usable` tells.
    """

    quality: Quality
    original: str
    published: str
    same_opacity: bool
    usable: bool


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
    quality = measure(original.pixels, published.pixels)
    return Comparison(
        quality=quality,
        original=pixel_digest(original),
        published=pixel_digest(published),
        same_opacity=same_opacity(original, published),
        usable=is_usable(original.pixels, quality),
    )


def is_usable(original: Pixels, quality: Quality) -> bool:
    """Say whether what was published of a picture still serves as that picture.

    Nobody learns from black pictures, and that protects nothing: there is nothing left to protect.
    A change of up to 16 levels, the largest budget in common use, is always usable; it leaves at
    least 24 dB. A larger one must leave

    - 20 dB of PSNR, which is an error of a tenth of the range. Any budget of 25 levels leaves that.
      Black, flat or foreign pictures in place of photographs leave 5 to 15 dB;
    - an error of at most half the picture's own variance, for dark and pale pictures, which are
      near to black or to white in PSNR whatever becomes of them. Replacing a picture by its mean
      colour is an error of all its variance.

    SSIM decides nothing here: where pictures are mostly flat, harmless noise ruins it (0.43 at 8
    levels on Fashion-MNIST, where PSNR is 30 dB).

    Args:
        original: Pixels (H, W, C), uint8.
        quality: Of the published picture.
    """
    if quality.psnr is None or quality.linf_levels <= ALWAYS_USABLE_LEVELS:
        return True
    error = 255**2 / 10 ** (quality.psnr / 10)
    variance = fmean(ImageStat.Stat(Image.fromarray(as_rgb(original))).var)
    return quality.psnr >= LOWEST_PSNR and error * LOWEST_SIGNAL_TO_NOISE <= variance
