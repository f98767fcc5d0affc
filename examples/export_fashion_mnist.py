"""Export Fashion-MNIST to class folders of PNGs, as `protect run` and `protect verify` read them.

    python examples/export_fashion_mnist.py OUT [--train N] [--test N] [--side 64] [--mode L|RGB]

Writes OUT/train/<class>/*.png and OUT/test/<class>/*.png, greyscale like the originals, or
with three equal channels as most training code wants them (--mode RGB). These
come from the Debian package `dataset-fashion-mnist`, or from any folder with the four files of
https://github.com/zalandoresearch/fashion-mnist, named by --data.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)
HEADER_OF_IMAGES, HEADER_OF_LABELS, SIDE = 16, 8, 28


def read(data: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 28, 28) uint8 pictures and (N,) uint8 labels of "train" or "t10k"."""
    images = gzip.decompress((data / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((data / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return (
        np.frombuffer(images, np.uint8, offset=HEADER_OF_IMAGES).reshape(-1, SIDE, SIDE),
        np.frombuffer(labels, np.uint8, offset=HEADER_OF_LABELS),
    )


def export(data: Path, part: str, count: int, side: int, mode: str, folder: Path) -> None:
    """Write the first `count` pictures of a part, enlarged to `side` pixels."""
    for i, (pixels, label) in enumerate(zip(*read(data, part), strict=True)):
        if i == count:
            break
        target = folder / CLASSES[label] / f"{i:05}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels)
        if side != SIDE:
            picture = picture.resize((side, side), Image.Resampling.BILINEAR)
        picture.convert(mode).save(target)


def main() -> None:
    """Export both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--mode", choices=("L", "RGB"), default="L")
    wanted = parser.parse_args()
    if not wanted.data.is_dir():
        parser.error(f"{wanted.data} does not exist: apt-get install dataset-fashion-mnist")
    export(wanted.data, "train", wanted.train, wanted.side, wanted.mode, wanted.out / "train")
    export(wanted.data, "t10k", wanted.test, wanted.side, wanted.mode, wanted.out / "test")
    print(f"wrote {wanted.out}/train and {wanted.out}/test")


if __name__ == "__main__":
    main()
