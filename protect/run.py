"""`protect run`, from top to bottom: find, read, optimise, write, record.

Each stage calls one function of the folder that owns it; read this file first.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from protect.bait.pace import Pace
from protect.bait.record import pattern_digests, target_mapping
from protect.config.choices import Existing, OnError
from protect.config.settings import GUESSED_BELOW, INDIFFERENT, PLACES, SECRET, RunConfig
from protect.config.values import AUTO
from protect.data.discover import Listing, announce_listing, discover
from protect.data.reading import read_pictures, require_pictures
from protect.documents.document import Tool
from protect.documents.manifest import Manifest, Timing
from protect.events import Listener, Notice, PartStarted, ignore, stage
from protect.extend import extend_folder
from protect.generation import (
    fit_batches,
    go_on_optimising,
    new_engine,
    new_search,
    optimise,
    plan_rounds,
    refuse_to_try_batches,
    search_sizes,
    search_start,
    settle_harden,
    warn_of_size,
)
from protect.models.backbones import load_backbone
from protect.models.features import WithFeatures
from protect.models.names import published_name, refuse_stray_weights
from protect.noise import Noise
from protect.output.folder import (
    begin,
    go_on,
    may_resume,
    only_run,
    refuse_bad_places,
    refuse_class_names,
    refuse_occupied,
)
from protect.output.manifest_place import refuse_manifest_place, settle_manifest
from protect.output.names import output_names
from protect.output.state_folder import StateFolder
from protect.output.writer import Writer
from protect.output.writing import (
    processes_pay,
    seconds_to_write,
    write_labels,
    write_pictures,
)
from protect.system.device import (
    batches_fit,
    choose_device,
    make_deterministic,
    package_versions,
    thread_count,
    tool_facts,
)
from protect.system.files import sha256_of_bytes
from protect.system.processes import (
    after_first,
    collected,
    dealt,
    from_first,
    is_first,
    joined,
    place,
    refuse_several,
    refuse_small_batches,
)


def protect_folder(config: RunConfig, listener: Listener = ignore) -> Manifest:
    """Write a protected copy of an image folder, with its manifest.

    Args:
        config: Settings.
        listener: Told what happens; see `protect.events`.

    Returns:
        The manifest that was written.

    Raises:
        ProtectError: Whatever the user can mend; nothing was lost. `exit_code` says of which kind.
    """
    started = time.monotonic()
    refuse_bad_places(config.source, config.output, config.labels)
    if config.existing is Existing.EXTEND:
        refuse_several("--extend", "it optimises nothing that would need more than one")
        return extend_folder(config, listener)
    with joined(), only_run(config.output) if is_first() else nullcontext():
        return _protect(config, started, listener if is_first() else ignore)


def _protect(config: RunConfig, started: float, listener: Listener) -> Manifest:
    """Do what the module says; of several processes, the first decides and the others follow."""
    # 1. Which pictures, under which labels, and may the output be written?
    ready = prepare(config, listener)
    config, listing, device, resumed = ready.config, ready.listing, ready.device, ready.resumed
    threads = thread_count(config.workers)
    state = StateFolder.of(config.output)

    # 2. Every picture is decoded once; what cannot be read stops the run before any compute.
    listener(PartStarted(1, 3))
    with stage("Reading images", len(listing.samples), listener) as read_clock:
        reading = from_first(
            lambda: read_pictures(
                listing,
                state.pixels,
                size=config.size,
                accelerated=device.type != "cpu",
                at_room=config.searches_sizes,
                threads=threads,
                max_pixels=config.max_pixels,
                listener=listener,
            )
        )
    require_pictures(reading, skip_refused=config.on_error is OnError.SKIP)
    backbone = after_first(
        lambda: load_backbone(
            config.surrogate,
            classes=len(listing.classes),
            size=reading.size,
            weights=config.weights,
            offline=config.offline,
            seed=config.seed,
        )
    )
    surrogate = WithFeatures(backbone).to(device)
    if resumed:
        from_first(lambda: go_on(config.output, reading.digests))
        listener(Notice(f"resuming the run in {config.output}"))

    # 3. The noise: one pattern per class, by the bi-level loop or a search among textures.
    sizes = search_sizes(surrogate, reading, config)
    warn_of_size(surrogate, reading, config, sizes, listener)
    engine = new_engine(surrogate, reading, config, sizes, listing.classes, device)
    pace = None
    saved = resumed and go_on_optimising(engine, state)
    if config.batch_size == AUTO and not saved:
        refuse_to_try_batches(device)
        fit_batches(engine, listener)
    with batches_fit(engine.effort.batch_size, smallest=max(2, place().count)):
        search = None if saved else new_search(engine, config, sizes)
        if config.time_budget is not None and not saved:
            trial = new_writer(state.trial, engine.patterns.noise(), config, listing)
            writing = from_first(lambda: seconds_to_write(trial, reading, threads))
            pace = Pace(config.time_budget, started, writing)
            plan_rounds(engine, pace, listener)
        # All that may still be refused has been: an earlier run goes, and this one can be resumed.
        if not resumed:
            from_first(
                lambda: begin(
                    config.output,
                    ready.settings,
                    config.source,
                    config.labels,
                    listing.labels.file,
                    reading.digests,
                    config.manifest,
                )
            )
        manifest_file = from_first(lambda: settle_manifest(config.output, config.manifest))
        listener(PartStarted(2, 3))
        searched = search_start(engine, search, state, listener)
        noise, optimised = optimise(engine, pace, state, listener)

    # 4. Every picture is published with the noise of its class, and measured on disk.
    listener(PartStarted(3, 3))
    mine = dealt(reading.samples)
    writers = thread_count(config.workers, place().local_count)
    with stage("Writing images", len(mine), listener) as write_clock:
        writer = new_writer(config.output, noise, config, listing)
        written = write_pictures(
            writer,
            mine,
            output_names([sample.name for sample in reading.samples]),
            reading.digests,
            state,
            writers,
            listener,
            in_processes=processes_pay(mine, reading, writers),
        )
        images = tuple(collected(written))
        if is_first():
            write_labels(listing, config.output, images)

    # 5. The record.
    manifest = Manifest(
        tool=Tool(**tool_facts(device)),
        # The backbone's own name has no folder of this machine in it, as "local-dir:" might.
        config=_settings(config, PLACES | SECRET)
        | {
            "worked_at": reading.size,
            "searched_at": list(sizes),
            "surrogate": backbone.description.name,
            "effort": engine.effort.model_dump(mode="json"),
        },
        eps=config.eps,
        classes=listing.class_index,
        labels=listing.labels,
        surrogate=backbone.description,
        target_mapping=target_mapping(
            engine.searched_counts.cpu(),
            engine.target_counts.cpu(),
            config.targets,
            listing.classes,
            engine.patterns.anchor,
        ),
        patterns=pattern_digests(noise.patterns, listing.classes, config.seed),
        bound=tuple(round(share, 4) for share in engine.bound),
        images=images,
        refused=reading.refused,
        ignored=listing.ignored,
        notes=listing.notes + reading.notes + from_first(state.notes),
        processes=place().count,
        timing=Timing(
            read=read_clock.seconds,
            optimise=searched + optimised,
            write=write_clock.seconds,
        ),
    )
    if is_first():
        manifest.write(manifest_file)
    return from_first(lambda: manifest)


@dataclass(frozen=True, slots=True)
class Ready:
    """What is known before any picture is looked at.

    Attributes:
        config: Settings, of which nothing is left open.
        listing: The pictures.
        device: Where to compute.
        settings: All that changes the published bytes.
        resumed: Whether an earlier run goes on.
    """

    config: RunConfig
    listing: Listing
    device: torch.device
    settings: dict[str, Any]
    resumed: bool


def prepare(config: RunConfig, listener: Listener) -> Ready:
    """Find the pictures, and refuse all that can be refused without looking at one.

    A run and its dry run begin with it.
    """
    device = after_first(lambda: choose_device(config.device))
    make_deterministic()
    refuse_stray_weights(config.weights, [config.surrogate])
    if config.batch_size == AUTO and config.existing is not Existing.RESUME:
        refuse_to_try_batches(device)
    refuse_small_batches(config.effort.batch_size)
    from_first(lambda: refuse_occupied(config.output, config.existing))
    from_first(lambda: refuse_manifest_place(config))
    listing = from_first(lambda: discover(config.source, config.labels))
    announce_listing(listing, listener)
    from_first(lambda: refuse_class_names(listing))
    config = settle_harden(settle_seed(config, listener), len(listing.classes), listener)
    settings = settings_of_bytes(config, listing, device)
    resumed = from_first(lambda: may_resume(config.output, config.existing, settings))
    return Ready(config, listing, device, settings, resumed)


def settle_seed(config: RunConfig, listener: Listener) -> RunConfig:
    """Let all processes draw by the same seed, and a resumed run by the one it was begun with.

    A given one that somebody may guess is warned of.
    """
    is_given = "seed" in config.model_fields_set
    if is_given and config.seed < GUESSED_BELOW:
        listener(
            Notice(
                "whoever guesses so small a seed can compute the noise: for what is to be "
                "published, leave --seed out, or give it a large random number",
                "warning",
            )
        )

    def settled() -> int:
        goes_on = config.existing is Existing.RESUME and not is_given
        begun = StateFolder.of(config.output).seed() if goes_on else None
        return config.seed if begun is None else begun

    return config.model_copy(update={"seed": from_first(settled)})


def _settings(config: RunConfig, without: set[str]) -> dict[str, Any]:
    """Return the settings as JSON values, with what the preset and the flags come to."""
    settings = config.model_dump(mode="json", exclude=without)
    files = {published_name(name): file for name, file in settings["weights"].items()}
    return settings | {"weights": files, "effort": config.effort.model_dump(mode="json")}


def settings_of_bytes(config: RunConfig, listing: Listing, device: torch.device) -> dict[str, Any]:
    """Return all that changes the published bytes: what a resumed run must have in common.

    Versions too: half of a run by this program and half by its next one is the noise of neither.
    And the kind of device that was chosen, which decides at what size pictures are shown.
    """
    settings = _settings(config, PLACES | INDIFFERENT) | {"device": device.type}
    settings |= {f"version of {name}": version for name, version in package_versions().items()}
    names = [[sample.name, sample.label] for sample in listing.samples]
    return settings | {"pictures": sha256_of_bytes(repr(names).encode())}


def new_writer(folder: Path, noise: Noise, config: RunConfig, listing: Listing) -> Writer:
    """Set up what publishes pictures with the noise of their classes into a folder."""
    return Writer(
        folder=folder,
        noise=noise,
        seed=config.seed,
        class_index=listing.class_index,
        levels=config.eps.levels,
        max_pixels=config.max_pixels,
        rights=config.rights,
    )
