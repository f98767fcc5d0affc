"""Where to compute, with how many threads, and how to draw the same numbers every time.

Knows devices, not networks. Imports torch only inside functions, so that importing it is cheap.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from protect.errors import ConfigError, MachineError
from protect.system.processes import place

if TYPE_CHECKING:
    import torch

_DISTRIBUTION = "bait-protect"
_PACKAGES = ("torch", "torchvision", "timm", "pillow", "numpy", _DISTRIBUTION)
_MAX_THREADS = 8


def choose_device(text: str, *, must_exist: bool = True) -> torch.device:
    """Turn the value of `--device` into a device that this machine has.

    Args:
        text: "auto" (CUDA, else MPS, else the CPU), "cpu", "mps", "cuda" or "cuda:N".
        must_exist: Whether something is computed on it; otherwise it is only talked about.

    Of several processes on a machine each gets a CUDA device of its own.

    Raises:
        ConfigError: If several processes would share a device that they cannot share.
        MachineError: If it must exist and the machine has no such device.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if text == "auto":
        text = "cuda" if n_gpus else "mps" if has_mps else "cpu"
    here = place()
    if here.count > 1 and text == "mps":
        raise ConfigError("an Apple GPU computes for one process only", "run without torchrun")
    if here.local_count > 1 and text.startswith("cuda:"):
        raise ConfigError(
            f"--device {text} names one device for the {here.local_count} processes of this "
            "machine",
            "use --device cuda, which gives each its own",
        )
    device = torch.device(text)
    if not must_exist:
        return device
    if here.local_count > 1 and device.type == "cuda":
        if here.local_count > n_gpus:
            raise MachineError(
                f"torchrun started {here.local_count} processes here, and PyTorch finds "
                f"{n_gpus or 'no'} CUDA device{'s' if n_gpus != 1 else ''}",
                "start one process per GPU with --nproc-per-node, or use --device cpu",
            )
        device = torch.device("cuda", here.local_rank)
        torch.cuda.set_device(device)
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        found = f"PyTorch finds {n_gpus or 'no'} CUDA device{'s' if n_gpus != 1 else ''} here"
        raise MachineError(f"--device {text}: {found}", "use --device cpu")
    if device.type == "mps" and not has_mps:
        raise MachineError(f"--device {text}: PyTorch finds no Apple GPU here", "use --device cpu")
    return device


def thread_count(workers: int | None, processes: int = 1) -> int:
    """How many threads decode and encode pictures.

    Args:
        workers: The user's wish; None for one thread per CPU that this process may use, at most 8.
        processes: That do so at the same time on this machine, and share its CPUs.
    """
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return max(1, min(_MAX_THREADS, usable // processes))


def tool_facts(device: torch.device) -> dict[str, Any]:
    """What computes, and on what, as the fields of `documents.document.Tool`.

    Says nothing that identifies the machine: no host name, no user, no kernel build.

    Returns:
        `version`, `python`, `platform`, `device` ("cpu", the GPU's name, or "cuda" for a GPU that
        is not in this machine) and `packages`.
    """
    return {
        "version": _version(_DISTRIBUTION),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": _device_name(device),
        "packages": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Return the version of each package that decides figures, by distribution name.

    "unknown" where one is not installed, such as this one when it runs from a bare source tree.
    """
    return {name: _version(name) for name in _PACKAGES}


def make_deterministic() -> None:
    """Ask PyTorch for the same result on every run on the same device.

    Call it before the first computation on a GPU: cuBLAS reads its setting once. Operations without
    a deterministic version still run; PyTorch warns of them.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A guard against reading memory nobody wrote, which nothing here does; it costs a pass over
    # every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Make the source of the random draws of one purpose.

    Draws depend on the arguments alone: not on worker count, nor on what was drawn before.

    Args:
        seed: The user's `--seed`.
        purpose: What is drawn and for what, such as "batches", 3. The text "3" is another purpose.

    Returns:
        A fresh generator on the CPU. PyTorch seeds it with 32 bits, so that two purposes share
        their draws by accident once in 2^32 pairs.
    """
    import torch

    digest = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


@contextmanager
def global_draws(draws: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global generators, which layers such as dropout draw from, for a while.

    Args:
        draws: What the seed follows from; it is left where it is. Each process gets its own seed.
        device: Where the layers compute.
    """
    import torch

    seed = int(torch.randint(2**31, (), generator=draws.clone_state()))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed + place().rank)
        yield


def moved(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a batch on a device; on its way to a CUDA GPU it is waited for by nobody.

    Elsewhere it is waited for: memory that is not pinned may be given away before it was copied.
    """
    if device.type == "cuda":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the machine or of its GPU is full."""
    # PyTorch has a type of its own for a full GPU, and none for a full main memory.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


@contextmanager
def batches_fit(batch_size: int, smallest: int) -> Iterator[None]:
    """Name the batch size to try where memory runs out; it is never changed in silence.

    Args:
        batch_size: Pictures a step.
        smallest: Of these, what a step needs at least.

    Raises:
        MachineError: If it does.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        half = max(batch_size // 2, smallest)
        raise MachineError(
            f"out of memory with {batch_size} pictures a step",
            f"try --batch-size {half}; another batch size gives another result, so it is not "
            "changed for you"
            if half < batch_size
            else "try a smaller --size",
        ) from error


def _version(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _device_name(device: torch.device) -> str:
    import torch

    if device.type == "cuda" and (device.index or 0) < torch.cuda.device_count():
        return torch.cuda.get_device_name(device)
    return "Apple GPU" if device.type == "mps" else device.type
