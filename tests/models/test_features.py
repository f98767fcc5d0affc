"""The features that a head reads, for heads of every kind."""

import pytest
import torch
from torch import nn

from protect.documents.document import Network, Weights
from protect.models.backbones import Backbone, load_backbone
from protect.models.features import WithFeatures, seen_at


def wrap(network: nn.Module, head: str) -> WithFeatures:
    description = Network(
        name="test:net",
        weights=Weights(origin="none", file="", sha256=""),
        input_size=8,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    return WithFeatures(Backbone(network, description, head))


class TokenNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(2).transpose(1, 2)).mean(dim=1)


@pytest.mark.parametrize(
    ("network", "head"),
    [
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), "2"),
        (nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "0"),
        (TokenNet(), "head"),
    ],
)
def test_features_are_what_the_head_is_given_averaged_over_positions(network, head):
    x = torch.rand(4, 3, 8, 8)
    features, logits = wrap(network, head)(x)
    assert torch.allclose(features, ((x - 0.5) / 0.5).mean(dim=(2, 3)), atol=1e-6)
    assert logits.shape == (4, 2)


def test_the_embedded_backbone_shows_features_and_the_head_reads_them():
    backbone = load_backbone(
        "tf_efficientnet_lite0", classes=5, size=32, weights={}, offline=True, seed=0
    )
    features, logits = WithFeatures(backbone.eval())(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 1280)
    assert torch.allclose(backbone.network.get_submodule(backbone.head)(features), logits)


class SideNet(nn.Module):
    """Answers with the side of what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.full((len(x), 2), float(x.shape[-1])))


def test_a_network_sees_pictures_at_another_size_for_a_while():
    network = wrap(SideNet(), "head")
    x = torch.rand(2, 3, 20, 20)
    sides = [network(x)[1].max()]
    for size in (12, None):
        with seen_at(network, size):
            sides.append(network(x)[1].max())
    with pytest.raises(ValueError, match="on the way"), seen_at(network, 12):
        raise ValueError("on the way")
    sides.append(network(x)[1].max())
    assert sides == [8, 12, 8, 8]


def test_gradients_reach_the_pictures_through_the_features():
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    features, _ = wrap(network, "2")(x)
    features.sum().backward()
    assert x.grad.abs().sum() > 0
