"""One training of one network, in any mode and under any attack."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import nn

from protect.data.cache import PixelCache
from protect.documents.document import Network
from protect.evaluation.attacks.base import Attack
from protect.evaluation.attacks.registry import make_attack
from protect.evaluation.finetune import Examples, answers_to, diverged, fine_tune
from protect.evaluation.freeze import PartlyFrozen
from protect.evaluation.journal import Journal, Result
from protect.evaluation.learned import Learned
from protect.evaluation.pictures import Arm, Pictures, Prepared
from protect.evaluation.probe import (
    Features,
    FeatureShelf,
    embed,
    fresh_layer,
    refit,
    standardised,
)
from protect.evaluation.recipes import Recipe
from protect.events import Listener, Notice, StageAdvanced, stage
from protect.models.backbones import Backbone
from protect.models.features import FeaturesOnly
from protect.system.device import package_versions

CPU = torch.device("cpu")


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
        pictures: To train and to test on.
        journal: Results of earlier trainings.
        device: Where to compute.
        listener: Told what happens.
    """

    pictures: Pictures
    journal: Journal
    device: torch.device
    listener: Listener
    _shelf: FeatureShelf = field(default_factory=FeatureShelf)

    def run(self, training: Training, title: str) -> Result:
        """Train, unless that was done before.

        Returns:
            Answers to the test pictures by epoch, and the seconds that it took when it was
            computed.
        """
        identity = self._identity(training)
        known = self.journal.find(identity)
        if known is not None:
            self.listener(Notice(f"{title}: known from an earlier verification"))
            return known
        for what in ("originals", "protected", "test"):
            self.pictures.decoded(what, training.network.input_size)
        with stage(title, training.recipe.epochs, self.listener):
            result = self._train(training)
        self.journal.keep(identity, result)
        return result

    def knows(self, training: Training) -> bool:
        """Say whether `run` would find this training done."""
        return self.journal.find(self._identity(training)) is not None

    def _identity(self, training: Training) -> dict[str, Any]:
        """Return what decides the result: contents, not where they lie or which side they are.

        So a control is known again when the folder was protected anew.
        """
        network, recipe, digests = training.network, training.recipe, self.pictures.material.digests
        trained_on = "protected" if training.arm == "protected" else "originals"
        identity: dict[str, Any] = {
            "network": network.model_dump(mode="json", exclude={"weights"}),
            "weights": network.weights.sha256,
            "recipe": asdict(replace(recipe, source="")),
            "attack": training.attack,
            "seed": training.seed,
            "train": digests[trained_on],
            "test": digests["test"],
            "classes": self.pictures.material.class_index,
            "device": self.device.type,
            "packages": package_versions(),
        }
        if recipe.clean_share:
            identity |= {"clean": digests["originals"], "arm": training.arm}
        return identity

    def _train(self, training: Training) -> Result:
        if training.recipe.trained == "head":
            start = time.perf_counter()
            learned = self._train_head(training)
        else:
            backbone = training.load()
            start = time.perf_counter()
            learned = self._train_network(training, backbone)
        seconds = round(time.perf_counter() - start, 2)
        return Result(learned, seconds)

    def _train_head(self, training: Training) -> Learned:
        """Train a layer on features of the frozen network.

        Most do not depend on the seed, so that all seeds share them. Where the attack learns from
        the pictures, or the network or a clean share is drawn, they may.
        """
        recipe, attack = training.recipe, make_attack(training.attack)
        drawn = attack.overrides("fit") or recipe.clean_share or not recipe.pretrained
        group = (training.network, recipe.clean_share, training.seed if drawn else None)

        @cache
        def body() -> FeaturesOnly:
            return FeaturesOnly(training.load().to(self.device))

        @cache
        def pictures() -> Prepared:
            return self._prepared(training, attack)

        def features(what: str, edit: str, chosen: Callable[[], PixelCache]) -> Features:
            edited_by = attack.name if attack.overrides(edit) else Attack.name
            return self._shelf.get(
                (*group, what, edited_by),
                lambda: embed(body(), chosen(), self.device, recipe.batch_size),
            )

        train, test = standardised(
            features(training.arm, "edit", lambda: pictures().train),
            features("test", "edit_test", lambda: pictures().test),
        )
        layer = fresh_layer(train, self._classes, training.seed)
        return self._fine_tune(layer, train, test, training, attack, CPU)

    def _train_network(self, training: Training, backbone: Backbone) -> Learned:
        recipe, attack = training.recipe, make_attack(training.attack)
        train, clean, test = self._prepared(training, attack)
        backbone = backbone.to(self.device)
        network = PartlyFrozen(backbone) if recipe.trained == "late stages" else backbone
        learned = self._fine_tune(network, train, test, training, attack, self.device)
        if not recipe.refit or learned.diverged_in is not None:
            return learned
        body = FeaturesOnly(backbone)
        features, tests = standardised(
            embed(body, clean, self.device, recipe.batch_size),
            embed(body, test, self.device, recipe.batch_size),
        )
        layer = fresh_layer(features, self._classes, training.seed)
        refit(layer, features)
        answers = answers_to(tests, layer, CPU, recipe.batch_size)
        if answers is None:
            return diverged(recipe.epochs, tests, self._classes)
        return Learned((answers,))

    def _prepared(self, training: Training, attack: Attack) -> Prepared:
        return self.pictures.prepare(
            training.arm, training.recipe, attack, training.seed, training.network.input_size
        )

    def _fine_tune(
        self,
        network: nn.Module,
        train: Examples,
        test: Examples,
        training: Training,
        attack: Attack,
        device: torch.device,
    ) -> Learned:
        return fine_tune(
            network,
            train,
            test,
            training.recipe,
            classes=self._classes,
            attack=attack,
            seed=training.seed,
            device=device,
            on_epoch=self._say,
        )

    @property
    def _classes(self) -> int:
        return len(self.pictures.material.class_index)

    def _say(self, accuracy: float) -> None:
        self.listener(StageAdvanced(status=f"clean-test accuracy {accuracy:.1%}"))
