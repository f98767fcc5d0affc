"""Settings of the commands: parsed, validated and frozen before anything is computed.

Owns the meaning of `--eps`. Must not import torch: `--help` and bad flags are answered in no time.
"""

import math
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    model_validator,
)

from protect.errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)
Item = TypeVar("Item")

LEVELS_PER_UNIT = 255
DEFAULT_BACKBONE = "timm:tf_efficientnet_lite0"
DEFAULT_OUTPUT = Path("protected")
DEFAULT_MAX_PIXELS = 178_956_970
"""Pillow's own error limit, about 179 megapixels; more is likely a decompression bomb."""
LARGEST_RATE = 1e30
"""Any training diverges below it; ten times as much still is a number to SGD in 32 bits."""
LARGEST_BATCH = 2**31 - 1
"""Far more than any memory holds, and the largest count that PyTorch takes everywhere."""


class Preset(StrEnum):
    """How much work goes into the noise."""

    QUICK = "quick"
    STANDARD = "standard"
    STRONG = "strong"


class Targets(StrEnum):
    """Which incorrect class each sample is bound to.

    CURRICULUM is the paper's: from the hardest over random to the least likely class.
    """

    CURRICULUM = "curriculum"
    CYCLIC = "cyclic"
    RANDOM = "random"
    DISSIMILAR = "dissimilar"


class Binding(StrEnum):
    """By what a picture counts as bound to a class in the outer step.

    FEATURES asks feature space, where any head will find it: noise is bound to its class, and clean
    pictures to incorrect ones. HEAD is the surrogate's own head, as published.
    """

    FEATURES = "features"
    HEAD = "head"


class NoiseMode(StrEnum):
    """Whether the pictures of a class share their noise.

    With CLASS all carry the same pattern. With SAMPLE each carries its class's texture from a place
    of its own, so that no subtraction takes the noise off all of them.
    """

    CLASS = "class"
    SAMPLE = "sample"


class Harden(StrEnum):
    """What a stranger may do to the pictures that the noise is optimised to survive."""

    JPEG = "jpeg"
    GREY = "grey"
    BLUR = "blur"
    RESIZE = "resize"


class Mode(StrEnum):
    """How a stranger trains on the protected pictures.

    FULL fine-tunes every parameter; PUBLISHED does so exactly as the paper evaluates, gently for 60
    epochs, LOW_LR slowly and long, HIGH_LR at ten times the rate.
    LINEAR_PROBE trains a linear layer on frozen features, FROZEN_STAGES the second half of the
    network. SCRATCH starts from random weights. REFIT fits the last layer anew on a few clean
    pictures, CLEAN_MIX has them among the training pictures.
    """

    FULL = "full"
    PUBLISHED = "published"
    LOW_LR = "low-lr"
    HIGH_LR = "high-lr"
    LINEAR_PROBE = "linear-probe"
    FROZEN_STAGES = "frozen-stages"
    SCRATCH = "scratch"
    REFIT = "refit"
    CLEAN_MIX = "clean-mix"


class Tier(StrEnum):
    """How much a verification tries: about a minute, for every commit, before a release."""

    QUICK = "quick"
    CI = "ci"
    RELEASE = "release"


class Rights(StrEnum):
    """What the owner may state on data mining; each forbids the training of any network.

    NOAI forbids training only. SEARCH_ONLY forbids all data mining but that of public search
    engines, NOMINING all of it.
    """

    NOAI = "noai"
    SEARCH_ONLY = "search-only"
    NOMINING = "nomining"


class OnError(StrEnum):
    """What to do about pictures that cannot be protected."""

    STOP = "stop"
    SKIP = "skip"


class Existing(StrEnum):
    """What to do about an output folder that is not empty."""

    REFUSE = "refuse"
    RESUME = "resume"
    EXTEND = "extend"
    OVERWRITE = "overwrite"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Eps(_Frozen):
    """An L-infinity budget: the largest change of any channel of any pixel.

    Attributes:
        text: As the user typed it, such as "8/255".
        value: On the scale where a channel runs from 0 to 1.
        levels: Whole 8-bit levels that fit in it, `floor(value * 255)`; at least 1.
    """

    text: str
    value: float
    levels: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a fraction ("8/255") or a decimal ("0.03").

        Raises:
            ConfigError: If it is not a number, not in (0, 1], or below one 8-bit level.
        """
        numerator, slash, denominator = text.partition("/")
        try:
            value = float(numerator) / (float(denominator) if slash else 1.0)
        except (ValueError, ZeroDivisionError):
            raise ConfigError(f"--eps {text!r} is not a number", "type it as 8/255") from None
        if not math.isfinite(value) or value <= 0:
            raise ConfigError(f"--eps {text!r} must be above 0", "type it as 8/255")
        if value > 1:
            raise ConfigError(
                f"--eps {text!r} is above 1: a channel runs from 0 to 1",
                f"did you mean --eps {text.strip()}/255?" if not slash else "type it as 8/255",
            )
        # The 1e-9 forgives a decimal such as 0.0313725490196 that stands for 8/255.
        levels = math.floor(value * LEVELS_PER_UNIT + 1e-9)
        if levels < 1:
            raise ConfigError(
                f"--eps {text!r} is less than one 8-bit level, so no pixel could change",
                "use at least 1/255; 8/255 is usual",
            )
        return cls(text=text.strip(), value=value, levels=levels)


def _as_eps(value: Any) -> Any:
    return Eps.parse(str(value)) if isinstance(value, str | int | float) else value


EpsSetting = Annotated[Eps, BeforeValidator(_as_eps)]


class Shard(_Frozen):
    """A part of the cells of a verification: every `count`-th, from number `index` on.

    Attributes:
        index: Which part, from 1 to `count`.
        count: How many parts there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "I/N".

        Raises:
            ConfigError: If it is not of this form, or I is not between 1 and N.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(
                f"--shard {text!r} is not one of N parts",
                "type it as I/N with I from 1 to N, such as --shard 1/4",
            )
        return cls(index=int(found[1]), count=int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return those items that belong to this part; all parts together have each once."""
        return items[self.index - 1 :: self.count]


def _as_shard(value: Any) -> Any:
    return Shard.parse(value) if isinstance(value, str) else value


ShardSetting = Annotated[Shard, BeforeValidator(_as_shard)]


class TimeBudget(_Frozen):
    """A wall-clock time that a command may take.

    Attributes:
        text: As the user typed it, such as "5m".
        seconds: The same as a number.
    """

    text: str
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read hours, minutes and seconds, each with its unit: "90s", "5m", "1h30m", "1.5h".

        Raises:
            ConfigError: If it is not of this form, or no time at all.
        """
        number = r"(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)"
        found = re.fullmatch(rf"{number}h)?{number}m)?{number}s)?", text.strip())
        seconds = 0.0
        if found is not None:
            hours, minutes, rest = (float(part or 0) for part in found.groups())
            seconds = 3600 * hours + 60 * minutes + rest
        if seconds <= 0:
            raise ConfigError(
                f"--time-budget {text!r} is not a time",
                f"did you mean {text.strip()}m or {text.strip()}s?"
                if text.strip().isdecimal() and int(text)
                else "type it as 90s, 5m, 1h or 1h30m",
            )
        return cls(text=text.strip(), seconds=seconds)


def _as_time_budget(value: Any) -> Any:
    return TimeBudget.parse(value) if isinstance(value, str) else value


TimeBudgetSetting = Annotated[TimeBudget, BeforeValidator(_as_time_budget)]


class _Machine(_Frozen):
    """Settings that say where to compute; none changes what is computed, up to rounding."""

    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    workers: int | None = Field(None, ge=1, le=256)
    offline: bool = False
    weights: dict[str, Path] = Field(default_factory=dict)
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=1)

    @field_serializer("weights")
    def _names_only(self, weights: dict[str, Path]) -> dict[str, str]:
        """Keep absolute paths of this machine out of whatever is published."""
        return {name: path.name for name, path in weights.items()}


class Effort(_Frozen):
    """Counts and rates of the bi-level loop (method section 3).

    Attributes:
        rounds: Rounds of the loop; the curriculum splits them into three stages.
        outer_steps: Outer updates of the noise in each round.
        batch_size: Images in each inner and outer step.
        inner_lr: Rate of the surrogate's SGD step.
        outer_lr: Rate of Adam on the noise at the start; a cosine takes it down.
    """

    rounds: int = Field(ge=1)
    outer_steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    inner_lr: float = Field(gt=0)
    outer_lr: float = Field(gt=0)


EFFORTS: dict[Preset, Effort] = {
    Preset.QUICK: Effort(rounds=54, outer_steps=12, batch_size=64, inner_lr=0.02, outer_lr=0.2),
    Preset.STANDARD: Effort(rounds=60, outer_steps=12, batch_size=128, inner_lr=0.02, outer_lr=0.2),
    Preset.STRONG: Effort(rounds=180, outer_steps=12, batch_size=128, inner_lr=0.02, outer_lr=0.2),
}


def _as_harden(value: Any) -> Any:
    """Read "jpeg,grey".

    Raises:
        ConfigError: If a name is unknown.
    """
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in list(Harden)]
    if unknown:
        raise ConfigError(
            f"--harden does not know {', '.join(map(repr, unknown))}",
            f"name some of {', '.join(Harden)}, with commas between"
            + ("; --mode sample is what survives projection" if "projection" in unknown else ""),
        )
    return tuple(dict.fromkeys(names))


HardenSetting = Annotated[tuple[Harden, ...], BeforeValidator(_as_harden)]


class RunConfig(_Machine):
    """Settings of `protect run`.

    Attributes:
        source: Folder of pictures.
        output: Folder to write; its sibling `<output>.state` holds the private state.
        labels: CSV of `file_name,label`; None for class folders or a metadata file in the source.
        manifest: File to write the manifest to; None for `manifest.json` beside the pictures.
        eps: Budget.
        surrogate: Backbone the noise is optimised against.
        preset: Effort, where `rounds`, `outer_steps` and `batch_size` do not say otherwise.
        targets: Policy that picks the incorrect class of each sample.
        binding: By what the outer step binds.
        mode: Whether the pictures of a class share their noise.
        harden: Changes of the pictures that the noise is optimised to survive.
        time_budget: Wall-clock time that the rounds are planned for instead; None for none.
        size: Side in pixels at which the surrogate sees the pictures; None picks it from them.
        seed: Every random draw derives from it.
        rights: What every published picture states on data mining; None for nothing.
        on_error: What to do about pictures that cannot be protected.
        existing: What to do about an output folder that is not empty.
        device: "auto", "cpu", "mps", "cuda" or "cuda:N".
        workers: Threads that decode and encode; None for one per core, at most 8.
        offline: Never download weights.
        weights: Weight file of a backbone, by the backbone's name.
        max_pixels: Pictures of more pixels are refused as decompression bombs.
    """

    source: Path
    output: Path = DEFAULT_OUTPUT
    labels: Path | None = None
    manifest: Path | None = None
    eps: EpsSetting = Eps.parse("8/255")
    surrogate: str = DEFAULT_BACKBONE
    preset: Preset = Preset.STANDARD
    targets: Targets = Targets.RANDOM
    binding: Binding = Binding.FEATURES
    mode: NoiseMode = NoiseMode.CLASS
    harden: HardenSetting = ()
    rounds: int | None = Field(None, ge=1)
    outer_steps: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=2, le=LARGEST_BATCH)
    time_budget: TimeBudgetSetting | None = None
    size: int | None = Field(None, ge=32, le=1024)
    seed: int = Field(0, ge=0, lt=2**31)
    rights: Rights | None = None
    on_error: OnError = OnError.STOP
    existing: Existing = Existing.REFUSE

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.time_budget is not None and self.rounds is not None:
            raise ConfigError("--rounds and --time-budget exclude each other", "give one of them")
        return self

    @property
    def effort(self) -> Effort:
        """The preset's counts with this config's own on top."""
        own = {
            "rounds": self.rounds,
            "outer_steps": self.outer_steps,
            "batch_size": self.batch_size,
        }
        changed = {name: value for name, value in own.items() if value is not None}
        return EFFORTS[self.preset].model_copy(update=changed)


class VerifyConfig(_Machine):
    """Settings of `protect verify`.

    Attributes:
        protected: Folder that `protect run` wrote, or any labelled folder if `clean` is given.
        backbones: Networks to train.
        tier: Which cells are run; None for "quick", or for the modes and attacks that are named.
        modes: Training modes to run instead of a tier.
        attacks: Attacks to run instead of a tier, by name.
        manifest: Manifest of the folder; None to look for it.
        clean: The originals; None for the folder that `protect run` recorded.
        test: Clean held-out pictures in class folders; None splits the originals.
        test_fraction: Share of the originals held out for testing where `test` is None.
        clean_fraction: Share of the originals that a stranger also has, in the modes "refit" and
            "clean-mix".
        epochs: Passes of full fine-tuning; None for the recipe's own. Other modes follow it.
        batch_size: Pictures a step; None for the recipe's own.
        lr: Learning rate of full fine-tuning; None for the recipe's own. Those of other modes keep
            their proportion to it; the published one takes it as it is.
        size: Side in pixels of the network's input; None for the size that `run` used, or the
            network's own where it accepts one only.
        max_retained: Largest share of the control's learning that still counts as protected.
        seed: Of the split, the new heads, the batches and the augmentation.
        seeds: How many times each cell is trained, with seeds from `seed` on.
        cache: Keep finished trainings, and find them again.
        results: Folder that keeps them; None for the one beside `protected`. Verifications of
            several folders that share one train each control once.
        shard: Which part of the cells to run; None for all.
        merge: Train nothing; put the report together from what shards have kept.
        report: HTML file to write; None for none.
        junit: JUnit XML file to write; None for none.
    """

    protected: Path
    backbones: tuple[str, ...] = (DEFAULT_BACKBONE,)
    tier: Tier | None = None
    modes: tuple[Mode, ...] = ()
    attacks: tuple[str, ...] = ()
    manifest: Path | None = None
    clean: Path | None = None
    test: Path | None = None
    test_fraction: float = Field(0.25, gt=0, lt=1)
    clean_fraction: float = Field(0.05, gt=0, lt=1)
    epochs: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=2, le=LARGEST_BATCH)
    lr: float | None = Field(None, gt=0, le=LARGEST_RATE)
    size: int | None = Field(None, ge=32, le=1024)
    max_retained: float = Field(0.3, ge=0, le=1)
    seed: int = Field(0, ge=0, lt=2**31)
    seeds: int = Field(1, ge=1, le=100)
    cache: bool = True
    results: Path | None = None
    shard: ShardSetting | None = None
    merge: bool = False
    report: Path | None = None
    junit: Path | None = None

    @model_validator(mode="after")
    def _has_backbones(self) -> Self:
        if not self.backbones:
            raise ValueError("at least one backbone is needed")
        return self

    @model_validator(mode="after")
    def _has_one_role(self) -> Self:
        if self.shard and self.merge:
            raise ConfigError("--shard and --merge exclude each other", "give one of them")
        if (self.shard or self.merge) and not self.cache:
            raise ConfigError(
                "shards meet in the results that are kept, and --no-cache keeps none",
                "leave --no-cache out",
            )
        if self.results and not self.cache:
            raise ConfigError(
                "--results names where to keep results, and --no-cache keeps none",
                "give one of them",
            )
        return self


class CheckConfig(_Frozen):
    """Settings of `protect check`.

    Attributes:
        protected: Folder that `protect run` wrote.
        source: The originals; None for the folder that `protect run` recorded.
        manifest: Manifest of the folder; None to look for it.
        workers: Threads that decode and hash.
    """

    protected: Path
    source: Path | None = None
    manifest: Path | None = None
    workers: int | None = Field(None, ge=1, le=256)


class PreviewConfig(_Frozen):
    """Settings of `protect preview`.

    Attributes:
        protected: Folder that `protect run` wrote, or any labelled folder if `clean` is given.
        output: PNG file to write.
        manifest: Manifest of the folder; None to look for it.
        clean: The originals; None for the folder that `protect run` recorded.
        per_class: Pictures of each class.
        classes: Names of the classes to show; none for all.
        max_pixels: Larger pictures are refused.
    """

    protected: Path
    output: Path
    manifest: Path | None = None
    clean: Path | None = None
    per_class: int = Field(2, ge=1, le=1000)
    classes: tuple[str, ...] = ()
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=1)


def build(kind: type[Config], **settings: Any) -> Config:
    """Make a config of `kind`, reporting every impossible setting at once.

    Raises:
        ConfigError: One line per setting that is wrong.
    """
    try:
        return kind(**settings)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, item['loc'])) or kind.__name__}: {item['msg']}"
            for item in error.errors()
        ]
        raise ConfigError("some settings are impossible", "see --help", lines) from None
