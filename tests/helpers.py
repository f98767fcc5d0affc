"""A command line that tests can call, and pictures that any network tells apart."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner, Result

from protect.cli.app import app
from protect.data.cache import PixelCache
from protect.evaluation.learned import Answers, Learned

FAST = ("--size", "32", "--rounds", "3", "-b", "8", "--preset", "quick", "--device", "cpu")
FAST += ("--targets", "curriculum", "--seed", "0")
TINY = ("--size", "32", "--rounds", "1", "-b", "4", "--preset", "quick", "--device", "cpu")
TINY += ("--seed", "0")
COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}


def cli(*words: object) -> Result:
    """Run `protect WORDS` in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file but the manifest, whose timings differ from run to run."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def seed_of(output: Path) -> int:
    """Return the seed that a run keeps to itself."""
    record = output.with_name(f"{output.name}.state") / "run.json"
    return json.loads(record.read_text())["settings"]["seed"]


def write_colours(folder: Path, per_class: int, seed: int = 0) -> Path:
    """Write pictures that any network tells apart: mostly red, mostly blue."""
    rng = np.random.default_rng(seed)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for i in range(per_class):
            noise = rng.integers(-40, 41, (32, 32, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def small_network(folder: Path) -> tuple[str, ...]:
    """Return the flags for a small surrogate with random weights, written into `folder`.

    It has batch normalisation, and no kinks, which would make rounding larger.
    """
    name = "test_efficientnet"
    file = folder / "small.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(name).state_dict(), file)
    return "--surrogate", f"timm:{name}", "--weights", f"timm:{name}={file}"


def noise_pictures(count: int, size: tuple[int, int] = (16, 16), seed: int = 0) -> Tensor:
    """Return (count, 3, height, width), uint8: mid-grey, every value 28 levels off or less."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(100, 157, (count, 3, *size), dtype=torch.uint8, generator=draws)


def as_cache(pictures: Tensor, labels: Tensor) -> PixelCache:
    """Return a cache of the pictures (N, 3, H, W), uint8."""
    rows = np.arange(len(pictures))
    pixels = pictures.permute(0, 2, 3, 1).numpy()
    return PixelCache(pixels, rows, labels, torch.zeros(len(pictures)).bool())


def learned(*shares: float, shown: Sequence[int] = (100, 100), **facts: int | None) -> Learned:
    """Return a training after whose epochs such a share of each class was answered rightly.

    The other pictures were taken for the class after theirs.
    """

    def answers(share: float) -> Answers:
        right = [round(share * count) for count in shown]
        wrong = [count - hits for count, hits in zip(shown, right, strict=True)]
        given = [hits + wrong[i - 1] for i, hits in enumerate(right)]
        return Answers(tuple(shown), tuple(given), tuple(right))

    return Learned(tuple(map(answers, shares)), **facts)
