"""How strangers train: every recipe of the verifier, as data, each with where it comes from."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from protect.config.choices import Mode
from protect.documents.verify_report import Training

Trained = Literal["all", "late stages", "head"]
Optimiser = Literal["sgd", "adamw"]

FEWEST_STEPS = 230
"""Fewer leave even the control at chance: ten epochs of the yardstick in batches of 128."""
RATES: dict[Optimiser, float] = {"sgd": 0.002, "adamw": 3e-5}
"""Of full fine-tuning, at the start."""
DECAYS: dict[Optimiser, float] = {"sgd": 5e-4, "adamw": 0.05}
FRESH_RATE = 25
"""Times the rate of fine-tuning, where everything that is trained starts from random weights."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train: an optimiser and a cosine schedule, with random crop and flip.

    Attributes:
        epochs: Passes over the training pictures.
        batch_size: Pictures a step.
        lr: Rate at the start; the cosine takes it to 0.
        momentum: Of SGD; in AdamW, of its first moment.
        weight_decay: Of the optimiser.
        optimiser: "sgd", or "adamw" with decoupled weight decay.
        clip: Largest norm of a step's gradient; longer ones are shortened to it. None for any.
        trained: Which parameters are trained; the others keep their pretrained values, and their
            batch normalisation its statistics.
        pretrained: Whether it starts from the pretrained weights.
        clean_share: Share of the originals of the training pictures that the stranger also has.
        refit: Whether the clean share only refits the last layer, after training; otherwise it
            takes the place of its protected copies.
        source: Where the recipe comes from.
    """

    epochs: int
    batch_size: int
    lr: float
    source: str
    momentum: float = 0.9
    weight_decay: float = DECAYS["sgd"]
    optimiser: Optimiser = "sgd"
    clip: float | None = None
    trained: Trained = "all"
    pretrained: bool = True
    clean_share: float = 0.0
    refit: bool = False

    def document(self) -> Training:
        """Return it as reports show it."""
        return Training(
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimiser=self.optimiser,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            clip=self.clip,
            trained=self.trained,
            source=self.source,
        )


def recipe_for(
    mode: Mode,
    n_train: int,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    clean_share: float = 0.05,
    layer_norm: bool = False,
) -> Recipe:
    """Return the recipe of a training mode for a dataset of a given size; own settings win.

    All but the published one derive from full fine-tuning with the user's own settings, and differ
    as their names say: an own rate or number of epochs changes theirs in proportion.

    Args:
        mode: The training mode.
        n_train: Training pictures.
        epochs: Passes of full fine-tuning; None for as many as the dataset needs.
        batch_size: Pictures a step; None for what suits the dataset.
        lr: Rate of full fine-tuning at the start; None for 0.002, or 0.00003 of AdamW.
        clean_share: Share of originals where the mode uses some.
        layer_norm: Whether the network normalises layers, as transformers do, which are fine-tuned
            by AdamW.
    """
    full = _full(n_train, epochs, batch_size, lr, "adamw" if layer_norm else "sgd")
    match mode:
        case Mode.FULL:
            return full
        case Mode.PUBLISHED:
            return Recipe(
                epochs=epochs or 60,
                batch_size=batch_size or 128,
                lr=lr or 0.001,
                clip=5.0,
                source="the paper's own evaluation of CIFAR-10, exactly (arXiv 2603.04731)",
            )
        case Mode.LOW_LR:
            return replace(
                full,
                lr=full.lr / 4,
                epochs=2 * full.epochs,
                source="slowly: a low rate, and twice the epochs",
            )
        case Mode.HIGH_LR:
            return replace(full, lr=full.lr * 10, source="ours: full fine-tuning at a higher rate")
        case Mode.LINEAR_PROBE:
            return replace(
                full,
                optimiser="sgd",
                lr=full.lr / RATES[full.optimiser] * RATES["sgd"] * FRESH_RATE,
                weight_decay=DECAYS["sgd"],
                epochs=3 * full.epochs,
                trained="head",
                source="frozen features, standardised, without augmentation",
            )
        case Mode.FROZEN_STAGES:
            return replace(
                full, trained="late stages", source="after arXiv 2605.05224: first half frozen"
            )
        case Mode.SCRATCH:
            return replace(
                full,
                lr=full.lr * FRESH_RATE,
                epochs=3 * full.epochs,
                pretrained=False,
                source="APBench, shortened: rate 0.1 over 200 epochs there",
            )
        case Mode.REFIT:
            return replace(
                full,
                clean_share=clean_share,
                refit=True,
                source="last layer refitted on clean pictures by LBFGS, rate 0.5, 15 epochs",
            )
        case Mode.CLEAN_MIX:
            return replace(
                full, clean_share=clean_share, source="APBench: a share of clean pictures"
            )


def _full(
    n_train: int,
    epochs: int | None,
    batch_size: int | None,
    lr: float | None,
    optimiser: Optimiser,
) -> Recipe:
    """Full fine-tuning for thousands of pictures: fewer and larger steps than the paper's.

    The paper takes 23,460 steps of batch 128 at rate 0.001 on 50,000 pictures, each gradient
    clipped to norm 5. A fresh head on EfficientNet-Lite0 begins with gradients of norm 100, so
    that clipping makes its first epochs slow and even. Without it, ten epochs of a dataset of
    thousands teach the control as much, and the first epochs are rough: a harder test of the peak.
    Transformers learn little that way: three epochs of SGD left a DINOv2 at 36 %, clipped at 58 %,
    where AdamW brought it to 82 % (examples/benchmarks).
    """
    batch_size = batch_size or min(max(n_train // 16, 8), 128)
    steps = max(n_train // batch_size, 1)
    return Recipe(
        epochs=epochs or max(10, math.ceil(FEWEST_STEPS / steps)),
        batch_size=batch_size,
        lr=lr or RATES[optimiser],
        weight_decay=DECAYS[optimiser],
        optimiser=optimiser,
        source="the paper's evaluation (arXiv 2603.04731) in a sixth of its epochs, "
        + ("unclipped" if optimiser == "sgd" else "by AdamW, arXiv 1711.05101"),
    )
