"""Options that several commands have, each defined once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from protect.errors import ConfigError

METHOD = "How it is computed"
MACHINE = "Machine"
OUTPUT = "Output"
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.", rich_help_panel=MACHINE
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        help="Threads, or processes, that decode and encode; one per core, at most 8, if not "
        "given.",
        rich_help_panel=MACHINE,
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Never download weights.", rich_help_panel=MACHINE),
]
WeightFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="NAME=FILE",
        help="Weight file of a backbone; may be repeated.",
        rich_help_panel=MACHINE,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Every random draw derives from it.", rich_help_panel=METHOD)
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Side in pixels at which the network sees the pictures.", rich_help_panel=METHOD
    ),
]
ManifestFile = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        help="Manifest of the folder; looked for there, and where its run put it, if not given.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as one JSON document on stdout.", rich_help_panel=OUTPUT
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Results, warnings and errors only.", rich_help_panel=OUTPUT
    ),
]
NoColour = Annotated[
    bool,
    typer.Option(
        "--no-color", help="No colours, as where NO_COLOR is set.", rich_help_panel=OUTPUT
    ),
]


def given(ctx: typer.Context, **settings: Any) -> dict[str, Any]:
    """Return those settings that do not merely have the default of their option."""
    return {
        name: value
        for name, value in settings.items()
        if getattr(ctx.get_parameter_source(name), "name", "") != "DEFAULT"
    }


def number_or_auto(text: str | int) -> int | str:
    """Read a number that may be left to be found by trying.

    Raises:
        BadParameter: If it is neither a number nor "auto".
    """
    if text == "auto":
        return text
    try:
        return int(text)
    except (ValueError, TypeError, OverflowError):  # a file has dates and infinities, too
        raise typer.BadParameter(f"{text!r} is neither a number nor 'auto'") from None


def weight_files(pairs: list[str] | None) -> dict[str, Path]:
    """Read NAME=FILE pairs.

    Raises:
        ConfigError: If one is not of this form, or a name is given twice.
    """
    files: dict[str, Path] = {}
    for pair in pairs or ():
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise ConfigError(
                f"--weights {pair!r} names no backbone", "type --weights vit_b_16=FILE"
            )
        if name in files:
            raise ConfigError(f"--weights names {name} twice", "give one file for each backbone")
        files[name] = Path(file)
    return files
