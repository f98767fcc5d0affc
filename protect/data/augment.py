"""Views of a batch that a training pipeline would make: differentiable, seeded, one draw a picture.

Used by the noise optimisation and by the verifier's training alike.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CROP_PADDING = 1 / 8
"""Padding of the random crop, as a share of each side: 4 of 32 pixels (method section 3)."""


def random_crop_flip(
    pictures: Tensor,
    generator: torch.Generator,
    rows: slice = slice(None),
    count: int | None = None,
) -> Tensor:
    """Flip each picture with probability one half, then shift it by up to an eighth of its side.

    Args:
        pictures: (B, C, H, W), float, any range; pixels shifted in are 0.
        generator: On the CPU, so that draws do not depend on the device.
        rows: Where the pictures are in a larger batch; each is drawn for as if all were there.
        count: Pictures of that batch; None where these are all.

    Returns:
        (B, C, H, W), the same range and device; differentiable in `pictures`.
    """
    count = len(pictures) if count is None else count
    height, width = pictures.shape[2:]
    flip = (torch.rand(count, generator=generator) < 0.5)[rows]
    pad_y, pad_x = max(1, round(height * CROP_PADDING)), max(1, round(width * CROP_PADDING))
    top = torch.randint(0, 2 * pad_y + 1, (count,), generator=generator)[rows].tolist()
    left = torch.randint(0, 2 * pad_x + 1, (count,), generator=generator)[rows].tolist()
    flipped = torch.where(flip.to(pictures.device)[:, None, None, None], pictures.flip(3), pictures)
    padded = F.pad(flipped, (pad_x, pad_x, pad_y, pad_y))
    # Slices, not one gather: the backward pass of a gather is many times slower.
    crops = [
        picture[:, y : y + height, x : x + width]
        for picture, y, x in zip(padded.unbind(), top, left, strict=True)
    ]
    return torch.stack(crops)
