"""The textures that there are to choose from, each an entry of a table of patterns."""

import math

import torch
from torch import Tensor

from protect.bait.harden import QUALITY
from protect.bait.looks import Pictures
from protect.bait.patterns import ClassPatterns, faint_levels
from protect.bait.textures import TILE, broad_textures, broadest, kept_by_jpeg, textures
from protect.system.device import moved
from protect.system.processes import from_first

FEWEST_TEXTURES = 96
SPARE_TEXTURES = 1.5
"""To choose from: at least so many, and so many for each class."""
CANDIDATES = 1.5
"""Textures drawn for each that there is to choose from: JPEG leaves most of the rest."""
TRIED_IN = 32
TRIED_SIDE = 2 * TILE
"""Pictures in whose middle, of so many pixels, it is tried what JPEG leaves of a texture."""
SATURATION = 1.8
"""Weight of a texture: tanh makes 95 % of the budget of it, which rounds to all of 8 levels."""


def dealt_start(classes: int, channels: int, draws: torch.Generator) -> Tensor:
    """Return weights of different textures, (K, C, 32, 32), whichever come first."""
    return SATURATION * textures(classes, draws).expand(-1, channels, -1, -1)


def broad_start(classes: int, channels: int, draws: torch.Generator) -> Tensor:
    """Return weights of different textures to be seen at two sizes, (K, C, 64, 64)."""
    return SATURATION * broad_textures(classes, draws).expand(-1, channels, -1, -1)


def size_of_alphabet(classes: int) -> int:
    """Return how many textures there are to choose from for K classes."""
    return max(FEWEST_TEXTURES, round(SPARE_TEXTURES * classes))


@torch.no_grad()
def new_alphabet(
    patterns: ClassPatterns, pictures: Pictures, draws: torch.Generator
) -> ClassPatterns:
    """Return a table of textures to choose from, otherwise like `patterns`.

    Those of which JPEG leaves most in some of the pictures; the last, of which it leaves least, is
    faint.
    """
    count = size_of_alphabet(len(patterns.weight))
    drawn = dealt_start(round(CANDIDATES * count), 1, draws)
    some = torch.randperm(len(pictures), generator=draws)[:TRIED_IN]

    def survivors() -> Tensor:
        device = patterns.weight.device
        noise = patterns.budget * torch.tanh(drawn).to(device)
        trial = moved(_middle(pictures.batch(some), TRIED_SIDE), device).float()
        kept = kept_by_jpeg(noise, trial, QUALITY)
        return kept.cpu().argsort(descending=True, stable=True)[:count]

    return _table(drawn[from_first(survivors)], patterns, patterns.bend)


def broad_alphabet(patterns: ClassPatterns, draws: torch.Generator) -> ClassPatterns:
    """Return a table of textures to be seen at two sizes, otherwise like `patterns`.

    They are straight also where pictures will bend them, which tells better what misleads there
    (examples/benchmarks/tried.md, levelled spectra). The last is of a single level, and so broad
    that no network sees much of it: what looks like pictures without any noise.
    """
    drawn = broad_start(size_of_alphabet(len(patterns.weight)) - 1, 1, draws)
    one_level = math.atanh(min(math.tanh(SATURATION), 1 / faint_levels(patterns.budget)))
    return _table(torch.cat([drawn, one_level * broadest()[None]]), patterns, bend=0.0)


def _table(weights: Tensor, patterns: ClassPatterns, bend: float) -> ClassPatterns:
    """Return patterns like others, of which the last is faint; weights are (M, 1, t, t)."""
    return ClassPatterns(
        weights.expand(-1, patterns.weight.shape[1], -1, -1),
        patterns.height,
        patterns.width,
        patterns.budget,
        shifts=patterns.shifts,
        bend=bend,
        anchor=len(weights) - 1,
    ).to(patterns.weight.device)


def _middle(pixels: Tensor, side: int) -> Tensor:
    """Cut the middle square of so many pixels, or what there is of it, out of (B, C, H, W)."""
    top, left = (max(0, (length - side) // 2) for length in pixels.shape[-2:])
    return pixels[:, :, top : top + side, left : left + side]
