"""Error-minimising noise, class-wise (Huang et al. 2021): the baseline of the whole field."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protect.config.choices import DEFAULT_BACKBONE
from protect.data.augment import random_crop_flip
from protect.events import StageAdvanced, stage
from protect.system.device import generator

from .base import Method, Task, published

SCRATCH = "torchvision:resnet18"


@dataclass(frozen=True)
class ErrorMinimising(Method):
    """A network and K noises take turns at making the loss on the noisy pictures small.

    Attributes:
        pretrained: Whether the surrogate starts from pretrained weights, as a fine-tuning stranger
            does, or from scratch as published.
        lr: Of the surrogate's SGD.
        steps: Of the surrogate in each round.
        share: Of the pictures that the noise is fitted to in each round.
        step: Of the noise, in levels.
        stop: Error on noisy pictures at which the noise is done.
        rounds: At most.
        batch_size: Pictures a step.
    """

    pretrained: bool
    lr: float
    steps: int = 10
    share: float = 0.2
    step: float = 0.8
    stop: float = 0.01
    rounds: int = 60
    batch_size: int = 128

    source: ClassVar[str] = (
        "Huang et al. 2021, arXiv 2101.04898, class-wise: rounds of 10 model steps and one signed "
        "step of 0.8/255 a batch on a fifth of the pictures. From scratch: ResNet-18 at rate 0.1, "
        "as there; pretrained: the default surrogate at rate 0.02. Different: batches of 128, "
        "there 512, and it goes on to an error of 0.01, there 0.1, which a pretrained surrogate "
        "reaches before the noise has used its budget"
    )

    def noise(self, task: Task) -> Tensor:
        """Alternate until the surrogate is right about noisy pictures it was not trained on."""
        network = task.load(
            DEFAULT_BACKBONE if self.pretrained else SCRATCH, pretrained=self.pretrained
        )
        optimiser = torch.optim.SGD(
            network.parameters(), lr=self.lr, momentum=0.9, weight_decay=5e-4
        )
        draws = generator(task.seed, "emn", self.title)
        noise = torch.zeros(task.classes, *task.noise_shape, device=task.device)
        subset = torch.randperm(len(task.pictures), generator=draws)
        subset = subset[: max(task.classes, round(len(subset) * self.share))]
        with stage(self.title, self.rounds, task.listener):
            for _ in range(self.rounds):
                self.train(network, optimiser, noise, task, draws)
                self.descend(network, noise, subset, task)
                error = self.error(network, noise, subset, task)
                task.listener(StageAdvanced(status=f"error {error:.0%}"))
                if error <= self.stop:
                    break
        return noise.cpu()

    def train(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        noise: Tensor,
        task: Task,
        draws: torch.Generator,
    ) -> None:
        """Take the surrogate's steps on pictures with the noise of their class."""
        network.train()
        for _ in range(self.steps):
            index = torch.randint(len(task.pictures), (self.batch_size,), generator=draws)
            x, y, grey = task.at(index)
            view = random_crop_flip(published(x, noise[y], grey), draws) / 255
            optimiser.zero_grad(set_to_none=True)
            loss = F.cross_entropy(network(view), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    def descend(self, network: nn.Module, noise: Tensor, subset: Tensor, task: Task) -> None:
        """Move the noise of each class, in place, so that the loss on its pictures falls.

        Every picture of a batch takes a signed step; the noise of a class is the mean of its own.
        """
        network.eval()
        for index in torch.split(subset, self.batch_size):
            x, y, grey = task.at(index)
            own = noise[y].requires_grad_()
            loss = F.cross_entropy(network(published(x, own, grey) / 255), y)
            (slope,) = torch.autograd.grad(loss, own)
            stepped = (own.detach() - self.step * slope.sign()).clamp(-task.levels, task.levels)
            for label in set(y.tolist()):
                noise[label] = stepped[y == label].mean(dim=0)

    @torch.no_grad()
    def error(self, network: nn.Module, noise: Tensor, subset: Tensor, task: Task) -> float:
        """Return the share of noisy pictures that the surrogate gets wrong."""
        network.eval()
        wrong = 0
        for index in torch.split(subset, self.batch_size):
            x, y, grey = task.at(index)
            answers = network(published(x, noise[y], grey) / 255).argmax(dim=1)
            wrong += int((answers != y).sum())
        return wrong / len(subset)

    def least(self) -> Self:
        """One round of one step."""
        return replace(self, rounds=1, steps=1, batch_size=8)
