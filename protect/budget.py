"""The budget: how noise becomes published pixels, and the proof that it stayed within its levels.

One function, `publish`, is the step from noise to pixels, both inside the optimised graph and when
files are written, so that what is optimised is what is published. Pixels are on the 0-255 scale
everywhere here; noise is in 8-bit levels of the same scale.
"""

import torch.nn.functional as F
from torch import Tensor

from protect.config.values import LEVELS_PER_UNIT


def resize_noise(noise: Tensor, height: int, width: int) -> Tensor:
    """Bring noise to a picture's own size; never beyond its largest value.

    Bilinear weights are non-negative and sum to 1, so the L-infinity norm cannot grow.

    Args:
        noise: (B, C, h, w), float, in levels.
        height: Rows of the picture.
        width: Its columns.

    Returns:
        (B, C, height, width), float, in levels.
    """
    if noise.shape[-2:] == (height, width):
        return noise
    return F.interpolate(
        noise, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )


def to_grey(noise: Tensor) -> Tensor:
    """Average noise over its channels, so that a grey picture stays grey.

    Args:
        noise: (..., C, h, w), float.

    Returns:
        (..., 1, h, w), float.
    """
    return noise.mean(dim=-3, keepdim=True)


def publish(pixels: Tensor, noise: Tensor) -> Tensor:
    """Add noise, clamp to the legal range and round to whole 8-bit values.

    Rounding is to nearest (truncation would waste a level) and lets gradients pass unchanged, the
    straight-through estimator. Clamping stops the gradient where a pixel is saturated.

    Args:
        pixels: (B, C, H, W), float, whole values in [0, 255].
        noise: The same shape, float, in levels within the budget.

    Returns:
        (B, C, H, W), float, whole values in [0, 255], differentiable in `noise`.
    """
    exact = (pixels + noise).clamp(0, LEVELS_PER_UNIT)
    return exact + (exact.round() - exact).detach()
