"""Where to compute, with how many threads, and how to draw the same numbers every time.

Knows devices, not networks. Imports torch only inside functions, so that importing it is cheap.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from protect.errors import MachineError

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

    Raises:
        MachineError: If it must exist and the machine has no such device.
    """
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if text == "auto":
        text = "cuda" if n_gpus else "mps" if has_mps else "cpu"
    device = torch.device(text)
    if not must_exist:
        return device
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        found = f"PyTorch finds {n_gpus or 'no'} CUDA device{'s' if n_gpus != 1 else ''} here"
        raise MachineError(f"--device {text}: {found}", "use --device cpu")
    if device.type == "mps" and not has_mps:
        raise MachineError(f"--device {text}: PyTorch finds no Apple GPU here", "use --device cpu")
    return device


def thread_count(workers: int | None) -> int:
    """How many threads decode and encode pictures.

    Args:
        workers: The user's wish; None for one thread per CPU that this process may use, at most 8.
    """
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    return min(_MAX_THREADS, usable)


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


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _device_name(device: torch.device) -> str:
    import torch

    if device.type == "cuda" and (device.index or 0) < torch.cuda.device_count():
        return torch.cuda.get_device_name(device)
    return "Apple GPU" if device.type == "mps" else device.type
