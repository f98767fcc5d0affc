"""Which pictures train and which test: stratified by class, and by source picture."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from protect.data.discover import Sample, discover
from protect.documents.manifest import ImageRecord
from protect.errors import InputError
from protect.system.device import generator
from protect.system.files import sha256_of


def hold_out(
    images: Sequence[ImageRecord], fraction: float, seed: int
) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Split published pictures into training and test, class by class.

    Copies of one source picture (the same bytes) go to the same side, so that no test picture has
    been trained on under another name. A class of one picture only trains.

    Args:
        images: Records of a manifest.
        fraction: Share to test on, in (0, 1); every class of two or more gives at least one.
        seed: Of the draw.

    Returns:
        Training and test records, each in the order of `images`.
    """
    label_of = {image.source_sha256: image.label for image in images}
    groups: dict[str, list[str]] = defaultdict(list)
    for digest, label in label_of.items():
        groups[label].append(digest)
    tested: set[str] = set()
    for label, digests in sorted(groups.items()):
        count = min(max(1, round(len(digests) * fraction)), len(digests) - 1)
        order = torch.randperm(len(digests), generator=generator(seed, "split", label))
        tested.update(digests[i] for i in order[:count].tolist())
    train = [image for image in images if image.source_sha256 not in tested]
    test = [image for image in images if image.source_sha256 in tested]
    return train, test


def clean_test_folder(
    folder: Path, classes: Container[str], images: Sequence[ImageRecord]
) -> tuple[Sample, ...]:
    """Find the pictures of a test folder and make sure that they can be tested on.

    Args:
        folder: Class folders of clean pictures.
        classes: Names of the classes that are trained on.
        images: The training pictures.

    Raises:
        InputError: If a class is unknown, or a picture is a training or a protected one.
    """
    listing = discover(folder)
    unknown = [name for name in listing.classes if name not in classes]
    if unknown:
        raise InputError(
            f"the test folder {folder} has classes that were not protected",
            "name its folders as in the training data",
            unknown,
        )
    known = {image.source_sha256: "an original that was trained on" for image in images}
    known |= {image.output_sha256: "a protected picture" for image in images}
    overlap = [
        f"{sample.name} is {known[digest]}"
        for sample in listing.samples
        if (digest := sha256_of(sample.path)) in known
    ]
    if overlap:
        raise InputError(
            f"{len(overlap)} pictures of the test folder {folder} are not fit for testing",
            "test on clean pictures that were not protected",
            overlap,
        )
    return listing.samples


def as_samples(images: Sequence[ImageRecord], folder: Path, published: bool) -> list[Sample]:
    """Return where the published pictures, or their originals, lie below `folder`."""
    return [
        Sample(
            name=image.output if published else image.source,
            path=folder / (image.output if published else image.source),
            label=image.label,
        )
        for image in images
    ]


def stratified(labels: Tensor, share: float, seed: int) -> Tensor:
    """Pick a share of the pictures of every class, at least one of each.

    Args:
        labels: (N,), int64.
        share: In (0, 1].
        seed: Of the draw.

    Returns:
        Sorted places (n,), int64.
    """
    chosen = []
    for label in sorted(set(labels.tolist())):
        places = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(places), generator=generator(seed, "clean share", label))
        chosen.append(places[order[: max(1, round(len(places) * share))]])
    return torch.cat(chosen).sort().values


def chance_of(labels: Sequence[int]) -> float:
    """Return the accuracy of always answering the most frequent class."""
    counts: Mapping[int, int] = {label: labels.count(label) for label in set(labels)}
    return max(counts.values()) / len(labels)
