"""Which commands there are."""

from typing import Annotated

import typer

from protect import __version__
from protect.cli.backbones import backbones
from protect.cli.check import check
from protect.cli.preview import preview
from protect.cli.run import run
from protect.cli.verify import verify

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Protect an image dataset from being trained on, and verify that the protection holds.",
    epilog="Exit status: 0 good, 1 the answer is no, 2 bad flags or input, 3 this machine lacks "
    "something, 70 a defect of protect, 130 interrupted.",
)
app.command(epilog="Example: protect run ./photos --eps 8/255")(run)
app.command(epilog="Example: protect verify ./protected --backbone vit_b_16")(verify)
app.command(epilog="Example: protect preview ./protected -o sheet.png")(preview)
app.command(epilog="Example: protect backbones vit")(backbones)
app.command(epilog="Example: protect check ./protected")(check)


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
