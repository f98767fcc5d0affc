"""Train a network on pictures and follow its accuracy on clean ones, epoch by epoch."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protect.data.augment import random_crop_flip
from protect.evaluation.attacks.base import Attack
from protect.evaluation.learned import Answers, Learned
from protect.evaluation.recipes import Recipe
from protect.system.device import batches_fit, generator, global_draws, moved

TEST_BATCH = 256
"""Pictures that are tested at once, where twice a step of the training is not less."""


class Examples(Protocol):
    """What a network is trained or tested on: pictures, or features of pictures."""

    labels: Tensor
    """(N,), int64."""

    def __len__(self) -> int:
        """Return N."""

    def batch(self, index: Tensor) -> Tensor:
        """Return the examples at `index` (B,): pictures (B, 3, H, W), uint8, or features (B, D)."""


def fine_tune(
    network: nn.Module,
    train: Examples,
    test: Examples,
    recipe: Recipe,
    *,
    classes: int,
    attack: Attack,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[float], None],
) -> Learned:
    """Train those parameters of `network` that want a gradient; measure on `test` every epoch.

    Args:
        network: Takes pictures (B, 3, H, W) in [0, 1], or features (B, D), to logits (B, K);
            changed in place.
        train: Training examples; pictures are cropped and flipped anew each time.
        test: Clean test examples of the same kind.
        recipe: How to train.
        classes: K.
        attack: What the stranger does to each batch.
        seed: Of the order and the augmentation; the same for a control and its counterpart.
        device: Where `network` is.
        on_epoch: Told the test accuracy after each epoch.
    """
    draws = generator(seed, "fine-tune")
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = _optimiser(trained, recipe)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs * steps)

    def classify(view: Tensor) -> Tensor:
        return answer(network, view, device)

    def learn(index: Tensor) -> Tensor:
        view = load(train, index, device)
        targets = F.one_hot(train.labels[index], classes).float().to(device)
        if view.ndim == 4:
            view, targets = attack.augment(random_crop_flip(view, draws), targets, draws)
        loss = attack.loss(classify, view, targets, draws)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(trained, recipe.clip)
        optimiser.step()
        schedule.step()
        return loss.detach()

    epochs: list[Answers] = []
    for epoch in range(recipe.epochs):
        network.train()
        total = torch.zeros((), device=device)
        order = torch.randperm(len(train), generator=draws)
        with global_draws(draws, device), batches_fit(batch_size, smallest=2):
            for index in torch.split(order[: steps * batch_size], batch_size):
                total += learn(index)
        answers = answers_to(test, network, device, recipe.batch_size)
        if answers is None or not math.isfinite(total.item()):
            return diverged(epoch + 1, test, classes, before=epochs)
        epochs.append(answers)
        on_epoch(answers.accuracy)
    return Learned(tuple(epochs))


def diverged(epoch: int, test: Examples, classes: int, before: Sequence[Answers] = ()) -> Learned:
    """Return what a training gave that left the finite numbers.

    Args:
        epoch: In which it did.
        test: N examples.
        classes: K.
        before: Answers after the sound epochs.
    """
    none = Answers.count(test.labels[:0], test.labels, classes)
    return Learned((*before, none), diverged_in=epoch)


def _optimiser(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    momentum, decay = recipe.momentum, recipe.weight_decay
    if recipe.optimiser == "adamw":
        betas = (momentum, 0.999)
        return torch.optim.AdamW(parameters, recipe.lr, betas, weight_decay=decay)
    return torch.optim.SGD(parameters, recipe.lr, momentum, weight_decay=decay)


def in_test_batches(count: int, batch_size: int) -> tuple[Tensor, ...]:
    """Split the numbers below `count` for looking only, which takes less memory than training.

    Args:
        count: N.
        batch_size: Of a step of the training, for which there is memory.
    """
    return torch.split(torch.arange(count), min(TEST_BATCH, 2 * batch_size))


def answers_to(
    test: Examples, network: nn.Module, device: torch.device, batch_size: int
) -> Answers | None:
    """Ask `network`, in evaluation mode, about all of `test`.

    Args:
        test: N examples.
        network: Takes what `test` has to logits (B, K).
        device: Where `network` is.
        batch_size: Of a step of its training.

    Returns:
        Its answers; None if any is not finite, since that is none at all and yet would count as the
        first class.
    """
    network.eval()
    finite = torch.ones((), dtype=torch.bool, device=device)
    parts = []
    with torch.no_grad():
        for index in in_test_batches(len(test), batch_size):
            logits = answer(network, load(test, index, device), device)
            parts.append(logits.argmax(dim=1))
            finite &= logits.isfinite().all()
    classes = logits.shape[1]
    return Answers.count(torch.cat(parts).cpu(), test.labels, classes) if finite else None


def load(examples: Examples, index: Tensor, device: torch.device) -> Tensor:
    """Return pictures as (B, 3, H, W) in [0, 1], features as they are."""
    batch = moved(examples.batch(index), device)
    return batch.float() / 255 if batch.dtype == torch.uint8 else batch


def answer(network: nn.Module, view: Tensor, device: torch.device) -> Tensor:
    """Return the output of `network`, float32, computed in bfloat16 on a GPU."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        logits: Tensor = network(view)
    return logits.float()
