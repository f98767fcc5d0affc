"""Views of a batch that a training pipeline would make: differentiable, seeded, one draw a picture.

Used by the noise optimisation and by the verifier's training alike.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CROP_PADDING = 1 / 8
"""Padding of the random crop, as a share of each side: 4 of 32 pixels (method section 3)."""


def random_crop_flip(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each picture with probability one half, then shift it by up to an eighth of its side.

    Args:
        pictures: (B, C, H, W), float, any range; pixels shifted in are 0.
        generator: On the CPU, so that draws do not depend on the device.

    Returns:
        (B, C, H, W), the same range and device; differentiable in `pictures`.
    """
    count, _, height, width = pictures.shape
    device = pictures.device
    flip = torch.rand(count, generator=generator) < 0.5
    pad_y, pad_x = max(1, round(height * CROP_PADDING)), max(1, round(width * CROP_PADDING))
    top = torch.randint(0, 2 * pad_y + 1, (count, 1), generator=generator)
    left = torch.randint(0, 2 * pad_x + 1, (count, 1), generator=generator)
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    # Flipping is reading the columns backwards, so that one gather does both.
    columns = torch.where(flip[:, None], width + 2 * pad_x - 1 - columns, columns)
    padded = F.pad(pictures, (pad_x, pad_x, pad_y, pad_y)).permute(0, 2, 3, 1)
    picked = padded[
        torch.arange(count)[:, None, None].to(device),
        rows[:, :, None].to(device),
        columns[:, None, :].to(device),
    ]
    return picked.permute(0, 3, 1, 2)
