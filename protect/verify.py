"""`protect verify`, from top to bottom: check, split, train on both, judge.

A stranger fine-tunes on the protected pictures; a control fine-tunes the same way on the originals.
Both are tested on clean pictures that neither trained on.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from protect.check import check_folder, find_source
from protect.config import CheckConfig, VerifyConfig
from protect.data.cache import PixelCache, load_square
from protect.data.discover import Sample
from protect.errors import InputError
from protect.evaluation.finetune import Recipe, fine_tune, gentle_recipe
from protect.evaluation.split import as_samples, chance_of, clean_test_folder, hold_out
from protect.evaluation.verdict import judge, overall
from protect.events import Listener, StageAdvanced, ignore, stage
from protect.manifest import Cell, Curve, Manifest, Network, Split, Tool, VerifyReport
from protect.models.backbones import Backbone, load_backbone
from protect.system.device import choose_device, make_deterministic, thread_count, tool_facts

NOT_RUN = (
    "training modes: linear probe, frozen first stages, from scratch, last-layer refit",
    "attacks: JPEG, greyscale, blur and resize, cutmix and mixup, orthogonal projection, "
    "class-mean subtraction, adversarial training, a share of clean pictures",
    "higher learning rates than the recipe's",
)


@dataclass(frozen=True, slots=True)
class _Data:
    """What every cell trains and tests on, as samples; `train_*` are the same pictures in order."""

    train_protected: list[Sample]
    train_clean: list[Sample]
    test: list[Sample]
    split: Split


def verify_folder(config: VerifyConfig, listener: Listener = ignore) -> VerifyReport:
    """Fine-tune pretrained backbones on a protected folder and judge what they learned.

    Args:
        config: Settings.
        listener: Told what happens.

    Returns:
        The report; its verdict is "pass" only if every cell passed.

    Raises:
        InputError: If the folder is not what its manifest says, or there are no clean originals.
        WeightsError: If pretrained weights are not to be had; random ones are never used.
    """
    device = choose_device(config.device)
    threads = thread_count(config.workers)
    make_deterministic()

    # 1. Integrity: what is on disk is what was written, within the budget.
    manifest = Manifest.read(config.protected)
    source = _require_source(config)
    _require_integrity(config, source, listener)

    # 2. Every network is at hand, before hours are spent on the first.
    for name in config.backbones:
        _load(name, config, manifest)

    # 3. Which pictures train, which test. The test is always clean.
    data = _split(config, manifest, source)
    recipe = gentle_recipe(
        data.split.n_train, epochs=config.epochs, batch_size=config.batch_size, lr=config.lr
    )

    # 4. One cell per backbone: the control on the originals, then the same on the protected.
    with tempfile.TemporaryDirectory(prefix="protect-verify-") as folder:
        cells = tuple(
            _run_cell(name, data, recipe, manifest, config, device, threads, Path(folder), listener)
            for name in config.backbones
        )

    # 5. The verdict is the worst of what was run.
    return VerifyReport(
        verdict=overall([cell.verdict for cell in cells]),
        max_retained=config.max_retained,
        worst=max(range(len(cells)), key=lambda i: _badness(cells[i])),
        cells=cells,
        not_run=NOT_RUN,
        recipe=asdict(recipe),
        split=data.split,
        environment=Tool(**tool_facts(device)),
    )


def _require_source(config: VerifyConfig) -> Path:
    source = find_source(config.protected, config.clean)
    if source is None:
        raise InputError(
            f"the originals of {config.protected} are not at hand, and without them there is no "
            "control and no clean test",
            "name them with --clean DIR",
        )
    return source


def _require_integrity(config: VerifyConfig, source: Path, listener: Listener) -> None:
    check = check_folder(
        CheckConfig(protected=config.protected, source=source, workers=config.workers), listener
    )
    if not check.ok:
        raise InputError(
            f"{config.protected} is not what its manifest says; a verdict on it would mean nothing",
            "protect the originals again, or restore the folder",
            [f"{problem.file}: {problem.message}" for problem in check.problems],
        )


def _split(config: VerifyConfig, manifest: Manifest, source: Path) -> _Data:
    if config.test is None:
        train, held_out = hold_out(manifest.images, config.test_fraction, config.seed)
        test = as_samples(held_out, source, published=False)
        names = tuple(image.source for image in held_out)
    else:
        train = list(manifest.images)
        test = list(clean_test_folder(config.test, manifest))
        names = ()
    if len({sample.label for sample in test}) < 2:
        raise InputError(
            "the test pictures are of fewer than two classes",
            "every class needs two pictures or more, or name a folder with --test",
        )
    return _Data(
        train_protected=as_samples(train, config.protected, published=True),
        train_clean=as_samples(train, source, published=False),
        test=test,
        split=Split(
            kind="held out" if config.test is None else "test folder",
            seed=config.seed,
            n_train=len(train),
            n_test=len(test),
            test=names,
        ),
    )


def _run_cell(
    name: str,
    data: _Data,
    recipe: Recipe,
    manifest: Manifest,
    config: VerifyConfig,
    device: torch.device,
    threads: int,
    folder: Path,
    listener: Listener,
) -> Cell:
    """Train one backbone on the originals and on the protected pictures, and compare."""
    start = time.perf_counter()
    victim = _load(name, config, manifest)
    network: Network = victim.description

    def load(samples: list[Sample], what: str) -> PixelCache:
        with stage(f"Reading {what}", len(samples), listener):
            return load_square(
                samples,
                manifest.classes,
                network.input_size,
                folder / f"{what}.npy",
                threads=threads,
                max_pixels=manifest.max_pixels,
                listener=listener,
            )

    def train(backbone: Backbone, pictures: PixelCache, what: str) -> tuple[float, ...]:
        report = _epoch_reporter(listener)
        with stage(f"Training {network.name} on {what}", recipe.epochs, listener):
            return fine_tune(
                backbone.to(device),
                pictures,
                test,
                recipe,
                seed=config.seed,
                device=device,
                on_epoch=report,
            )

    test = load(data.test, "test pictures")
    control = train(
        _load(name, config, manifest), load(data.train_clean, "originals"), "the originals"
    )
    curve = train(victim, load(data.train_protected, "protected pictures"), "the protected")
    chance = chance_of(test.labels.tolist())
    judgement = judge(max(curve), max(control), chance, len(test), config.max_retained)
    return Cell(
        backbone=network.name,
        mode="full",
        attack="none",
        final=curve[-1],
        peak=max(curve),
        control_final=control[-1],
        control_peak=max(control),
        chance=chance,
        retained=judgement.retained,
        retained_low=judgement.low,
        retained_high=judgement.high,
        n_train=len(data.train_clean),
        n_test=len(test),
        seeds=(config.seed,),
        seconds=round(time.perf_counter() - start, 1),
        network=network,
        curve=Curve(protected=curve, control=control),
        verdict=judgement.verdict,
        reason=judgement.reason,
    )


def _load(name: str, config: VerifyConfig, manifest: Manifest) -> Backbone:
    """Load a fresh backbone; the control and its counterpart start from the same head."""
    return load_backbone(
        name,
        classes=len(manifest.classes),
        size=config.size or manifest.surrogate.input_size,
        weights=config.weights,
        offline=config.offline,
        seed=config.seed,
    )


def _epoch_reporter(listener: Listener) -> Callable[[int, float], None]:
    def report(epoch: int, accuracy: float) -> None:  # noqa: ARG001
        listener(StageAdvanced(status=f"clean-test accuracy {accuracy:.1%}"))

    return report


def _badness(cell: Cell) -> tuple[int, float]:
    """Order cells from best to worst: by verdict, then by what was retained."""
    order = {"pass": 0, "inconclusive": 1, "fail": 2}
    return order[cell.verdict], cell.retained or 0.0
