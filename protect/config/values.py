"""Values that are typed as text, each with its meaning and its limits.

Owns the meaning of `--eps`. Must not import torch.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from protect.config.choices import Harden
from protect.errors import ConfigError

Item = TypeVar("Item")

LEVELS_PER_UNIT = 255
LARGEST_BATCH = 2**31 - 1
"""Far more than any memory holds, and the largest count that PyTorch takes everywhere."""
AUTO: Final = "auto"
"""What is typed for what the program is to find out."""

BatchSetting = Annotated[int, Field(ge=2, le=LARGEST_BATCH)] | Literal["auto"]


class Frozen(BaseModel):
    """Settings that cannot change any more, and that refuse what they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_path(value: Any) -> Any:
    """Refuse an empty string, which as a path would be the current folder."""
    if value == "":
        raise ValueError("is empty")
    return value


PathSetting = Annotated[Path, BeforeValidator(_as_path)]


class Eps(Frozen):
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


class Shard(Frozen):
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


class TimeBudget(Frozen):
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


NOTHING = "none"
"""In place of a list of names."""


def _as_harden(value: Any) -> Any:
    """Read "jpeg,grey", "none" or "auto".

    Raises:
        ConfigError: If a name is unknown, or there is none.
    """
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--harden {value!r} names nothing", f"type {NOTHING} for nothing")
    if names == [AUTO]:
        return AUTO
    if names == [NOTHING]:
        return ()
    unknown = [name for name in names if name not in list(Harden)]
    if unknown:
        raise ConfigError(
            f"--harden does not know {', '.join(map(repr, unknown))}",
            f"name some of {', '.join(Harden)}, with commas between, or {NOTHING}, or {AUTO}"
            + ("; --mode sample is what survives projection" if "projection" in unknown else ""),
        )
    return tuple(names)


def _each_once(value: tuple[Harden, ...] | Literal["auto"]) -> tuple[Harden, ...] | Literal["auto"]:
    return value if value == AUTO else tuple(dict.fromkeys(value))


HardenSetting = Annotated[
    tuple[Harden, ...] | Literal["auto"], BeforeValidator(_as_harden), AfterValidator(_each_once)
]
