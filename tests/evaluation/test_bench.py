"""A training is known again by what it used, and only then."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers import write_colours
from torch import Tensor, nn

from protect.data.discover import discover
from protect.documents.document import Network, Weights
from protect.errors import InputError
from protect.evaluation.bench import Bench, Training
from protect.evaluation.journal import Journal
from protect.evaluation.pictures import Material, Pictures
from protect.evaluation.recipes import Recipe
from protect.events import ignore
from protect.models.backbones import Backbone, load_backbone
from protect.system.files import sha256_of

RECIPE = Recipe(epochs=1, batch_size=4, lr=0.01, source="test")
DIGESTS = {"protected": "p", "originals": "o", "test": "t"}


class Tiny(nn.Sequential):
    """Features are the mean colours; counts the pictures that go through."""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return super().forward(x)


DESCRIPTION = Network(
    name="test:tiny",
    weights=Weights(origin="file", file="a.pth", sha256="1"),
    input_size=32,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


@pytest.fixture
def setting(tmp_path):
    """Return a bench, a training, and a function that says how many networks it trained."""
    photos = discover(write_colours(tmp_path / "photos", per_class=6))
    material = Material(
        protected=photos.samples,
        originals=photos.samples,
        test=photos.samples[::2],
        digests=DIGESTS,
        files={sample.path: sha256_of(sample.path) for sample in photos.samples},
        class_index=photos.class_index,
        max_pixels=10_000,
    )
    loaded: list[Backbone] = []

    def load() -> Backbone:
        torch.manual_seed(0)
        loaded.append(Backbone(Tiny(), DESCRIPTION, "2"))
        return loaded[-1]

    (tmp_path / "pixels").mkdir()
    pictures = Pictures(material, tmp_path / "pixels", 1, ignore)
    bench = Bench(pictures, Journal(tmp_path / "results"), torch.device("cpu"), ignore)
    training = Training(DESCRIPTION, load, RECIPE, "none", "originals", 0)
    return SimpleNamespace(bench=bench, training=training, loaded=loaded)


def anew(bench: Bench, **changes: str) -> Bench:
    """Return a bench of other pictures with the same results at hand."""
    material = replace(bench.pictures.material, digests=DIGESTS | changes)
    pictures = Pictures(material, bench.pictures.folder, 1, ignore)
    return Bench(pictures, bench.journal, bench.device, ignore)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": replace(RECIPE, lr=0.02)},
        {"recipe": replace(RECIPE, weight_decay=0.0)},
        {"attack": "grey"},
        {"seed": 1},
        {"arm": "protected"},
        {"network": DESCRIPTION.model_copy(update={"input_size": 16})},
        {
            "network": DESCRIPTION.model_copy(
                update={"weights": Weights(origin="file", file="a.pth", sha256="2")}
            )
        },
    ],
)
def test_another_training_is_not_taken_for_this_one(setting, change):
    setting.bench.run(setting.training, "first")
    setting.bench.run(replace(setting.training, **change), "second")
    assert len(setting.loaded) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": replace(RECIPE, source="put in other words")},
        {
            "network": DESCRIPTION.model_copy(
                update={"weights": Weights(origin="cache", file="b.pth", sha256="1")}
            )
        },
    ],
)
def test_words_and_places_decide_nothing(setting, change):
    first = setting.bench.run(setting.training, "first")
    assert setting.bench.run(replace(setting.training, **change), "second") == first
    assert len(setting.loaded) == 1


def test_networks_of_folders_of_one_name_are_known_by_what_describes_them(setting, tmp_path):
    """From scratch there are no weights to tell them apart."""
    for parent, options in (("a", {}), ("b", {}), ("c", {"layers": [1, 1, 1, 2]})):
        folder = tmp_path / parent / "net"
        folder.mkdir(parents=True)
        config = {"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": {}}
        (folder / "config.json").write_text(json.dumps(config | {"model_args": options}))

        def load(name: str = f"local-dir:{folder}") -> Backbone:
            weights = {"weights": {}, "offline": True, "pretrained": False}
            setting.loaded.append(load_backbone(name, classes=2, size=32, seed=0, **weights))
            return setting.loaded[-1]

        training = replace(setting.training, network=load().description, load=load)
        assert training.network.name == "timm:local-dir:net"
        setting.loaded.clear()
        setting.bench.run(training, parent)
        assert len(setting.loaded) == (parent != "b")


@pytest.mark.parametrize("content", ["originals", "test"])
def test_other_pictures_make_another_training(setting, content):
    setting.bench.run(setting.training, "first")
    anew(setting.bench, **{content: "other"}).run(setting.training, "second")
    assert len(setting.loaded) == 2


@pytest.mark.parametrize(
    ("arm", "changed", "known"),
    [
        ("originals", {"protected": "q"}, True),
        ("protected", {"originals": "n"}, True),
        ("protected", {"protected": "q"}, False),
    ],
)
def test_only_the_pictures_that_were_trained_on_count(setting, arm, changed, known):
    training = replace(setting.training, arm=arm)
    setting.bench.run(training, "first")
    anew(setting.bench, **changed).run(training, "second")
    assert len(setting.loaded) == 2 - known


def test_a_picture_that_changes_between_two_networks_is_refused(setting):
    """Otherwise the result of these pictures would be found again as that of the others."""
    setting.bench.run(setting.training, "first")
    changed, *_, another = setting.bench.pictures.material.originals
    shutil.copy(another.path, changed.path)
    other = DESCRIPTION.model_copy(update={"input_size": 16})
    with pytest.raises(InputError, match="1 pictures have changed") as refusal:
        setting.bench.run(replace(setting.training, network=other), "second")
    assert refusal.value.details == (changed.name,)
    assert len(list(setting.bench.journal.folder.iterdir())) == 1


def test_equal_pictures_are_one_training_whichever_side_they_are(setting):
    bench = anew(setting.bench, protected="o")
    control = bench.run(setting.training, "control")
    assert bench.run(replace(setting.training, arm="protected"), "copy") == control
    assert len(setting.loaded) == 1


def test_with_a_clean_share_the_originals_count_too(setting):
    mixed = replace(setting.training, recipe=replace(RECIPE, clean_share=0.5), arm="protected")
    setting.bench.run(mixed, "first")
    anew(setting.bench, originals="n").run(mixed, "other originals")
    bench = anew(setting.bench, protected="o")
    for arm in ("originals", "clean share"):
        bench.run(replace(mixed, arm=arm), arm)
    assert len(setting.loaded) == 4


def embedded(setting) -> int:
    """Return how many pictures went through any network."""
    return sum(sum(backbone.network.seen) for backbone in setting.loaded)


def probe(setting, **changes) -> Training:
    recipe = replace(RECIPE, epochs=8, lr=0.02, trained="head")
    return replace(setting.training, recipe=recipe, **changes)


N_TRAIN, N_TEST = 12, 6


def test_all_seeds_of_a_linear_probe_share_its_features(setting):
    together = [setting.bench.run(probe(setting, seed=seed), "").learned.curve for seed in range(3)]
    assert embedded(setting) == N_TRAIN + N_TEST
    assert len(setting.loaded) == 1
    alone = []
    for seed in range(3):
        bench = anew(setting.bench, originals=f"same pictures, said to differ, {seed}")
        alone.append(bench.run(probe(setting, seed=seed), "").learned.curve)
    assert embedded(setting) == 4 * (N_TRAIN + N_TEST)
    assert together == alone
    assert len(set(together)) > 1


def test_both_sides_are_tested_on_the_same_features(setting):
    for arm in ("originals", "protected"):
        for seed in range(2):
            setting.bench.run(probe(setting, arm=arm, seed=seed), "")
    assert embedded(setting) == 2 * N_TRAIN + N_TEST


@pytest.mark.parametrize(
    ("attack", "more"),
    [("grey", N_TRAIN + N_TEST), ("class-mean", N_TRAIN + N_TEST), ("cutout", 0)],
)
def test_an_attack_on_the_pictures_gives_other_features(setting, attack, more):
    setting.bench.run(probe(setting), "plain")
    setting.bench.run(probe(setting, attack=attack), "attacked")
    assert embedded(setting) == N_TRAIN + N_TEST + more


def test_another_network_gives_other_features(setting):
    setting.bench.run(probe(setting), "first")
    other = DESCRIPTION.model_copy(update={"input_size": 16})
    setting.bench.run(probe(setting, network=other), "second")
    assert embedded(setting) == 2 * (N_TRAIN + N_TEST)


def test_a_network_that_is_trained_gives_no_shared_features(setting):
    refit = replace(RECIPE, clean_share=0.5, refit=True)
    for seed in range(2):
        setting.bench.run(replace(setting.training, recipe=refit, seed=seed), "")
    assert len(setting.loaded) == 2
