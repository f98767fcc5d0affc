"""A backbone that shows the features its head reads beside the logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from protect.models.backbones import Backbone


@contextmanager
def seen_at(network: nn.Module, size: int | None) -> Iterator[None]:
    """Show a network whatever it is given at another size, in pixels, for a while.

    Args:
        network: With a backbone somewhere in it, whose input may have any size.
        size: None for the size that it has.
    """
    backbones = [module for module in network.modules() if isinstance(module, Backbone)]
    before = [backbone.input_size for backbone in backbones]
    for backbone in backbones:
        backbone.input_size = size or backbone.input_size
    try:
        yield
    finally:
        for backbone, own in zip(backbones, before, strict=True):
            backbone.input_size = own


class WithFeatures(nn.Module):
    """Wraps a backbone so that a forward gives (features, logits).

    Args:
        backbone: The classifier.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self._seen: list[Tensor] = []
        backbone.network.get_submodule(backbone.head).register_forward_pre_hook(self._keep)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Classify pictures.

        Args:
            x: (B, 3, H, W), float in [0, 1].

        Returns:
            Features (B, D) that the head was given, averaged over positions where it reads several,
            and logits (B, K).
        """
        self._seen.clear()
        logits: Tensor = self.backbone(x)
        features = self._seen.pop()
        if features.ndim == 4:  # (B, D, h, w): a convolution for a head
            features = features.mean(dim=(2, 3))
        elif features.ndim == 3:  # (B, tokens, D)
            features = features.mean(dim=1)
        return features, logits

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:  # noqa: ARG002
        self._seen.append(inputs[0])


class FeaturesOnly(WithFeatures):
    """Wraps a backbone so that a forward gives the features alone."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return features (B, D) of pictures (B, 3, H, W) in [0, 1]."""
        return super().forward(x)[0]
