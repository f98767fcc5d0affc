"""The anchor is the class that features tell least from the others."""

import torch
from torch import nn

from protect.bait.anchor import choose_anchor, least_distinct


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


class Table:
    """Three classes by brightness; the middle one is the most central."""

    def __init__(self) -> None:
        self.labels = torch.arange(60) % 3
        self.grey = torch.zeros(60, dtype=torch.bool)
        jitter = torch.randint(-9, 10, (60, 1, 1, 1), generator=torch.Generator().manual_seed(0))
        self.pixels = (60 + 60 * self.labels[:, None, None, None] + jitter).byte()

    def __len__(self) -> int:
        return 60

    def batch(self, index):
        return self.pixels[index].expand(-1, 3, 4, 4)


def test_it_looks_through_the_surrogate_and_leaves_it_as_it_was():
    surrogate = Surrogate()
    before = {name: value.clone() for name, value in surrogate.state_dict().items()}
    assert choose_anchor(surrogate, Table(), 3, torch.Generator().manual_seed(0)) == 1
    for name, value in surrogate.state_dict().items():
        assert torch.equal(value, before[name])
