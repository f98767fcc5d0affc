"""The output folder: may it be used, what does it hold already, and whose is it."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from protect.config.choices import Existing
from protect.config.settings import SECRET
from protect.data.discover import Listing
from protect.data.walk import printable_name
from protect.documents.manifest import MANIFEST_NAME
from protect.errors import ConfigError, InputError, MachineError, OutputError
from protect.output.manifest_file import is_our_manifest, published
from protect.output.state_folder import RunRecord, StateFolder
from protect.system.files import (
    is_within,
    locked,
    real_path,
    remove_stale_temporaries,
)


def refuse_bad_places(source: Path, output: Path, labels: Path | None = None) -> None:
    """Stop where writing would touch the source, or would protect what is protected already.

    Raises:
        InputError: If the place of the source or of the label table has a name that no document
            can hold.
        OutputError: If one of the folders lies in the other, the source is a protected folder, or a
            file lies where the state folder would be.
        MachineError: If the state folder of the source or of the output may not be opened.
    """
    for given in filter(None, (source, labels)):
        if printable_name(str(real_path(given))) != str(real_path(given)):
            raise InputError(
                f"the path {real_path(given)} is not valid UTF-8, so it cannot be recorded",
                "rename its folders first",
            )
    state = StateFolder.of(output).path
    if state.exists() and not state.is_dir():
        raise OutputError(
            f"{state} is a file where the state folder of {output} would be",
            "move it elsewhere, or choose another folder with -o",
        )
    for ours, what in ((output, "output"), (state, "state")):
        if is_within(ours, source):
            raise OutputError(
                f"the {what} folder {ours} lies inside the source {source}",
                "choose a folder elsewhere with -o",
            )
        if is_within(source, ours):
            raise OutputError(
                f"the source {source} lies inside the {what} folder {ours}",
                "choose a folder elsewhere with -o",
            )
    place = real_path(source)
    for folder in (place, *place.parents):
        if _is_protected(folder, is_source=folder == place):
            raise OutputError(
                f"{folder} was written by protect: protecting it twice would break the budget",
                "name the folder of the originals",
            )


def refuse_class_names(listing: Listing) -> None:
    """Stop where a class folder would be published where a file of this tool is.

    Raises:
        InputError: If so.
    """
    ours = {MANIFEST_NAME, *filter(None, [listing.labels.file])}
    for first in {sample.name.partition("/")[0] for sample in listing.samples}:
        if first.lower() in ours:
            raise InputError(
                f"{listing.root / first} has the name of a file that protect writes beside the "
                "pictures",
                "rename this folder",
            )


def refuse_occupied(output: Path, existing: Existing) -> None:
    """Stop where the output holds something and the user did not say what to do about it.

    Raises:
        OutputError: If it is a file, or not empty and neither resumed nor overwritten, or to be
            overwritten but not written by this tool, or if a file of this tool is a folder there.
    """
    state = StateFolder.of(output)
    if output.exists() and not output.is_dir():
        raise OutputError(f"the output {output} is a file", "choose a folder with -o")
    if output.is_symlink() and not output.exists():
        raise OutputError(
            f"the output {output} is a symbolic link that leads nowhere", "choose a folder with -o"
        )
    for file in (*state.files, output / MANIFEST_NAME):
        if file.is_dir():
            raise OutputError(
                f"{file} is a folder where protect keeps a file",
                "move it elsewhere, or choose another folder with -o",
            )
    occupied = (output.is_dir() and any(output.iterdir())) or state.run.is_file()
    ours = is_our_manifest(output / MANIFEST_NAME) or state.run.is_file()
    if occupied and existing is Existing.REFUSE:
        raise OutputError(
            f"the output folder {output} is not empty"
            if output.is_dir()
            else f"{state.path} holds the private state of an earlier run into {output}",
            "add --resume to go on with it, --extend for what was added to its source since, "
            "--overwrite to replace it, or choose another with -o"
            if ours
            else "choose another folder with -o",
        )
    if occupied and not ours:
        raise OutputError(
            f"the output folder {output} holds files that protect did not write",
            "choose another folder with -o; they are not touched",
        )


def require_report_place(path: Path, folders: Iterable[Path]) -> None:
    """Refuse a place that a report cannot be written to, or must not be.

    Args:
        path: The file to write; an earlier one there is replaced.
        folders: Of pictures.

    Raises:
        ConfigError: If it is a folder, lies in none that can be written, or among the pictures.
    """
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written", "name a file in a folder that exists")
    if any(is_within(path, folder) for folder in folders):
        raise ConfigError(f"{path} lies among the pictures", "name a file elsewhere")


def remove_previous(output: Path) -> None:
    """Remove what an earlier run wrote here, and nothing else.

    Folders that are empty afterwards go too; files of other origin stay.
    """
    state = StateFolder.of(output)
    names = {record.output for record in state.read_journal().values()}
    names |= published(output / MANIFEST_NAME)
    with suppress(OutputError):
        if (record := state.read_run()) is not None:
            names |= set(record.unfinished)
            if record.label_file is not None:
                names.add(record.label_file)
            if record.manifest is not None and state.has_written(record.manifest):
                record.manifest.unlink()
    for name in names:
        target = output / name
        if is_within(target, output):
            target.unlink(missing_ok=True)
    (output / MANIFEST_NAME).unlink(missing_ok=True)
    if output.is_dir():
        for folder in sorted(_folders(output), key=lambda path: len(path.parts), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
    for file in state.files:
        file.unlink(missing_ok=True)


@contextmanager
def only_run(output: Path) -> Iterator[None]:
    """Keep every other run away from an output folder, also those of other processes.

    The decoded pictures are gone afterwards, as is a state folder left empty.

    Raises:
        OutputError: If another run is writing there.
        MachineError: If nothing can be written beside the output.
    """
    state = StateFolder.of(output)
    try:
        with locked(state.lock) as is_ours:
            if not is_ours:
                raise OutputError(
                    f"another run is writing to {output} right now",
                    "wait until it is over, or choose another folder with -o",
                )
            # One that was killed left them.
            _remove_passing(state)
            try:
                yield
            finally:
                _remove_passing(state)
    finally:
        with suppress(OSError):
            state.path.rmdir()


def may_resume(output: Path, existing: Existing, settings: Mapping[str, Any]) -> bool:
    """Say whether an earlier run is to be resumed, and make sure that it is the same run.

    Args:
        output: The output folder.
        existing: What to do about an earlier run.
        settings: All that changes the published bytes, as JSON values.

    Raises:
        OutputError: If it was begun with other settings, naming each difference, or was extended
            since, or what it noted of itself is gone.
    """
    if existing is not Existing.RESUME:
        return False
    state = StateFolder.of(output)
    before = state.read_run()
    if before is None:
        if is_our_manifest(output / MANIFEST_NAME):
            raise OutputError(
                f"{state.run} is gone, so the finished run in {output} cannot be resumed",
                "put that folder back where it was, or replace the output, with other noise, with "
                "--overwrite",
            )
        return False
    if before.extended:
        raise OutputError(
            f"the run in {output} was finished and extended, so there is nothing to resume",
            "go on with --extend, or replace the output with --overwrite",
        )
    old = before.settings
    changed = [
        difference(name, repr(old.get(name)), repr(settings.get(name)))
        for name in sorted(old.keys() | settings.keys())
        if old.get(name) != settings.get(name)
    ]
    if changed:
        raise OutputError(
            f"{output} was begun with other settings, so --resume would mix two runs",
            "repeat the first settings, or replace the output with --overwrite"
            + _or_extend(output),
            changed,
        )
    return True


def difference(name: str, was: str, now: str) -> str:
    """Say how a setting differs from a run's; logs may be public, so a secret is not spelled."""
    if name == "pictures":
        return "pictures: not the same names with the same classes as then"
    return f"{name}: is not that of the run" if name in SECRET else f"{name}: was {was}, is {now}"


def go_on(output: Path, digests: Mapping[str, str]) -> None:
    """Clear what a kill left half-written, once the pictures are seen to be still the same.

    Raises:
        OutputError: As `require_same_pictures` does.
    """
    require_same_pictures(output, digests)
    remove_half_written(output)


def require_same_pictures(output: Path, digests: Mapping[str, str]) -> None:
    """Stop where the pictures are not those that an earlier run was begun with.

    Args:
        output: The output folder.
        digests: Source name -> digest of the file as it was read now.

    Raises:
        OutputError: If a picture is not as it was when the run was begun, naming each.
    """
    run = StateFolder.of(output).read_run()
    before = run.digests if run else {}
    changed = [name for name, digest in digests.items() if before.get(name) != digest]
    if changed:
        raise OutputError(
            f"{len(changed)} pictures have changed since the run in {output} was begun, so "
            "--resume would mix two runs",
            f"put the first pictures back, or start again with --overwrite{_or_extend(output)}",
            changed,
        )


def _or_extend(output: Path) -> str:
    finished = manifest_of(output).exists()
    how = "give --extend in place of --resume"
    return f"; for pictures that were added or changed since, {how}" if finished else ""


def begin(
    output: Path,
    settings: Mapping[str, Any],
    source: Path,
    labels: Path | None,
    label_file: str | None,
    digests: Mapping[str, str],
    manifest: Path | None,
) -> None:
    """Clear what an earlier run left and record the settings, places and pictures of this one."""
    remove_previous(output)
    remove_half_written(output)
    StateFolder.of(output).write_run(
        RunRecord(
            source=real_path(source),
            labels=real_path(labels) if labels else None,
            label_file=label_file,
            settings=dict(settings),
            digests=dict(digests),
            manifest=real_path(manifest) if manifest else None,
        )
    )


def _remove_passing(state: StateFolder) -> None:
    state.pixels.unlink(missing_ok=True)
    shutil.rmtree(state.trial, ignore_errors=True)


def remove_half_written(output: Path) -> None:
    """Remove the temporary files of a run that was killed."""
    for folder in (output, StateFolder.of(output).path):
        remove_stale_temporaries(folder)


def _folders(output: Path) -> Iterator[Path]:
    return (path for path in output.rglob("*") if path.is_dir() and not path.is_symlink())


def is_unfinished(output: Path) -> bool:
    """Say whether a run has begun to write a folder and not written its manifest."""
    return StateFolder.of(output).run.is_file() and not manifest_of(output).exists()


def manifest_of(output: Path) -> Path:
    """Return where the manifest of an output folder lies, or would.

    Raises:
        OutputError: If what its run noted of itself is damaged.
    """
    beside = output / MANIFEST_NAME
    record = StateFolder.of(output).read_run()
    if record is None or record.manifest is None:
        return beside
    return beside if beside.exists() and not record.manifest.exists() else record.manifest


def _is_protected(folder: Path, *, is_source: bool) -> bool:
    """Whether a run of this tool wrote the folder, wherever its manifest may be.

    What lies beside a folder above the source may be another user's, and closed.

    Raises:
        MachineError: If what lies beside the source is closed.
    """
    if is_our_manifest(folder / MANIFEST_NAME):
        return True
    if folder.name:
        closed = () if is_source else (MachineError,)
        with suppress(OutputError, *closed):
            record = StateFolder.of(folder).read_run()
            return record is not None and record.manifest is not None
    return False
