"""UEraser: augmentation so strong that faint noise drowns in it, the worst of several at best.

Follows github.com/lafeat/ueraser, with torchvision's TrivialAugment for Kornia's, and plasma maps
in the manner of Kornia's: of the same mean and spread (0.50 +- 0.13), half as rough from one pixel
to the next (0.022 for 0.048 at 33 x 33).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from protect.evaluation.attacks.base import Attack, Classifier
from protect.evaluation.attacks.policies import trivial_augment

PROBABILITY = 0.5
"""Of plasma brightness, of plasma contrast and of the shuffle, each by itself."""
ROUGHNESS = (0.3, 0.7)
INTENSITY = (0.5, 1.0)
CONTRAST = 4
"""The plasma map times this is the factor of contrast, so 2 on average."""
REPEATS = 5


class UEraserLite(Attack):
    """UEraser's augmentation, drawn once per picture and step."""

    name = "ueraser-lite"
    source = "UEraser-Lite, github.com/lafeat/ueraser"

    def augment(
        self, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Change the pictures, not the targets, see `Attack.augment`."""
        return erase(view, draws), targets


class UEraser(Attack):
    """UEraser's augmentation, drawn five times per picture, of which the network gets the worst.

    It does so in every epoch (UEraser-Max).
    """

    name = "ueraser"
    source = "UEraser-Max, worst of 5, github.com/lafeat/ueraser and APBench"

    def loss(
        self, classify: Classifier, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> Tensor:
        """Return the cross-entropy on the view of each picture that has the largest one.

        The choice is made without gradient, and the chosen views pass the network once more:
        cheaper than five passes with gradient, and of the memory of one.

        Args:
            classify: Called six times.
            view: (B, 3, H, W), float in [0, 1].
            targets: (B, K), class probabilities.
            draws: On the CPU.
        """
        worst, highest = view, torch.full((len(view),), -torch.inf, device=view.device)
        for _ in range(REPEATS):
            candidate = erase(view, draws)
            with torch.no_grad():
                losses = F.cross_entropy(classify(candidate), targets, reduction="none")
            worst = torch.where((losses > highest)[:, None, None, None], candidate, worst)
            highest = torch.maximum(losses, highest)
        return super().loss(classify, worst, targets, draws)


def erase(view: Tensor, draws: torch.Generator) -> Tensor:
    """Draw UEraser's augmentation: plasma brightness, plasma contrast, shuffle, TrivialAugment.

    Args:
        view: (B, 3, H, W), float in [0, 1].
        draws: On the CPU.

    Returns:
        The same shape, range and device.
    """
    count = len(view)
    intensity = _uniform(INTENSITY, count, draws).to(view.device)
    brightness = (2 * plasma(view.shape, draws).to(view.device) - 1) * intensity
    view = _some((view + brightness).clamp(0, 1), view, draws)
    contrast = CONTRAST * plasma(view.shape, draws).to(view.device)
    view = _some(((view - 0.5) * contrast + 0.5).clamp(0, 1), view, draws)
    order = torch.rand(count, 3, generator=draws).argsort(dim=1).to(view.device)
    shuffled = torch.take_along_dim(view, order[:, :, None, None], dim=1)
    return trivial_augment(_some(shuffled, view, draws), draws)


def plasma(shape: torch.Size, draws: torch.Generator) -> Tensor:
    """Draw cloudy maps: a coarse random grid, refined ever more smoothly.

    From four corners on, the grid's spacing is halved until it is as fine as the picture. Each time
    the values in between are interpolated, but for a share of each that is drawn: the roughness,
    uniform in [0.3, 0.7] per picture, to the power of how often the grid was halved.

    Args:
        shape: (B, C, H, W).
        draws: On the CPU.

    Returns:
        Maps of that shape, float32 in [0, 1], on the CPU.
    """
    count, channels, height, width = shape
    roughness = _uniform(ROUGHNESS, count, draws)
    maps, side, share = torch.rand(count, channels, 2, 2, generator=draws), 2, roughness
    while side < max(height, width):
        side = 2 * side - 1
        between = F.interpolate(maps, (side, side), mode="bilinear", align_corners=True)
        finer = torch.lerp(between, torch.rand(between.shape, generator=draws), share)
        finer[:, :, ::2, ::2] = maps
        maps = finer
        share = share * roughness
    return maps[:, :, :height, :width]


def _uniform(bounds: tuple[float, float], count: int, draws: torch.Generator) -> Tensor:
    """Draw (count, 1, 1, 1) numbers within the bounds."""
    low, high = bounds
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=draws)


def _some(changed: Tensor, view: Tensor, draws: torch.Generator) -> Tensor:
    """Return each picture changed with probability one half, else as it was."""
    chosen = torch.rand(len(view), 1, 1, 1, generator=draws) < PROBABILITY
    return torch.where(chosen.to(view.device), changed, view)
