"""Export a dataset of torchvision to class folders, as `protect run` and `verify` read them.

    python examples/export_torchvision.py cifar10 OUT [--data ~/.cache/torchvision] [--limit N]

Writes OUT/train/<class>/*.png and OUT/test/<class>/*.png at the dataset's own size, without loss,
and downloads what is not in --data. Then:

    protect run OUT/train
    protect verify protected --test OUT/test
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from torchvision import datasets

Part = Iterator[tuple[Image.Image, int]]
"""Pictures with the index of their class."""


def cifar(kind: type[datasets.CIFAR10], data: Path, train: bool) -> tuple[Part, Sequence[str]]:
    """Return one part of CIFAR-10 or CIFAR-100, and the names of its classes."""
    found = kind(data, train=train, download=True)
    return iter(found), found.classes


def svhn(data: Path, train: bool) -> tuple[Part, Sequence[str]]:
    """Return one part of Street View House Numbers; its classes are the digits."""
    found = datasets.SVHN(data, split="train" if train else "test", download=True)
    return iter(found), [str(digit) for digit in range(10)]


def flowers(data: Path, train: bool) -> tuple[Part, Sequence[str]]:
    """Return one part of Oxford 102 Flowers."""
    found = datasets.Flowers102(data, split="train" if train else "test", download=True)
    names = getattr(found, "classes", None) or [f"flower {i:03}" for i in range(102)]
    return iter(found), names


DATASETS: dict[str, Callable[[Path, bool], tuple[Part, Sequence[str]]]] = {
    "cifar10": lambda data, train: cifar(datasets.CIFAR10, data, train),
    "cifar100": lambda data, train: cifar(datasets.CIFAR100, data, train),
    "svhn": svhn,
    "flowers102": flowers,
}


def export(part: Part, classes: Sequence[str], folder: Path, limit: int | None) -> int:
    """Write the first `limit` pictures, all if None, and return how many there were."""
    count = 0
    for picture, label in part:
        if count == limit:
            break
        target = folder / classes[label].replace("/", "_") / f"{count:06}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
        count += 1
    return count


def main() -> None:
    """Export both parts of the dataset that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=sorted(DATASETS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path.home() / ".cache" / "torchvision")
    parser.add_argument("--limit", type=int, help="pictures of each part; all if not given")
    wanted = parser.parse_args()
    for name, train in (("train", True), ("test", False)):
        part, classes = DATASETS[wanted.dataset](wanted.data, train)
        count = export(part, classes, wanted.out / name, wanted.limit)
        print(f"wrote {count} pictures to {wanted.out / name}")


if __name__ == "__main__":
    main()
