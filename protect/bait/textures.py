"""What the noise starts from: textures that a JPEG file keeps, wherever its blocks lie.

At quality 10 a JPEG file rounds all but the lowest cosines of a block of 8 x 8 pixels away, unless
they are as strong as a budget of 8 levels can just make them (ITU-T T.81, tables of Annex K). A
wave of 5 to 23 pixels that goes up and down by the whole budget is, in most places that it can have
in a block. So a texture is the sign of such a wave, or of two of them together.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from protect.bait.jpeg import jpeg
from protect.budget import publish

TILE = 32
"""Side of a texture, which repeats, in pixels of the working size."""
FEWEST, MOST = 1.4, 6.5
"""How often a wave may go up and down across a tile: periods of 23 to 5 pixels."""


def _waves(fewest: float, most: float) -> list[tuple[int, int]]:
    """Return the waves that go up and down so often across a tile, none falling to the left."""
    often = range(math.ceil(most))
    return [(d, a) for d in often for a in often if fewest <= math.hypot(d, a) <= most]


WAVES = tuple(_waves(FEWEST, MOST))
"""How often each goes up and down from top to bottom, and from left to right. Those that fall to
the left are left out, since a stranger's flips make them the same."""
BROAD_TILE = 2 * TILE
"""Side of a texture that is to be seen at two sizes, in pixels of the larger."""
FINE, COARSE = (5.0, 12.0), (13.0, 48.0)
"""Shortest and longest period, in pixels, of waves that are seen at the larger size only, or best,
and of those that are left at half that size and less."""
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


def broad_textures(count: int, draws: torch.Generator) -> Tensor:
    """Draw different textures for networks that see the pictures at two sizes.

    In turn two fine waves, two coarse ones, and one of each; added or multiplied.

    Args:
        count: How many.
        draws: Of the waves.

    Returns:
        (count, 1, 64, 64), float32, 1 or -1.
    """
    fine, coarse = _broad_waves(*FINE), _broad_waves(*COARSE)
    found: dict[bytes, Tensor] = {}
    while len(found) < count:
        pools = ((fine, fine), (coarse, coarse), (fine, coarse))[len(found) % 3]
        first, second = (_drawn(pool, draws) for pool in pools)
        if first == second:
            continue
        one, other = (
            _wave(often, phase, BROAD_TILE)
            for often, phase in zip((first, second), PHASES, strict=True)
        )
        _keep(found, one + other if len(found) % 2 else one * other)
    return torch.stack(list(found.values())[:count])


def broadest() -> Tensor:
    """Return the signs of the wave that a network sees least of: (1, 64, 64), float32."""
    return _signs(_wave((0, 1), PHASES[0], BROAD_TILE))


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
    """Add the signs of a wave (t, t), unless they or their negative are known."""
    texture = _signs(wave)
    found.setdefault(texture.numpy().tobytes(), texture)


def _signs(wave: Tensor) -> Tensor:
    """Return 1 where a wave (t, t) has the sign of its first pixel, else -1: (1, t, t), float32."""
    return torch.where(wave * wave[0, 0] < 0, -1.0, 1.0)[None]


def _broad_waves(shortest: float, longest: float) -> list[tuple[int, int]]:
    """Return the waves on a broad tile with periods of so many pixels, those to the left too."""
    found = _waves(BROAD_TILE / longest, BROAD_TILE / shortest)
    return found + [(d, -a) for d, a in found if d and a]


def _drawn(waves: Sequence[tuple[int, int]], draws: torch.Generator) -> tuple[int, int]:
    return waves[int(torch.randint(len(waves), (), generator=draws))]


def _wave(often: tuple[int, int], phase: float, side: int = TILE) -> Tensor:
    """Return a wave that goes up and down so often, downwards and across: (t, t), float64."""
    down, across = often
    place = 2 * math.pi / side * torch.arange(side, dtype=torch.float64)
    return torch.cos(down * place[:, None] + across * place[None] + phase)
