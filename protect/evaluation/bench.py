"""One training of one network, in any mode and under any attack; pictures are decoded once."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from protect.data.cache import PixelCache, load_square
from protect.data.discover import Sample
from protect.evaluation.attacks.registry import make_attack
from protect.evaluation.finetune import Learned, accuracy, fine_tune
from protect.evaluation.freeze import PartlyFrozen
from protect.evaluation.journal import Journal, Result
from protect.evaluation.probe import Features, embed, fresh_layer, refit, standardised
from protect.evaluation.recipes import Recipe
from protect.evaluation.split import stratified
from protect.events import Listener, Notice, StageAdvanced, stage
from protect.manifest import Network
from protect.models.backbones import Backbone
from protect.models.features import FeaturesOnly
from protect.system.device import generator, tool_facts

CPU = torch.device("cpu")

Arm = Literal["protected", "originals", "clean share"]
"""What a network is trained on; "clean share" is the few originals that a stranger may have."""


@dataclass(frozen=True, slots=True)
class Material:
    """The pictures of a verification.

    Attributes:
        protected: Training pictures as published.
        originals: The same pictures in the same order, clean.
        test: Clean test pictures.
        digests: What they are, to recognise results by: of `protected`, `originals` and `test`.
        class_index: Class name -> index.
        max_pixels: Larger pictures are refused.
    """

    protected: Sequence[Sample]
    originals: Sequence[Sample]
    test: Sequence[Sample]
    digests: Mapping[str, str]
    class_index: dict[str, int]
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained, how and on what.

    Attributes:
        network: What is trained.
        load: Returns it, fresh, with the head of this training's seed.
        recipe: How.
        attack: Name of what is done about the noise.
        arm: On which pictures.
        seed: Of the head, the order, the augmentation and the attack.
    """

    network: Network
    load: Callable[[], Backbone]
    recipe: Recipe
    attack: str
    arm: Arm
    seed: int


@dataclass(slots=True)
class Bench:
    """Runs trainings, or finds them done.

    Attributes:
        material: The pictures.
        journal: Results of earlier trainings.
        folder: For decoded pictures.
        device: Where to compute.
        threads: That decode.
        listener: Told what happens.
    """

    material: Material
    journal: Journal
    folder: Path
    device: torch.device
    threads: int
    listener: Listener
    _decoded: dict[tuple[str, int], PixelCache] = field(default_factory=dict)

    def run(self, training: Training, title: str) -> Result:
        """Train, unless that was done before.

        Returns:
            Clean-test accuracy by epoch, and the seconds that it took when it was computed.
        """
        identity = self._identity(training)
        known = self.journal.find(identity)
        if known is not None:
            self.listener(Notice(f"{title}: known from an earlier verification"))
            return known
        for what in ("originals", "protected", "test"):
            self.pictures(what, training.network.input_size)
        with stage(title, training.recipe.epochs, self.listener):
            backbone = training.load()
            start = time.perf_counter()
            learned = self._train(training, backbone)
            seconds = round(time.perf_counter() - start, 2)
            result = Result(learned.curve, seconds, learned.diverged_in)
        self.journal.keep(identity, result)
        return result

    def pictures(self, what: str, size: int) -> PixelCache:
        """Return the decoded "protected", "originals" or "test" at a working size."""
        if (what, size) not in self._decoded:
            samples: Sequence[Sample] = getattr(self.material, what)
            with stage(f"Reading pictures: {what}", len(samples), self.listener):
                self._decoded[what, size] = load_square(
                    samples,
                    self.material.class_index,
                    size,
                    self.folder / f"{what}-{size}.npy",
                    threads=self.threads,
                    max_pixels=self.material.max_pixels,
                    listener=self.listener,
                )
        return self._decoded[what, size]

    def _identity(self, training: Training) -> dict[str, Any]:
        return {
            "network": training.network.model_dump(mode="json"),
            "recipe": asdict(training.recipe),
            "attack": training.attack,
            "arm": training.arm,
            "seed": training.seed,
            "pictures": dict(self.material.digests),
            "classes": self.material.class_index,
            "device": self.device.type,
            "packages": tool_facts(self.device)["packages"],
        }

    def _train(self, training: Training, backbone: Backbone) -> Learned:
        recipe, seed = training.recipe, training.seed
        classes = len(self.material.class_index)
        train, clean = self._training_pictures(training, backbone.input_size)
        attack = make_attack(training.attack)
        attack.fit(train, classes, generator(seed, "attack", attack.name))
        if attack.overrides("edit"):
            train = self._edited(train, attack.edit, "train")
        test = self.pictures("test", backbone.input_size)
        if attack.overrides("edit_test"):
            test = self._edited(test, lambda x, _: attack.edit_test(x), "test")
        backbone = backbone.to(self.device)
        fit = partial(
            fine_tune,
            recipe=recipe,
            classes=classes,
            attack=attack,
            seed=seed,
            on_epoch=self._say,
        )

        def features_of(pictures: PixelCache) -> tuple[Features, Features]:
            body = FeaturesOnly(backbone)
            return standardised(embed(body, pictures, self.device), embed(body, test, self.device))

        if recipe.trained == "head":
            features, tests = features_of(train)
            layer = fresh_layer(features, classes, seed)
            return fit(layer, features, tests, device=CPU)
        network = PartlyFrozen(backbone) if recipe.trained == "late stages" else backbone
        learned = fit(network, train, test, device=self.device)
        if not recipe.refit or learned.diverged_in is not None:
            return learned
        if attack.overrides("edit_test"):
            # Who edits what the network will see edits his clean pictures in the same way.
            clean = self._edited(clean, lambda x, _: attack.edit_test(x), "clean")
        features, tests = features_of(clean)
        layer = fresh_layer(features, classes, seed)
        refit(layer, features)
        refitted = accuracy(layer, tests, CPU)
        return Learned((0.0,), recipe.epochs) if refitted is None else Learned((refitted,))

    def _training_pictures(self, training: Training, size: int) -> tuple[PixelCache, PixelCache]:
        """Return the pictures to train on, and the clean share that the stranger has besides."""
        originals = self.pictures("originals", size)
        share = training.recipe.clean_share
        chosen = stratified(originals.labels, share, training.seed) if share else None
        clean = originals.subset(chosen.numpy()) if chosen is not None else originals
        if training.arm == "clean share":
            return clean, clean
        if training.arm == "originals":
            return originals, clean
        train = self.pictures("protected", size)
        if chosen is not None and not training.recipe.refit:
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

    def _say(self, accuracy: float) -> None:
        self.listener(StageAdvanced(status=f"clean-test accuracy {accuracy:.1%}"))
