"""Linear layers on frozen features: what a network has learned, or knew before."""

from collections.abc import Callable, Hashable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protect.evaluation.finetune import Examples, answer, in_test_batches, load
from protect.system.device import generator

REFIT_STEPS = 15
REFIT_RATE = 0.5
"""Of LBFGS."""


class Features:
    """Features of N pictures, (N, D), float32, with their labels."""

    def __init__(self, values: Tensor, labels: Tensor) -> None:
        self.values = values
        self.labels = labels

    def __len__(self) -> int:
        """Return N."""
        return len(self.values)

    def batch(self, index: Tensor) -> Tensor:
        """Return the features at `index` (B,): (B, D)."""
        return self.values[index]


class FeatureShelf:
    """Keeps the features that were asked for last, so that memory stays bounded.

    Two, since a probe needs those of its training and of its test pictures at once.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Features] = {}

    def get(self, key: Hashable, compute: Callable[[], Features]) -> Features:
        """Return the features kept as `key`, or compute and keep them."""
        found = self._kept.pop(key) if key in self._kept else compute()
        self._kept[key] = found
        for oldest in list(self._kept)[:-2]:
            del self._kept[oldest]
        return found


def embed(
    network: nn.Module, pictures: Examples, device: torch.device, batch_size: int
) -> Features:
    """Return what `network`, in evaluation mode, makes of every picture, without augmentation.

    Args:
        network: Takes (B, 3, H, W) in [0, 1] to features (B, D).
        pictures: N pictures.
        device: Where `network` is.
        batch_size: Of a step, if `network` were trained.

    Returns:
        Features and labels, on the CPU.
    """
    network.eval()
    with torch.no_grad():
        parts = [
            answer(network, load(pictures, index, device), device).cpu()
            for index in in_test_batches(len(pictures), batch_size)
        ]
    return Features(torch.cat(parts), pictures.labels)


def standardised(train: Features, test: Features) -> tuple[Features, Features]:
    """Bring every feature to mean 0 and deviation 1 over the training examples."""
    mean = train.values.mean(dim=0)
    std = train.values.std(dim=0).clamp(min=1e-6)
    return (
        Features((train.values - mean) / std, train.labels),
        Features((test.values - mean) / std, test.labels),
    )


def fresh_layer(features: Features, classes: int, seed: int) -> nn.Linear:
    """Return a linear classifier of features, with random weights from `seed`."""
    width = features.values.shape[1]
    layer = nn.Linear(width, classes)
    with torch.no_grad():
        draws = generator(seed, "linear layer")
        layer.weight.copy_(torch.randn(classes, width, generator=draws) * width**-0.5)
        layer.bias.zero_()
    return layer


def refit(layer: nn.Linear, features: Features) -> None:
    """Fit a linear layer to features by logistic regression, from where it is.

    Args:
        layer: Changed in place.
        features: (N, D), on the device of `layer`; labels on it too.
    """
    optimiser = torch.optim.LBFGS(layer.parameters(), lr=REFIT_RATE, max_iter=REFIT_STEPS)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(layer(features.values), features.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
