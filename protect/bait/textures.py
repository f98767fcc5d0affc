"""What the noise starts from: textures that a JPEG file keeps, one for each class.

A JPEG file holds each block of 8 x 8 pixels as cosines, and at quality 10 rounds all but the lowest
away unless they are as strong as a budget of 8 levels can just make them (ITU-T T.81, tables of
Annex K). So a block here is the sign of a single low cosine, which puts the whole budget into it,
and a texture is a square of four such blocks.
"""

import torch
from torch import Tensor

from protect.bait.jpeg import BLOCK, waves

TILE = 2 * BLOCK
"""Side of a texture, which repeats, in pixels of the working size."""
LOW = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1), (0, 3), (3, 0), (1, 2), (2, 1))
"""Row and column of the cosines in use: those that 8 levels bring through quality 10, or nearly."""
ARRANGEMENTS = ((0, 0, 0, 0), (0, 1, 1, 0), (0, 1, 2, 3))
"""Which of the four blocks of a texture show the same cosine: all, those across, none. In turn."""


def textures(count: int, draws: torch.Generator) -> Tensor:
    """Draw different textures; of two that are each other's negative only one.

    Args:
        count: How many.
        draws: Of the cosines and their signs.

    Returns:
        (count, 1, 16, 16), float32, 1 or -1.
    """
    blocks = _blocks()
    found: dict[bytes, Tensor] = {}
    tried = 0
    while len(found) < count:
        arrangement = torch.tensor(ARRANGEMENTS[tried % len(ARRANGEMENTS)])
        shown = torch.randint(len(LOW), (4,), generator=draws)[arrangement]
        signs = torch.randint(2, (4, 1, 1), generator=draws) * 2 - 1
        signs = signs * signs[0]
        four = (blocks[shown] * signs).reshape(2, 2, BLOCK, BLOCK)
        texture = four.permute(0, 2, 1, 3).reshape(1, TILE, TILE)
        found.setdefault(texture.numpy().tobytes(), texture)
        tried += 1
    return torch.stack(list(found.values()))


def _blocks() -> Tensor:
    """Return the signs of the cosines in `LOW`: (10, 8, 8)."""
    cosines = waves()
    rows, columns = torch.tensor(LOW).unbind(1)
    products = cosines[rows][:, :, None] * cosines[columns][:, None, :]
    return torch.where(products < 0, -1.0, 1.0)
