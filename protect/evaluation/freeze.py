"""A network of which a part keeps its pretrained values."""

from torch import Tensor, nn


class PartlyFrozen(nn.Module):
    """Freezes the first half of the layers that have parameters, in the library's order.

    Frozen batch normalisations keep their statistics: they stay in evaluation mode.

    Args:
        network: Its parameters are marked in place.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        layers = [m for m in network.modules() if any(True for _ in m.parameters(recurse=False))]
        self.frozen = layers[: len(layers) // 2]
        for layer in self.frozen:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Pass pictures through the network."""
        logits: Tensor = self.network(x)
        return logits

    def train(self, mode: bool = True) -> "PartlyFrozen":
        """Switch the trained part between training and evaluation."""
        super().train(mode)
        for layer in self.frozen:
            # Not `eval()`: a layer that also holds others would take the trained ones along.
            layer.training = False
        return self
