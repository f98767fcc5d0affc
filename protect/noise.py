"""The noise as it is published: a pattern for each class, and where in it each pixel looks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

SPACINGS = 0.5, 1.0
"""Between knots, in sides of a texture: bends of two sizes are added up."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What a run publishes its pictures with.

    Attributes:
        patterns: (K, 1 or 3, h, w), float32, in levels within the budget. Where every picture gets
            a part of its own they are larger than `grid`, both ways by `tile` less one; else as
            large.
        grid: Rows and columns of a picture's noise, before it is resized to the picture.
        bend: See `places`.
    """

    patterns: Tensor
    grid: tuple[int, int]
    bend: float = 0.0

    @property
    def tile(self) -> int:
        """At how many rows, and columns, of its pattern a picture's noise may begin."""
        return self.patterns.shape[2] - self.grid[0] + 1

    def pattern(self, k: int, draws: torch.Generator) -> Tensor:
        """Return the noise of a picture of class `k`, (1 or 3, *grid), as it is drawn."""
        whole, tile = self.patterns[k], self.tile
        if tile == 1:
            return whole
        rows, columns = (part[0] for part in places(1, self.grid, tile, self.bend, draws))
        if self.bend:  # older noise, which is straight, may repeat after fewer pixels than a tile
            rows, columns = rows % tile, columns % tile
        return whole[:, rows, columns]

    @property
    def repeats(self) -> bool:
        """Whether the patterns do so after each `tile`, both ways."""
        whole, tile = self.patterns, self.tile
        return all(
            torch.equal(
                whole.narrow(side, tile, length - tile), whole.narrow(side, 0, length - tile)
            )
            for side, length in ((2, whole.shape[2]), (3, whole.shape[3]))
        )

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
        height, width = map(int, table["grid"].tolist())
        bend = float(table["bend"]) if "bend" in table else 0.0
        return cls(table["noise"], (height, width), bend)


def places(
    count: int,
    grid: tuple[int, int],
    tile: int,
    bend: float,
    draws: torch.Generator,
    here: slice = slice(None),
    device: torch.device = CPU,
) -> tuple[Tensor, Tensor]:
    """Draw where in the endless texture of its class each pixel of each picture looks.

    Every picture begins at a place of its own. Bent, each pixel looks a little beside its place, by
    a smooth random field of the picture. Straight waves would show as peaks of a class's mean
    spectrum, wherever they begin.

    Args:
        count: B, how many pictures are drawn for.
        grid: Rows and columns of each, (h, w).
        tile: Side in pixels of the square that the texture repeats.
        bend: Standard deviation of how far beside at the knots of each of the `SPACINGS`, as a
            share of the distance between them; 0 for straight textures.
        draws: Of everything.
        here: Which b of these pictures are wanted.
        device: Where.

    Returns:
        Rows, (b, h, w) or (b, h, 1), and columns, (b, h, w) or (b, 1, w), int32; bent ones may be
        below 0 and beyond a tile.
    """
    starts = torch.randint(tile, (2, count, 1, 1), generator=draws).int()[:, here].to(device)
    rows = starts[0] + torch.arange(grid[0], dtype=torch.int32, device=device)[:, None]
    columns = starts[1] + torch.arange(grid[1], dtype=torch.int32, device=device)
    if not bend:
        return rows, columns
    down, across = [], []
    for spacing in SPACINGS:
        distance = round(spacing * tile)
        over_rows, over_columns = (_between(distance, side) for side in grid)
        size = 2, count, over_rows.shape[1], over_columns.shape[1]
        # In float32 the last bits of normal draws would depend on the CPU.
        knots = torch.randn(size, generator=draws, dtype=torch.float64)[:, here]
        down.append(over_rows)
        across.append(bend * distance * knots @ over_columns.T)
    exact = CPU if device.type == "mps" else device  # which has no float64
    beside = torch.cat(down, dim=1).to(exact) @ torch.cat(across, dim=2).to(exact)
    rounded = beside.round_().int().to(device)
    return rows + rounded[0], columns + rounded[1]


@cache
def _between(distance: int, side: int) -> Tensor:
    """Return the weight of each knot in each pixel of a row, bicubic: (side, knots), float64."""
    knots = math.ceil((side - 1) / distance) + 1
    alone = torch.eye(knots, dtype=torch.float64)[None, None]
    reached = (knots - 1) * distance + 1
    weights = F.interpolate(alone, size=(reached, knots), mode="bicubic", align_corners=True)
    return weights[0, 0, :side]
