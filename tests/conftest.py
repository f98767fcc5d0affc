"""Fixtures of all tests: no test may reach the network."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that share the cores, as do those that they start; read when torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no defect; whole tests have a time limit.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

FolderMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _offline() -> Iterator[None]:
    """Make every attempt to reach another machine an error that names it."""

    def refuse(_: socket.socket, address: object) -> None:
        raise AssertionError(f"a test tried to reach {address}")

    # A patch of its own: what a test patches is put back before its folder is removed.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """Return a function that writes class folders of small random pictures."""

    def make(
        name: str = "photos",
        classes: tuple[str, ...] = ("cats", "dogs"),
        per_class: int = 6,
        size: tuple[int, int] = (32, 32),
        mode: str = "RGB",
        suffix: str = ".png",
        seed: int = 0,
    ) -> Path:
        rng = np.random.default_rng(seed)
        folder = tmp_path / name
        for label in classes:
            (folder / label).mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{i}{suffix}")
        return folder

    return make
