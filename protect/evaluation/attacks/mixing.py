"""Training batches with parts cut out, pasted over or blended: cutout, CutMix, MixUp.

Every draw is made per picture, where the papers draw once per batch for CutMix and MixUp: the same
distribution of what a network sees, with less chance from batch to batch. Their Beta(1, 1) is the
uniform distribution.
"""

import torch
from torch import Tensor

from protect.evaluation.attacks.base import Attack

CUTOUT_SIDE = 1 / 2
"""Of height and width: 16 of CIFAR's 32 pixels."""
CUTMIX_PROBABILITY = 0.5


class Cutout(Attack):
    """Blacken a rectangle of half the height and width, centred anywhere, so often partly outside.

    A sixteenth to a quarter of the picture is lost.
    """

    name = "cutout"
    source = "cutout 16 of 32 pixels, EMN and APBench"

    def augment(
        self, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Cut a hole into each picture, see `Attack.augment`."""
        hole = _rectangles(view, torch.full((len(view),), CUTOUT_SIDE), draws)
        return view.masked_fill(hole, 0), targets


class CutMix(Attack):
    """Paste a rectangle of another picture of the batch into half of the pictures.

    Its area is uniform in [0, 1] of the picture, before what falls outside is cut off; the target
    is shared by the areas that are left.
    """

    name = "cutmix"
    source = "CutMix, beta 1, probability 0.5, APBench and EMN"

    def augment(
        self, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Paste and share the targets, see `Attack.augment`."""
        count = len(view)
        partner = torch.randperm(count, generator=draws).to(view.device)
        mixed = torch.rand(count, generator=draws) < CUTMIX_PROBABILITY
        sides = torch.rand(count, generator=draws).sqrt() * mixed
        patch = _rectangles(view, sides, draws)
        pasted = torch.where(patch, view[partner], view)
        return pasted, _blend(targets, partner, patch.float().mean(dim=(1, 2, 3)))


class MixUp(Attack):
    """Blend each picture, and its target, with another of the batch, by a uniform share."""

    name = "mixup"
    source = "MixUp, beta 1, APBench and EMN"

    def augment(
        self, view: Tensor, targets: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Blend pictures and targets alike, see `Attack.augment`."""
        count = len(view)
        partner = torch.randperm(count, generator=draws).to(view.device)
        share = torch.rand(count, generator=draws).to(view.device)
        return _blend(view, partner, share), _blend(targets, partner, share)


def _blend(values: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Take `share` (B,) of each row from its partner's row, the rest from itself."""
    share = share.view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values, values[partner], share)


def _rectangles(view: Tensor, sides: Tensor, draws: torch.Generator) -> Tensor:
    """Draw one rectangle in each picture, centred anywhere; what falls outside is cut off.

    Args:
        view: (B, C, H, W).
        sides: (B,), shares of height and width in [0, 1], on the CPU.
        draws: On the CPU.

    Returns:
        (B, 1, H, W), bool, on the device of `view`: True inside.
    """
    count, _, height, width = view.shape
    rows = _interval(height, sides, torch.randint(height, (count,), generator=draws))
    columns = _interval(width, sides, torch.randint(width, (count,), generator=draws))
    return (rows[:, None, :, None] & columns[:, None, None, :]).to(view.device)


def _interval(length: int, share: Tensor, centre: Tensor) -> Tensor:
    """Return (B, length), bool: True on `share` of the length about the centre."""
    extent = (length * share).long()[:, None]
    start = centre[:, None] - extent // 2
    place = torch.arange(length)
    return (place >= start) & (place < start + extent)
