"""One training of `protect verify` against the loop that a few lines of PyTorch make."""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from costs.clock import in_turns
from costs.figures import Comparison
from costs.step import CLASSES, half, load_surrogate, random_pictures
from protect.config.choices import Mode
from protect.data.augment import CROP_PADDING
from protect.data.cache import PixelCache
from protect.evaluation.attacks.registry import make_attack
from protect.evaluation.finetune import TEST_BATCH, fine_tune
from protect.evaluation.recipes import Recipe, recipe_for
from protect.system.device import make_deterministic

PART = "training"
GOAL = 1.15
PICTURES, TESTED = 1024, 340


def measure_training(device: torch.device, *, quick: bool) -> Iterator[Comparison]:
    """Compare an epoch of full fine-tuning, with its test, with a bare loop of the same recipe.

    Both train the default backbone on the same pictures in the same batches at the same rates, with
    random crops and flips. The bare loop shifts all pictures of a batch alike, keeps them in memory
    and asks for no equal results.
    """
    size, pairs, count, tested = (32, 2, 32, 8) if quick else (64, 5, PICTURES, TESTED)
    recipe = replace(recipe_for(Mode.FULL, count), epochs=1)
    train, test = random_pictures(count, size, seed=0), random_pictures(tested, size, seed=1)
    attack = make_attack("none")
    ours, bare = (load_surrogate(size).to(device).requires_grad_(True) for _ in range(2))

    def verify() -> None:
        make_deterministic()
        fine_tune(
            ours,
            train,
            test,
            recipe,
            classes=CLASSES,
            attack=attack,
            seed=0,
            device=device,
            on_epoch=lambda _: None,
        )

    def anybody() -> None:
        torch.use_deterministic_algorithms(False)
        _bare_loop(bare, train, test, recipe, device)

    seconds = in_turns(verify, anybody, pairs)
    what = f"an epoch of {count:,} pictures of {size} px in batches of {recipe.batch_size}"
    for unit, pairs_of in (
        ("s", [(mine.wall, other.wall) for mine, other in seconds]),
        ("s CPU", [(mine.cpu, other.cpu) for mine, other in seconds]),
    ):
        yield Comparison.of_pairs(PART, what, unit, pairs_of, "bare loop", GOAL)


def _bare_loop(
    network: torch.nn.Module,
    train: PixelCache,
    test: PixelCache,
    recipe: Recipe,
    device: torch.device,
) -> float:
    """Train, and return the accuracy on `test`."""
    x, y = _in_memory(train, device)
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )
    steps = len(x) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs * steps)
    for _ in range(recipe.epochs):
        network.train()
        order = torch.randperm(len(x))[: steps * recipe.batch_size]
        for index in torch.split(order, recipe.batch_size):
            with half(device):
                logits = network(_augmented(x[index].float() / 255))
            loss = F.cross_entropy(logits.float(), y[index])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        network.eval()
        right = 0
        with torch.no_grad(), half(device):
            tested, labels = _in_memory(test, device)
            for index in torch.split(torch.arange(len(tested)), TEST_BATCH):
                answers = network(tested[index].float() / 255).argmax(dim=1)
                right += int((answers == labels[index]).sum())
    return right / len(test)


def _augmented(x: Tensor) -> Tensor:
    side = x.shape[-1]
    padding = round(side * CROP_PADDING)
    top, left = torch.randint(2 * padding + 1, (2,)).tolist()
    x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
    return F.pad(x, [padding] * 4)[:, :, top : top + side, left : left + side]


def _in_memory(pictures: PixelCache, device: torch.device) -> tuple[Tensor, Tensor]:
    every = pictures.batch(torch.arange(len(pictures)))
    return every.to(device), pictures.labels.to(device)
