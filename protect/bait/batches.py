"""How many pictures a step may have: found by trying, while there is memory for it."""

import torch

from protect.bait.engine import Engine
from protect.bait.state import pack, unpack
from protect.errors import ConfigError
from protect.system.memory import forget_peak, peak_working_memory, working_memory

PER_CLASS = 4
"""Pictures a step for each class: with fewer, most are alone with their target, and binding in
feature space has no centroid to take them to."""
SHARE = 0.8
"""Of the free memory that may be used."""
FIRST = 16
"""Pictures in the first try; each further one has twice as many."""
TRIED_STEPS = 2
"""Outer steps of a try: one of each kind, as memory does not grow with their number."""


def wanted_batch(engine: Engine) -> int:
    """Return the batch size that the method wants: the preset's, or more where classes are many."""
    classes = engine.patterns.weight.shape[0]
    return max(engine.effort.batch_size, PER_CLASS * classes)


def known_memory(device: torch.device) -> tuple[int, int]:
    """Return the bytes in use and free where a device computes.

    Raises:
        ConfigError: If this system does not tell.
    """
    known = working_memory(device)
    if known is None:
        raise ConfigError(
            "--batch-size auto cannot tell how much memory this system has free",
            "give a number; it works by itself on Linux and on CUDA GPUs",
        )
    return known


def batch_that_fits(engine: Engine) -> int:
    """Find the largest batch size up to `wanted_batch` that memory has room for.

    Batches of 16, 32, 64 ... pictures are tried and undone. A further one is not begun if
    twice what the last one took would not fit, so that memory never runs out on the way.

    Args:
        engine: Before its first round; it is left there.

    Raises:
        ConfigError: If this system does not tell how much memory there is.
    """
    wanted = wanted_batch(engine)
    in_use, free = known_memory(engine.device)
    forget_peak(engine.device)
    size = min(FIRST, wanted)
    while size < wanted:
        _rehearse(engine, size)
        taken = peak_working_memory(engine.device) - in_use
        if 2 * taken > SHARE * free:
            break
        size = min(2 * size, wanted)
    return size


def _rehearse(engine: Engine, batch_size: int) -> None:
    """Do a short round with so many pictures a step, and undo it."""
    effort = engine.effort
    before = {name: value.clone() for name, value in pack(engine).items()}
    engine.effort = effort.model_copy(
        update={
            "rounds": max(1, effort.rounds),  # this one, where the run does none
            "batch_size": batch_size,
            "outer_steps": min(TRIED_STEPS, effort.outer_steps),
        }
    )
    engine.advance()
    engine.effort = effort
    unpack(engine, before)
