"""A command line that tests can call, and pictures that any network tells apart."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from protect.cli import app

FAST = ("--size", "32", "--rounds", "3", "-b", "8", "--preset", "quick", "--device", "cpu")
FAST += ("--targets", "curriculum")
COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}


def cli(*words: object) -> Result:
    """Run `protect WORDS` in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


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
