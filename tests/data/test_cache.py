"""Decoded pictures in a file: they come back as they were, and are not kept in memory."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded, picture

from protect.data.cache import Grid, PixelCache, build_cache, read_all
from protect.data.discover import Sample
from protect.errors import ImageRefused

N, SIDE = 600, 64


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Give pictures that all differ."""
    found = []
    for number in range(N):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded(picture("RGB", (SIDE, SIDE), number), "PNG"))
        found.append(Sample(path.name, path, "ab"[number % 2]))
    return found


def cached(samples: list[Sample], path: Path | None) -> PixelCache:
    grid = Grid(SIDE, SIDE, exact=True)
    cache, refused, _ = build_cache(
        samples,
        {"a": 0, "b": 1},
        grid,
        path,
        threads=2,
        max_pixels=10**6,
        listener=lambda _: None,
    )
    assert not refused
    return cache


def in_memory_of(path: Path) -> int:
    """Return how many bytes of a mapped file are in memory."""
    maps = Path("/proc/self/smaps").read_text()
    _, found, rest = maps.partition(str(path))
    assert found
    return 1024 * int(rest.partition("Rss:")[2].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_pictures_do_not_stay_in_memory_and_come_back_as_they_were(
    samples: list[Sample], tmp_path: Path
):
    in_memory = cached(samples, None)
    on_disk = cached(samples, tmp_path / "pixels.npy")
    changed = on_disk.rewritten(tmp_path / "changed.npy", lambda _, pictures: 255 - pictures)
    for index in torch.randperm(N).split(50):
        assert torch.equal(on_disk.batch(index), in_memory.batch(index))
        assert torch.equal(changed.batch(index), 255 - in_memory.batch(index))
    for name in ("pixels.npy", "changed.npy"):
        assert in_memory_of(tmp_path / name) < on_disk.pixels.nbytes / 10


def test_the_digest_is_of_the_bytes_that_were_decoded(tmp_path: Path):
    """Of files below and above what is read at once, and of such that only just fit."""
    rng = np.random.default_rng(0)
    sizes = {"small": (8, 8), "large": (700, 700)}
    samples = []
    for name, (width, height) in sizes.items():
        path = tmp_path / f"{name}.bmp"
        header = encoded(picture("RGB", (width, height), 0), "BMP")
        path.write_bytes(header[:54] + rng.bytes(len(header) - 54))
        samples.append(Sample(path.name, path, "a"))
    padded = tmp_path / "padded.png"
    data = encoded(picture("RGB", (8, 8), 0), "PNG")
    padded.write_bytes(data + bytes((1 << 20) - len(data)))
    samples.append(Sample(padded.name, padded, "a"))
    for sample, (refusal, origin) in zip(
        samples, read_all(samples, 10**6, 2, lambda _: None), strict=True
    ):
        assert not isinstance(refusal, ImageRefused)
        assert origin.sha256 == hashlib.sha256(sample.path.read_bytes()).hexdigest()
        assert origin.n_bytes == sample.path.stat().st_size
