"""The whole job on pictures that this script draws: protect, check, verify. No network is needed.

    python examples/quickstart.py [FOLDER]

Draws 2,400 pictures of six shapes into FOLDER/photos (default ./quickstart) and 900 more to test
on into FOLDER/test, then runs the three commands as you would type them. It exits with the status
of the first command that does not give 0.
"""

import random
import subprocess
import sys
from math import cos, pi, sin
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIDE = 64
PER_CLASS = 400
"""With fewer, the first epoch shows a network too little noise for a verdict without a doubt."""
TESTED_PER_CLASS = 150
"""Few test pictures leave the verdict open: the interval of 225 is twice as wide as this one's."""

Point = tuple[float, float]


def polygon(corners: int, inner: float = 1.0) -> list[Point]:
    """Return a polygon on the unit circle; `inner` below 1 draws every other corner inwards."""
    steps = corners * (2 if inner < 1 else 1)
    return [
        (radius * sin(2 * pi * i / steps), -radius * cos(2 * pi * i / steps))
        for i in range(steps)
        for radius in [inner if inner < 1 and i % 2 else 1.0]
    ]


SHAPES: dict[str, list[Point]] = {
    "circle": polygon(40),
    "triangle": polygon(3),
    "square": polygon(4),
    "star": polygon(5, inner=0.4),
    "cross": polygon(4, inner=0.25),
    "moon": [
        *((sin(a * pi / 20), -cos(a * pi / 20)) for a in range(21)),
        *((0.45 * sin(a * pi / 20), -cos(a * pi / 20)) for a in range(20, -1, -1)),
    ],
}


def draw(shape: list[Point], rng: random.Random) -> Image.Image:
    """Draw one shape at a random place, size, angle and colour on a blotchy background."""
    background = Image.new("RGB", (8, 8))
    background.putdata([tuple(rng.randrange(60, 200) for _ in range(3)) for _ in range(64)])
    picture = background.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    scale, angle = rng.uniform(0.22, 0.42) * SIDE, rng.uniform(-pi / 8, pi / 8)
    x, y = (rng.uniform(scale, SIDE - scale) for _ in range(2))
    points = [
        (
            x + scale * (px * cos(angle) - py * sin(angle)),
            y + scale * (px * sin(angle) + py * cos(angle)),
        )
        for px, py in shape
    ]
    colour = tuple(rng.choice([rng.randrange(60), rng.randrange(200, 256)]) for _ in range(3))
    ImageDraw.Draw(picture).polygon(points, fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def draw_photos(folder: Path, per_class: int, seed: int) -> None:
    """Draw every picture, the same ones each time."""
    rng = random.Random(seed)
    for name, shape in SHAPES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            draw(shape, rng).save(folder / name / f"{i:03}.png")


def command(*words: str) -> None:
    """Show a command, run it, and stop where it does not give 0."""
    print("\n$ protect", *words, flush=True)
    status = subprocess.run([sys.executable, "-m", "protect", *words], check=False).returncode
    if status:
        sys.exit(status)


def main() -> None:
    """Draw the pictures, then protect, check and verify them."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart")
    photos, protected = folder / "photos", folder / "protected"
    draw_photos(photos, PER_CLASS, seed=0)
    draw_photos(folder / "test", TESTED_PER_CLASS, seed=1)
    # With a seed it is the same for everybody. Leave it out for your own pictures: it is a secret.
    seeded = "--preset", "quick", "--seed", "0", "--overwrite"
    command("run", str(photos), "-o", str(protected), *seeded)
    command("check", str(protected))
    command("verify", str(protected), "--test", str(folder / "test"))


if __name__ == "__main__":
    main()
