"""torchvision's random transforms as attacks, drawn anew for each picture.

The one module of the evaluation that knows torchvision. Its transforms draw from PyTorch's global
generator; `per_picture` seeds that from the given draws for the time of the call, and restores it.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from protect.evaluation.attacks.base import Attack


def per_picture(
    transform: Callable[[Tensor], Tensor], view: Tensor, draws: torch.Generator
) -> Tensor:
    """Apply a random transform to each picture by itself.

    Args:
        transform: Takes and returns (3, H, W), uint8; draws from PyTorch's global CPU generator.
        view: (B, 3, H, W), float in [0, 1]; brought to the nearest of 256 levels first, which is
            what these transforms expect and what a stranger's loader holds.
        draws: On the CPU; one number is taken, whatever the transform draws.

    Returns:
        (B, 3, H, W), float in [0, 1], on the same device.
    """
    seed = int(torch.randint(2**32, (), generator=draws))
    pixels = (view * 255).round().to(torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        changed = torch.stack([transform(picture) for picture in pixels])
    return changed.to(view.dtype) / 255


def trivial_augment(view: Tensor, draws: torch.Generator) -> Tensor:
    """Apply one random operation of random strength to each picture: TrivialAugment, wide.

    Args:
        view: (B, 3, H, W), float in [0, 1].
        draws: On the CPU.

    Returns:
        The same shape and range.
    """
    return per_picture(v2.TrivialAugmentWide(), view, draws)


class RandAugment(Attack):
    """Two random operations of magnitude 9 of 30 on each picture, torchvision's defaults."""

    name = "randaugment"
    source = "RandAugment, torchvision's defaults"

    def augment(
        self, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Change the pictures, not the targets, see `Attack.augment`."""
        return per_picture(v2.RandAugment(), view, draws), targets


class ResizedCrop(Attack):
    """A random 8 to 100 % of each picture's area, enlarged to the whole, torchvision's defaults."""

    name = "rrc"
    source = "random resized crop, torchvision's defaults"

    def augment(
        self, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Change the pictures, not the targets, see `Attack.augment`."""
        return per_picture(v2.RandomResizedCrop(view.shape[2:]), view, draws), targets
