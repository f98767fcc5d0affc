"""The report of a verification: what was trained, on what, and what came of it."""

from collections.abc import Collection
from statistics import fmean
from typing import Literal, Protocol, Self

from protect.documents.document import SCHEMA_VERSION, Document, Network, Tool

Verdict = Literal["pass", "fail", "inconclusive"]


class Curve(Document):
    """Accuracy on the clean test pictures, as fractions, after each epoch."""

    protected: tuple[float, ...]
    control: tuple[float, ...]


class Training(Document):
    """How a network was trained.

    Attributes:
        epochs: Passes over the training pictures.
        batch_size: Pictures a step.
        optimiser: "sgd" or "adamw".
        lr: Learning rate at the start.
        momentum: Of SGD, or of AdamW's first moment.
        weight_decay: Of the optimiser.
        clip: Largest norm of a step's gradient; None for any.
        trained: Which parameters were: "all", "head" or "late stages".
        source: Where the recipe comes from.
    """

    epochs: int
    batch_size: int
    optimiser: str
    lr: float
    momentum: float
    weight_decay: float
    clip: float | None
    trained: str
    source: str


class Change(Protocol):
    """How far a published picture is from its original, as measured or as recorded."""

    @property
    def linf_levels(self) -> int:
        """Largest change of any channel of any pixel, in 8-bit levels."""

    @property
    def psnr(self) -> float | None:
        """Peak signal-to-noise ratio in dB; None where not one pixel changed."""

    @property
    def ssim(self) -> float | None:
        """Structural similarity; None where a side is below its window."""


class Quality(Document):
    """How far the published pictures are from their originals.

    Attributes:
        n: Pictures compared.
        linf_levels: Largest change of any channel of any pixel, in 8-bit levels.
        promised_levels: The budget in the manifest; None where the folder has none.
        psnr_mean: Mean peak signal-to-noise ratio in dB; None where no picture changed.
        psnr_worst: The lowest.
        ssim_mean: Mean structural similarity; None where all pictures are below its window.
        ssim_worst: The lowest.
    """

    n: int
    linf_levels: int
    promised_levels: int | None
    psnr_mean: float | None
    psnr_worst: float | None
    ssim_mean: float | None
    ssim_worst: float | None

    @classmethod
    def of(cls, changes: Collection[Change], promised_levels: int | None) -> Self:
        """Sum up the changes of one picture or more."""
        psnr = [change.psnr for change in changes if change.psnr is not None]
        ssim = [change.ssim for change in changes if change.ssim is not None]
        return cls(
            n=len(changes),
            linf_levels=max(change.linf_levels for change in changes),
            promised_levels=promised_levels,
            psnr_mean=fmean(psnr) if psnr else None,
            psnr_worst=min(psnr, default=None),
            ssim_mean=fmean(ssim) if ssim else None,
            ssim_worst=min(ssim, default=None),
        )


class ClassShare(Document):
    """What was learned of one class, beside the control.

    Learned is the share of its test pictures that get its name, less the share of all others that
    get it too (informedness; Youden's index, 1950): 1 for a class that is known, 0 for one whose
    name says nothing, however often it is given. Means over the seeds, each at its peak. Where all
    classes have as many test pictures, the mean over the classes is the accuracy above chance.

    Attributes:
        label: Name of the class.
        n_test: Its test pictures, at least 1.
        learned: After training on the protected pictures, in [-1, 1].
        control_learned: After training on the originals.
        floor: Without the protected pictures: 0, or what a stranger's few clean pictures give.
        retained: `(learned - floor) / (control_learned - floor)`, at least 0; None where the
            control may not have learned the class.
        retained_low: Lower end of its 95 % interval, as that of a cell.
        retained_high: Upper end of it.
        verdict: As of a cell; "inconclusive" also where there are fewer than 10 test pictures.
    """

    label: str
    n_test: int
    learned: float
    control_learned: float
    floor: float
    retained: float | None
    retained_low: float | None
    retained_high: float | None
    verdict: Verdict


class Cell(Document):
    """One backbone trained in one way under one attack, beside its control.

    Accuracies are means over the seeds.

    Attributes:
        backbone: Qualified name.
        mode: Training mode, such as "full" (every parameter is fine-tuned).
        attack: What was done about the noise; "none" for nothing.
        final: Clean-test accuracy after the last epoch, trained on the protected pictures.
        peak: The highest of its epochs.
        control_final: The same after the last epoch, trained on the originals.
        control_peak: The highest of its epochs.
        chance: Accuracy of always answering the most frequent test class.
        floor: Accuracy without the protected pictures: chance, or what the clean pictures that a
            stranger also has give alone.
        retained: `(peak - floor) / (control_peak - floor)`, at least 0; None where the
            control did not learn.
        retained_low: Lower end of its 95 % interval (MOVER-R), from those of the two accuracies:
            Wilson on the test count, and where there are several seeds Student's interval over
            them as well; the errors of both are added by their squares.
        retained_high: Upper end of it.
        n_train: Training pictures.
        n_test: Test pictures.
        seeds: Seeds that were run.
        seconds: Wall clock of all its trainings.
        network: The backbone as it was used.
        training: The recipe, the same for the control.
        curves: Accuracy by epoch, one pair a seed.
        classes: The same class by class, of those with test pictures, in the order of their names.
        verdict: Of this cell.
        reason: The verdict in words.
    """

    backbone: str
    mode: str
    attack: str
    final: float
    peak: float
    control_final: float
    control_peak: float
    chance: float
    floor: float
    retained: float | None
    retained_low: float | None
    retained_high: float | None
    n_train: int
    n_test: int
    seeds: tuple[int, ...]
    seconds: float
    network: Network
    training: Training
    curves: tuple[Curve, ...]
    classes: tuple[ClassShare, ...]
    verdict: Verdict
    reason: str


class Split(Document):
    """Which pictures trained and which tested.

    Attributes:
        kind: "test folder", or "held out" where the originals were split by source picture.
        seed: Of the split.
        n_train: Training pictures.
        n_test: Test pictures.
        test: Held-out pictures by source path; empty for a test folder.
    """

    kind: Literal["test folder", "held out"]
    seed: int
    n_train: int
    n_test: int
    test: tuple[str, ...]


class VerifyReport(Document):
    """Result of a verification.

    Attributes:
        schema_version: Version of this layout.
        verdict: "pass" only if every cell passed.
        tier: Which cells were asked for: "quick", "ci", "release" or "own" (named one by one).
        max_retained: The threshold.
        every_class: Whether a cell passes only if each of its classes does too.
        worst: Index of the worst cell.
        cells: One per backbone, mode and attack.
        not_run: Attacks, modes and sizes that this verification did not try.
        quality: How visible the noise is.
        split: Which pictures trained and which tested.
        notes: Warnings.
        environment: What computed it.
        shard: Which part of the cells this report is of, such as "2/4"; its verdict is of these
            only. None for a report of all.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    verdict: Verdict
    tier: str
    max_retained: float
    every_class: bool
    worst: int
    cells: tuple[Cell, ...]
    not_run: tuple[str, ...]
    quality: Quality
    split: Split
    notes: tuple[str, ...] = ()
    environment: Tool
    shard: str | None = None
