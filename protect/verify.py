"""`protect verify`, from top to bottom: check, split, train on both, judge.

A stranger trains on the protected pictures in several ways and tries to get rid of the noise; a
control goes through the same on the originals. Both are tested on clean pictures that neither
trained on.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from protect.check import find_source
from protect.config.choices import Tier
from protect.config.settings import VerifyConfig
from protect.data.discover import Sample
from protect.documents.document import Tool
from protect.documents.verify_report import Cell, Quality, Split, VerifyReport
from protect.errors import ConfigError, InputError, NothingToDo
from protect.evaluation.bench import Bench
from protect.evaluation.cell import CellPlan, Loader, plan_cells, run_cell
from protect.evaluation.journal import Journal
from protect.evaluation.pictures import Material, Pictures
from protect.evaluation.plan import Spec, not_run, plan, seen_smaller
from protect.evaluation.split import (
    as_samples,
    chance_of,
    clean_test_folder,
    hold_out,
    require_unseen,
    unequal,
)
from protect.evaluation.verdict import overall
from protect.events import Listener, Notice, PartStarted, ignore
from protect.models.backbones import Backbone, load_backbone
from protect.models.names import distinct, refuse_stray_weights
from protect.output.folder import require_report_place
from protect.output.manifest_place import find_manifest
from protect.output.state_folder import StateFolder
from protect.report.examples import Example
from protect.report.html import html_page
from protect.report.junit import empty_junit_xml, junit_xml
from protect.subject import Subject, open_subject
from protect.system.device import choose_device, make_deterministic, thread_count, tool_facts
from protect.system.files import is_within, real_path, write_atomically
from protect.system.workspace import workspace


def verify_folder(config: VerifyConfig, listener: Listener = ignore) -> VerifyReport:
    """Train networks on a protected folder and judge what they learned.

    Args:
        config: Settings.
        listener: Told what happens.

    Returns:
        The report; its verdict is "pass" only if every cell passed. That of a shard is of its own
        cells only, and says so.

    Raises:
        ConfigError: If a backbone or an attack does not exist.
        InputError: If the folder is not what its manifest says, or there are no clean originals,
            or a picture cannot be read, or results to merge are missing.
        MachineError: If this machine cannot compute it, or nothing can be written.
        NothingToDo: If there are more shards than cells and this one has none.
        WeightsError: If pretrained weights are not to be had; random ones are never used.
    """
    device = choose_device(config.device, must_exist=not config.merge)
    threads = thread_count(config.workers)
    make_deterministic()

    # 1. Which cells. Whatever cannot work is said now, before hours are spent.
    backbones = distinct(config.backbones)
    refuse_stray_weights(config.weights, backbones)
    every = plan(backbones, config.tier, config.modes, config.attacks)
    specs = config.shard.of(every) if config.shard else every
    _require_places(config)
    if not specs:
        if config.junit is not None:
            write_atomically(config.junit, empty_junit_xml().encode())
        raise NothingToDo(
            f"shard {config.shard} has no cell: there are {len(every)} in all",
            f"more than {len(every)} shards are of no use here",
        )
    journal = Journal(_results_folder(config))
    if not config.merge:
        journal.require_writable()
        journal.remove_abandoned()

    # 2. Integrity: what is on disk is what was written, within the budget.
    subject = open_subject(config, threads, device.type != "cpu", listener)
    examples = subject.examples() if config.report is not None else []

    # 3. Which pictures train, which test. The test is always clean.
    material, split = _split(config, subject, threads, listener)
    tested = [subject.class_index[sample.label] for sample in material.test]
    chance, doubt = chance_of(tested), subject.doubt or unequal(tested)
    if doubt:
        listener(Notice(f"this cannot pass: {doubt}", "warning"))

    # 4. Each cell: the control on the originals, then the same on the protected pictures.
    plans = plan_cells(specs, _loader(config, subject), material, config)
    networks = [training.network for cell in plans for training in cell.trainings]
    sizes = {network.name: network.input_size for network in networks}
    room = subject.room
    if smaller := seen_smaller(sizes, config.size or subject.size, room):
        listener(
            Notice(
                f"{', '.join(smaller)}: these pictures have room for {room} px, where a stranger "
                f"may keep far more; --size {room} asks him",
                "warning",
            )
        )
    if config.cache and config.results is None and not config.merge:
        StateFolder.of(config.protected).make()
    with workspace("protect-verify-") as folder:
        pictures = Pictures(material, folder, threads, listener)
        bench = Bench(pictures, journal, device, listener)
        if config.merge:
            _require_results(plans, bench)
        cells = []
        for number, cell in enumerate(plans, start=1):
            listener(PartStarted(number, len(plans)))
            cells.append(run_cell(cell, bench, config, chance, doubt))

    # 5. The verdict is the worst of what was run.
    report = VerifyReport(
        verdict=overall([cell.verdict for cell in cells]),
        tier="own" if config.modes or config.attacks else (config.tier or Tier.QUICK).value,
        max_retained=config.max_retained,
        every_class=config.every_class,
        worst=max(range(len(cells)), key=lambda i: _badness(cells[i])),
        cells=tuple(cells),
        not_run=(*_of_other_shards(every, specs), *not_run(every, sizes, room)),
        quality=Quality.of(
            [pair.quality for pair in subject.pairs.values()], subject.promised_levels
        ),
        split=split,
        notes=subject.notes,
        environment=Tool(**tool_facts(device)),
        shard=str(config.shard) if config.shard else None,
    )
    _write_files(report, examples, config)
    return report


def _results_folder(config: VerifyConfig) -> Path | None:
    """Return where finished trainings are kept; None for nowhere."""
    if not config.cache:
        return None
    return config.results or StateFolder.of(config.protected).path / "verify"


def _of_other_shards(every: Sequence[Spec], mine: Sequence[Spec]) -> list[str]:
    others = [str(spec) for spec in every if spec not in mine]
    return [f"cells of other shards: {'; '.join(others)}"] if others else []


def _require_places(config: VerifyConfig) -> None:
    """Refuse places that a report or results could not be written to, or must not be.

    Raises:
        ConfigError: If a report is a folder or lies in none, or both are the same, or anything lies
            among pictures or would replace the manifest.
    """
    files = [path for path in (config.report, config.junit) if path is not None]
    originals = find_source(config.protected, config.clean)
    folders = [path for path in (config.protected, originals, config.test) if path is not None]
    for path in files:
        require_report_place(path, folders)
        if real_path(path) == real_path(find_manifest(config.protected, config.manifest)):
            raise ConfigError(f"{path} is the manifest", "name another file")
    if config.results is not None and any(is_within(config.results, place) for place in folders):
        raise ConfigError(f"{config.results} lies among the pictures", "name a folder elsewhere")
    if len(files) == 2 and real_path(files[0]) == real_path(files[1]):
        raise ConfigError("--report and --junit name the same file", "name two files")


def _write_files(report: VerifyReport, examples: Sequence[Example], config: VerifyConfig) -> None:
    """Write the report in the forms that were asked for, each whole or not at all."""
    if config.report is not None:
        write_atomically(config.report, html_page(report, examples).encode())
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
        samples, origins = clean_test_folder(
            config.test,
            subject.class_index,
            threads=threads,
            max_pixels=subject.max_pixels,
            listener=listener,
        )
        test = list(samples)
        names = ()
        test_digests = [origin.sha256 for origin in origins]
        tested = {
            sample.name: origin.pixels_sha256
            for sample, origin in zip(samples, origins, strict=True)
        }
    trained = [subject.pairs[image.source] for image in train]
    known = {pair.original: "an original that was trained on" for pair in trained}
    known |= {pair.published: "a protected picture" for pair in trained}
    require_unseen(tested, known)
    if len({sample.label for sample in test}) < 2:
        raise InputError(
            "the test pictures are of fewer than two classes",
            "every class needs two pictures or more, or name a folder with --test",
        )
    protected = as_samples(train, subject.folder, published=True)
    originals = as_samples(train, subject.source, published=False)
    digests = {sample.path: digest for sample, digest in zip(test, test_digests, strict=True)}
    for image, copy, original in zip(train, protected, originals, strict=True):
        digests |= {copy.path: image.output_sha256, original.path: image.source_sha256}
    material = Material(
        protected=protected,
        originals=originals,
        test=test,
        digests={
            "protected": _digest(digests, protected),
            "originals": _digest(digests, originals),
            "test": _digest(digests, test),
        },
        files=digests,
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


def _require_results(cells: Sequence[CellPlan], bench: Bench) -> None:
    """Refuse to merge what is not complete.

    Raises:
        InputError: Naming every cell of which a training is missing.
    """
    missing = [str(cell.spec) for cell in cells if not all(map(bench.knows, cell.trainings))]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(cells)} cells have no complete results in "
            f"{bench.journal.folder}",
            "train them with the same command and --shard I/N instead of --merge, or with neither; "
            "or copy into that folder what other machines have in theirs. Results count if the "
            "other flags and the versions of all packages are the same, and the kind of device, "
            f"which is {bench.device.type} here unless --device names another",
            missing,
        )


def _loader(config: VerifyConfig, subject: Subject) -> Loader:
    """Return what loads fresh backbones for the pictures of `subject`."""

    def load(name: str, *, seed: int = 0, pretrained: bool = True) -> Backbone:
        return load_backbone(
            name,
            classes=len(subject.class_index),
            size=config.size or subject.size,
            weights=config.weights,
            offline=config.offline,
            seed=seed,
            pretrained=pretrained,
        )

    return load


def _badness(cell: Cell) -> tuple[int, float]:
    """Order cells from best to worst: by verdict, then by what was retained."""
    order = {"pass": 0, "inconclusive": 1, "fail": 2}
    return order[cell.verdict], cell.retained or 0.0


def _digest(digests: Mapping[Path, str], samples: Iterable[Sample]) -> str:
    whole = hashlib.sha256()
    for sample in samples:
        whole.update(f"{digests[sample.path]}\0{sample.label}\n".encode())
    return whole.hexdigest()
