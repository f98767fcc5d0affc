"""What the noise starts from: textures that a JPEG file keeps, wherever its blocks lie.

At quality 10 a JPEG file rounds all but the lowest cosines of a block of 8 x 8 pixels away, unless
they are as strong as a budget of 8 levels can just make them (ITU-T T.81, tables of Annex K). A
wave of 5 to 23 pixels that goes up and down by the whole budget is, in most places that it can have
in a block. So a texture is the sign of such a wave, or of two of them together.
"""

import math

import torch
from torch import Tensor

from protect.bait.jpeg import jpeg
from protect.budget import publish

TILE = 32
"""Side of a texture, which repeats, in pixels of the working size."""
FEWEST, MOST = 1.4, 6.5
"""How often a wave may go up and down across a tile: periods of 23 to 5 pixels."""
WAVES = tuple(
    (down, across)
    for down in range(math.ceil(MOST))
    for across in range(math.ceil(MOST))
    if FEWEST <= math.hypot(down, across) <= MOST
)
"""How often each goes up and down from top to bottom, and from left to right. Those that fall to
the left are left out, since a stranger's flips make them the same."""
PHASES = (0.3, 1.1)
"""Of the first and the second wave, in radians; no pixel lies where they change their sign."""
PLACES = ((0, 0), (4, 4), (2, 5), (1, 3))
"""Of a texture in a block, at which it is tried what JPEG leaves of it: rows and columns."""


def textures(count: int, draws: torch.Generator) -> Tensor:
    """Draw different textures: each of the waves once, then pairs of them, added or multiplied.

    Args:
        count: How many.
        draws: Of the order of the waves, and of the pairs.

    Returns:
        (count, 1, 32, 32), float32, 1 or -1.
    """
    shuffled = torch.randperm(len(WAVES), generator=draws).tolist()
    found: dict[bytes, Tensor] = {}
    for number in shuffled:
        _keep(found, _wave(WAVES[number], PHASES[0]))
    while len(found) < count:
        first, second = torch.randperm(len(WAVES), generator=draws)[:2].tolist()
        mirrored = 1 - 2 * int(torch.randint(2, (), generator=draws))
        down, across = WAVES[second]
        one, other = _wave(WAVES[first], PHASES[0]), _wave((down, mirrored * across), PHASES[1])
        _keep(found, one + other if len(found) % 2 else one * other)
    return torch.stack(list(found.values())[:count])


def tiled(tiles: Tensor, height: int, width: int) -> Tensor:
    """Repeat tiles (B, C, h, w) downwards and across: (B, C, height, width)."""
    down, across = math.ceil(height / tiles.shape[2]), math.ceil(width / tiles.shape[3])
    return tiles.repeat(1, 1, down, across)[:, :, :height, :width]


def kept_by_jpeg(noise: Tensor, pixels: Tensor, quality: int) -> Tensor:
    """Return what JPEG leaves of noise in pictures, as a share of it, where it leaves least.

    Args:
        noise: (M, 1, h, w), float, in levels, on tiles that repeat.
        pixels: (B, 3, H, W), float, whole values in [0, 255].
        quality: Pillow's.

    Returns:
        (M,), the least share of those at `PLACES`; 1 where JPEG leaves all.
    """
    clean = jpeg(pixels, quality)

    def share(tile: Tensor, place: tuple[int, int]) -> Tensor:
        published = publish(pixels, tiled(tile[None].roll(place, (2, 3)), *pixels.shape[-2:]))
        change, left = published - pixels, jpeg(published, quality) - clean
        return (left * change).sum() / change.square().sum().clamp(min=1)

    shares = [torch.stack([share(tile, place) for place in PLACES]).min() for tile in noise]
    return torch.stack(shares)


def _keep(found: dict[bytes, Tensor], wave: Tensor) -> None:
    """Add the signs of a wave (32, 32), unless they or their negative are known."""
    texture = torch.where(wave * wave[0, 0] < 0, -1.0, 1.0)[None]
    found.setdefault(texture.numpy().tobytes(), texture)


def _wave(often: tuple[int, int], phase: float) -> Tensor:
    """Return a wave that goes up and down so often, downwards and across: (32, 32), float64."""
    down, across = often
    place = 2 * math.pi / TILE * torch.arange(TILE, dtype=torch.float64)
    return torch.cos(down * place[:, None] + across * place[None] + phase)
