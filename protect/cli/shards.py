"""`protect unpack` and `protect pack`: tar shards to a folder and back."""

from pathlib import Path
from typing import Annotated

import typer

from protect.cli.answers import answered
from protect.cli.hints import command
from protect.cli.options import AsJson, ManifestFile, NoColour, Quiet
from protect.console import Screen
from protect.errors import ExitCode

Shards = Annotated[
    list[Path],
    typer.Argument(help="Tar files as WebDataset has them, or folders of them; uncompressed."),
]


def unpack(
    shards: Shards,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    label: Annotated[
        str | None,
        typer.Option(
            metavar="EXTENSION",
            help='Member of a sample that tells its class, such as txt; of json its "label". '
            "cls, else json, if not given.",
        ),
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
    no_colour: NoColour = False,
) -> None:
    """Take the pictures out of tar shards, into a folder that `protect run` reads.

    Each shard becomes a folder; metadata.csv tells the classes. `protect pack` puts the protected
    pictures back.
    """
    screen = Screen(quiet, no_colour)
    with answered(screen):
        from protect.data.tars import find_shards, unpack_shards
        from protect.documents.shard_report import ShardReport

        count = unpack_shards(find_shards(shards), output, label, screen.listen)
        if json:
            screen.document(ShardReport(n_pictures=count, carried={}, left_out=()))
        else:
            screen.result(f"{count} pictures")
        screen.hint(command("run", output))


def pack(
    protected: Annotated[
        Path, typer.Argument(help="What `protect run` made of the unpacked folder.")
    ],
    shards: Shards,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    manifest: ManifestFile = None,
    json: AsJson = False,
    quiet: Quiet = False,
    no_colour: NoColour = False,
) -> None:
    """Write the shards again, with protected pictures in them.

    Shards, keys and order stay; every picture is a PNG, all other members are as they were. A
    sample whose picture was not protected is left out, and the exit status is then 1.
    """
    screen = Screen(quiet, no_colour)
    with answered(screen):
        from protect.data.tars import find_shards
        from protect.documents.manifest import Manifest
        from protect.output.manifest_place import find_manifest
        from protect.output.pack import pack_shards
        from protect.report.tables import shards_summary

        record = Manifest.read(find_manifest(protected, manifest))
        packed = pack_shards(protected, record, find_shards(shards), output, screen.listen)
        if json:
            screen.document(packed)
        else:
            screen.result(shards_summary(packed))
        raise typer.Exit(ExitCode.NEGATIVE if packed.left_out else ExitCode.OK)
