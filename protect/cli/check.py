"""`protect check`: flags to a config, config to the check, report to words and a status."""

from pathlib import Path
from typing import Annotated

import typer

from protect.cli.answers import answered
from protect.cli.hints import verify_next
from protect.cli.options import AsJson, ManifestFile, NoColour, Quiet, Workers
from protect.console import Screen
from protect.errors import ExitCode


def check(
    protected: Annotated[Path, typer.Argument(help="Folder that `protect run` wrote.")],
    source: Annotated[
        Path | None, typer.Option(help="The originals; the recorded source if not given.")
    ] = None,
    manifest: ManifestFile = None,
    workers: Workers = None,
    json: AsJson = False,
    quiet: Quiet = False,
    no_colour: NoColour = False,
) -> None:
    """Compare a protected folder with its manifest and its originals; trains nothing.

    Hashes, sizes, labels and counts; the budget is measured again on the pixels on disk.
    """
    screen = Screen(quiet, no_colour)
    with answered(screen):
        from protect.config.settings import CheckConfig, build

        config = build(
            CheckConfig, protected=protected, source=source, manifest=manifest, workers=workers
        )
        from protect.check import check_folder
        from protect.report.tables import check_summary

        report = check_folder(config, screen.listen)
        if json:
            screen.document(report)
        else:
            screen.result(check_summary(report))
        if report.ok:
            screen.hint(verify_next(protected, source, manifest))
        raise typer.Exit(ExitCode.OK if report.ok else ExitCode.NEGATIVE)
