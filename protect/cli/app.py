"""Which commands there are."""

from collections.abc import Callable
from typing import Annotated

import typer

from protect import __version__
from protect.cli.backbones import backbones
from protect.cli.check import check
from protect.cli.preview import preview
from protect.cli.run import run
from protect.cli.shards import pack, unpack
from protect.cli.verify import verify
from protect.cli.words import Command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Protect an image dataset from being trained on, and verify that the protection holds.",
    epilog="Exit status: 0 good, 1 the answer is no, 2 bad flags or input, 3 this machine lacks "
    "something, 70 a defect of protect, 130 interrupted.",
)


def _add(command: Callable[..., None], *examples: str) -> None:
    """Add a command, with examples below its help, one a paragraph."""
    app.command(cls=Command, epilog="\n\n".join(["Examples:", *examples]))(command)


_add(
    run,
    "protect run ./photos --eps 8/255",
    "protect run ./photos -o ./public --on-error skip --dry-run",
    "protect run --config protect.toml",
)
_add(
    verify,
    "protect verify ./protected --backbone vit_b_16",
    "protect verify ./protected --tier ci --junit results.xml",
    "protect verify ./others --clean ./photos",
)
_add(
    preview,
    "protect preview ./protected -o sheet.png",
    "protect preview ./protected -o cats.png --class cat --per-class 8",
)
_add(check, "protect check ./protected")
_add(backbones, "protect backbones vit")
_add(unpack, "protect unpack ./shards -o ./photos")
_add(pack, "protect pack ./protected ./shards -o ./published")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"protect {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Protect an image dataset from being trained on, and verify that the protection holds."""
