"""What is in use and what is free, against memory that is taken here and limits that are set."""

import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from protect.system import memory
from protect.system.memory import (
    forget_peak,
    peak_memory,
    peak_working_memory,
    working_memory,
)

CPU = torch.device("cpu")
TAKEN = 300 * 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no such accounts")


@contextmanager
def taken() -> Iterator[None]:
    """Hold memory that is new to the process: an array may get what earlier tests gave back."""
    with mmap.mmap(-1, TAKEN) as block:
        pages = np.frombuffer(block, np.uint8)
        pages[:: mmap.PAGESIZE] = 1
        del pages
        yield


@linux
def test_memory_that_is_taken_is_in_use():
    in_use, free = working_memory(CPU)
    with taken():
        now, less = working_memory(CPU)
    assert 0.9 * TAKEN < now - in_use < 1.5 * TAKEN
    assert 0 < less < free + TAKEN
    # The system counts some pages late.
    assert peak_memory() + 2**20 >= peak_working_memory(CPU) >= now - 2**20


@linux
def test_a_peak_can_be_forgotten_where_it_is_measured_and_not_where_it_is_reported():
    with taken():
        pass
    highest = peak_memory()
    forget_peak(CPU)
    in_use, _ = working_memory(CPU)
    assert abs(peak_working_memory(CPU) - in_use) < 0.2 * TAKEN
    assert peak_memory() >= highest
    with taken():
        pass
    assert peak_working_memory(CPU) - in_use > 0.9 * TAKEN


@linux
@pytest.mark.parametrize(
    ("entry", "top", "limit_file", "used_file", "cached"),
    [
        ("0::", "", "memory.max", "memory.current", "inactive_file"),
        (
            "4:cpu,memory:",
            "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ],
)
def test_the_smallest_limit_of_the_groups_above_counts(
    tmp_path, monkeypatch, entry, top, limit_file, used_file, cached
):
    inner = tmp_path / top / "outer" / "inner"
    inner.mkdir(parents=True)
    groups = tmp_path / "cgroup"
    groups.write_text(f"1:name=systemd:/x\n{entry}/outer/inner\n")
    monkeypatch.setattr(memory, "_GROUPS", groups)
    monkeypatch.setattr(memory, "_GROUP_ROOT", tmp_path)
    everything = working_memory(CPU)[1]

    def limit(folder, most, used):
        (folder / limit_file).write_text(f"{most}\n")
        (folder / used_file).write_text(f"{used}\n")

    limit(inner, "max", 500)
    assert working_memory(CPU)[1] > 0.5 * everything
    limit(inner.parent, 5_000, 1_000)
    assert working_memory(CPU)[1] == 4_000
    limit(inner, 2_000, 500)
    assert working_memory(CPU)[1] == 1_500
    (inner / "memory.stat").write_text(f"anon 7\n{cached} 300\n")
    assert working_memory(CPU)[1] == 1_800
    limit(inner, 400, 500)
    (inner / "memory.stat").unlink()
    assert working_memory(CPU)[1] == 0


def test_other_devices_do_not_tell():
    assert working_memory(torch.device("meta")) is None
