"""`protect verify`, from top to bottom: check, split, train on both, judge.

A stranger trains on the protected pictures in several ways and tries to get rid of the noise; a
control goes through the same on the originals. Both are tested on clean pictures that neither
trained on.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from statistics import fmean

from protect.config import Mode, Tier, VerifyConfig
from protect.errors import ConfigError, InputError
from protect.evaluation.bench import Arm, Bench, Material, Training
from protect.evaluation.journal import Journal, Result
from protect.evaluation.plan import Spec, not_run, plan
from protect.evaluation.recipes import Recipe, recipe_for
from protect.evaluation.split import (
    as_samples,
    chance_of,
    clean_test_folder,
    hold_out,
    require_unseen,
)
from protect.evaluation.verdict import judge, overall
from protect.events import Listener, Notice, ignore
from protect.manifest import Cell, Curve, Network, Quality, Split, Tool, VerifyReport
from protect.models.backbones import Backbone, load_backbone
from protect.models.names import distinct, refuse_stray_weights
from protect.output.folder import StateFolder
from protect.report.html import html_page
from protect.report.junit import junit_xml
from protect.subject import Subject, open_subject
from protect.system.device import choose_device, make_deterministic, thread_count, tool_facts
from protect.system.files import is_within, sha256_of, write_atomically
from protect.system.workspace import workspace


def verify_folder(config: VerifyConfig, listener: Listener = ignore) -> VerifyReport:
    """Train networks on a protected folder and judge what they learned.

    Args:
        config: Settings.
        listener: Told what happens.

    Returns:
        The report; its verdict is "pass" only if every cell passed.

    Raises:
        ConfigError: If a backbone or an attack does not exist.
        InputError: If the folder is not what its manifest says, or there are no clean originals.
        WeightsError: If pretrained weights are not to be had; random ones are never used.
    """
    device = choose_device(config.device)
    threads = thread_count(config.workers)
    make_deterministic()

    # 1. Which cells. Whatever cannot work is said now, before hours are spent.
    backbones = distinct(config.backbones)
    refuse_stray_weights(config.weights, backbones)
    specs = plan(backbones, config.tier, config.modes, config.attacks)
    _require_places(config)
    journal = Journal(StateFolder.of(config.protected).path / "verify" if config.cache else None)
    journal.require_writable()

    # 2. Integrity: what is on disk is what was written, within the budget.
    subject = open_subject(config, threads, device.type != "cpu", listener)
    if subject.doubt:
        listener(Notice(f"this cannot pass: {subject.doubt}", "warning"))
    networks = {name: _load(name, config, subject).description for name in backbones}

    # 3. Which pictures train, which test. The test is always clean.
    material, split = _split(config, subject, threads, listener)
    chance = chance_of([subject.class_index[sample.label] for sample in material.test])

    # 4. Each cell: the control on the originals, then the same on the protected pictures.
    with workspace("protect-verify-") as folder:
        bench = Bench(material, journal, folder, device, threads, listener)
        cells = tuple(
            _run_cell(spec, networks[spec.backbone], bench, config, subject, split, chance)
            for spec in specs
        )

    # 5. The verdict is the worst of what was run.
    report = VerifyReport(
        verdict=overall([cell.verdict for cell in cells]),
        tier="own" if config.modes or config.attacks else (config.tier or Tier.QUICK).value,
        max_retained=config.max_retained,
        worst=max(range(len(cells)), key=lambda i: _badness(cells[i])),
        cells=cells,
        not_run=not_run(specs),
        quality=Quality.of(subject.images, subject.promised_levels),
        split=split,
        notes=subject.notes,
        environment=Tool(**tool_facts(device)),
    )
    _write_files(report, subject, config)
    return report


def _require_places(config: VerifyConfig) -> None:
    """Refuse places that a report could not be written to, or must not be.

    Raises:
        ConfigError: If one is a folder, lies in none or among pictures, or both are the same.
    """
    files = [path for path in (config.report, config.junit) if path is not None]
    folders = [path for path in (config.protected, config.clean, config.test) if path is not None]
    for path in files:
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise ConfigError(f"{path} cannot be written", "name a file in a folder that exists")
        if any(is_within(path, folder) for folder in folders):
            raise ConfigError(f"{path} lies among the pictures", "name a file elsewhere")
    if len(files) == 2 and files[0].resolve() == files[1].resolve():
        raise ConfigError("--report and --junit name the same file", "name two files")


def _write_files(report: VerifyReport, subject: Subject, config: VerifyConfig) -> None:
    """Write the report in the forms that were asked for, each whole or not at all."""
    if config.report is not None:
        write_atomically(config.report, html_page(report, subject.examples()).encode())
    if config.junit is not None:
        write_atomically(config.junit, junit_xml(report).encode())


def _split(
    config: VerifyConfig, subject: Subject, threads: int, listener: Listener
) -> tuple[Material, Split]:
    if config.test is None:
        shown = {source: pair.original for source, pair in subject.pairs.items()}
        train, held_out = hold_out(subject.images, shown, config.test_fraction, config.seed)
        test = as_samples(held_out, subject.source, published=False)
        names = tuple(image.source for image in held_out)
        test_digests = [image.source_sha256 for image in held_out]
        tested = {name: shown[name] for name in names}
    else:
        train = list(subject.images)
        samples, tested = clean_test_folder(
            config.test,
            subject.class_index,
            threads=threads,
            max_pixels=subject.max_pixels,
            listener=listener,
        )
        test = list(samples)
        names = ()
        test_digests = [sha256_of(sample.path) for sample in test]
    trained = [subject.pairs[image.source] for image in train]
    known = {pair.original: "an original that was trained on" for pair in trained}
    known |= {pair.published: "a protected picture" for pair in trained}
    require_unseen(tested, known)
    if len({sample.label for sample in test}) < 2:
        raise InputError(
            "the test pictures are of fewer than two classes",
            "every class needs two pictures or more, or name a folder with --test",
        )
    material = Material(
        protected=as_samples(train, subject.folder, published=True),
        originals=as_samples(train, subject.source, published=False),
        test=test,
        digests={
            "protected": _digest((image.output_sha256, image.label) for image in train),
            "originals": _digest((image.source_sha256, image.label) for image in train),
            "test": _digest(
                (digest, sample.label) for digest, sample in zip(test_digests, test, strict=True)
            ),
        },
        class_index=subject.class_index,
        max_pixels=subject.max_pixels,
    )
    split = Split(
        kind="held out" if config.test is None else "test folder",
        seed=config.seed,
        n_train=len(train),
        n_test=len(test),
        test=names,
    )
    return material, split


def _run_cell(
    spec: Spec,
    network: Network,
    bench: Bench,
    config: VerifyConfig,
    subject: Subject,
    split: Split,
    chance: float,
) -> Cell:
    """Train on the originals and on the protected pictures, with every seed, and compare."""
    recipe = recipe_for(
        spec.mode,
        split.n_train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        clean_share=config.clean_fraction,
    )
    seeds = tuple(range(config.seed, config.seed + config.seeds))
    if not recipe.pretrained:
        network = _load(spec.backbone, config, subject, pretrained=False).description

    def train(arm: Arm, how: Recipe = recipe) -> list[Result]:
        return [
            bench.run(
                Training(
                    network=network,
                    load=partial(
                        _load, spec.backbone, config, subject, seed, pretrained=how.pretrained
                    ),
                    recipe=how,
                    attack=spec.attack,
                    arm=arm,
                    seed=seed,
                ),
                f"{spec} on {arm}" + (f", seed {seed}" if len(seeds) > 1 else ""),
            )
            for seed in seeds
        ]

    control, protected = train("originals"), train("protected")
    floor, references = chance, control
    if recipe.clean_share:
        alone = train("clean share", _alone(recipe, bench.material, config))
        floor = max(chance, fmean(result.curve[-1] for result in alone))
        references = [*control, *alone]
    judgement = judge(
        [max(result.curve) for result in protected],
        [max(result.curve) for result in control],
        chance=chance,
        floor=floor,
        n_test=split.n_test,
        max_retained=config.max_retained,
        broken=_divergence("the control", references),
        doubt=_divergence("training on the protected pictures", protected) or subject.doubt,
    )
    return Cell(
        backbone=network.name,
        mode=spec.mode.value,
        attack=spec.attack,
        final=fmean(result.curve[-1] for result in protected),
        peak=_mean_peak(protected),
        control_final=fmean(result.curve[-1] for result in control),
        control_peak=_mean_peak(control),
        chance=chance,
        floor=floor,
        retained=judgement.retained,
        retained_low=judgement.low,
        retained_high=judgement.high,
        n_train=split.n_train,
        n_test=split.n_test,
        seeds=seeds,
        seconds=round(sum(result.seconds for result in (*references, *protected)), 1),
        network=network,
        training=recipe.document(),
        curves=tuple(
            Curve(protected=mine.curve, control=theirs.curve)
            for mine, theirs in zip(protected, control, strict=True)
        ),
        verdict=judgement.verdict,
        reason=judgement.reason,
    )


def _alone(recipe: Recipe, material: Material, config: VerifyConfig) -> Recipe:
    """Return how a stranger would do without the protected pictures, with the clean share only.

    Few pictures need more epochs; so that more chances do not raise the floor, it is the accuracy
    at the end and not the peak.
    """
    if recipe.refit:
        return replace(recipe, epochs=0)
    few = max(len(material.class_index), round(len(material.originals) * recipe.clean_share))
    full = recipe_for(Mode.FULL, few, epochs=config.epochs, lr=config.lr)
    return replace(full, clean_share=recipe.clean_share)


def _load(
    name: str, config: VerifyConfig, subject: Subject, seed: int = 0, *, pretrained: bool = True
) -> Backbone:
    """Load a fresh backbone; a control and its counterpart start from the same head."""
    return load_backbone(
        name,
        classes=len(subject.class_index),
        size=config.size or subject.size,
        weights=config.weights,
        offline=config.offline,
        seed=seed,
        pretrained=pretrained,
    )


def _divergence(what: str, results: Iterable[Result]) -> str:
    """Say that one of these trainings diverged; empty if none did."""
    epochs = [result.diverged_in for result in results if result.diverged_in is not None]
    return f"{what} diverged in epoch {min(epochs)}; try a smaller --lr" if epochs else ""


def _mean_peak(results: Iterable[Result]) -> float:
    return fmean(max(result.curve) for result in results)


def _badness(cell: Cell) -> tuple[int, float]:
    """Order cells from best to worst: by verdict, then by what was retained."""
    order = {"pass": 0, "inconclusive": 1, "fail": 2}
    return order[cell.verdict], cell.retained or 0.0


def _digest(items: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update("\0".join(item).encode() + b"\n")
    return digest.hexdigest()
