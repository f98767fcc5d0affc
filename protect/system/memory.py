"""How much memory is in use, was in use at most, and is free."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_AVAILABLE = Path("/proc/meminfo")
_RESIDENT = Path("/proc/self/statm")
_GROUPS = Path("/proc/self/cgroup")
_GROUP_ROOT = Path("/sys/fs/cgroup")
"""Linux's own accounts; the last two are of control groups, by which containers are limited."""


def peak_memory() -> int | None:
    """Return the most main memory that this process has had, in bytes; None where none tells."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_device_memory(device: torch.device) -> int | None:
    """Return the most that PyTorch has had on a CUDA GPU, in bytes; None on other devices."""
    import torch

    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def peak_working_memory(device: torch.device) -> int | None:
    """Return the most that this process has had where a device computes, in bytes.

    That is a CUDA GPU's own memory, or the main memory; None where none tells.
    """
    return peak_device_memory(device) if device.type == "cuda" else peak_memory()


def working_memory(device: torch.device) -> tuple[int, int] | None:
    """Return the bytes in use and the bytes free where a device computes; None where none tells."""
    if device.type == "cuda":
        import torch

        return torch.cuda.memory_reserved(device), torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or not _AVAILABLE.exists():
        return None
    import resource

    pages = int(_RESIDENT.read_text().split()[1])
    available = next(
        1024 * int(line.split()[1])
        for line in _AVAILABLE.read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    return pages * resource.getpagesize(), min([available, *_left_to_groups()])


def _left_to_groups() -> list[int]:
    """Return what each limited control group above this process has left, in bytes."""
    entries = _GROUPS.read_text().splitlines() if _GROUPS.exists() else []
    own = next((line[3:].lstrip("/") for line in entries if line.startswith("0::")), "")
    folders = [_GROUP_ROOT / own, *(_GROUP_ROOT / own).parents]
    left = []
    for folder in folders:
        limit, used = folder / "memory.max", folder / "memory.current"
        if limit.is_file() and used.is_file() and limit.read_text().strip().isdecimal():
            left.append(max(0, int(limit.read_text()) - int(used.read_text())))
    return left
