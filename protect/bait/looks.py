"""What the bi-level loop is given, what it looks at, and what a round of it reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Pictures(Protocol):
    """The training pictures, on the grid on which noise is added to them."""

    labels: Tensor
    """(N,), int64, the true classes."""
    grey: Tensor
    """(N,), bool, which pictures are grey."""

    def __len__(self) -> int:
        """Return N."""

    def batch(self, index: Tensor) -> Tensor:
        """Return the pictures at `index` (B,): (B, 3, H, W), uint8, on the CPU."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did.

    Attributes:
        index: From 0.
        stage: Index of the curriculum's stage.
        inner_loss: Of the surrogate's real step, on pictures with their own noise.
        outer_loss: Mean over the outer steps.
        bound: Share of pictures in the outer steps that were taken for their target.
    """

    index: int
    stage: int
    inner_loss: float
    outer_loss: float
    bound: float


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody who fits a head to published pictures, and what he sees in clean ones.

    Attributes:
        weights: His network's parameters and buffers.
        training: Whether he trains it, so that batch normalisation goes by each batch of published
            pictures; otherwise it is frozen, as under a linear probe.
        clean: (Q, D), float32, features of clean pictures, seen as at test time.
        y: (Q,), int64, their true classes.
    """

    weights: Mapping[str, Tensor]
    training: bool
    clean: Tensor
    y: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pictures as the loop sees them, on the compute device.

    Attributes:
        x: (b, 3, H, W), float32, whole values in [0, 255]; of several processes each has its own
            b rows, a process alone has all B.
        y: (B,), int64, the true classes of all rows.
        grey: (b,), bool.
    """

    x: Tensor
    y: Tensor
    grey: Tensor
