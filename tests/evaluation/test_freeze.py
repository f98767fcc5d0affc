"""Freezing keeps the first half as it was, statistics too, and trains the rest."""

import torch
from torch import nn

from protect.evaluation.freeze import PartlyFrozen


class Holder(nn.Module):
    """Has a parameter of its own beside its layers, as vision transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1))
        self.early, self.late = nn.BatchNorm1d(2), nn.BatchNorm1d(2)

    def forward(self, x):
        return self.late(self.early(x + self.token))


def test_a_frozen_layer_does_not_take_the_layers_in_it_along():
    frozen = PartlyFrozen(Holder()).train()
    assert not frozen.network.training
    assert frozen.network.late.training
    assert not frozen.network.token.requires_grad
    assert frozen.network.late.weight.requires_grad


def test_the_first_half_stays_and_the_second_moves():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 8), nn.Linear(8, 2)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    frozen = PartlyFrozen(network).train()
    trained = [parameter for parameter in frozen.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1)
    for _ in range(3):
        loss = frozen(torch.randn(6, 3, 5, 5)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, value in network.state_dict().items():
        same = torch.equal(value, before[name])
        assert same is name.startswith(("0.", "1.")), name
