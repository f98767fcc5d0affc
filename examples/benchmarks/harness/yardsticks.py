"""The pictures that methods are compared on, as folders; made once, from installed packages.

What is tuned is tuned on other test pictures than those that are reported.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from protect.errors import MachineError

EXPORT = Path(__file__).parents[2] / "export_fashion_mnist.py"
STAMPS = Path("/usr/share/tuxpaint/stamps")
STAMP_CLASSES = {
    "birds": "animals/birds",
    "fruit": "food/fruit",
    "mammals": "animals/mammals",
    "plants": "plants",
    "vehicles": "vehicles",
}
STAMP_PARTS = {"train": 20, "test": 7, "tuning": 7}
"""Stamps of each class; no stamp is in two parts."""
SCENES = 4
"""Pictures of each stamp, each at another place on another background."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """A task to learn.

    Attributes:
        name: In file names.
        train: Folder of the owner's pictures, in class folders.
        test: Folder of clean test pictures that were used for no choice, unless `tuning`.
        size: Side in pixels at which networks see them; None picks it from the pictures.
        tuning: Whether the test pictures are those to make choices by, whose figures are not
            reported.
    """

    name: str
    train: Path
    test: Path
    size: int | None
    tuning: bool = False


def fashion(folder: Path, tuning: bool) -> Yardstick:
    """Export Fashion-MNIST at 64 pixels: the first 3,000 pictures, and 1,000 to test on.

    Those that are reported are the first 1,000 of its test part, those to tune on the second.

    Raises:
        MachineError: If it is not installed.
    """
    _export(folder)
    if tuning:
        _export(folder / "tuning", "--train", "0", "--test-from", "1000")
    test = folder / "tuning" / "test" if tuning else folder / "test"
    return Yardstick("fashion", folder / "train", test, 64, tuning)


def _export(folder: Path, *flags: str) -> None:
    if (folder / "done").exists():
        return
    words = (sys.executable, str(EXPORT), str(folder), *flags)
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode:
        raise MachineError("Fashion-MNIST could not be exported", "", made.stderr.splitlines())
    (folder / "done").touch()


def stamps(folder: Path, tuning: bool) -> Yardstick:
    """Draw 400 photos and drawings of five kinds of things on blotchy backgrounds, at 224 pixels.

    Raises:
        MachineError: If the stamps are not installed.
    """
    if not STAMPS.is_dir():
        raise MachineError(f"{STAMPS} does not exist", "apt-get install tuxpaint-stamps-default")
    if not (folder / "done").exists():
        for label, place in STAMP_CLASSES.items():
            rng = random.Random(f"stamps of {label}")
            files = sorted((STAMPS / place).rglob("*.png"))
            # A mirrored copy shows the same thing, and must not lie in another part.
            found = [file for file in files if not file.stem.endswith("_mirror")]
            rng.shuffle(found)
            for part, count in STAMP_PARTS.items():
                chosen, found = found[:count], found[count:]
                _draw_stamps(chosen, folder / part / label, rng)
        (folder / "done").touch()
    test = folder / ("tuning" if tuning else "test")
    return Yardstick("stamps224", folder / "train", test, 224, tuning)


def _draw_stamps(stamps: list[Path], folder: Path, rng: random.Random) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(stamps):
        with Image.open(path) as opened:
            stamp = opened.convert("RGBA")
        for i in range(SCENES):
            _scene(stamp, 224, rng).save(folder / f"{number:02}-{i}.png")


def _scene(stamp: Image.Image, side: int, rng: random.Random) -> Image.Image:
    """Put a stamp on a background: anywhere, at half to nine tenths of the side, maybe mirrored."""
    background = Image.new("RGB", (6, 6))
    background.putdata([tuple(rng.randrange(60, 200) for _ in range(3)) for _ in range(36)])
    picture = background.resize((side, side), Image.Resampling.BICUBIC)
    scale = rng.uniform(0.5, 0.9) * side / max(stamp.size)
    width, height = (max(1, round(length * scale)) for length in stamp.size)
    fitted = stamp.resize((width, height), Image.Resampling.LANCZOS)
    if rng.random() < 0.5:
        fitted = fitted.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    place = rng.randrange(side - width + 1), rng.randrange(side - height + 1)
    picture.paste(fitted, place, fitted)
    return picture


YARDSTICKS: Mapping[str, Callable[[Path, bool], Yardstick]] = {
    "fashion": fashion,
    "stamps224": stamps,
}
"""Name -> what makes it in a folder, with the test pictures to report or those to tune on."""
