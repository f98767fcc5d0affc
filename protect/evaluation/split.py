"""Which pictures train and which test: stratified by class, and by source picture."""

from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from protect.data.cache import Origin, read_all
from protect.data.discover import Sample, discover
from protect.documents.manifest import ImageRecord
from protect.errors import InputError
from protect.events import Listener, Notice, StageAdvanced, stage
from protect.system.device import generator

MOST_HIDDEN = 0.1
"""Share of all there is to learn that always answering the most frequent class may seem to know."""


def hold_out(
    images: Sequence[ImageRecord], shown: Mapping[str, str], fraction: float, seed: int
) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Split published pictures into training and test, class by class.

    Copies of one source picture (the same pixels) go to the same side, so that no test picture has
    been trained on under another name. A class of one picture only trains.

    Args:
        images: Records of a manifest.
        shown: Source name -> digest of the pixels of the original.
        fraction: Share to test on, in (0, 1); every class of two or more gives at least one.
        seed: Of the draw.

    Returns:
        Training and test records, each in the order of `images`.
    """
    label_of = {shown[image.source]: image.label for image in images}
    groups: dict[str, list[str]] = defaultdict(list)
    for digest, label in label_of.items():
        groups[label].append(digest)
    tested: set[str] = set()
    for label, digests in sorted(groups.items()):
        count = min(max(1, round(len(digests) * fraction)), len(digests) - 1)
        order = torch.randperm(len(digests), generator=generator(seed, "split", label))
        tested.update(digests[i] for i in order[:count].tolist())
    train = [image for image in images if shown[image.source] not in tested]
    test = [image for image in images if shown[image.source] in tested]
    return train, test


def clean_test_folder(
    folder: Path,
    classes: Container[str],
    *,
    threads: int,
    max_pixels: int,
    listener: Listener,
) -> tuple[tuple[Sample, ...], tuple[Origin, ...]]:
    """Find the pictures of a test folder, and what each shows.

    Args:
        folder: Class folders of clean pictures.
        classes: Names of the classes that are trained on.
        threads: That decode.
        max_pixels: Larger pictures are refused.
        listener: Told of each picture, and of what is odd about the folder.

    Returns:
        The pictures, and where each came from.

    Raises:
        InputError: If a class is unknown, or a picture has none or cannot be read.
    """
    listing = discover(folder)
    for note in listing.notes:
        listener(Notice(f"the test folder: {note}", "warning"))
    unknown = [name for name in listing.classes if name not in classes]
    if unknown:
        raise InputError(
            f"the test folder {folder} has classes that were not protected",
            "name its folders as in the training data",
            unknown,
        )

    origins: list[Origin] = []
    refused = [f"{item.source}: {item.reason}" for item in listing.refused]
    with stage("Comparing the test pictures", len(listing.samples), listener):
        looks = read_all(listing.samples, max_pixels, threads, lambda _: None)
        for sample, (refusal, origin) in zip(listing.samples, looks, strict=True):
            listener(StageAdvanced())
            if refusal is not None:
                refused.append(f"{sample.name}: {refusal.message}")
            else:
                origins.append(origin)
    if refused:
        raise InputError(
            f"{len(refused)} pictures of the test folder {folder} cannot be used",
            "remove or repair them, or give them a class",
            refused,
        )
    return listing.samples, tuple(origins)


def require_unseen(test: Mapping[str, str], trained: Mapping[str, str]) -> None:
    """Make sure that no test picture was trained on, nor is a protected one.

    Pixels are compared, since a copy in another format or with other metadata shows the same.

    Args:
        test: Name -> digest of the pixels, of the test pictures.
        trained: Digest of the pixels -> what was trained on there, in words.

    Raises:
        InputError: Naming each test picture that is among them.
    """
    overlap = [f"{name} is {trained[digest]}" for name, digest in test.items() if digest in trained]
    if overlap:
        raise InputError(
            f"{len(overlap)} of the test pictures are not fit for testing",
            "test on clean pictures that were not protected: name their folder with --test",
            overlap,
        )


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
    return max(Counter(labels).values()) / len(labels)


def unequal(labels: Sequence[int]) -> str:
    """Say why accuracy on these test pictures is no ground for a pass; empty if it is one.

    Where one class is much more frequent, a network that knows all classes can have no more right
    answers than one that always gives that class, and would count as having learned nothing.

    Args:
        labels: Class of each test picture.
    """
    equal, chance = 1 / len(set(labels)), chance_of(labels)
    if chance - equal <= MOST_HIDDEN * (1 - equal):
        return ""
    return (
        f"{chance:.0%} of the test pictures are of one class of {len(set(labels))}, so that "
        "accuracy hides what is learned of the others; test on about as many pictures of each, "
        "with --test"
    )
