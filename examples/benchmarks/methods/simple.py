"""Noise that needs no network: none, random signs, and patches that are linearly separable."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from protect.system.device import generator

from .base import Method, Task


@dataclass(frozen=True)
class NoNoise(Method):
    """The originals as they are: what a table without any effect looks like."""

    source: ClassVar[str] = "the unprotected pictures, byte for byte"

    def noise(self, task: Task) -> Tensor:
        """Return zeros, one a class."""
        return torch.zeros(task.classes, *task.noise_shape)


@dataclass(frozen=True)
class RandomSigns(Method):
    """Every value at either end of the budget, by the toss of a coin.

    Attributes:
        per: "class" for one noise a class, "picture" for one a picture.
    """

    per: str

    source: ClassVar[str] = (
        "uniform random signs times the budget, as in the random baselines of Huang et al. 2021, "
        "arXiv 2101.04898"
    )

    def noise(self, task: Task) -> Tensor:
        """Toss the coins."""
        count = task.classes if self.per == "class" else len(task.pictures)
        draws = generator(task.seed, "random signs", self.per)
        coins = torch.randint(0, 2, (count, *task.noise_shape), generator=draws)
        return (coins * 2 - 1).float() * task.levels


@dataclass(frozen=True)
class SeparablePatches(Method):
    """LSP: each picture gets a point of its class's Gaussian, drawn as a mosaic of flat patches.

    Attributes:
        cells: Patches across and down; 4 of 8 pixels at the source's 32.
        separation: Of the Gaussians' centres from the origin in each coordinate, in units of their
            standard deviation.
    """

    cells: int = 4
    separation: float = 10.0

    source: ClassVar[str] = (
        "Yu et al. 2022, arXiv 2111.00898: separation 10, patches of 8 pixels at 32. There an L2 "
        "ball of radius about 1.3 (6/255 in each value), here L-infinity: the largest value of "
        "each point is at the end of the budget. Covariances are the identity"
    )

    def noise(self, task: Task) -> Tensor:
        """Draw a point for every picture and enlarge it."""
        channels, height, width = task.noise_shape
        draws = generator(task.seed, "lsp")
        centres = self._centres(task.classes, channels * self.cells**2, draws)
        own = centres[task.pictures.labels]
        points = own * self.separation + torch.randn(own.shape, generator=draws)
        points = points / points.abs().amax(dim=1, keepdim=True) * task.levels
        mosaic = points.view(-1, channels, self.cells, self.cells)
        return F.interpolate(mosaic, size=(height, width), mode="nearest")

    def _centres(self, classes: int, features: int, draws: torch.Generator) -> Tensor:
        """Return different corners of the cube [-1, 1]^D, (K, D)."""
        while True:
            corners = torch.randint(0, 2, (classes, features), generator=draws) * 2 - 1
            if len(set(map(tuple, corners.tolist()))) == classes:
                return corners.float()
