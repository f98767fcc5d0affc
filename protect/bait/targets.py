"""Which incorrect class each sample is bound to, stage by stage (method section 2)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from protect.config.choices import Targets

Rule = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""(logits (B, K) of the clean pictures, true classes (B,), generator) -> targets (B,)."""


def hardest(logits: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Pick the most likely class but the true one."""
    return taken_for(logits, y)


def taken_for(logits: Tensor, y: Tensor) -> Tensor:
    """Return the most likely class but the true one (B,), by logits (B, K)."""
    return logits.scatter(1, y[:, None], -torch.inf).argmax(dim=1)


def dissimilar(logits: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Pick the least likely class but the true one.

    The authors' code does not exclude the true class here; the method asks for an incorrect
    target, and for a class that the surrogate has not learned at all the two differ.
    """
    return logits.scatter(1, y[:, None], torch.inf).argmin(dim=1)


def random(logits: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """Pick uniformly among the classes but the true one."""
    shift = torch.randint(1, logits.shape[1], y.shape, generator=generator)
    return (y + shift.to(y.device)) % logits.shape[1]


def cyclic(logits: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Pick the next class, as TAP does."""
    return (y + 1) % logits.shape[1]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a target policy.

    Attributes:
        name: As it is written to the manifest.
        rule: Picks the targets.
        reads_logits: Whether the rule needs the surrogate's logits; if not they are not computed.
    """

    name: str
    rule: Rule
    reads_logits: bool


HARDEST = Stage("hardest", hardest, reads_logits=True)
RANDOM = Stage("random", random, reads_logits=False)
DISSIMILAR = Stage("dissimilar", dissimilar, reads_logits=True)
CYCLIC = Stage("cyclic", cyclic, reads_logits=False)

POLICIES: dict[Targets, tuple[Stage, ...]] = {
    Targets.CURRICULUM: (HARDEST, RANDOM, DISSIMILAR),
    Targets.RANDOM: (RANDOM,),
    Targets.DISSIMILAR: (DISSIMILAR,),
    Targets.CYCLIC: (CYCLIC,),
}


def stage_at(policy: Targets, round_index: int, rounds: int) -> int:
    """Return the index of the stage that a round belongs to: stages of equal length, in order."""
    return round_index * len(POLICIES[policy]) // rounds
