"""The two documents this tool writes: the manifest of a run and the report of a verification.

Owns their schema, their reading and their writing. Paths in them are relative and POSIX; nothing
of the machine or of the pictures' own metadata is in them. Must not import torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protect.config import DEFAULT_MAX_PIXELS, Eps
from protect.errors import InputError
from protect.system.files import write_atomically

MANIFEST_NAME = "manifest.json"
TOOL_NAME = "bait-protect"
SCHEMA_VERSION: Final = 1

Verdict = Literal["pass", "fail", "inconclusive"]
Status = Literal["protected", "unchanged"]
ProblemKind = Literal[
    "missing", "extra", "changed", "unreadable", "budget", "size", "label", "original", "count"
]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Refused(_Document):
    """A picture that was left out.

    Attributes:
        source: Its path below the source folder.
        reason: Why, in words for its owner.
    """

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class Tool(_Document):
    """What computed the document, and on what."""

    name: str = TOOL_NAME
    version: str
    python: str
    platform: str
    device: str
    packages: dict[str, str]


class Weights(_Document):
    """Where the weights of a network came from.

    Attributes:
        origin: "file", "package", "cache", "download", "local-dir" or "none" (fresh, from scratch).
        file: File name, without its folder.
        sha256: Digest of that file; empty for fresh weights.
        tag: The library's name for them, such as "IMAGENET1K_V1" or "in1k"; may be empty.
    """

    origin: str
    file: str
    sha256: str
    tag: str = ""


class Network(_Document):
    """A backbone as it was used.

    Attributes:
        name: Qualified name, such as "torchvision:vit_b_16".
        weights: Where its weights came from.
        input_size: Side in pixels of the square input it was given.
        mean: Per-channel mean that its normalisation subtracts, on the scale 0 to 1.
        std: Per-channel deviation that its normalisation divides by.
    """

    name: str
    weights: Weights
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class FinalTarget(_Document):
    """The incorrect class that a class was bound to most often in the last stage."""

    target: str
    share: float


class TargetMapping(_Document):
    """Which incorrect classes each class was bound to (method section 2).

    Attributes:
        policy: Name of the target policy.
        stages: Names of the stages, in order.
        counts: stage -> true class -> incorrect class -> how many samples (pictures with its noise
            that were bound to it, and clean ones taken for it); zeros are left out.
        final: true class -> its most frequent target in the last stage.
        anchor: The class with faint noise, to which pictures without noise fall; None for none.
    """

    policy: str
    stages: tuple[str, ...]
    counts: dict[str, dict[str, dict[str, int]]]
    final: dict[str, FinalTarget]
    anchor: str | None = None


class PatternDigest(_Document):
    """Fingerprint of the private noise pattern of one class; reveals nothing of it.

    Attributes:
        sha256: Digest of the pattern's float32 values in levels.
        height: Rows of the pattern before it is resized to a picture.
        width: Its columns.
        linf_levels: Largest absolute value, in 8-bit levels.
    """

    sha256: str
    height: int
    width: int
    linf_levels: float


class ImageRecord(_Document):
    """One published picture.

    Attributes:
        source: Path of the original below the source folder.
        output: Path of the published PNG below the output folder.
        label: Class name.
        source_sha256: Digest of the original file.
        output_sha256: Digest of the published file.
        width: Columns, upright.
        height: Rows, upright.
        linf_levels: Largest change of any channel of any pixel, measured on the file re-read.
        psnr: Peak signal-to-noise ratio in dB; None where not one pixel changed.
        ssim: Structural similarity in [-1, 1]; None where a side is below its 11-pixel window.
        status: "protected", or "unchanged" where the noise left no trace (such as 1x1 pixel).
        notes: What the owner should know about this picture.
    """

    source: str
    output: str
    label: str
    source_sha256: str
    output_sha256: str
    width: int
    height: int
    linf_levels: int
    psnr: float | None
    ssim: float | None
    status: Status
    notes: tuple[str, ...] = ()


class Labels(_Document):
    """Where the labels came from.

    Attributes:
        kind: "folders" (first-level folders), "csv" (`--labels`) or "metadata" (Hugging Face).
        file: Name of the label file that lies in the output folder; None for folders.
        column: Its label column; None for folders.
    """

    kind: Literal["folders", "csv", "metadata"]
    file: str | None = None
    column: str | None = None


class Timing(_Document):
    """Wall-clock seconds of the stages of a run."""

    read: float
    optimise: float
    write: float


class Manifest(_Document):
    """Facts of a run: enough to check every published file and to run again.

    Attributes:
        schema_version: Version of this layout.
        tool: What computed it.
        config: Settings of the run, without this machine's paths.
        eps: The budget as typed, as a number and in whole levels.
        classes: Class name -> index, in the order of the sorted names.
        labels: Where the labels came from.
        surrogate: Network that the noise was optimised against.
        target_mapping: Which incorrect classes each class was bound to.
        patterns: Class name -> fingerprint of its noise.
        bound: Share of pictures that the outer steps found taken for their target, by round.
        images: One record per published picture, sorted by source.
        refused: Pictures left out, with the reason.
        ignored: Kind of file (hidden, or a suffix) -> how many files were passed over.
        notes: Further warnings of the run.
        timing: Seconds by stage.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Tool
    config: dict[str, Any]
    eps: Eps
    classes: dict[str, int]
    labels: Labels
    surrogate: Network
    target_mapping: TargetMapping
    patterns: dict[str, PatternDigest]
    bound: tuple[float, ...]
    images: tuple[ImageRecord, ...]
    refused: tuple[Refused, ...] = ()
    ignored: dict[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    timing: Timing

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture that the run would read."""
        recorded = self.config.get("max_pixels")
        return recorded if isinstance(recorded, int) else DEFAULT_MAX_PIXELS

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_atomically(path, _as_json(self).encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a protected folder.

        Raises:
            InputError: If there is none, or it is not one of a version this tool reads.
        """
        return _read(cls, folder / MANIFEST_NAME)


class Curve(_Document):
    """Accuracy on the clean test pictures, as fractions, after each epoch."""

    protected: tuple[float, ...]
    control: tuple[float, ...]


class Training(_Document):
    """How a network was trained.

    Attributes:
        epochs: Passes over the training pictures.
        batch_size: Pictures a step.
        lr: Learning rate of SGD at the start.
        momentum: Of SGD.
        weight_decay: Of SGD.
        trained: Which parameters were: "all", "head" or "late stages".
        source: Where the recipe comes from.
    """

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    trained: str
    source: str


class Quality(_Document):
    """How far the pictures that trained are from their originals, measured on the files.

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
    def of(cls, images: Sequence[ImageRecord], promised_levels: int | None) -> Self:
        """Sum up the records of one picture or more."""
        psnr = [image.psnr for image in images if image.psnr is not None]
        ssim = [image.ssim for image in images if image.ssim is not None]
        return cls(
            n=len(images),
            linf_levels=max(image.linf_levels for image in images),
            promised_levels=promised_levels,
            psnr_mean=fmean(psnr) if psnr else None,
            psnr_worst=min(psnr, default=None),
            ssim_mean=fmean(ssim) if ssim else None,
            ssim_worst=min(ssim, default=None),
        )


class Cell(_Document):
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
            Wilson on the test count, and where there are several seeds the wider of that and
            Student's interval over them.
        retained_high: Upper end of it.
        n_train: Training pictures.
        n_test: Test pictures.
        seeds: Seeds that were run.
        seconds: Wall clock of both trainings.
        network: The backbone as it was used.
        training: The recipe, the same for the control.
        curves: Accuracy by epoch, one pair a seed.
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
    verdict: Verdict
    reason: str


class Split(_Document):
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


class VerifyReport(_Document):
    """Result of a verification.

    Attributes:
        schema_version: Version of this layout.
        verdict: "pass" only if every cell passed.
        tier: Which cells were asked for: "quick", "ci", "release" or "own" (named one by one).
        max_retained: The threshold.
        worst: Index of the worst cell.
        cells: One per backbone, mode and attack.
        not_run: Attacks and modes that this verification did not try.
        quality: How visible the noise is.
        split: Which pictures trained and which tested.
        notes: Warnings.
        environment: What computed it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    verdict: Verdict
    tier: str
    max_retained: float
    worst: int
    cells: tuple[Cell, ...]
    not_run: tuple[str, ...]
    quality: Quality
    split: Split
    notes: tuple[str, ...] = ()
    environment: Tool


class BackboneEntry(_Document):
    """A network that can be named with --backbone or --surrogate.

    Attributes:
        name: Qualified name.
        input_size: Side in pixels that its weights were trained at.
        origin: "package" or "cache" where its weights are on this machine; None where they are not.
        file: Name of that file; None without one.
        megabytes: Size of that file.
        places: Where its weights are looked for.
    """

    name: str
    input_size: int
    origin: str | None
    file: str | None
    megabytes: float | None
    places: tuple[str, ...]


class BackboneList(_Document):
    """Result of `protect backbones`.

    Attributes:
        schema_version: Version of this layout.
        pattern: What the names were searched for; empty for all whose weights are here.
        entries: The networks, sorted by library and name.
        known: How many networks there are altogether.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    pattern: str
    entries: tuple[BackboneEntry, ...]
    known: int


class Problem(_Document):
    """Something that `protect check` found.

    Attributes:
        file: Path below the protected folder, or of the original where that is at fault.
        kind: Short stable name of the kind of problem.
        message: What is wrong, in words.
    """

    file: str
    kind: ProblemKind
    message: str


class CheckReport(_Document):
    """Result of an integrity check.

    Attributes:
        schema_version: Version of this layout.
        ok: True if there are no problems.
        n_images: Published pictures in the manifest.
        budget_levels: The promised largest change, in 8-bit levels.
        measured_levels: The largest change found against the originals; None without them.
        problems: Everything found.
        notes: What could not be checked, and why.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    ok: bool
    n_images: int
    budget_levels: int
    measured_levels: int | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


Document = TypeVar("Document", bound=_Document)


_DAMAGED = (
    "restore it from a copy, or protect the originals again; a folder of another tool is verified "
    "with --clean ORIGINALS"
)


def _as_json(document: BaseModel) -> str:
    return document.model_dump_json(indent=1) + "\n"


def _read(kind: type[Document], path: Path) -> Document:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist",
            "name the folder that `protect run` wrote, or run it first",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}", _DAMAGED) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}; this version of protect reads {SCHEMA_VERSION}",
            "install a newer bait-protect",
        )
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]]
        raise InputError(f"{path} is not a manifest of this tool", _DAMAGED, lines) from None
