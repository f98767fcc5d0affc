"""`protect run --dry-run`, from top to bottom: find, read, try a little of each stage, add up.

Stops where a run would stop, for the same reasons, and writes nothing at all.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from protect.bait.engine import Engine
from protect.bait.start import Cost
from protect.config.choices import Existing, OnError
from protect.config.settings import RunConfig
from protect.config.values import AUTO
from protect.data.cache import cache_bytes, no_room
from protect.data.discover import Listing, Sample
from protect.data.reading import Reading, require_pictures
from protect.data.scan import scan_pictures
from protect.documents.document import Network, Tool
from protect.documents.dry_run import DryRun, Duration, Room
from protect.errors import ConfigError, InputError, MachineError
from protect.events import Listener, StageAdvanced, ignore, stage
from protect.generation import (
    fit_batches,
    new_engine,
    new_search,
    pictures_to_search,
    refuse_to_try_batches,
    saved_progress,
    search_sizes,
    warn_of_size,
)
from protect.models.backbones import load_backbone, needs_download
from protect.models.features import WithFeatures
from protect.noise import Noise
from protect.output.folder import (
    refuse_bad_places,
    require_same_pictures,
)
from protect.output.quality import measure
from protect.output.state_folder import StateFolder
from protect.output.writer import Writer
from protect.output.writing import PROCESS_BYTES, processes_pay
from protect.run import new_writer, prepare
from protect.system.device import (
    generator,
    thread_count,
    tool_facts,
)
from protect.system.memory import peak_device_memory, peak_memory
from protect.system.parallel import ordered_map
from protect.system.processes import refuse_several

TRIAL_SECONDS = 5.0
"""No further round is timed after so long."""
MOST_ROUNDS = 5
ENCODED = 64
"""Pictures that are encoded for a try."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a few rounds cost.

    Attributes:
        noise: The noise after them.
        surrogate: The network.
        searching: What the choice of what the noise begins with would take.
        seconds: Of one round, 0 where the run does none; None where none could be tried.
        left: How many rounds the run does.
        rounds: How many were timed.
        obstacle: Why none could be done.
    """

    noise: Noise
    surrogate: Network | None
    searching: Cost
    seconds: float | None
    left: int
    rounds: int
    obstacle: str = ""


def dry_run_folder(config: RunConfig, listener: Listener = ignore) -> DryRun:
    """Foretell what `protect_folder` would do with the same settings, writing nothing.

    Every picture is decoded in full, so that what is refused is exactly what a run would refuse.
    Not foreseen: another run that will be writing to the same output, and noise that leaves no
    trace in a picture (such as 1x1 pixel).

    Args:
        config: Settings.
        listener: Told what happens.

    Returns:
        What would happen; pictures that cannot be protected are in it and not an error.

    Raises:
        ProtectError: Where a run would stop before it looks at any picture, or for want of
            something on this machine; or if the settings are not of a run that can be foretold.
    """
    _refuse_unforeseeable(config)

    # 1. May the output be written, and which pictures are there? As a run asks.
    refuse_bad_places(config.source, config.output, config.labels)
    ready = prepare(config, listener)
    config, listing, device, resumed = ready.config, ready.listing, ready.device, ready.resumed
    threads = thread_count(config.workers)

    # 2. Every picture is decoded.
    with stage("Reading images", len(listing.samples), listener) as read_clock:
        reading = scan_pictures(
            listing,
            size=config.size,
            accelerated=device.type != "cpu",
            at_room=config.searches_sizes,
            threads=threads,
            max_pixels=config.max_pixels,
            keep=pictures_to_search(config, len(listing.classes)),
            listener=listener,
        )
    facts = DryRun(
        tool=Tool(**tool_facts(device)),
        outcome="incomplete" if reading.refused else "complete",
        eps=config.eps,
        classes=dict(sorted(Counter(sample.label for sample in reading.samples).items())),
        labels=listing.labels,
        refused=reading.refused,
        ignored=listing.ignored,
        notes=listing.notes + reading.notes,
        size=reading.size,
    )
    try:
        require_pictures(reading, skip_refused=config.on_error is OnError.SKIP)
    except InputError as error:
        refusal = {"outcome": "refused", "problem": error.message, "hint": error.hint}
        return facts.model_copy(update=refusal)
    cache = cache_bytes(len(listing.samples), reading.grid)
    free = _free_bytes(config.output, cache)

    if resumed:
        require_same_pictures(config.output, reading.digests)

    # 3. A little of every other stage, and what that makes of the whole.
    trial = _try_rounds(config, listing, reading, device, listener, resumed=resumed)
    tried = reading.samples[:: -(-len(reading.samples) // ENCODED)]
    writer = new_writer(config.output, trial.noise, config, listing)
    # The first is slower, and would count as often as each tried one stands for others.
    _try_writing(writer, tried[:1], threads, ignore)
    with stage("Trying to encode some", len(tried), listener) as write_clock:
        n_bytes, n_levels = _try_writing(writer, tried, threads, listener)
    origins = [reading.origins[sample.name] for sample in reading.samples]
    optimising = (
        None if trial.seconds is None else trial.searching.seconds + trial.left * trial.seconds
    )
    written = StateFolder.of(config.output).read_journal() if resumed else {}
    to_write = len(reading.origins.keys() - written.keys())
    return facts.model_copy(
        update={
            "surrogate": trial.surrogate,
            "room": Room(
                source=sum(origin.n_bytes for origin in origins),
                output=round(n_bytes / n_levels * reading.n_levels(reading.samples)),
                cache=cache,
                free=free,
                memory=_memory(reading, threads, trial.searching.n_bytes),
                device_memory=None if trial.obstacle else peak_device_memory(device),
            ),
            "duration": Duration(
                read=read_clock.seconds,
                optimise=None if optimising is None else round(optimising, 1),
                write=round(write_clock.seconds * to_write / len(tried), 3),
                rounds=trial.left,
                timed_rounds=trial.rounds,
                not_timed=trial.obstacle,
            ),
        }
    )


def _refuse_unforeseeable(config: RunConfig) -> None:
    """Refuse settings of which nothing can be foretold.

    Raises:
        ConfigError: Saying why.
    """
    refuse_several("--dry-run", "run it without torchrun")
    if config.time_budget is not None:
        raise ConfigError(
            "--dry-run says how long a number of rounds takes, and --time-budget lets the time "
            "choose their number",
            "give one of them",
        )
    if config.existing is Existing.EXTEND:
        raise ConfigError(
            "--dry-run foretells a run that optimises noise, and --extend optimises none",
            "leave out --dry-run: it is said what changes before anything is written",
        )


def _memory(reading: Reading, threads: int, searching: int) -> int | None:
    """Return what the run takes of main memory at most, as far as the system tells.

    Args:
        reading: The pictures.
        threads: That encode.
        searching: Bytes that the search for a start takes, before there is anything to encode.
    """
    peak = peak_memory()
    if peak is None:
        return None
    encoding = threads * PROCESS_BYTES if processes_pay(reading.samples, reading, threads) else 0
    return peak + max(encoding, searching)


def _free_bytes(output: Path, cache: int) -> int:
    """Return what is free on the disk of the state folder.

    Raises:
        MachineError: If that is too little for the decoded pictures, or nothing may be written.
    """
    state = StateFolder.of(output).path
    existing = next(path for path in (state, *state.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise MachineError(
            f"{existing} may not be written by this user",
            "change its permissions, or choose another folder with -o",
        )
    free = shutil.disk_usage(existing).free
    if free < cache:
        raise no_room(cache, state, f"{free / 1e6:.1f} MB are free")
    return free


def _try_rounds(
    config: RunConfig,
    listing: Listing,
    reading: Reading,
    device: torch.device,
    listener: Listener,
    *,
    resumed: bool,
) -> _Trial:
    """Do a few real rounds with the settings of the run, on some of its pictures.

    Raises:
        WeightsError: If the surrogate's weights are not to be had.
    """
    if needs_download(config.surrogate, config.weights, config.offline):
        grid = reading.grid_within(reading.room if config.searches_sizes else reading.size)
        draws = generator(config.seed, "guess")
        guess = (torch.rand(1, 3, *grid, generator=draws) * 2 - 1) * config.eps.levels
        return _Trial(
            noise=Noise(guess.expand(len(listing.classes), -1, -1, -1), grid),
            surrogate=None,
            searching=Cost(),
            seconds=None,
            left=config.effort.rounds,
            rounds=0,
            obstacle=f"the weights of {config.surrogate} would have to be downloaded first",
        )
    backbone = load_backbone(
        config.surrogate,
        classes=len(listing.classes),
        size=reading.size,
        weights=config.weights,
        offline=True,
        seed=config.seed,
    )
    surrogate = WithFeatures(backbone).to(device)
    sizes = search_sizes(surrogate, reading, config)
    warn_of_size(surrogate, reading, config, sizes, listener)
    engine = new_engine(surrogate, reading, config, sizes, listing.classes, device)
    saved = saved_progress(StateFolder.of(config.output)) if resumed else None
    if saved is not None:
        engine.plan(rounds=saved.rounds, batch_size=saved.batch_size)
    elif config.batch_size == AUTO:
        refuse_to_try_batches(device)
        fit_batches(engine, listener)
    left = engine.effort.rounds if saved is None else saved.left
    with stage("Trying some rounds", 0, listener):
        search = new_search(engine, config, sizes) if saved is None else None
        searching = search.cost() if search is not None else Cost()
        seconds = list(_timed_rounds(engine, listener)) if left else []
    # The first is slower, as memory is taken and kernels are chosen in it; of long ones, little.
    timed = seconds[1:] or seconds
    return _Trial(
        noise=engine.patterns.noise(),
        surrogate=backbone.description,
        searching=searching,
        seconds=fmean(timed) if timed else 0.0,
        left=left,
        rounds=len(timed),
    )


def _timed_rounds(engine: Engine, listener: Listener) -> Iterator[float]:
    """Do rounds for about five seconds, one at least; yield what each took."""
    start = time.perf_counter()
    while not engine.finished and (
        engine.round == 0
        or (engine.round <= MOST_ROUNDS and time.perf_counter() - start < TRIAL_SECONDS)
    ):
        before = time.perf_counter()
        engine.advance()
        yield time.perf_counter() - before
        listener(StageAdvanced())


def _try_writing(
    writer: Writer, samples: tuple[Sample, ...], threads: int, listener: Listener
) -> tuple[int, int]:
    """Publish some pictures as a run does, but for the disk.

    Returns:
        How many bytes their PNGs take, and how many levels they have.
    """

    def publish(sample: Sample) -> tuple[int, int]:
        made = writer.render(sample)
        measure(made.original.pixels, made.pixels)
        return len(made.data), made.pixels.size

    n_bytes = n_levels = 0
    for size, levels in ordered_map(publish, samples, threads):
        listener(StageAdvanced())
        n_bytes, n_levels = n_bytes + size, n_levels + levels
    return n_bytes, n_levels
