"""Several processes that torchrun started to work as one; on a process alone, nothing of it shows.

The first of them finds, decides and tells; the others follow it. They share a disk. Imports torch
only inside functions, so that importing it is cheap.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from protect.errors import GO_ON, ConfigError, MachineError, ProcessLost

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Item = TypeVar("Item")
Made = TypeVar("Made")

TIMEOUT = timedelta(minutes=10)
"""While all compute together, one that says nothing for this long is given up. One that ends is
noticed at once."""
PATIENCE = timedelta(hours=24)
"""The same while the first alone reads the pictures, and while each writes its share of them."""

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process that it starts; all or none."""

_patient: list[ProcessGroup] = []
"""The group in which the others wait for the first; empty for a process alone."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the processes that torchrun started this is.

    Attributes:
        rank: From 0.
        count: How many there are on all machines.
        local_rank: From 0 on this machine.
        local_count: How many there are on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def place() -> Place:
    """Return the place of this process, from what torchrun left in its environment."""
    if not all(name in os.environ for name in _VARIABLES):
        return Place()
    return Place(*(int(os.environ[name]) for name in _VARIABLES[:4]))


def is_first() -> bool:
    """Whether this process is the one that decides and tells."""
    return place().rank == 0


def refuse_several(what: str, hint: str) -> None:
    """Stop where something is to be done that is not shared over processes.

    Args:
        what: What it is, as it is typed.
        hint: What to do instead, or why nothing need be.

    Raises:
        ConfigError: If there are several.
    """
    if place().count > 1:
        raise ConfigError(f"{what} works in one process, not in those of torchrun", hint)


def refuse_small_batches(batch_size: int) -> None:
    """Stop where a batch has no picture for some process.

    Raises:
        ConfigError: If so.
    """
    if batch_size < place().count:
        raise ConfigError(
            f"a batch of {batch_size} pictures has none for some of {place().count} processes",
            "start fewer processes, or raise --batch-size, which is of all together",
        )


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes, and part from them when all is done.

    Raises:
        ProcessLost: If they do not come.
        MachineError: If this PyTorch cannot connect processes.
    """
    if place().count == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        raise MachineError(
            "this build of PyTorch cannot connect several processes", "run without torchrun"
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with others():
        dist.init_process_group(backend, timeout=TIMEOUT)
        group: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
    _patient.append(group)
    try:
        yield
        wait_for_all()
        # Not after an error: the end of this process then tells the others.
        dist.destroy_process_group()
    finally:
        _patient.clear()


@contextmanager
def others() -> Iterator[None]:
    """Say what it means if talking to the other processes fails.

    Raises:
        ProcessLost: If it does.
    """
    try:
        yield
    except RuntimeError as error:  # PyTorch has no type of its own for it with gloo
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProcessLost(
            f"another process of this run has ended or does not answer: {first_line}",
            f"it says why itself, or torchrun does; then {GO_ON}",
        ) from None


def from_first(make: Callable[[], Made]) -> Made:
    """Let the first process make something, and give it to all; the others wait for it.

    It goes on once all have it, and only then may remove a file that it speaks of.
    """
    if not _patient:
        return make()
    import torch.distributed as dist

    made = [make() if is_first() else None]
    with others():
        dist.broadcast_object_list(made, src=0, group=_patient[0])
    wait_for_all()
    return made[0]  # type: ignore[return-value]


def after_first(make: Callable[[], Made]) -> Made:
    """Let the first process make its own before the others make theirs.

    So what all would stumble over is said once, and what all need is downloaded once.
    """
    if not is_first():
        wait_for_all()
        return make()
    made = make()
    wait_for_all()
    return made


def wait_for_all() -> None:
    """Go on once every process is here."""
    if _patient:
        import torch.distributed as dist

        with others():
            dist.barrier(group=_patient[0])


def dealt(items: Sequence[Item]) -> Sequence[Item]:
    """Return the share of this process, as one deals cards; all shares together have each once."""
    here = place()
    return items[here.rank :: here.count]


def collected(share: Sequence[Item]) -> list[Item]:
    """Put what each process made of its dealt share in order again, on the first process.

    Returns:
        One for every item that was dealt; on the other processes only those of their share.
    """
    if not _patient:
        return list(share)
    import torch.distributed as dist

    shares: list[Sequence[Item]] | None = [()] * place().count if is_first() else None
    with others():
        dist.gather_object(share, shares, dst=0, group=_patient[0])
    if shares is None:
        return list(share)
    whole: list[Item] = [share[0]] * sum(map(len, shares)) if share else []
    for rank, part in enumerate(shares):
        whole[rank :: len(shares)] = part
    return whole
