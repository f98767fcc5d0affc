"""The anchor is the class that features tell least from the others."""

import torch
from helpers import as_cache
from torch import nn

from protect.bait.anchor import choose_anchor, least_distinct
from protect.data.cache import PixelCache


def test_a_central_and_varied_class_is_the_least_distinct():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    means = torch.tensor([[4.0, 0.0], [0.5, 0.5], [0.0, 4.0]])
    features = means[y] + torch.randn(300, 2, generator=generator)
    assert least_distinct(features, y, 3) == 1
    varied = (
        means[y] + torch.randn(300, 2, generator=generator) * torch.tensor([9.0, 1, 1])[y, None]
    )
    assert least_distinct(varied, y, 3) == 0


def test_classes_of_one_picture_or_without_spread_are_passed_over():
    features = torch.tensor([[0.0], [0.0], [5.0], [6.0], [0.0]])
    assert least_distinct(features, torch.tensor([0, 0, 1, 1, 2]), 3) == 1
    assert least_distinct(torch.zeros(2, 1), torch.tensor([0, 1]), 2) in (0, 1)


class Surrogate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        assert x.min() >= 0
        assert x.max() <= 1
        features = self.norm(x).mean(dim=(2, 3))
        return features, features


def by_brightness() -> PixelCache:
    """Return three classes by brightness; the middle one is the most central."""
    labels = torch.arange(60) % 3
    jitter = torch.randint(-9, 10, (60, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    pixels = (60 + 60 * labels[:, None, None, None] + jitter).byte()
    return as_cache(pixels.expand(-1, 3, 4, 4), labels)


def test_it_looks_through_the_surrogate_and_leaves_it_as_it_was():
    surrogate = Surrogate()
    before = {name: value.clone() for name, value in surrogate.state_dict().items()}
    assert choose_anchor(surrogate, by_brightness(), 3, torch.Generator().manual_seed(0)) == 1
    for name, value in surrogate.state_dict().items():
        assert torch.equal(value, before[name])
