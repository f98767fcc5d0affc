"""The worst picture nearby is where a linear network says it must be."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protect.evaluation.attacks.adversarial import Adversarial

RADIUS = 8 / 255


def test_it_goes_to_the_corner_that_is_worst_for_a_linear_network():
    draws = torch.Generator().manual_seed(0)
    view = torch.rand(6, 3, 8, 8, generator=draws)
    view[0], view[1] = 0, 1
    targets = F.one_hot(torch.arange(6) % 2, 2).float()
    direction = torch.randn(3, 8, 8, generator=draws)
    seen = []

    def classify(pictures: Tensor) -> Tensor:
        seen.append(pictures.detach().clone())
        score = (pictures * direction).sum(dim=(1, 2, 3))
        return torch.stack([score, -score], dim=1)

    loss = Adversarial().loss(classify, view, targets, draws)
    assert len(seen) == 11
    away = torch.where(torch.arange(6) % 2 == 0, -1, 1)[:, None, None, None]
    corner = (view + RADIUS * away * direction.sign()).clamp(0, 1)
    assert torch.allclose(seen[-1], corner, atol=1e-6)
    assert torch.isclose(loss, F.cross_entropy(classify(corner), targets))
    assert loss > F.cross_entropy(classify(view), targets) + 1
    for pictures in seen:
        assert (pictures - view).abs().max() <= RADIUS + 1e-6
        assert pictures.min() >= 0
        assert pictures.max() <= 1
    start = (seen[0] - view)[2:].abs()
    assert start.mean() > RADIUS / 4
    assert start.unique().numel() > 100
    assert torch.allclose((seen[2] - seen[1])[2:].abs().max(), torch.tensor(2 / 255), atol=1e-6)


def test_the_search_leaves_no_gradient_in_the_network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Tanh(), nn.Linear(5, 2))
    view, targets = torch.rand(4, 3, 4, 4), torch.eye(2).repeat(2, 1)
    seen = []

    def classify(pictures: Tensor) -> Tensor:
        assert all(weight.grad is None for weight in network.parameters())
        seen.append(pictures.detach())
        return network(pictures)

    loss = Adversarial().loss(classify, view, targets, torch.Generator().manual_seed(0))
    found = torch.autograd.grad(loss, list(network.parameters()))
    expected = torch.autograd.grad(
        F.cross_entropy(network(seen[-1]), targets), list(network.parameters())
    )
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert not view.requires_grad
