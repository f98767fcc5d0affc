"""The choice among textures, by what heads that are fitted to them make of clean pictures.

Heads are fitted to pictures that carry the textures of their classes, as in `Engine.mislead`, and
asked about clean ones; textures are exchanged for as long as fewer of these are then taken for what
they are. As the network is frozen, thousands of choices are compared without showing it anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protect.bait.binding import refitted_logits, true_shares

RANDOM_CHOICES = 200
"""Compared before the best of them is improved."""
SWEEPS = 3
"""Times that each class is offered every other texture."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one frozen network made of pictures in one view.

    Attributes:
        carrying: (M, P, D), float16: features of each picture with each texture.
        clean: (Q, D), float32, features of clean pictures.
    """

    carrying: Tensor
    clean: Tensor


@dataclass(frozen=True, slots=True)
class Classes:
    """The true classes of the pictures: of those that carry textures, (P,), and of the clean, (Q,).

    Attributes:
        carrying: Of the former.
        clean: Of the latter.
        count: K.
    """

    carrying: Tensor
    clean: Tensor
    count: int


def choose(shown: Sequence[Shown], classes: Classes, draws: torch.Generator) -> Tensor:
    """Return a texture for each class, (K,), int64, no two the same.

    The best of some random choices, improved class by class: a texture that is free replaces the
    class's own, one that is not is exchanged with it, if that misleads more.
    """
    textures = len(shown[0].carrying)

    def loss(choice: Tensor) -> float:
        return taken_for_themselves(shown, classes, choice)

    choices = [
        torch.randperm(textures, generator=draws)[: classes.count] for _ in range(RANDOM_CHOICES)
    ]
    best = min(choices, key=loss)
    least = loss(best)
    for _ in range(SWEEPS):
        before = least
        for k in torch.randperm(classes.count, generator=draws).tolist():
            for texture in range(textures):
                other = best.clone()
                other[best == texture] = best[k]
                other[k] = texture
                now = loss(other)
                if now < least:
                    least, best = now, other
        if least == before:
            break
    return best


def taken_for_themselves(shown: Sequence[Shown], classes: Classes, choice: Tensor) -> float:
    """Return the mean probability that heads give to the true classes of clean pictures, in [0, 1].

    Args:
        shown: By network and view.
        classes: Of the pictures.
        choice: (K,), the texture of each class.
    """
    pictures = torch.arange(len(classes.carrying))
    shares = []
    for looks in shown:
        published = looks.carrying[choice[classes.carrying], pictures].float()
        logits = refitted_logits(published, classes.carrying, looks.clean, classes.count)
        shares.append(true_shares(logits, classes.clean).mean())
    return torch.stack(shares).mean().item()
