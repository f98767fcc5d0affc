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
from protect.bait.targets import taken_for

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


@dataclass(frozen=True, slots=True)
class Misled:
    """What the fitted heads make of clean pictures, one answer for each view, network and picture.

    Attributes:
        y: (A,), int64, their true classes.
        targets: (A,), int64, the incorrect class that they are most taken for.
        share: Of the answers that are incorrect.
    """

    y: Tensor
    targets: Tensor
    share: float


def choose(
    shown: Sequence[Shown], classes: Classes, draws: torch.Generator, *, required: int | None = None
) -> Tensor:
    """Return a texture for each class, (K,), int64, no two the same.

    The best of some random choices, improved class by class: a texture that is free replaces the
    class's own, one that is not is exchanged with it, if that misleads more.

    Args:
        shown: By network and view.
        classes: Of the pictures.
        draws: Of the choices that it begins with.
        required: A texture that some class gets, whatever misleads most; None for none.
    """
    textures = len(shown[0].carrying)

    def loss(choice: Tensor) -> float:
        return taken_for_themselves(shown, classes, choice)

    def allowed(choice: Tensor) -> bool:
        return required is None or required in choice

    choices = [
        torch.randperm(textures, generator=draws)[: classes.count] for _ in range(RANDOM_CHOICES)
    ]
    if required is not None:
        for choice in choices:
            if not allowed(choice):
                choice[int(torch.randint(classes.count, (), generator=draws))] = required
    best = min(choices, key=loss)
    least = loss(best)
    for _ in range(SWEEPS):
        before = least
        for k in torch.randperm(classes.count, generator=draws).tolist():
            for texture in range(textures):
                other = best.clone()
                other[best == texture] = best[k]
                other[k] = texture
                if allowed(other) and (now := loss(other)) < least:
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
    logits = _answers(shown, classes, choice)
    return torch.stack([true_shares(each, classes.clean).mean() for each in logits]).mean().item()


def misled(shown: Sequence[Shown], classes: Classes, choice: Tensor) -> Misled:
    """Tell which incorrect classes the heads take clean pictures for, as `Engine.mislead` does."""
    answers = torch.cat([each.mean(dim=0) for each in _answers(shown, classes, choice)])
    y = classes.clean.repeat(len(shown))
    wrong = answers.argmax(dim=1) != y
    return Misled(y, taken_for(answers, y), wrong.float().mean().item())


def _answers(shown: Sequence[Shown], classes: Classes, choice: Tensor) -> list[Tensor]:
    """Return what heads make of the clean pictures, (R, Q, K) for each network and view."""
    pictures = torch.arange(len(classes.carrying))
    return [
        refitted_logits(
            looks.carrying[choice[classes.carrying], pictures].float(),
            classes.carrying,
            looks.clean,
            classes.count,
        )
        for looks in shown
    ]
