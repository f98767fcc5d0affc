"""`protect backbones`: which networks can be named."""

from typing import Annotated

import typer

from protect.cli.answers import answered
from protect.cli.hints import command
from protect.cli.options import AsJson, NoColour, Quiet
from protect.config.choices import DEFAULT_OUTPUT
from protect.console import Screen


def backbones(
    pattern: Annotated[
        str, typer.Argument(help="Part of a name; without it, what can be used here offline.")
    ] = "",
    json: AsJson = False,
    quiet: Quiet = False,
    no_colour: NoColour = False,
) -> None:
    """List networks for --backbone and --surrogate, and where their weights are looked for."""
    screen = Screen(quiet, no_colour)
    with answered(screen):
        from protect.models.catalogue import list_backbones
        from protect.report.tables import backbones_summary

        found = list_backbones(pattern)
        if json:
            screen.document(found)
        else:
            screen.result(backbones_summary(found))
        if found.entries:
            here = [entry for entry in found.entries if entry.origin] or found.entries
            screen.hint(command("verify", DEFAULT_OUTPUT, "--backbone", here[0].name))
