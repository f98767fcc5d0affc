"""`protect verify`: flags to a config, config to the recipe, report to words and a status."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from protect.cli.answers import answered, kept, stopped
from protect.cli.hints import typed
from protect.cli.options import (
    METHOD,
    OUTPUT,
    AsJson,
    Device,
    ManifestFile,
    NoColour,
    Offline,
    Quiet,
    Seed,
    Size,
    WeightFiles,
    Workers,
    weight_files,
)
from protect.cli.settings import ConfigFile, PrintConfig, print_settings
from protect.config.choices import DEFAULT_BACKBONE, Mode, Tier
from protect.console import Screen
from protect.errors import ExitCode
from protect.events import Notice
from protect.system.processes import refuse_several

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file whose Markdown GitHub shows beside a job."""

SEVERAL = "Several machines"
HARDER = {"quick": "ci", "ci": "release"}
"""What to try next on a folder that has passed a tier."""


def verify(
    ctx: typer.Context,
    protected: Annotated[Path, typer.Argument(help="Folder that `protect run` wrote.")],
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            help="Network to fine-tune, as torchvision:NAME, timm:NAME or NAME; may be repeated. "
            f"{DEFAULT_BACKBONE} if not given."
        ),
    ] = None,
    tier: Annotated[
        Tier | None,
        typer.Option(
            help="How much is tried: quick (if nothing is named), ci or release; see README."
        ),
    ] = None,
    mode: Annotated[
        list[Mode] | None,
        typer.Option(help="Training mode to run instead of a tier; may be repeated."),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Attack on the noise to run instead of a tier, such as jpeg10; may be repeated."
        ),
    ] = None,
    manifest: ManifestFile = None,
    clean: Annotated[
        Path | None,
        typer.Option(
            help="The originals; the recorded source if not given. With it any folder can be "
            "verified, also one without a manifest."
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Clean pictures to test on, in class folders or with a metadata.csv; a part of "
            "the originals, which the noise has seen, is held out if not given."
        ),
    ] = None,
    test_fraction: Annotated[
        float, typer.Option(help="Share of the originals to hold out.", rich_help_panel=METHOD)
    ] = 0.25,
    max_retained: Annotated[
        float,
        typer.Option(help="Largest share of the control's learning that counts as protected."),
    ] = 0.3,
    every_class: Annotated[
        bool,
        typer.Option(
            "--every-class",
            help="Pass only if of no single class more is retained, either.",
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=METHOD,
            help="Passes of full fine-tuning over the training pictures; those of other modes keep "
            "their proportion to it.",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=METHOD,
            help="Learning rate of full fine-tuning at the start; those of other modes keep their "
            "proportion to it.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", help="Pictures a step.", rich_help_panel=METHOD),
    ] = None,
    clean_fraction: Annotated[
        float,
        typer.Option(
            help="Share of the originals a stranger has in modes refit and clean-mix.",
            rich_help_panel=METHOD,
        ),
    ] = 0.05,
    size: Size = None,
    seed: Seed = 0,
    seeds: Annotated[
        int, typer.Option(help="Train every cell this many times.", rich_help_panel=METHOD)
    ] = 1,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache", help="Find finished trainings again.", rich_help_panel=METHOD
        ),
    ] = True,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Keep finished trainings here, in place of PROTECTED.state/verify. Folders with "
            "the same originals that share it train each control once.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Run only the cells I, I+N, I+2N, ... and judge those only; then --merge.",
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="Train nothing; judge all from what the shards have kept. Give the other flags "
            "as the shards had them; the --device that they computed on need not be here.",
            rich_help_panel=SEVERAL,
        ),
    ] = False,
    device: Device = "auto",
    workers: Workers = None,
    weights: WeightFiles = None,
    offline: Offline = False,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page here.", rich_help_panel=OUTPUT)
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML here.", rich_help_panel=OUTPUT)
    ] = None,
    config_file: ConfigFile = None,
    print_config: PrintConfig = False,
    json: AsJson = False,
    quiet: Quiet = False,
    no_colour: NoColour = False,
) -> None:
    """Train backbones on the protected pictures, attack the noise, and judge what they learned.

    A control goes through the same on the originals; both are tested on clean pictures. Exits with
    0 only if every cell retained at most --max-retained of its control's learning, on average of
    the classes, and with --every-class of each. Finished trainings are kept in
    PROTECTED.state/verify, so that an interrupted verification goes on.

    Shards on machines without a common disk: copy the files of that folder together before --merge.
    Each is named by what was trained, so that none replaces another. The exit status of a shard is
    that of its own cells, and 0 if it has none.
    """
    screen = Screen(quiet, no_colour)
    interrupted = partial(kept, typed(ctx)) if cache else stopped
    with answered(screen, interrupted, config_file):
        refuse_several("verify", "run it without torchrun; its cells are split by --shard I/N")
        from protect.config.settings import VerifyConfig, build

        config = build(
            VerifyConfig,
            protected=protected,
            backbones=tuple(backbone) if backbone else (DEFAULT_BACKBONE,),
            tier=tier,
            modes=tuple(mode or ()),
            attacks=tuple(attack or ()),
            manifest=manifest,
            clean=clean,
            test=test,
            test_fraction=test_fraction,
            clean_fraction=clean_fraction,
            max_retained=max_retained,
            every_class=every_class,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            size=size,
            seed=seed,
            seeds=seeds,
            cache=cache,
            results=results,
            shard=shard,
            merge=merge,
            device=device,
            workers=workers,
            weights=weight_files(weights),
            offline=offline,
            report=report,
            junit=junit,
        )
        if print_config:
            print_settings(ctx, screen)
        from protect.report.markdown import markdown_summary
        from protect.report.tables import verify_summary
        from protect.verify import verify_folder

        result = verify_folder(config, screen.listen)
        if summary := os.environ.get(SUMMARY_VARIABLE):
            try:
                with Path(summary).open("a", encoding="utf-8") as file:
                    file.write(markdown_summary(result))
            except OSError as error:
                text = f"{SUMMARY_VARIABLE} names {summary}, which cannot be written: {error}"
                screen.listen(Notice(text, "warning"))
        if json:
            screen.document(result)
        else:
            screen.result(verify_summary(result))
        if shard:
            merge_all = typed(ctx, without=["shard"], plus=["--merge"])
            screen.hint(f"when all shards are done: {merge_all}")
        elif result.verdict != "pass" and report is None and cache:
            # Finished trainings are kept, so this takes no time.
            screen.hint(typed(ctx, plus=["--report", "report.html"]))
        elif result.verdict == "pass" and result.tier in HARDER:
            screen.hint(typed(ctx, without=["tier"], plus=["--tier", HARDER[result.tier]]))
        raise typer.Exit(ExitCode.OK if result.verdict == "pass" else ExitCode.NEGATIVE)
