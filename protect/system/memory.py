"""How much memory was in use at most."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
