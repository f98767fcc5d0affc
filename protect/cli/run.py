"""`protect run`: flags to a config, config to the recipe, manifest to words."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protect.cli.answers import answered, kept
from protect.cli.hints import command, typed
from protect.cli.options import (
    METHOD,
    AsJson,
    Device,
    NoColour,
    Offline,
    Quiet,
    Size,
    WeightFiles,
    Workers,
    given,
    number_or_auto,
    weight_files,
)
from protect.cli.settings import ConfigFile, PrintConfig, print_settings
from protect.config.choices import (
    DEFAULT_BACKBONE,
    DEFAULT_MAX_PIXELS,
    DEFAULT_OUTPUT,
    Binding,
    Existing,
    NoiseMode,
    OnError,
    Preset,
    Rights,
    Targets,
)
from protect.console import Screen
from protect.errors import ConfigError, ExitCode, ProtectError
from protect.events import Event, PartStarted
from protect.system.processes import is_first

if TYPE_CHECKING:
    from protect.config.settings import RunConfig

RESUMED = (("resume", "overwrite", "seed"), ("--resume",))
"""What to leave out and to add, for the same command to go on; the seed is kept."""


def run(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(help="Folder of pictures, one sub-folder per class.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write.")
    ] = DEFAULT_OUTPUT,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with columns file_name,label; overrules the folders."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the manifest here in place of OUTPUT, to publish the folder without it.",
        ),
    ] = None,
    eps: Annotated[
        str, typer.Option(help="Largest change of any channel of any pixel, as 8/255 or 0.03.")
    ] = "8/255",
    preset: Annotated[Preset, typer.Option(help="Effort.")] = Preset.STANDARD,
    surrogate: Annotated[
        str,
        typer.Option(help="Backbone that the noise is optimised against.", rich_help_panel=METHOD),
    ] = DEFAULT_BACKBONE,
    targets: Annotated[
        Targets,
        typer.Option(help="Which incorrect class each sample is bound to.", rich_help_panel=METHOD),
    ] = Targets.RANDOM,
    binding: Annotated[
        Binding,
        typer.Option(
            help="Bind in feature space, or by the surrogate's head as published.",
            rich_help_panel=METHOD,
        ),
    ] = Binding.FEATURES,
    mode: Annotated[
        NoiseMode,
        typer.Option(help="All pictures of a class carry the same noise, or each its own."),
    ] = NoiseMode.SAMPLE,
    harden: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Changes that the noise shall survive, of jpeg, grey, blur and resize, with "
            "commas between, or none. With jpeg, textures are searched in place of the rounds. "
            "auto: jpeg,blur,resize, or none where rounds are asked for or the preset has no time "
            "for so many classes.",
        ),
    ] = "auto",
    size: Size = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Rounds of the bi-level loop; the preset's if not given, and none after a search "
            "among textures.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            "-b",
            parser=number_or_auto,
            metavar="INTEGER|auto",
            help="Pictures a step, of all processes together; the preset's if not given. auto: "
            "that, or four a class if that is more, as far as memory holds them.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Plan the rounds so that the whole run takes this long, such as 90s, 5m or 1h30m.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Every random draw derives from it, so that a run can be repeated. Keep it to "
            "yourself: with it the noise can be taken off. Drawn, and kept in OUTPUT.state, if not "
            "given.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    rights: Annotated[
        Rights | None,
        typer.Option(
            help="State in every picture, as IPTC/PLUS metadata, that AI training is prohibited; "
            "or all data mining but that of search engines; or all."
        ),
    ] = None,
    on_error: Annotated[
        OnError,
        typer.Option(
            help="What to do about pictures that cannot be protected: stop before any compute, "
            "or leave them out and exit with 1."
        ),
    ] = OnError.STOP,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")
    ] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend",
            help="Protect what was added to the source of a finished run, with the noise and the "
            "settings of that run.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Decode every picture and time a part of the work; say what would be protected, "
            "how long it takes and what room it needs. Writes nothing.",
        ),
    ] = False,
    max_pixels: Annotated[
        int,
        typer.Option(help="Refuse pictures of more pixels as decompression bombs."),
    ] = DEFAULT_MAX_PIXELS,
    device: Device = "auto",
    workers: Workers = None,
    weights: WeightFiles = None,
    offline: Offline = False,
    config_file: ConfigFile = None,
    print_config: PrintConfig = False,
    json: AsJson = False,
    quiet: Quiet = False,
    no_colour: NoColour = False,
) -> None:
    """Write a protected copy of an image folder.

    The copy has the same tree, names and sizes; every picture is a PNG within the budget. Beside
    the pictures lies manifest.json; beside the folder lies OUTPUT.state, which is private.
    """
    screen = Screen(quiet, no_colour)
    watch = _Watch(ctx, screen, extend=extend)
    with answered(screen, watch.interrupted, config_file):
        wishes = {
            Existing.RESUME: resume,
            Existing.EXTEND: extend,
            Existing.OVERWRITE: overwrite,
        }
        chosen = [existing for existing, wanted in wishes.items() if wanted]
        if len(chosen) > 1:
            flags = " and ".join(f"--{existing}" for existing in chosen)
            raise ConfigError(f"{flags} exclude each other", "give one of them")
        from protect.config.settings import RunConfig, build

        settings = given(
            ctx,
            source=source,
            output=output,
            labels=labels,
            manifest=manifest,
            eps=eps,
            preset=preset,
            surrogate=surrogate,
            targets=targets,
            binding=binding,
            mode=mode,
            harden=harden,
            size=size,
            rounds=rounds,
            batch_size=batch_size,
            time_budget=time_budget,
            seed=seed,
            rights=rights,
            on_error=on_error,
            existing=chosen[0] if chosen else Existing.REFUSE,
            max_pixels=max_pixels,
            device=device,
            workers=workers,
            weights=weight_files(weights),
            offline=offline,
        )
        config = build(RunConfig, **settings)
        if print_config:
            print_settings(ctx, screen)
        if dry_run:
            status = _foretell(config, screen, json)
            if status is not ExitCode.USAGE:
                screen.hint(typed(ctx, without=["dry_run"]))
            raise typer.Exit(status)
        from protect.report.tables import run_summary
        from protect.run import protect_folder

        written = protect_folder(config, watch.listen)
        if not is_first():
            return
        if json:
            screen.document(written)
        else:
            screen.result(run_summary(written))
        screen.hint(command("preview", output, "-o", "sheet.png"))
        screen.hint(command("verify", output))
        left_out = written.refused or any(i.status == "unchanged" for i in written.images)
        raise typer.Exit(ExitCode.NEGATIVE if left_out else ExitCode.OK)


class _Watch:
    """Shows what a run tells, and knows whether it has begun: what lies there is its own then."""

    def __init__(self, ctx: typer.Context, screen: Screen, *, extend: bool) -> None:
        self.ctx = ctx
        self.screen = screen
        self.extend = extend
        self.has_begun = extend

    def listen(self, event: Event) -> None:
        """Take one event."""
        self.has_begun |= isinstance(event, PartStarted) and event.number > 1
        self.screen.listen(event)

    def interrupted(self) -> ProtectError:
        """Say what to type after Ctrl-C: the same command, until a run has begun."""
        if not self.has_begun:
            return ProtectError(
                "interrupted before anything was written", f"start again with: {typed(self.ctx)}"
            )
        return kept(typed(self.ctx, without=["seed"]) if self.extend else typed(self.ctx, *RESUMED))


def _foretell(config: "RunConfig", screen: Screen, json: bool) -> ExitCode:
    """Show what a run would do; return the status that it would exit with."""
    from protect.dry_run import dry_run_folder
    from protect.report.dry_run import dry_run_summary

    found = dry_run_folder(config, screen.listen)
    if json:
        screen.document(found)
    else:
        screen.result(dry_run_summary(found))
    return {
        "complete": ExitCode.OK,
        "incomplete": ExitCode.NEGATIVE,
        "refused": ExitCode.USAGE,
    }[found.outcome]
