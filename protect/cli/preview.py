"""`protect preview`: flags to a config, config to the recipe, a sheet and words about it."""

from pathlib import Path
from typing import Annotated

import typer

from protect.cli.answers import answered
from protect.cli.hints import verify_next
from protect.cli.options import AsJson, ManifestFile, NoColour, Quiet
from protect.console import Screen


def preview(
    protected: Annotated[Path, typer.Argument(help="Folder that `protect run` wrote.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.png", help="Sheet to write.")
    ] = Path("sheet.png"),
    clean: Annotated[
        Path | None,
        typer.Option(
            "--clean",
            "--source",
            help="The originals; the recorded source if not given. With it any folder can be "
            "shown, also one without a manifest.",
        ),
    ] = None,
    manifest: ManifestFile = None,
    per_class: Annotated[int, typer.Option(help="Pictures of each class.")] = 2,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Show this class only; may be repeated."),
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
    no_colour: NoColour = False,
) -> None:
    """Draw a contact sheet: original, protected, and the difference 16 times enlarged.

    Grey in the difference is no change. The sheet shows originals and noise: keep it to yourself.
    """
    screen = Screen(quiet, no_colour)
    with answered(screen):
        from protect.config.settings import PreviewConfig, build

        config = build(
            PreviewConfig,
            protected=protected,
            output=output,
            manifest=manifest,
            clean=clean,
            per_class=per_class,
            classes=tuple(classes or ()),
        )
        from protect.preview import preview_folder
        from protect.report.tables import preview_summary

        report = preview_folder(config, screen.listen)
        if json:
            screen.document(report)
        else:
            screen.result(preview_summary(report, output))
        screen.hint(verify_next(protected, clean, manifest))
