"""The command line: flags to a config, config to a recipe, result to words and an exit code.

Imports no torch, so that `--help` and a bad flag are answered at once.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from protect import __version__
from protect.config import (
    DEFAULT_BACKBONE,
    DEFAULT_MAX_PIXELS,
    DEFAULT_OUTPUT,
    Binding,
    CheckConfig,
    Existing,
    Mode,
    OnError,
    Preset,
    RunConfig,
    Targets,
    Tier,
    VerifyConfig,
    build,
)
from protect.console import Screen
from protect.errors import ConfigError, ExitCode, MachineError, ProtectError
from protect.events import Notice
from protect.report.markdown import markdown_summary
from protect.report.tables import backbones_summary, check_summary, run_summary, verify_summary

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Protect an image dataset from being trained on, and verify that the protection holds.",
    epilog="Exit status: 0 good, 1 the answer is no, 2 bad flags or input, 3 this machine lacks "
    "something, 70 a defect of protect, 130 interrupted.",
)

TRACEBACK_VARIABLE = "PROTECT_TRACEBACK"
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file whose Markdown GitHub shows beside a job."""

SHARED = "Machine"
Device = Annotated[
    str,
    typer.Option(metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.", rich_help_panel=SHARED),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        help="Threads that decode and encode; one per core, at most 8, if not given.",
        rich_help_panel=SHARED,
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Never download weights.", rich_help_panel=SHARED),
]
WeightFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="NAME=FILE",
        help="Weight file of a backbone; may be repeated.",
        rich_help_panel=SHARED,
    ),
]
Seed = Annotated[int, typer.Option(help="Every random draw derives from it.")]
Size = Annotated[
    int | None,
    typer.Option(help="Side in pixels at which the network sees the pictures."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Results, warnings and errors only.")]


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


@app.command(epilog="Example: protect run ./photos --eps 8/255")
def run(
    source: Annotated[Path, typer.Argument(help="Folder of pictures, one sub-folder per class.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write.")
    ] = DEFAULT_OUTPUT,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with columns file_name,label; overrules the folders."),
    ] = None,
    eps: Annotated[
        str, typer.Option(help="Largest change of any channel of any pixel, as 8/255 or 0.03.")
    ] = "8/255",
    preset: Annotated[Preset, typer.Option(help="Effort.")] = Preset.STANDARD,
    surrogate: Annotated[
        str, typer.Option(help="Backbone that the noise is optimised against.")
    ] = DEFAULT_BACKBONE,
    targets: Annotated[
        Targets, typer.Option(help="Which incorrect class each sample is bound to.")
    ] = Targets.RANDOM,
    binding: Annotated[
        Binding,
        typer.Option(help="Bind in feature space, or by the surrogate's head as published."),
    ] = Binding.FEATURES,
    size: Size = None,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of the bi-level loop; the preset's if not given.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", help="Pictures a step; the preset's if not given."),
    ] = None,
    seed: Seed = 0,
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
    max_pixels: Annotated[
        int,
        typer.Option(help="Refuse pictures of more pixels as decompression bombs."),
    ] = DEFAULT_MAX_PIXELS,
    device: Device = "auto",
    workers: Workers = None,
    weights: WeightFiles = None,
    offline: Offline = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a protected copy of an image folder.

    The copy has the same tree, names and sizes; every picture is a PNG within the budget. Beside
    the pictures lies manifest.json; beside the folder lies OUTPUT.state, which is private.
    """
    screen = Screen(quiet)
    with _answered(screen, interrupted=f"go on with: protect run {source} -o {output} --resume"):
        if resume and overwrite:
            raise ConfigError("--resume and --overwrite exclude each other", "give one of them")
        config = build(
            RunConfig,
            source=source,
            output=output,
            labels=labels,
            eps=eps,
            preset=preset,
            surrogate=surrogate,
            targets=targets,
            binding=binding,
            size=size,
            rounds=rounds,
            batch_size=batch_size,
            seed=seed,
            on_error=on_error,
            existing=Existing.RESUME
            if resume
            else Existing.OVERWRITE
            if overwrite
            else Existing.REFUSE,
            max_pixels=max_pixels,
            device=device,
            workers=workers,
            weights=_weight_files(weights),
            offline=offline,
        )
        from protect.run import protect_folder

        manifest = protect_folder(config, screen.listen)
        if json:
            screen.document(manifest)
        else:
            screen.result(run_summary(manifest))
        screen.hint(f"protect verify {output}")
        left_out = manifest.refused or any(i.status == "unchanged" for i in manifest.images)
        raise typer.Exit(ExitCode.NEGATIVE if left_out else ExitCode.OK)


@app.command(epilog="Example: protect verify ./protected --backbone vit_b_16")
def verify(
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
            help="Clean pictures to test on, in class folders; a part of the originals is held "
            "out if not given."
        ),
    ] = None,
    test_fraction: Annotated[
        float, typer.Option(help="Share of the originals to hold out.")
    ] = 0.25,
    max_retained: Annotated[
        float,
        typer.Option(help="Largest share of the control's learning that counts as protected."),
    ] = 0.3,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training pictures.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of SGD at the start.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "-b", help="Pictures a step.")
    ] = None,
    clean_fraction: Annotated[
        float,
        typer.Option(help="Share of the originals a stranger has in modes refit and clean-mix."),
    ] = 0.05,
    size: Size = None,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(help="Train every cell this many times.")] = 1,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Find finished trainings again.")
    ] = True,
    device: Device = "auto",
    workers: Workers = None,
    weights: WeightFiles = None,
    offline: Offline = False,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page here.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train backbones on the protected pictures, attack the noise, and judge what they learned.

    A control goes through the same on the originals; both are tested on clean pictures. Exits with
    0 only if every cell retained at most --max-retained of its control's learning. Finished
    trainings are kept beside the folder, so that an interrupted verification goes on.
    """
    screen = Screen(quiet)
    with _answered(screen):
        config = build(
            VerifyConfig,
            protected=protected,
            backbones=tuple(backbone) if backbone else (DEFAULT_BACKBONE,),
            tier=tier,
            modes=tuple(mode or ()),
            attacks=tuple(attack or ()),
            clean=clean,
            test=test,
            test_fraction=test_fraction,
            clean_fraction=clean_fraction,
            max_retained=max_retained,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            size=size,
            seed=seed,
            seeds=seeds,
            cache=cache,
            device=device,
            workers=workers,
            weights=_weight_files(weights),
            offline=offline,
            report=report,
            junit=junit,
        )
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
        raise typer.Exit(ExitCode.OK if result.verdict == "pass" else ExitCode.NEGATIVE)


@app.command(epilog="Example: protect backbones vit")
def backbones(
    pattern: Annotated[
        str, typer.Argument(help="Part of a name; without it, what can be used here offline.")
    ] = "",
    json: AsJson = False,
) -> None:
    """List networks for --backbone and --surrogate, and where their weights are looked for."""
    screen = Screen()
    with _answered(screen):
        from protect.models.catalogue import list_backbones

        found = list_backbones(pattern)
        if json:
            screen.document(found)
        else:
            screen.result(backbones_summary(found))


@app.command(epilog="Example: protect check ./protected")
def check(
    protected: Annotated[Path, typer.Argument(help="Folder that `protect run` wrote.")],
    source: Annotated[
        Path | None, typer.Option(help="The originals; the recorded source if not given.")
    ] = None,
    workers: Workers = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare a protected folder with its manifest and its originals; takes seconds.

    Hashes, sizes, labels and counts; the budget is measured again on the pixels on disk.
    """
    screen = Screen(quiet)
    with _answered(screen):
        config = build(CheckConfig, protected=protected, source=source, workers=workers)
        from protect.check import check_folder

        report = check_folder(config, screen.listen)
        if json:
            screen.document(report)
        else:
            screen.result(check_summary(report))
        raise typer.Exit(ExitCode.OK if report.ok else ExitCode.NEGATIVE)


def _weight_files(pairs: list[str] | None) -> dict[str, Any]:
    files: dict[str, Any] = {}
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


@contextmanager
def _answered(screen: Screen, interrupted: str = "") -> Iterator[None]:
    """Turn whatever goes wrong into words and the documented exit status."""
    try:
        yield
    except typer.Exit:
        raise
    except ProtectError as error:
        screen.error(error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        screen.error(ProtectError("interrupted; what was finished is kept", interrupted))
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        problem = _out_of_something(error) or _defect(error)
        screen.error(problem)
        raise typer.Exit(problem.exit_code) from None


def _out_of_something(error: Exception) -> ProtectError | None:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return MachineError("out of memory", "try a smaller --batch-size or a smaller --size")
    if isinstance(error, OSError):
        return MachineError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    return None


def _defect(error: Exception) -> ProtectError:
    problem = ProtectError(
        f"a defect of protect: {type(error).__name__}: {error}",
        f"please report it with the output of the same command under {TRACEBACK_VARIABLE}=1",
    )
    problem.exit_code = ExitCode.INTERNAL
    return problem
