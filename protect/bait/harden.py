"""What a stranger may do to pictures before he trains, inside the loop that optimises the noise.

Each change is differentiable, so that the noise is moved to where it survives. A round of the loop
goes through one of them from its first look to its last, test pictures included: a stranger who
saves as JPEG does so with all.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from protect.bait.jpeg import BLOCK, jpeg
from protect.config.choices import Harden

QUALITY = 10
"""Of JPEG. What it leaves, gentler compression leaves too."""
LUMA = (0.299, 0.587, 0.114)
"""Of ITU-R 601, as Pillow makes grey."""
LARGEST_BLUR = 1.5
"""Deviation of the Gaussian in pixels."""

View = Callable[[Tensor, torch.Generator], Tensor]
"""Takes (B, 3, H, W), float in [0, 255], to the same."""


def plain(pixels: Tensor, draws: torch.Generator) -> Tensor:  # noqa: ARG001
    """Change nothing."""
    return pixels


def compressed(pixels: Tensor, draws: torch.Generator) -> Tensor:  # noqa: ARG001
    """Save as JPEG."""
    return jpeg(pixels, QUALITY)


def displaced(pixels: Tensor, draws: torch.Generator) -> Tensor:
    """Save as JPEG with the blocks elsewhere, as who crops or pads the pictures first."""
    down, across = torch.randint(BLOCK, (2,), generator=draws).tolist()
    return jpeg(pixels.roll((down, across), (2, 3)), QUALITY).roll((-down, -across), (2, 3))


def grey(pixels: Tensor, draws: torch.Generator) -> Tensor:  # noqa: ARG001
    """Keep the luma only."""
    weights = torch.tensor(LUMA, device=pixels.device, dtype=pixels.dtype)
    return torch.einsum("j,bjhw->bhw", weights, pixels)[:, None].expand_as(pixels)


def blurred(pixels: Tensor, draws: torch.Generator) -> Tensor:
    """Blur with a Gaussian of a width that is drawn."""
    return _blur(pixels, LARGEST_BLUR * max(float(torch.rand((), generator=draws)), 0.1))


def most_blurred(pixels: Tensor, draws: torch.Generator) -> Tensor:  # noqa: ARG001
    """Blur with the widest Gaussian."""
    return _blur(pixels, LARGEST_BLUR)


def at_most(view: View) -> View:
    """Return a change at its strongest, where its strength is drawn."""
    return most_blurred if view is blurred else view


def _blur(pixels: Tensor, sigma: float) -> Tensor:
    reach = min(round(3 * sigma) + 1, *(side - 1 for side in pixels.shape[-2:]))
    places = torch.arange(-reach, reach + 1, device=pixels.device, dtype=pixels.dtype)
    taps = torch.exp(-0.5 * (places / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    padded = F.pad(pixels, (reach,) * 4, mode="reflect")
    across = F.conv2d(padded, taps, groups=3)
    return F.conv2d(across, taps.transpose(2, 3), groups=3)


def coarser(pixels: Tensor, draws: torch.Generator) -> Tensor:  # noqa: ARG001
    """Shrink to half the height and width, and enlarge again."""
    height, width = pixels.shape[-2:]
    small = F.interpolate(
        pixels, size=(max(height // 2, 1), max(width // 2, 1)), mode="bilinear", antialias=True
    )
    return F.interpolate(small, size=(height, width), mode="bilinear")


VIEWS: dict[Harden, tuple[View, ...]] = {
    Harden.JPEG: (compressed, displaced),
    Harden.GREY: (grey,),
    Harden.BLUR: (blurred,),
    Harden.RESIZE: (coarser,),
}


def views_of(hardened: Sequence[Harden]) -> list[View]:
    """Return what is done to pictures, round by round: nothing, then each change in turn."""
    return [plain, *(view for name in hardened for view in VIEWS[name])]
