"""Which class pictures without noise should fall to."""

import torch
from torch import Tensor, nn

from protect.bait.looks import Pictures
from protect.system.device import moved
from protect.system.shards import own, whole

MOST_PICTURES = 1024
BATCH = 128


def choose_anchor(
    surrogate: nn.Module, pictures: Pictures, classes: int, generator: torch.Generator
) -> int:
    """Return the class that pretrained features tell least from all others.

    A head learns little of what such a class looks like, and much of the faintness of its noise; so
    a picture of another class, without noise, is not held back by what it shows.

    Args:
        surrogate: Takes (B, 3, H, W) in [0, 1] to features (B, D) and logits; only looked through.
        pictures: The training pictures; up to 1,024 of them are looked at.
        classes: K.
        generator: Of the sample.
    """
    device = next(surrogate.parameters()).device
    index = torch.randperm(len(pictures), generator=generator)[:MOST_PICTURES]
    surrogate.eval()
    with torch.no_grad():
        rows = torch.cat(
            [
                surrogate(moved(pictures.batch(part), device).float() / 255)[0].float()
                for part in torch.split(own(index), BATCH)
            ]
        )
    features = whole(rows, len(index)).cpu()
    return least_distinct(features, pictures.labels[index], classes)


def least_distinct(features: Tensor, y: Tensor, classes: int) -> int:
    """Return the class whose mean is nearest to that of all, relative to its own spread.

    Args:
        features: (N, D), float32.
        y: (N,), int64.
        classes: K; those without two examples or without spread are passed over where possible.
    """
    centre = features.mean(dim=0)
    ratios = torch.full((classes,), torch.inf)
    for k in range(classes):
        members = features[y == k]
        if len(members) > 1:
            spread = (members - members.mean(dim=0)).square().sum(dim=1).mean()
            ratios[k] = (members.mean(dim=0) - centre).square().sum() / spread
    return int(ratios.nan_to_num(torch.inf).argmin())
