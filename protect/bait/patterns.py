"""The noise as something to optimise: one pattern per class, bounded by construction."""

import torch
from torch import Tensor, nn

from protect.bait.textures import tiled
from protect.budget import resize_noise, to_grey
from protect.config.choices import NoiseMode
from protect.noise import Noise, places
from protect.system.shards import own, own_rows

ANCHOR_SHARE_OF_BUDGET = 0.25
RANDOM_TILE = 8
"""Side of a repeated square of random numbers, in pixels of the working size."""
RANDOM_SPREAD = 1.0
"""Half-width of the uniform start in tanh space: textures of up to three quarters of the budget."""
BEND = 0.044
"""Of textures of waves, see `places` of `protect.noise`: more hides little more of their peaks, and
networks see less of them (examples/benchmarks/tried.md, levelled spectra)."""


def shifts_of(mode: NoiseMode, tile: int) -> int:
    """Say at how many rows and columns of its class's texture a picture's noise may start.

    As many as a tile has; one where all pictures of a class carry the same noise.
    """
    return 1 if mode is NoiseMode.CLASS else tile


def faint_levels(budget: int) -> int:
    """Return the levels of the anchor's noise."""
    return max(1, int(budget * ANCHOR_SHARE_OF_BUDGET))


def random_start(classes: int, channels: int, draws: torch.Generator) -> Tensor:
    """Return weights of small random tiles, (K, C, 8, 8)."""
    shape = classes, channels, RANDOM_TILE, RANDOM_TILE
    return (torch.rand(shape, generator=draws) * 2 - 1) * RANDOM_SPREAD


class ClassPatterns(nn.Module):
    """A table of K noise patterns, `levels * tanh(weight)`, so the budget holds at every step.

    Each picture may have a window of its own into its class's texture. The mean over a class then
    has no texture to be found by, and a network still has: it reads texture wherever it lies. If
    the windows bend, the mean spectrum of a class has no sharp peaks either.

    The published artefact of BAIT is one pattern per class (method section 3); here it is
    optimised directly. A pattern repeats a small tile: networks read texture wherever it lies, so
    a tile gets the gradient of all its copies, and a stranger's crop only shifts it.

    Args:
        start: (K, C, t, t), weights of the repeated tiles, C = 1 where every picture is grey, else
            3; with one shift, what smaller patterns do not show of them is left out.
        height: Rows of a pattern.
        width: Columns of a pattern.
        levels: The budget in whole 8-bit levels.
        shifts: How many rows and columns a picture's window into its class's texture may start at;
            1 where the texture lies in the same place in all.
        bend: How much each picture's texture is bent, see `places` of `protect.noise`.
        anchor: Class whose pattern is faint, a quarter of the budget; None for none. To a network
            that reads noise, a picture without any then looks like that class.
    """

    levels: Tensor

    def __init__(
        self,
        start: Tensor,
        height: int,
        width: int,
        levels: int,
        *,
        shifts: int = 1,
        bend: float = 0.0,
        anchor: int | None = None,
    ) -> None:
        super().__init__()
        self.height, self.width, self.shifts, self.bend = height, width, shifts, bend
        self.budget = levels
        seen = start if shifts > 1 else start[:, :, :height, :width]
        self.weight = nn.Parameter(seen.clone())
        self.register_buffer("levels", torch.empty(len(start), 1, 1, 1), persistent=False)
        self.appoint(anchor)

    def appoint(self, anchor: int | None) -> None:
        """Make the pattern of one class faint and those of all others full; None for no class."""
        self.anchor = anchor
        self.levels.fill_(self.budget)
        if anchor is not None:
            self.levels[anchor] = faint_levels(self.budget)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a picture's noise."""
        return self.height, self.width

    @torch.no_grad()
    def take(self, other: "ClassPatterns", choice: Tensor) -> None:
        """Begin with the patterns that were chosen of another table, faint where they are there.

        Args:
            other: M patterns, of tiles of the same size.
            choice: (K,), which of them each class gets.
        """
        self.weight.copy_(other.weight[choice])
        faint = [k for k, texture in enumerate(choice.tolist()) if texture == other.anchor]
        self.appoint(faint[0] if faint else None)

    def noise(self) -> Noise:
        """Return the noise as it stands, on the CPU."""
        return Noise(self.table().detach().cpu().contiguous(), self.grid, self.bend)

    def table(self) -> Tensor:
        """Return all patterns: (K, C, h, w), float32, in levels, within the budget.

        With shifts they are larger than a picture's window by as many rows and columns, less one.
        """
        beyond = self.shifts - 1
        return tiled(self._tiles(), self.height + beyond, self.width + beyond)

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
            draws: Where windows start, and how they bend.

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
        tiles, side, here = self._tiles(), self.weight.shape[-1], own_rows(len(classes))
        rows, columns = places(
            len(classes), self.grid, self.shifts, self.bend, draws, here, classes.device
        )
        pixels = (rows % side * side + columns % side).flatten(1).long()
        worn = tiles[own(classes)].flatten(2)
        seen = worn.gather(2, pixels[:, None].expand(-1, worn.shape[1], -1))
        return seen.view(*seen.shape[:2], *self.grid)
