"""The noise as something to optimise: one pattern per class, bounded by construction."""

import math

import torch
from torch import Tensor, nn

from protect.budget import resize_noise, to_grey
from protect.config.choices import NoiseMode
from protect.system.shards import own, own_rows

TILE = 8
"""Side of the repeated square, in pixels of the working size."""
ANCHOR_SHARE_OF_BUDGET = 0.25
INITIAL_SPREAD = 1.0
"""Half-width of the uniform start in tanh space: textures of up to three quarters of the budget."""


def shifts_of(mode: NoiseMode) -> int:
    """Say how many rows and columns a picture's window into its class's texture may start at."""
    return TILE if mode is NoiseMode.SAMPLE else 1


class ClassPatterns(nn.Module):
    """A table of K noise patterns, `levels * tanh(weight)`, so the budget holds at every step.

    With `shifts` above 1, every picture carries a window of its class's texture that starts at a
    row and a column of its own. The mean over a class then has no texture to be found by, and a
    network still has: it reads texture wherever it lies.

    The published artefact of BAIT is one pattern per class (method section 3); here it is
    optimised directly. A pattern repeats a small tile: networks read texture wherever it lies, so
    a tile gets the gradient of all its copies, and a stranger's crop only shifts it.

    Args:
        classes: K, at least 2.
        channels: 1 where every picture is grey, else 3.
        height: Rows of a pattern.
        width: Columns of a pattern.
        tile: Side of the square that is repeated; patterns of fewer pixels repeat nothing.
        levels: The budget in whole 8-bit levels.
        generator: Draws the start.
        shifts: How many rows and columns a window may start at; 1 where all pictures of a class
            share their noise.
        anchor: Class whose pattern is faint, a quarter of the budget; None for none. To a network
            that reads noise, a picture without any then looks like that class.
    """

    levels: Tensor

    def __init__(
        self,
        classes: int,
        channels: int,
        height: int,
        width: int,
        tile: int,
        levels: int,
        generator: torch.Generator,
        *,
        shifts: int = 1,
        anchor: int | None = None,
    ) -> None:
        super().__init__()
        shape = classes, channels, min(tile, height), min(tile, width)
        start = torch.rand(shape, generator=generator) * 2 - 1
        self.weight = nn.Parameter(start * INITIAL_SPREAD)
        self.anchor = anchor
        by_class = torch.full((classes, 1, 1, 1), float(levels))
        if anchor is not None:
            by_class[anchor] = max(1, int(levels * ANCHOR_SHARE_OF_BUDGET))
        self.register_buffer("levels", by_class, persistent=False)
        self.height, self.width, self.shifts = height, width, shifts

    def table(self) -> Tensor:
        """Return all patterns: (K, C, h, w), float32, in levels, within the budget.

        With shifts they are larger than a picture's window by as many rows and columns, less one.
        """
        tiles = self._tiles()
        height, width = self.height + self.shifts - 1, self.width + self.shifts - 1
        down, across = math.ceil(height / tiles.shape[2]), math.ceil(width / tiles.shape[3])
        return tiles.repeat(1, 1, down, across)[:, :, :height, :width]

    def forward(
        self, classes: Tensor, grey: Tensor, height: int, width: int, draws: torch.Generator
    ) -> Tensor:
        """Return the noise that each picture would be published with.

        Args:
            classes: (B,), whose pattern each picture gets; of all pictures of the batch.
            grey: (b,), bool, which pictures are grey and must stay so; of this process's pictures,
                which are all where there is one process.
            height: Rows of the pictures.
            width: Their columns.
            draws: Where the windows start, if they are shifted.

        Returns:
            (b, 3, height, width), float32, in levels.
        """
        if self.shifts == 1:
            noise = resize_noise(self.table(), height, width)[own(classes)]
        else:
            noise = resize_noise(self._windows(classes, draws), height, width)
        plain = to_grey(noise).expand(-1, 3, -1, -1)
        return torch.where(grey[:, None, None, None], plain, noise)

    def _tiles(self) -> Tensor:
        return self.levels * torch.tanh(self.weight)

    def _windows(self, classes: Tensor, draws: torch.Generator) -> Tensor:
        """Cut each picture's window (B, C, h, w) from the endless texture of its class."""
        tiles = self._tiles()
        start = torch.randint(self.shifts, (2, len(classes), 1), generator=draws).to(classes.device)
        start, classes = start[:, own_rows(len(classes))], own(classes)
        rows = (start[0] + torch.arange(self.height, device=classes.device)) % tiles.shape[2]
        columns = (start[1] + torch.arange(self.width, device=classes.device)) % tiles.shape[3]
        channels = torch.arange(tiles.shape[1], device=classes.device)
        return tiles[
            classes[:, None, None, None],
            channels[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]
