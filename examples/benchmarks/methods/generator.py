"""BAIT as published: a generator makes noise for pictures, and a class wears the mean of its own.

It takes the place of the pattern table in the engine, which is `protect run`'s.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from protect.bait.engine import Engine
from protect.bait.patterns import ClassPatterns
from protect.bait.targets import POLICIES
from protect.budget import resize_noise
from protect.config.choices import Binding, Targets
from protect.config.settings import Effort
from protect.events import StageAdvanced, stage
from protect.models.features import WithFeatures
from protect.system.device import generator

from .base import Method, Task

SMALLEST_SIDE = 16
"""Below it the bottleneck is of one pixel, and its normalisation and padding have nothing to do."""


class Residual(nn.Module):
    """Two convolutions beside an identity, as in the bottleneck of the source."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        refined: Tensor = x + self.body(x)
        return refined


def encoder_decoder(width: int, blocks: int, channels: int) -> nn.Sequential:
    """Build G: pictures (B, 3, H, W) in [0, 1] to noise (B, channels, H, W) in (-1, 1).

    Args:
        width: Channels of the first layer; the bottleneck has 32 times as many (16 at the source).
        blocks: Residual blocks there (8).
        channels: Of the noise.
    """
    widths = [width * 2**i for i in range(6)]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise([3, *widths])):
        stride = 2 if i % 2 else 1
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.InstanceNorm2d(after), nn.ReLU()]
    layers += [Residual(widths[-1]) for _ in range(blocks)]
    narrowing = [*reversed(widths), channels]
    for i, (before, after) in enumerate(pairwise(narrowing)):
        stride = 1 if i % 2 else 2
        layers.append(nn.ConvTranspose2d(before, after, 3, stride, 1, output_padding=stride - 1))
        layers += [nn.InstanceNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers[:-2], nn.Tanh())


class ClassMeanGenerator(ClassPatterns):
    """A table of patterns that is not optimised itself: class means of what a generator makes.

    In the outer level, where gradients are wanted, each look at the table takes fresh pictures of
    every class. In the inner level, where they are not, the table is as the last outer step left it
    and zero before the first, like the stored class noise of the source.

    Args:
        task: The pictures.
        network: G; see `encoder_decoder`.
        per_class: Pictures that a mean is taken of.
    """

    def __init__(self, task: Task, network: nn.Module, per_class: int) -> None:
        channels, height, width = task.noise_shape
        nothing = torch.zeros(task.classes, channels, height, width)
        super().__init__(nothing, height, width, task.levels)
        # What the engine optimises is G; the table's own weight holds the noise of the inner level.
        self.weight.requires_grad_(False)
        self.network = network
        self.stale = False
        self.task = task
        self.draws = generator(task.seed, "generator")
        self.members = [
            (task.pictures.labels == label).nonzero()[:, 0] for label in range(task.classes)
        ]
        self.per_class = per_class

    def table(self) -> Tensor:
        """Return all patterns: (K, C, h, w), float32, in levels, within the budget."""
        if torch.is_grad_enabled():
            self.stale = True
            return self.levels * self.means(self.per_class)
        if self.stale:
            self.weight.copy_(self.means(self.per_class))
            self.stale = False
        return self.levels * self.weight

    def means(self, per_class: int) -> Tensor:
        """Return what G makes of some pictures of each class, averaged: (K, C, h, w) in (-1, 1)."""
        index = torch.cat([self._some_of(label, per_class) for label in range(len(self.members))])
        x, _, _ = self.task.at(index)
        x = resize_noise(x / 255, self.height, self.width)
        made: Tensor = self.network(x)
        return made.view(len(self.members), per_class, *made.shape[1:]).mean(dim=1)

    def _some_of(self, label: int, count: int) -> Tensor:
        places = torch.randint(len(self.members[label]), (count,), generator=self.draws)
        return self.members[label][places]


@dataclass(frozen=True)
class PublishedBait(Method):
    """BAIT with its generator, its curriculum of targets, and binding by the surrogate's own head.

    Attributes:
        rounds: Of the loop, in three stages of equal length.
        outer_steps: Of the generator in each round.
        batch_size: Pictures a step.
        per_class: Pictures whose noise is averaged in each step; four times as many at the end.
        width: Of the generator's first layer.
        blocks: Residual blocks of it.
        lr: Of Adam on the generator, at the start.
        inner_lr: Of the surrogate's SGD.
    """

    rounds: int = 60
    outer_steps: int = 12
    batch_size: int = 128
    per_class: int = 4
    width: int = 16
    blocks: int = 8
    lr: float = 1e-3
    inner_lr: float = 0.02

    built_on: ClassVar[tuple[str, ...]] = (
        *Method.built_on,
        "bait/*.py",
        "config/settings.py",
        "system/shards.py",
    )
    source: ClassVar[str] = (
        "arXiv 2603.04731: generator of 8 residual blocks, class means, Adam at 0.001, 90 rounds, "
        "curriculum of hardest, random and least likely targets, cross-entropy of the surrogate's "
        "own head. Different: 60 rounds of 12 outer steps, there 90 of one pass over the pictures; "
        "the means are of other pictures of each class than those that carry them; the surrogate "
        "is ours, at rate 0.02 for 0.1; the rate of Adam fades, as in `protect run`"
    )

    def noise(self, task: Task) -> Tensor:
        """Run the engine's loop on the generator."""
        patterns = self.patterns(task)
        engine = self.engine(task, patterns)
        with stage(self.title, self.rounds, task.listener):
            while not engine.finished:
                done = engine.advance()
                task.listener(
                    StageAdvanced(
                        status=f"{POLICIES[engine.policy][done.stage].name}: bound {done.bound:.0%}"
                    )
                )
        patterns.eval()
        with torch.no_grad():
            return (task.levels * patterns.means(4 * self.per_class)).cpu()

    def patterns(self, task: Task) -> ClassMeanGenerator:
        """Return a fresh generator, on a grid that it can halve three times."""
        channels, *sides = task.noise_shape
        height, width = (max(SMALLEST_SIDE, side // 8 * 8) for side in sides)
        task = replace(task, noise_shape=(channels, height, width))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(task.seed)
            network = encoder_decoder(self.width, self.blocks, channels)
        return ClassMeanGenerator(task, network, self.per_class).to(task.device)

    def engine(self, task: Task, patterns: ClassMeanGenerator) -> Engine:
        """Set up `protect run`'s loop with the generator in place of the pattern table."""
        return Engine(
            WithFeatures(task.load(pretrained=True)),
            patterns,
            task.pictures,
            effort=Effort(
                rounds=self.rounds,
                outer_steps=self.outer_steps,
                batch_size=self.batch_size,
                inner_lr=self.inner_lr,
                outer_lr=self.lr,
            ),
            targets=Targets.CURRICULUM,
            binding=Binding.HEAD,
            seed=task.seed,
            device=task.device,
        )

    def least(self) -> Self:
        """Three rounds, one a stage, of a generator that fits in a thimble."""
        return replace(self, rounds=3, outer_steps=1, batch_size=8, per_class=2, width=2, blocks=1)
