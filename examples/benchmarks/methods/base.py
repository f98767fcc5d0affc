"""What every method is given, what it gives back, and the step from noise to what is published.

A method sees the owner's pictures and a budget, and returns noise; it writes no file. All of them
share one step from noise to pixels, the one that `protect run` publishes with.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from protect.bait.looks import Pictures
from protect.budget import publish, resize_noise, to_grey
from protect.config.choices import DEFAULT_BACKBONE
from protect.events import Listener, ignore
from protect.models.backbones import Backbone, load_backbone


@dataclass(frozen=True, slots=True)
class Task:
    """The pictures to protect, and on what.

    Attributes:
        pictures: The owner's pictures, decoded, on one grid.
        classes: K.
        noise_shape: (C, h, w) of one noise, C = 1 where every picture is grey; no finer than the
            pictures, nor than the input of the networks.
        levels: The budget in whole 8-bit levels.
        size: Side in pixels at which networks see the pictures.
        seed: Of every draw.
        device: Where to compute.
        listener: Told what happens.
    """

    pictures: Pictures
    classes: int
    noise_shape: tuple[int, int, int]
    levels: int
    size: int
    seed: int
    device: torch.device
    listener: Listener = ignore

    def load(self, name: str = DEFAULT_BACKBONE, *, pretrained: bool) -> Backbone:
        """Return a network with a fresh head, on the device."""
        return load_backbone(
            name,
            classes=self.classes,
            size=self.size,
            weights={},
            offline=True,
            seed=self.seed,
            pretrained=pretrained,
        ).to(self.device)

    def at(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pictures, their classes and which are grey, on the device.

        Args:
            index: (B,), int64.

        Returns:
            (B, 3, H, W), float32, whole values in [0, 255]; (B,), int64; (B,), bool.
        """
        x = self.pictures.batch(index).to(self.device).float()
        return (
            x,
            self.pictures.labels[index].to(self.device),
            self.pictures.grey[index].to(x.device),
        )


@dataclass(frozen=True)
class Method(ABC):
    """A way to make noise. Its fields are its settings, by whose values finished work is kept.

    Attributes:
        title: In a table.
    """

    title: str

    source: ClassVar[str]
    """Where it comes from, and what is different here."""
    built_on: ClassVar[tuple[str, ...]] = (
        "budget.py",
        "config/choices.py",
        "config/values.py",
        "data/*.py",
        "models/*.py",
        "noise.py",
        "output/encode.py",
        "output/names.py",
        "output/rights.py",
        "output/writer.py",
        "system/device.py",
    )
    """Code of the package, as patterns below it, whose change makes finished work worthless."""

    @abstractmethod
    def noise(self, task: Task) -> Tensor:
        """Return the noise, within the budget.

        Returns:
            (K, C, h, w) for one noise a class, or (N, C, h, w) for one a picture; float32, in
            levels, on the CPU.
        """

    def least(self) -> Self:
        """Return the same method with so little effort that its noise is worth nothing."""
        return self


def published(x: Tensor, noise: Tensor, grey: Tensor) -> Tensor:
    """Show pictures as they would be published.

    Args:
        x: (B, 3, H, W), float32, whole values in [0, 255].
        noise: (B, C, h, w), float32, in levels.
        grey: (B,), bool, which pictures are grey and stay so.

    Returns:
        The same shape and scale as `x`; differentiable in `noise`.
    """
    fitting = resize_noise(noise, *x.shape[-2:]).expand(-1, 3, -1, -1)
    plain = to_grey(fitting).expand_as(fitting)
    return publish(x, torch.where(grey[:, None, None, None], plain, fitting))


def in_batches(
    n: int, size: int, generator: torch.Generator | None = None, *, epochs: int = 1
) -> Iterator[Tensor]:
    """Yield the numbers below `n`, in batches (B,) of `size` or less.

    Args:
        n: How many.
        size: Of a batch.
        generator: Shuffles them anew for every epoch; without it they come in order.
        epochs: How many times.
    """
    for _ in range(epochs):
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        yield from torch.split(order, size)
