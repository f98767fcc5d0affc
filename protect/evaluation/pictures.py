"""The pictures of a verification, decoded once, and what a stranger has of them in a training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from protect.data.cache import Origin, PixelCache, load_square
from protect.data.discover import Sample
from protect.errors import InputError
from protect.evaluation.attacks.base import Attack
from protect.evaluation.recipes import Recipe
from protect.evaluation.split import stratified
from protect.events import Listener, stage
from protect.system.device import generator

Arm = Literal["protected", "originals", "clean share"]
"""What a network is trained on; "clean share" is the few originals that a stranger may have."""


@dataclass(frozen=True, slots=True)
class Material:
    """The pictures of a verification.

    Attributes:
        protected: Training pictures as published.
        originals: The same pictures in the same order, clean.
        test: Clean test pictures.
        digests: Of the contents and labels of `protected`, `originals` and `test`, to recognise
            results by; equal where pictures, labels and their order are.
        files: File of a picture -> its sha256 when it was checked.
        class_index: Class name -> index.
        max_pixels: Larger pictures are refused.
    """

    protected: Sequence[Sample]
    originals: Sequence[Sample]
    test: Sequence[Sample]
    digests: Mapping[str, str]
    files: Mapping[Path, str]
    class_index: dict[str, int]
    max_pixels: int


class Prepared(NamedTuple):
    """What one training uses: to train on, the clean pictures a stranger also has, to test on."""

    train: PixelCache
    clean: PixelCache
    test: PixelCache


class Pictures:
    """Decodes the pictures of a verification, and edits them as an attack does.

    Args:
        material: Which pictures.
        folder: For decoded pictures.
        threads: That decode.
        listener: Told what happens.
    """

    def __init__(self, material: Material, folder: Path, threads: int, listener: Listener) -> None:
        self.material = material
        self.folder = folder
        self.threads = threads
        self.listener = listener
        self._decoded: dict[tuple[str, int], PixelCache] = {}

    def decoded(self, what: str, size: int) -> PixelCache:
        """Return the decoded "protected", "originals" or "test" at a working size.

        Raises:
            InputError: If a file is no longer the one that was checked, by whose digest the results
                would be kept and found again.
        """
        if (what, size) not in self._decoded:
            samples: Sequence[Sample] = getattr(self.material, what)
            with stage(f"Reading pictures: {what}", len(samples), self.listener):
                pixels, origins = load_square(
                    samples,
                    self.material.class_index,
                    size,
                    self.folder / f"{what}-{size}.npy",
                    threads=self.threads,
                    max_pixels=self.material.max_pixels,
                    listener=self.listener,
                )
                self._require_unchanged(samples, origins)
            self._decoded[what, size] = pixels
        return self._decoded[what, size]

    def _require_unchanged(self, samples: Sequence[Sample], origins: Sequence[Origin]) -> None:
        changed = [
            sample.name
            for sample, origin in zip(samples, origins, strict=True)
            if origin.sha256 != self.material.files[sample.path]
        ]
        if changed:
            raise InputError(
                f"{len(changed)} pictures have changed while they were verified",
                "wait until whatever writes there is done, then repeat the command",
                changed,
            )

    def prepare(self, arm: Arm, recipe: Recipe, attack: Attack, seed: int, size: int) -> Prepared:
        """Gather the pictures of a training and do to them what the attack does beforehand.

        The files of what was prepared before are overwritten.

        Args:
            arm: What is trained on.
            recipe: Says which clean pictures there are.
            attack: Fitted to the training pictures here.
            seed: Of the clean share and of the attack.
            size: Side in pixels.
        """
        train, clean = self._gathered(arm, recipe, seed, size)
        attack.fit(train, len(self.material.class_index), generator(seed, "attack", attack.name))
        if attack.overrides("edit"):
            train = self._edited(train, attack.edit, "train")
        test = self.decoded("test", size)
        if attack.overrides("edit_test"):
            test = self._edited(test, lambda x, _: attack.edit_test(x), "test")
            if recipe.refit:
                # Who edits what the network will see edits his clean pictures in the same way.
                clean = self._edited(clean, lambda x, _: attack.edit_test(x), "clean")
        return Prepared(train, clean, test)

    def _gathered(
        self, arm: Arm, recipe: Recipe, seed: int, size: int
    ) -> tuple[PixelCache, PixelCache]:
        """Return the pictures to train on, and the clean share that the stranger has besides."""
        originals = self.decoded("originals", size)
        share = recipe.clean_share
        chosen = stratified(originals.labels, share, seed) if share else None
        clean = originals.subset(chosen.numpy()) if chosen is not None else originals
        if arm == "clean share":
            return clean, clean
        if arm == "originals":
            return originals, clean
        train = self.decoded("protected", size)
        if chosen is not None and not recipe.refit:
            mixed = torch.zeros(len(train), dtype=torch.bool)
            mixed[chosen] = True

            def swap(index: Tensor, pixels: Tensor) -> Tensor:
                return torch.where(
                    mixed[index][:, None, None, None], originals.batch(index), pixels
                )

            train = train.rewritten(self.folder / "mixed.npy", swap)
        return train, clean

    def _edited(
        self, pictures: PixelCache, edit: Callable[[Tensor, Tensor], Tensor], what: str
    ) -> PixelCache:
        def change(index: Tensor, pixels: Tensor) -> Tensor:
            return edit(pixels, pictures.labels[index])

        return pictures.rewritten(self.folder / f"edited-{what}.npy", change)
