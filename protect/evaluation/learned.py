"""What a training gave: how a network answered for each class of test pictures, epoch by epoch."""

from dataclasses import dataclass
from itertools import chain
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Answers:
    """How a network answered for N test pictures of K classes; each has one number a class.

    Attributes:
        shown: Pictures of the class.
        given: Pictures, of whatever class, that it was the answer to.
        right: Of these, how many are of the class.

    Raises:
        ValueError: If no pictures can have been answered so.
    """

    shown: tuple[int, ...]
    given: tuple[int, ...]
    right: tuple[int, ...]

    def __post_init__(self) -> None:
        classes = list(zip(self.shown, self.given, self.right, strict=True))
        negative = min(chain(*classes), default=-1) < 0
        surplus = any(right > min(shown, given) for shown, given, right in classes)
        if negative or surplus or not 0 < self.n >= sum(self.given):
            raise ValueError(f"no pictures can have been answered so: {self}")

    @classmethod
    def count(cls, answers: Tensor, labels: Tensor, classes: int) -> Self:
        """Count the answers to all pictures.

        Args:
            answers: (N,), int64; empty where there was none to any picture.
            labels: (N,), int64, the right ones.
            classes: K.
        """
        right = answers[answers == labels] if len(answers) else answers
        counts = (torch.bincount(kind, minlength=classes) for kind in (labels, answers, right))
        return cls(*(tuple(count.tolist()) for count in counts))

    @property
    def n(self) -> int:
        """N."""
        return sum(self.shown)

    @property
    def accuracy(self) -> float:
        """Share of the pictures that was answered rightly; no answer is not right."""
        return sum(self.right) / self.n


@dataclass(frozen=True, slots=True)
class Learned:
    """What a training gave.

    Attributes:
        epochs: Answers to the clean test pictures after each epoch; none of a network of which only
            the last layer is yet to be refitted.
        diverged_in: Epoch in which the loss or the answers left the finite numbers, where training
            ended and `epochs` with it, the last without any answer. None for a sound training.
    """

    epochs: tuple[Answers, ...]
    diverged_in: int | None = None

    @property
    def curve(self) -> tuple[float, ...]:
        """Clean-test accuracy after each epoch, as fractions."""
        return tuple(answers.accuracy for answers in self.epochs)

    @property
    def best(self) -> Answers:
        """Answers after the first epoch of the highest accuracy, where a stranger would stop."""
        return max(self.epochs, key=lambda answers: answers.accuracy)
