"""What every attack on the protection can do, and at which moment of a stranger's training."""

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from protect.data.cache import PixelCache

Classifier = Callable[[Tensor], Tensor]
"""Pictures (B, 3, H, W), float in [0, 1] -> logits (B, K), float32, with gradient."""


class Attack:
    """A stranger's way to get rid of the noise. This one does nothing: plain training.

    An attack steps in at any of five moments, which are called in this order; each does nothing
    unless it is overridden. A control goes through the same attack on the originals.

    Attributes:
        name: As it is typed and reported, such as "jpeg10".
        source: Where its parameters come from.
    """

    name: ClassVar[str] = "none"
    source: ClassVar[str] = "plain training (method section 4)"

    @classmethod
    def overrides(cls, moment: str) -> bool:
        """Say whether this attack does anything at a moment, such as "edit"."""
        return getattr(cls, moment) is not getattr(Attack, moment)

    def fit(self, train: PixelCache, classes: int, draws: torch.Generator) -> None:
        """Learn what is needed from the whole training set, such as a mean of each class.

        Args:
            train: The training pictures, before `edit`.
            classes: K.
            draws: Of anything random here.
        """

    def edit(self, pixels: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Change the stored training pictures, once, before training.

        Args:
            pixels: (B, 3, H, W), uint8.
            labels: (B,), int64.

        Returns:
            The same shape and type.
        """
        return pixels

    def edit_test(self, pixels: Tensor) -> Tensor:
        """Change the test pictures, where a stranger would do so in use too (grey, JPEG)."""
        return pixels

    def augment(
        self,
        view: Tensor,
        targets: Tensor,
        draws: torch.Generator,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Change a training batch after crop and flip, anew in every epoch.

        Args:
            view: (B, 3, H, W), float in [0, 1].
            targets: (B, K), class probabilities.
            draws: On the CPU.

        Returns:
            The same shapes and ranges.
        """
        return view, targets

    def loss(
        self,
        classify: Classifier,
        view: Tensor,
        targets: Tensor,
        draws: torch.Generator,  # noqa: ARG002
    ) -> Tensor:
        """Return the training loss of a batch, a scalar: cross-entropy."""
        return F.cross_entropy(classify(view), targets)
