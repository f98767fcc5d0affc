"""Export Fashion-MNIST to class folders of PNGs, as `protect run` and `protect verify` read them.

    python examples/export_fashion_mnist.py OUT [--train N] [--train-from I] [--test N]
        [--test-from I] [--side 64] [--mode L|RGB]

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


def export(data: Path, part: str, chosen: range, side: int, mode: str, folder: Path) -> None:
    """Write the chosen pictures of a part, as far as it has them, enlarged to `side` pixels."""
    pictures, labels = read(data, part)
    for i in chosen:
        if i >= len(labels):
            break
        pixels, label = pictures[i], labels[i]
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
    parser.add_argument("--train-from", type=int, default=0, help="number of the first of these")
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--test-from", type=int, default=0, help="number of the first test picture")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--mode", choices=("L", "RGB"), default="L")
    wanted = parser.parse_args()
    if not wanted.data.is_dir():
        parser.error(f"{wanted.data} does not exist: apt-get install dataset-fashion-mnist")
    parts = {
        "train": range(wanted.train_from, wanted.train_from + wanted.train),
        "t10k": range(wanted.test_from, wanted.test_from + wanted.test),
    }
    for (part, chosen), name in zip(parts.items(), ("train", "test"), strict=True):
        export(wanted.data, part, chosen, wanted.side, wanted.mode, wanted.out / name)
    print(f"wrote {wanted.out}/train and {wanted.out}/test")


if __name__ == "__main__":
    main()
