"""`protect run --extend`, from top to bottom: recall, compare, write, record.

Brings a protected folder up to date with its source: what was added since the run gets the noise
that the run recorded for its class. Nothing is optimised, and what is current is not touched.
"""

import shlex
from collections.abc import Collection

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from protect.bait.patterns import RANDOM_TILE, shifts_of
from protect.bait.record import pattern_digests
from protect.bait.textures import TILE
from protect.config.choices import OnError
from protect.config.settings import RunConfig
from protect.data.discover import Listing, announce_listing, discover
from protect.data.reading import require_readable
from protect.data.walk import some_names
from protect.documents.document import Tool
from protect.documents.manifest import Extension, Manifest
from protect.errors import InputError, OutputError
from protect.events import Listener, Notice, ignore, stage
from protect.noise import Noise
from protect.output.earlier import EarlierRun, read_earlier, require_run, set_aside
from protect.output.folder import manifest_of, only_run, refuse_occupied, remove_half_written
from protect.output.growth import (
    Look,
    Plan,
    compare_source,
    make_plan,
    new_copies,
    refuse_foreign_files,
    refuse_other_source,
)
from protect.output.writer import Writer
from protect.output.writing import write_labels, write_pictures
from protect.report.words import what_changed
from protect.system.device import make_deterministic, thread_count, tool_facts
from protect.system.files import real_path

NOTABLE_SHARE = 0.5
"""From so many new pictures on, as a share of those that the noise was made for, it is said."""


def extend_folder(config: RunConfig, listener: Listener = ignore) -> Manifest:
    """Protect what was added to the source of a finished run with the noise of that run.

    Args:
        config: Settings; those that shape the noise may be left out, and may not differ.
        listener: Told what happens.

    Returns:
        The manifest that was written.

    Raises:
        ProtectError: Whatever the user can mend; nothing that was published is lost.
    """
    require_run(config.output)
    with only_run(config.output):
        return _extend(config, listener)


def _extend(config: RunConfig, listener: Listener) -> Manifest:
    threads = thread_count(config.workers)
    make_deterministic()

    # 1. What the run recorded: its settings, its pictures, its noise.
    refuse_occupied(config.output, config.existing)
    earlier = read_earlier(config.output)
    config = earlier.settle(config)
    noise = _recorded_noise(earlier, config)

    # 2. What the source holds now. All of it is known to be good before anything is written.
    listing = discover(config.source, config.labels)
    announce_listing(listing, listener)
    _refuse_other_labels(listing, earlier)
    _refuse_new_classes(set(listing.classes) - earlier.manifest.classes.keys(), config)
    with stage("Comparing images", len(listing.samples), listener):
        looks = compare_source(
            listing.samples,
            earlier,
            threads=threads,
            max_pixels=config.max_pixels,
            listener=listener,
        )
    readable = {look.sample.label for look in looks if look.refusal is None}
    _refuse_new_classes(readable - earlier.optimised_classes, config)
    unreadable = [look.refusal for look in looks if look.refusal is not None]
    refused = tuple(sorted([*listing.refused, *unreadable], key=lambda item: item.source))
    require_readable(refused, skip_refused=config.on_error is OnError.SKIP)
    plan = make_plan(looks, earlier)
    refuse_other_source(plan, earlier, config.source)
    refuse_foreign_files(plan, earlier)
    notes = new_copies(looks, earlier)
    changes = _changes(plan)
    _announce(plan, changes, notes, earlier, listener)
    if noise.patterns.shape[1] == 1:
        _announce_grey_noise(looks, listener)

    writer = Writer(
        folder=config.output,
        noise=noise,
        seed=config.seed,
        class_index=earlier.manifest.classes,
        levels=earlier.manifest.eps.levels,
        max_pixels=config.max_pixels,
        rights=config.rights,
    )
    for sample in plan.to_write:
        # A link that leads elsewhere is refused now, not half-way.
        writer.target(plan.names[sample.name])

    # 3. From here on only another --extend can go on. What has no original any more is moved away.
    digests = {look.sample.name: look.digest for look in looks}
    wanted = {plan.names[sample.name] for sample in plan.to_write}
    record = earlier.record.model_copy(
        update={
            "source": real_path(config.source),
            "labels": real_path(config.labels) if config.labels else None,
            "digests": digests,
            "extended": True,
            "unfinished": tuple(sorted(wanted.union(earlier.record.unfinished))),
        }
    )
    earlier.state.write_run(record)
    remove_half_written(config.output)
    for name in plan.leaving:
        set_aside(earlier, name)

    # 4. What is new or changed is published with the noise of its class, and measured on disk.
    with stage("Writing images", len(plan.to_write), listener):
        written = write_pictures(
            writer, plan.to_write, plan.names, digests, earlier.state, threads, listener
        )
    published = plan.kept | {image.source: image for image in written}
    images = tuple(published[source] for source in sorted(published))
    write_labels(listing, config.output, images)

    # 5. The record. The new manifest is what makes the extension count.
    manifest = earlier.manifest.model_copy(
        update={
            "config": earlier.manifest.config
            | {"max_pixels": max(config.max_pixels, earlier.manifest.max_pixels)},
            "images": images,
            "refused": refused,
            "ignored": listing.ignored,
            "notes": tuple(dict.fromkeys((*earlier.manifest.notes, *listing.notes, *notes))),
            "extended": (*earlier.manifest.extended, *([changes] if changes.is_any else [])),
        }
    )
    manifest.write(manifest_of(config.output))
    earlier.state.write_journal(images)
    earlier.state.write_run(record.model_copy(update={"unfinished": ()}))
    return manifest


def _recorded_noise(earlier: EarlierRun, config: RunConfig) -> Noise:
    """Load the noise that a run published its pictures with.

    Args:
        earlier: The run.
        config: Its settings.

    Raises:
        OutputError: If it is not what the manifest was written with.
    """
    path = earlier.state.patterns
    hint = f"put the {path.name} of that run back, or protect everything anew with --overwrite"
    try:
        table = load_file(path)
        if "grid" not in table:
            # Runs from before grids were recorded had tiles of two sizes.
            beyond = shifts_of(config.mode, TILE if config.textured else RANDOM_TILE) - 1
            table["grid"] = torch.tensor([side - beyond for side in table["noise"].shape[-2:]])
        noise = Noise.unpack(table)
        patterns = noise.patterns
    except (SafetensorError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise OutputError(f"{path} cannot be used: {error}", hint) from None
    if (
        patterns.dtype != torch.float32
        or patterns.ndim != 4
        or len(patterns) != len(earlier.classes)
        or pattern_digests(patterns, earlier.classes, earlier.secret) != earlier.manifest.patterns
        or patterns.abs().max().item() > earlier.manifest.eps.levels
        or not 0 < noise.grid[0] <= patterns.shape[2]
        or noise.grid[0] - noise.grid[1] != patterns.shape[2] - patterns.shape[3]
        or not 0 <= noise.bend < 1
        or (noise.bend > 0 and not noise.repeats)
    ):
        raise OutputError(f"{path} is not the noise that {earlier.output} was made with", hint)
    return noise


def _refuse_other_labels(listing: Listing, earlier: EarlierRun) -> None:
    """Refuse a source that is labelled in another way than it was.

    Raises:
        InputError: Saying how it was.
    """
    before, now = earlier.manifest.labels, listing.labels
    if now != before:
        raise InputError(
            f"the labels came from {before.file or 'the folders'} when {earlier.output} was made, "
            f"and come from {now.file or 'the folders'} now",
            "label the pictures in the same way as before, or protect everything anew with "
            "--overwrite",
        )


def _refuse_new_classes(new: Collection[str], config: RunConfig) -> None:
    """Refuse classes that the noise was not made for.

    Raises:
        InputError: Naming each.
    """
    if new:
        anew = shlex.join(
            ["protect", "run", str(config.source), "-o", str(config.output), "--overwrite"]
        )
        raise InputError(
            f"no noise was made for {len(new)} new classes in {config.source}, so a new run is "
            "necessary",
            f"protect everything anew with: {anew}, and the other flags of the first run; or leave "
            "the new classes out",
            sorted(new),
        )


def _changes(plan: Plan) -> Extension:
    moved = len(plan.added) + len(plan.changed) + len(plan.restored)
    return Extension(
        tool=Tool(**tool_facts(torch.device("cpu"))),
        kept=len(plan.names) - moved,
        added=len(plan.added),
        changed=len(plan.changed),
        restored=len(plan.restored),
        removed=len(plan.removed),
    )


def _announce(
    plan: Plan, changes: Extension, notes: list[str], earlier: EarlierRun, listener: Listener
) -> None:
    """Say what will be done, before it is."""
    for note in notes:
        listener(Notice(note, "warning"))
    listener(Notice(f"extending the run in {earlier.output}: {what_changed(changes)}"))
    for sources, what in (
        (plan.changed, "changed since they were published, and are published anew"),
        (plan.restored, "were published, but their copies are missing or damaged: written again"),
    ):
        if sources:
            listener(Notice(f"{len(sources)} pictures {what}: {some_names(sources)}", "warning"))
    if plan.leaving:
        listener(
            Notice(
                f"{len(plan.leaving)} published copies have no readable original any more and are "
                f"moved to {earlier.state.removed}: {some_names(plan.leaving)}",
                "warning",
            )
        )
    history = (*earlier.manifest.extended, changes)
    first = history[0]
    made_for = first.kept + first.changed + first.restored + first.removed
    new = sum(each.added + each.changed for each in history)
    if new >= NOTABLE_SHARE * made_for:
        listener(
            Notice(
                f"the noise was made for {made_for} pictures, and {new} are new since: verify "
                "again, and protect everything anew if too much gets through",
                "warning",
            )
        )


def _announce_grey_noise(looks: tuple[Look, ...], listener: Listener) -> None:
    coloured = [
        look.sample.name for look in looks if not (look.record or look.refusal or look.is_grey)
    ]
    if coloured:
        listener(
            Notice(
                f"the noise is grey, as all pictures of the run were; {len(coloured)} pictures "
                f"have colours and get grey noise: {some_names(coloured)}",
                "warning",
            )
        )
