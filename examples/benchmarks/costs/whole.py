"""The whole job: how long a run takes, and how well it protects after how long."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from costs.clock import timed
from costs.figures import Comparison
from costs.step import BarePasses
from protect import RunConfig, VerifyConfig, protect_folder, verify_folder
from protect.config.choices import Existing, Mode
from protect.documents.manifest import Manifest
from protect.documents.verify_report import VerifyReport
from protect.dry_run import dry_run_folder
from protect.events import Listener

MINUTES = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class AuthorsSettings:
    """What the authors' code does on CIFAR-10 (method section 3).

    Attributes:
        batch_size: Pictures in each step.
        rounds: Each takes one look ahead and one real step of the surrogate.
        steps: Of the noise, in all rounds together.
        ranked: Share of these whose targets are read from the surrogate, one forward more each: two
            of three stages.
    """

    batch_size: int = 512
    rounds: int = 90
    steps: int = 8_730
    ranked: float = 2 / 3


def measure_authors(
    train: Path, folder: Path, device: torch.device, listener: Listener, *, quick: bool
) -> Iterator[Comparison]:
    """Compare a whole run with the passes that the authors' settings take on the same network.

    Their generator network is left out, so that what they need is more than what stands here.

    Args:
        train: Pictures in class folders.
        folder: Empty.
        device: Where to compute.
        listener: Told what happens.
        quick: Whether a single tiny round does.
    """
    started = time.perf_counter()
    manifest = protect_folder(_run_config(train, folder, device, quick), listener)
    whole = time.perf_counter() - started

    authors = AuthorsSettings()
    bare = BarePasses(manifest.surrogate.input_size, 4 if quick else authors.batch_size, device)
    pass_seconds = {
        work.__name__: min(timed(work).wall for _ in range(3))
        for work in (bare.to_parameters, bare.to_pixels, bare.forward)
    }
    generation = (
        2 * authors.rounds * pass_seconds["to_parameters"]
        + authors.steps * pass_seconds["to_pixels"]
        + authors.steps * authors.ranked * pass_seconds["forward"]
    )
    reading_and_writing = manifest.timing.read + manifest.timing.write
    yield Comparison.of_pairs(
        "authors",
        f"whole run, {len(manifest.images):,} pictures at {manifest.surrogate.input_size} px",
        "s",
        [(whole, generation + reading_and_writing)],
        "extrapolated: the authors' steps",
    )


def measure_quality(
    train: Path,
    test: Path,
    folder: Path,
    device: torch.device,
    listener: Listener,
    *,
    quick: bool,
) -> Iterator[Comparison]:
    """Measure what a stranger learns after some minutes of generation, by rounds.

    How many rounds these are is measured by a dry run first.

    Args:
        train: Pictures in class folders.
        test: Clean pictures in the same classes.
        folder: Empty.
        device: Where to compute.
        listener: Told what happens.
        quick: Whether a single tiny round does.
    """
    config = _run_config(train, folder, device, quick).model_copy(update={"harden": ()})
    duration = dry_run_folder(config, listener).duration
    if duration is None or not duration.optimise:
        raise RuntimeError("no round could be timed")
    for minutes in (0,) if quick else MINUTES:
        rounds = max(1, round(60 * minutes * duration.rounds / duration.optimise))
        manifest = protect_folder(config.model_copy(update={"rounds": rounds}), listener)
        report = _verify(config.output, test, device, listener, quick)
        yield from _quality_rows(minutes, manifest, report)


def _quality_rows(minutes: int, manifest: Manifest, report: VerifyReport) -> Iterator[Comparison]:
    cell = report.cells[0]
    took = f"{manifest.timing.optimise:.0f} s for {len(manifest.bound)} rounds"
    for name, ours, control in (
        ("peak", cell.peak, cell.control_peak),
        ("final", cell.final, cell.control_final),
    ):
        yield Comparison.of_pairs(
            "quality",
            f"stranger's {name} accuracy after {minutes} min of generation ({took})",
            "%",
            [(100 * ours, 100 * control)],
            "control",
        )


def _run_config(train: Path, folder: Path, device: torch.device, quick: bool) -> RunConfig:
    tiny: dict[str, Any] = {"rounds": 1, "outer_steps": 1, "batch_size": 4, "size": 32}
    return RunConfig(
        source=train,
        output=folder / "protected",
        existing=Existing.OVERWRITE,
        seed=0,
        device=str(device),
        offline=True,
        **(tiny if quick else {}),
    )


def _verify(
    protected: Path, test: Path, device: torch.device, listener: Listener, quick: bool
) -> VerifyReport:
    return verify_folder(
        VerifyConfig(
            protected=protected,
            test=test,
            modes=(Mode.FULL,),
            device=str(device),
            offline=True,
            epochs=1 if quick else None,
        ),
        listener,
    )
