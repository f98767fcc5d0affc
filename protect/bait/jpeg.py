"""JPEG as something to differentiate: what Pillow's encoder and decoder do to a batch of pictures.

Follows ITU-T T.81: 4:2:0, the tables of Annex K scaled as libjpeg scales them. Only the entropy
coding is left out, which loses nothing.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * BLOCK,) * 4,
)
"""Tables K.1 and K.2: the steps at quality 50, by row and column of the frequency."""
_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)
"""JFIF: red, green and blue to luma and two colour differences, each around 0."""


def jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Return what a JPEG file of each picture would show.

    Rounding of the coefficients has the gradient of a cubic: none where a coefficient lies on a
    step, so that noise which JPEG deletes gets nothing for staying there.

    Args:
        pixels: (B, 3, H, W), float, in [0, 255].
        quality: Pillow's, 1 to 95.

    Returns:
        The same shape and range, whole values.
    """
    height, width = pixels.shape[-2:]
    whole = 2 * BLOCK
    padding = (0, -width % whole, 0, -height % whole)
    padded = F.pad(pixels, padding, mode="replicate")
    to_ycc = torch.tensor(_TO_YCC, device=pixels.device, dtype=pixels.dtype)
    planes = torch.einsum("ij,bjhw->bihw", to_ycc, padded)
    luma = _quantise(planes[:, :1] - 128, _steps(_LUMA, quality)) + 128
    colours = _quantise(F.avg_pool2d(planes[:, 1:], 2), _steps(_CHROMA, quality))
    colours = F.interpolate(colours, scale_factor=2, mode="bilinear", align_corners=False)
    back = torch.linalg.inv(to_ycc)
    shown = torch.einsum("ij,bjhw->bihw", back, torch.cat([luma, colours], dim=1))
    exact = shown[..., :height, :width].clamp(0, 255)
    return exact + (exact.round() - exact).detach()


def _quantise(planes: Tensor, steps: Tensor) -> Tensor:
    """Round the block-wise cosine coefficients of (B, C, H, W) to multiples of `steps` (8, 8)."""
    count, channels, height, width = planes.shape
    cosines, steps = _cosines().to(planes), steps.to(planes)
    blocks = planes.reshape(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    scaled = torch.einsum("ui,bcyixj,vj->bcyxuv", cosines, blocks, cosines) / steps
    nearest = scaled.detach().round()
    soft = nearest + (scaled - nearest) ** 3
    rounded = soft + (nearest - soft).detach()
    blocks = torch.einsum("ui,bcyxuv,vj->bcyixj", cosines, rounded * steps, cosines)
    return blocks.reshape(planes.shape)


def _steps(table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Scale a table of steps to a quality, as libjpeg does."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = (torch.tensor(table) * percent + 50).div(100, rounding_mode="floor")
    return scaled.clamp(1, 255).float()


@cache
def _cosines() -> Tensor:
    """Return the orthonormal cosines of 8 samples: (frequency, sample)."""
    frequency, sample = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)[None]
    cosines = torch.cos(math.pi * (2 * sample + 1) * frequency / (2 * BLOCK)) * 0.5
    cosines[0] /= math.sqrt(2)
    return cosines
