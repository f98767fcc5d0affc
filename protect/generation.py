"""The generation of the noise, as a run and its dry run do it: set up, plan, optimise, save.

What the loop itself does is in `bait/`; this puts pictures, files and the clock around it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from protect.bait.alphabet import broad_start, dealt_start
from protect.bait.anchor import choose_anchor
from protect.bait.batches import batch_that_fits, known_memory, wanted_batch
from protect.bait.engine import Engine
from protect.bait.pace import Pace
from protect.bait.patterns import BEND, ClassPatterns, random_start, shifts_of
from protect.bait.start import Search, clean_of_each, most_classes, pictures_of_each
from protect.bait.state import pack, unpack
from protect.bait.targets import POLICIES
from protect.config.choices import Binding, NoiseMode, Preset
from protect.config.settings import EFFORTS, SEARCHED_THROUGH, RunConfig
from protect.config.values import AUTO
from protect.data.cache import LARGEST_SIZE_CPU
from protect.data.reading import Reading
from protect.errors import OutputError
from protect.events import Listener, Notice, StageAdvanced, stage
from protect.models.features import WithFeatures
from protect.noise import Noise
from protect.output.state_folder import StateFolder
from protect.system.device import generator
from protect.system.files import write_atomically
from protect.system.processes import from_first, is_first, refuse_several

CHECKPOINT_SECONDS = 30.0
"""A killed run loses at most about this much optimisation."""
SEARCHED = 6
"""A search shows the network, in each view, one picture for so many that all rounds of the preset
would show."""
OF_ROUNDS = "the noise is optimised by the bi-level loop, and blurring, shrinking or JPEG undo it"
"""What is said where nothing was asked for and no search is made."""


def new_engine(
    surrogate: WithFeatures,
    reading: Reading,
    config: RunConfig,
    sizes: Sequence[int],
    classes: tuple[str, ...],
    device: torch.device,
) -> Engine:
    """Set up the loop, with patterns on a grid no finer than the published pictures.

    Nor than the largest size at which a network sees them, see `search_sizes`.
    """
    channels = 1 if bool(reading.pictures.grey.all()) else 3
    draws = generator(config.seed, "patterns")
    height, width = reading.grid_within(max(sizes, default=reading.size))
    weights = start_of(config, sizes)(len(classes), channels, draws)
    anchor = None
    if config.binding is Binding.FEATURES and not config.textured:
        sample = generator(config.seed, "anchor")
        anchor = choose_anchor(surrogate, reading.pictures, len(classes), sample)
    tile = weights.shape[-1]
    patterns = ClassPatterns(
        weights,
        height,
        width,
        config.eps.levels,
        shifts=shifts_of(config.mode, tile),
        bend=bend_of(config),
        anchor=anchor,
    ).to(device)
    return Engine(
        surrogate,
        patterns,
        reading.pictures,
        effort=config.effort,
        targets=config.targets,
        binding=config.binding,
        harden=config.hardened,
        seed=config.seed,
        device=device,
    )


def bend_of(config: RunConfig) -> float:
    """Say how much textures are bent: not where all pictures of a class carry the same."""
    return BEND if config.textured and config.mode is NoiseMode.SAMPLE else 0.0


def search_sizes(surrogate: WithFeatures, reading: Reading, config: RunConfig) -> tuple[int, ...]:
    """Return at which sizes a search shows pictures, in pixels; empty for the surrogate's own.

    Where they have room, that is the size that a stranger with a GPU uses and the one that he uses
    without: textures that mislead at one may not at the other.
    """
    sizes = reading.room, LARGEST_SIZE_CPU
    too_small = reading.room <= LARGEST_SIZE_CPU
    return sizes if config.searches_sizes and not too_small and _sees(surrogate, sizes) else ()


def _sees(surrogate: WithFeatures, sizes: Iterable[int]) -> bool:
    """Whether a network can see pictures at each of these sizes, in pixels."""
    return all(map(surrogate.backbone.takes, sizes))


def warn_of_size(
    surrogate: WithFeatures,
    reading: Reading,
    config: RunConfig,
    sizes: Sequence[int],
    listener: Listener,
) -> None:
    """Say where pictures have room for more than the surrogate sees, and it could see more."""
    could_see_more = reading.size < reading.room and _sees(surrogate, (reading.size, reading.room))
    if config.size is None and not sizes and could_see_more:
        listener(
            Notice(
                f"the surrogate sees these pictures at {reading.size} px, and a stranger with a "
                f"GPU at {reading.room}: noise that misleads at one size may not at the other; "
                f"--size {reading.room} works at his, and takes longer",
                "warning",
            )
        )


def start_of(
    config: RunConfig, sizes: Sequence[int]
) -> Callable[[int, int, torch.Generator], Tensor]:
    """Return what makes the weights that the noise begins with, see `search_sizes`."""
    if not config.textured:
        return random_start
    return broad_start if sizes else dealt_start


def searched_pictures(config: RunConfig, classes: int) -> int:
    """Return how many pictures of each class a search shows: more with a greater preset.

    Raises:
        ConfigError: If the preset has no time for so many classes.
    """
    return pictures_of_each(_shown(config.preset), classes)


def _shown(preset: Preset) -> int:
    """Return how many pictures a search shows the network in each view."""
    effort = EFFORTS[preset]
    return effort.rounds * effort.outer_steps * effort.batch_size // SEARCHED


def pictures_to_search(config: RunConfig, classes: int) -> int:
    """Return how many pictures a search draws at most, of all classes; 0 where it is none.

    It is so many at one size; at two, no more are asked about than carry textures.
    """
    if not config.textured:
        return 0
    each = searched_pictures(config, classes)
    return (each + clean_of_each(each, classes)) * classes


def settle_harden(config: RunConfig, classes: int, listener: Listener) -> RunConfig:
    """Say what the noise shall survive, where that was left open.

    Raises:
        ConfigError: If a search was asked for that the preset has no time for with so many classes.
    """
    if config.harden != AUTO:
        if config.textured:
            searched_pictures(config, classes)  # refuses what there is no time for
        return config
    by_rounds = config.model_copy(update={"harden": ()})
    if config.wants_rounds:
        listener(Notice(f"rounds are asked for: {OF_ROUNDS}"))
        return by_rounds
    most = most_classes(_shown(config.preset))
    if classes > most:
        more = "" if config.preset is Preset.STRONG else "; --preset strong has time for more"
        listener(
            Notice(
                f"a search among textures has time for {most} classes of {classes}: "
                f"{OF_ROUNDS}{more}",
                "warning",
            )
        )
        return by_rounds
    return config.model_copy(update={"harden": SEARCHED_THROUGH})


def new_search(engine: Engine, config: RunConfig, sizes: Sequence[int]) -> Search | None:
    """Set up the search among textures at `search_sizes`; None where noise begins at random."""
    if not config.textured:
        return None
    return Search(
        engine.surrogate,
        engine.patterns,
        engine.pictures,
        engine.views,
        sizes=sizes,
        each=searched_pictures(config, len(engine.patterns.weight)),
        batch_size=engine.effort.batch_size,
        seed=config.seed,
    )


def search_start(
    engine: Engine, search: Search | None, state: StateFolder, listener: Listener
) -> float:
    """Choose the textures of the noise, if any, and save them; return the seconds that it took."""
    if search is None:
        return 0.0
    with stage("Choosing textures", search.steps, listener) as clock:
        engine.note(search.run(lambda: listener(StageAdvanced())))
    from_first(lambda: save_progress(engine, state))
    return clock.seconds


def go_on_optimising(engine: Engine, state: StateFolder) -> bool:
    """Bring an engine to where an earlier call saved it; return whether there was one."""

    def read() -> dict[str, Tensor] | None:
        if not state.progress.is_file():
            return None
        with _usable(state.progress):
            table = load_file(state.progress)
            unpack(engine, table)
        return table

    table = from_first(read)
    if table is not None and not is_first():
        unpack(engine, table)
    return table is not None


@dataclass(frozen=True, slots=True)
class Saved:
    """How far an earlier call came, whose search is then done.

    Attributes:
        batch_size: With which it went on.
        rounds: That it planned.
        left: Of these.
    """

    batch_size: int
    rounds: int
    left: int


def saved_progress(state: StateFolder) -> Saved | None:
    """Return how far an earlier call came; None where it saved no engine."""
    if not state.progress.is_file():
        return None
    with _usable(state.progress), safe_open(state.progress, "pt") as file:
        batch_size, rounds, done = (
            int(file.get_tensor(name)) for name in ("batch_size", "rounds", "round")
        )
    return Saved(batch_size, rounds, rounds - done)


@contextmanager
def _usable(progress: Path) -> Iterator[None]:
    """Say what to do where a saved engine cannot be read.

    Raises:
        OutputError: If so.
    """
    try:
        yield
    except (SafetensorError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise OutputError(
            f"{progress} cannot be used: {error}", "start again with --overwrite"
        ) from None


def refuse_to_try_batches(device: torch.device) -> None:
    """Stop where no batch size can be found by trying.

    Raises:
        ConfigError: With several processes, or where the system does not tell of its memory.
    """
    refuse_several("--batch-size auto", "give the number that one process finds")
    known_memory(device)


def fit_batches(engine: Engine, listener: Listener) -> None:
    """Set the batch size that the method wants, or as much of it as memory has room for."""
    wanted, found = wanted_batch(engine), batch_that_fits(engine)
    engine.plan(batch_size=found)
    why = "" if found == wanted else f", as memory has no room for the {wanted} that it wants"
    listener(Notice(f"--batch-size auto: {found} pictures a step{why}"))


def plan_rounds(engine: Engine, pace: Pace, listener: Listener) -> None:
    """Plan as many rounds as the time budget has room for beside reading and writing."""
    seconds = pace.plan(engine, most=EFFORTS[Preset.STRONG].rounds)
    rounds = engine.effort.rounds
    listener(
        Notice(
            f"--time-budget {pace.budget.text}: {rounds} rounds are planned, about "
            f"{(rounds - 1) * seconds:.0f} s, then about {pace.writing:.0f} s of writing"
        )
    )


def save_progress(engine: Engine, state: StateFolder) -> None:
    """Save an engine, so that a resumed run goes on from here."""
    write_atomically(state.progress, save(pack(engine)))


def optimise(
    engine: Engine, pace: Pace | None, state: StateFolder, listener: Listener
) -> tuple[Noise, float]:
    """Run the rounds that are left, if there are any at all.

    Returns:
        The noise, and the seconds that it took.
    """
    seconds = 0.0
    if engine.effort.rounds:
        with stage("Optimising noise", engine.effort.rounds, listener) as clock:
            _run_rounds(engine, pace, state, listener)
        seconds = clock.seconds

    def finished() -> Noise:
        noise = engine.patterns.noise()
        write_atomically(state.patterns, save(noise.packed()))
        return noise

    return from_first(finished), seconds


def _run_rounds(engine: Engine, pace: Pace | None, state: StateFolder, listener: Listener) -> None:
    """Run the rounds that are left, saving the engine now and then."""
    if engine.round:
        listener(StageAdvanced(engine.round, known=True))
    saved = time.monotonic()
    while not engine.finished:
        done = engine.advance()
        slower = pace.keep(engine) if pace is not None else ""
        due = engine.finished or bool(slower) or time.monotonic() - saved > CHECKPOINT_SECONDS
        if due and is_first():
            save_progress(engine, state)
            saved = time.monotonic()
        if slower:
            # Not before the engine knows it past a kill, or the note would not be true.
            if is_first():
                state.note(slower)
            listener(Notice(slower, "warning"))
        listener(
            StageAdvanced(
                status=f"{POLICIES[engine.policy][done.stage].name}: bound {done.bound:.0%}, "
                f"loss {done.outer_loss:.2f}/{done.inner_loss:.2f}"
            )
        )
