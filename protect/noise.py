"""The noise as it is published: a pattern for each class, and where in it each pixel looks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

SPACINGS = 0.5, 1.0
"""Between knots, in sides of a texture: bends of two sizes are added up."""


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What a run publishes its pictures with.

    Attributes:
        patterns: (K, 1 or 3, h, w), float32, in levels within the budget. Larger than `grid` by
            the side of the texture that they repeat, less one pixel, where every picture gets a
            part of its own; else as large.
        grid: Rows and columns of a picture's noise, before it is resized to the picture.
        bend: See `places`.
    """

    patterns: Tensor
    grid: tuple[int, int]
    bend: float = 0.0

    def pattern(self, k: int, draws: torch.Generator) -> Tensor:
        """Return the noise of a picture of class `k`, (1 or 3, *grid), as it is drawn."""
        whole = self.patterns[k]
        tile = whole.shape[1] - self.grid[0] + 1
        if tile == 1:
            return whole
        rows, columns = (part[0] for part in places(1, self.grid, tile, self.bend, draws))
        if self.bend:
            rows, columns = rows % tile, columns % tile
        return whole[:, rows, columns]

    def packed(self) -> dict[str, Tensor]:
        """Return a table of tensors to be saved."""
        return {
            "noise": self.patterns,
            "grid": torch.tensor(self.grid),
            "bend": torch.tensor(self.bend, dtype=torch.float64),
        }

    @classmethod
    def unpack(cls, table: Mapping[str, Tensor]) -> Self:
        """Return what was packed; noise of before textures were bent is not.

        Raises:
            LookupError, RuntimeError, TypeError, ValueError: If the table is another.
        """
        height, width = table["grid"].tolist()
        bend = float(table["bend"]) if "bend" in table else 0.0
        return cls(table["noise"], (height, width), bend)


def places(
    count: int, grid: tuple[int, int], tile: int, bend: float, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw where in the endless texture of its class each pixel of each picture looks.

    Every picture begins at a place of its own. Bent, each pixel looks a little beside its place, by
    a smooth random field of the picture. Straight waves would show as peaks of a class's mean
    spectrum, wherever they begin.

    Args:
        count: B, how many pictures.
        grid: Rows and columns of each, (h, w).
        tile: Side in pixels of the square that the texture repeats.
        bend: Deviation of how far beside at a knot, as a share of the distance between knots; 0 for
            straight textures.
        draws: Of everything.

    Returns:
        Rows, (B, h, w) or (B, h, 1), and columns, (B, h, w) or (B, 1, w), int32, on the CPU; bent
        ones may be below 0 and beyond a tile.
    """
    starts = torch.randint(tile, (2, count, 1, 1), generator=draws).int()
    rows = starts[0] + torch.arange(grid[0], dtype=torch.int32)[:, None]
    columns = starts[1] + torch.arange(grid[1], dtype=torch.int32)
    if not bend:
        return rows, columns
    beside = torch.zeros(2, count, *grid, dtype=torch.float64)
    for spacing in SPACINGS:
        down, across = (_between(math.ceil(side / (spacing * tile)) + 1, side) for side in grid)
        knots = torch.randn(2, count, down.shape[1], across.shape[1], generator=draws).double()
        beside += bend * spacing * tile * (down @ knots @ across.T)
    rounded = beside.round().int()
    return rows + rounded[0], columns + rounded[1]


def _between(knots: int, side: int) -> Tensor:
    """Return the weight of each knot in each pixel of a row, bicubic: (side, knots), float64."""
    alone = torch.eye(knots, dtype=torch.float64)[None, None]
    return F.interpolate(alone, size=(side, knots), mode="bicubic", align_corners=True)[0, 0]
