"""TAP, targeted adversarial poisons: what a clean network takes for the next class."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protect.bait.targets import cyclic
from protect.data.augment import random_crop_flip
from protect.events import StageAdvanced, stage
from protect.system.device import generator

from .base import Method, Task, in_batches, published


@dataclass(frozen=True)
class TargetedAdversarial(Method):
    """A network learns the clean pictures; then each picture is moved towards the next class.

    Attributes:
        epochs: Of fine-tuning on the clean pictures.
        lr: Of fine-tuning, at the start; a cosine takes it to 0.
        steps: Signed steps of each picture's noise.
        step: Length of one, as a share of the budget.
        batch_size: Pictures a step.
    """

    epochs: int = 10
    lr: float = 0.002
    steps: int = 250
    step: float = 0.05
    batch_size: int = 128

    built_on: ClassVar[tuple[str, ...]] = (*Method.built_on, "bait/targets.py")
    source: ClassVar[str] = (
        "Fowl et al. 2021, arXiv 2106.10807: 250 signed steps of a twentieth of the budget towards "
        "class y + 1 mod K, on a network trained on the clean pictures, through crop and flip. "
        "Different: the network is the default surrogate, fine-tuned, there a ResNet-18 from "
        "scratch; one start, there the best of 8"
    )

    def noise(self, task: Task) -> Tensor:
        """Fine-tune, then attack every picture."""
        network = self.fine_tuned(task)
        draws = generator(task.seed, "tap")
        noises = torch.zeros(len(task.pictures), *task.noise_shape)
        with stage(self.title, len(task.pictures), task.listener):
            for index in in_batches(len(task.pictures), self.batch_size):
                noises[index] = self.attack(network, index, task, draws).cpu()
                task.listener(StageAdvanced(len(index)))
        return noises

    def fine_tuned(self, task: Task) -> nn.Module:
        """Return the surrogate after training on the clean pictures, in evaluation mode."""
        network = task.load(pretrained=True)
        draws = generator(task.seed, "tap", "fine-tune")
        optimiser = torch.optim.SGD(
            network.parameters(), lr=self.lr, momentum=0.9, weight_decay=5e-4
        )
        batches = list(in_batches(len(task.pictures), self.batch_size, draws, epochs=self.epochs))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(batches))
        network.train()
        with stage(f"{self.title}: fine-tuning", len(batches), task.listener):
            for index in batches:
                x, y, _ = task.at(index)
                loss = F.cross_entropy(network(random_crop_flip(x, draws) / 255), y)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                task.listener(StageAdvanced(status=f"loss {loss.item():.2f}"))
        return network.eval().requires_grad_(False)

    def attack(
        self, network: nn.Module, index: Tensor, task: Task, draws: torch.Generator
    ) -> Tensor:
        """Return the noise of the pictures at `index` (B,), (B, C, h, w)."""
        x, y, grey = task.at(index)
        # The rule reads no logits, but their width.
        targets = cyclic(torch.empty(len(y), task.classes), y, draws)
        start = torch.rand(len(index), *task.noise_shape, generator=draws) * 2 - 1
        noise = start.to(task.device) * task.levels
        for _ in range(self.steps):
            noise.requires_grad_()
            view = random_crop_flip(published(x, noise, grey), draws) / 255
            # A sum: signs do not depend on how many pictures share a batch.
            loss = F.cross_entropy(network(view), targets, reduction="sum")
            (slope,) = torch.autograd.grad(loss, noise)
            stepped = noise.detach() - self.step * task.levels * slope.sign()
            noise = stepped.clamp(-task.levels, task.levels)
        return noise

    def least(self) -> Self:
        """One epoch, and one step of the whole budget."""
        return replace(self, epochs=1, steps=1, step=1.0)
