"""How much memory is in use, was in use at most, and is free."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_AVAILABLE = Path("/proc/meminfo")
_RESIDENT = Path("/proc/self/statm")
_PEAK = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
_GROUPS = Path("/proc/self/cgroup")
_GROUP_ROOT = Path("/sys/fs/cgroup")
"""Linux's own accounts; the last two are of control groups, by which containers are limited."""
_FIRST = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
_SECOND = "memory.max", "memory.current", "inactive_file"
"""What limit, use and cached files are called in the two versions of control groups."""

_forgotten = [0]
"""Peaks of main memory before they were forgotten."""


def peak_memory() -> int | None:
    """Return the most main memory that this process has had, in bytes; None where none tells."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(peak if sys.platform == "darwin" else 1024 * peak, *_forgotten)


def peak_device_memory(device: torch.device) -> int | None:
    """Return the most that PyTorch has had on a CUDA GPU, in bytes; None on other devices."""
    import torch

    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def forget_peak(device: torch.device) -> None:
    """Let `peak_working_memory` count from here on, where the system can."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    _forgotten.append(peak_memory() or 0)
    with suppress(OSError):
        _CLEAR.write_text(_CLEAR_PEAK)


def peak_working_memory(device: torch.device) -> int:
    """Return the most in use where a device computes since `forget_peak`, in bytes.

    That is a CUDA GPU's own memory, or the main memory; where `working_memory` tells.
    """
    if device.type == "cuda":
        return peak_device_memory(device) or 0
    return 1024 * (_entry(_PEAK, "VmHWM:") or 0)


def working_memory(device: torch.device) -> tuple[int, int] | None:
    """Return the bytes in use and the bytes free where a device computes; None where none tells."""
    if device.type == "cuda":
        import torch

        return torch.cuda.memory_reserved(device), torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or not _AVAILABLE.exists():
        return None
    import resource

    pages = int(_RESIDENT.read_text().split()[1])
    kilobytes = _entry(_AVAILABLE, "MemAvailable:")
    if kilobytes is None:
        return None
    available = 1024 * kilobytes
    return pages * resource.getpagesize(), min([available, *_left_to_groups()])


def _left_to_groups() -> list[int]:
    """Return what each limited control group above this process has left, in bytes.

    What a group has cached of files it can give up.
    """
    left = []
    for line in _GROUPS.read_text().splitlines() if _GROUPS.exists() else []:
        number, kinds, path = line.split(":", 2)
        if number == "0":
            top, files = _GROUP_ROOT, _SECOND
        elif "memory" in kinds.split(","):
            top, files = _GROUP_ROOT / "memory", _FIRST
        else:
            continue
        own = top / path.lstrip("/")
        for folder in (own, *own.parents):
            limit, used = (_number(folder / name) for name in files[:2])
            if limit is not None and used is not None:
                left.append(max(0, limit - used + (_entry(folder / "memory.stat", files[2]) or 0)))
            if folder == top:
                break
    return left


def _number(file: Path) -> int | None:
    """Return the number in a file; None where there is no such file, or no limit in it."""
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdecimal() else None


def _entry(file: Path, name: str) -> int | None:
    """Return the number behind a name in a file; None where there is none."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), None)
