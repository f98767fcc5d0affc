"""The output folder and its private sibling: may they be used, and what do they hold already."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from protect.config.choices import Existing
from protect.data.walk import printable_name
from protect.documents.manifest import MANIFEST_NAME, ImageRecord
from protect.errors import ConfigError, InputError, OutputError
from protect.output.manifest_file import is_our_manifest, listed
from protect.system.files import (
    appended_lines,
    is_within,
    locked,
    real_path,
    remove_stale_temporaries,
    write_atomically,
)
from protect.system.processes import place


class RunRecord(BaseModel):
    """What `run` notes of itself for resume, check and verify.

    Attributes:
        source: Folder of the originals.
        labels: The `--labels` table; None without one.
        settings: All that changes the published bytes, as JSON values.
        digests: Source name -> sha256 of the file, of every picture that was read.
        extended: Whether an extension of the finished run was ever begun.
        unfinished: Output names that extensions not yet finished were to write.
        manifest: Where the manifest lies, or will; None for beside the pictures.
    """

    source: Path
    labels: Path | None = None
    settings: dict[str, Any]
    digests: dict[str, str] = {}
    extended: bool = False
    unfinished: tuple[str, ...] = ()
    manifest: Path | None = None


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The private sibling of an output folder: what resume and verify need, and never publish.

    Attributes:
        path: The folder, `<output>.state`.
    """

    path: Path

    @classmethod
    def of(cls, output: Path) -> "StateFolder":
        """Return the state folder that belongs to `output`."""
        output = real_path(output)
        return cls(output.with_name(output.name + ".state"))

    @property
    def run(self) -> Path:
        """Settings of the run, with this machine's paths (JSON)."""
        return self.path / "run.json"

    @property
    def progress(self) -> Path:
        """The engine between rounds (safetensors)."""
        return self.path / "progress.safetensors"

    @property
    def patterns(self) -> Path:
        """The finished noise (safetensors)."""
        return self.path / "patterns.safetensors"

    @property
    def pixels(self) -> Path:
        """Decoded pictures; removed when the run is over."""
        return self.path / "pixels.npy"

    @property
    def lock(self) -> Path:
        """Held by the run that is writing; removed when it is over."""
        return self.path / "lock"

    @property
    def journal(self) -> Path:
        """One line per picture that this process wrote (JSON lines); each has its own."""
        rank = place().rank
        return self.path / (f"journal-{rank}.jsonl" if rank else "journal.jsonl")

    @property
    def journals(self) -> tuple[Path, ...]:
        """Those of all processes, also of an earlier call with more of them."""
        return tuple(sorted({self.journal, *self.path.glob("journal*.jsonl")}))

    @property
    def trial(self) -> Path:
        """Pictures that are written to see how long it takes; removed afterwards."""
        return self.path / "trial"

    @property
    def removed(self) -> Path:
        """Published copies without an original, which an extension took out of the output."""
        return self.path / "removed"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a run keeps."""
        return self.run, self.progress, self.patterns, *self.journals

    def read_run(self) -> RunRecord | None:
        """Return what the run noted, or None where there is nothing.

        Raises:
            OutputError: If it is damaged.
        """
        try:
            return RunRecord.model_validate_json(self.run.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            reason = error.strerror or str(error)
        except ValidationError as error:
            reason = "; ".join(
                ": ".join(filter(None, (".".join(map(str, item["loc"])), item["msg"])))
                for item in error.errors()
            )
        raise OutputError(
            f"{self.run} is damaged: {reason}",
            "remove it, and name the originals to check with --source or to verify with --clean; "
            "or protect them again with `protect run --overwrite`",
        )

    def write_run(self, record: RunRecord) -> None:
        """Record the settings, places and pictures of a run."""
        content = record.model_dump(mode="json")
        text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
        write_atomically(self.run, text.encode() + b"\n")

    def write_journal(self, records: Iterable[ImageRecord]) -> None:
        """Replace the journals by one that holds just these."""
        lines = (f"{record.model_dump_json()}\n" for record in records)
        write_atomically(self.journal, "".join(lines).encode())
        for other in set(self.journals) - {self.journal}:
            other.unlink()

    def append_journal(self) -> AbstractContextManager[Callable[[str], None]]:
        """Open the journal at its end; gives a function that adds a line."""
        return appended_lines(self.journal)

    def read_journal(self) -> dict[str, ImageRecord]:
        """Return the records of the pictures written so far, by source name.

        Blank lines and a line cut short by a kill are passed over.
        """
        records = {}
        for journal in filter(Path.exists, self.journals):
            for line in journal.read_bytes().splitlines():
                try:
                    record = ImageRecord.model_validate_json(line)
                except ValueError:
                    continue
                records[record.source] = record
        return records

    def has_written(self, manifest: Path) -> bool:
        """Whether a file is a manifest of this output: it lists a picture that was written here."""
        written = {(item.output, item.output_sha256) for item in self.read_journal().values()}
        return not written.isdisjoint(listed(manifest).items())


def refuse_bad_places(source: Path, output: Path, labels: Path | None = None) -> None:
    """Stop where writing would touch the source, or would protect what is protected already.

    Raises:
        InputError: If the place of the source or of the label table has a name that no document
            can hold.
        OutputError: If one of the folders lies in the other, the source is a protected folder, or a
            file lies where the state folder would be.
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
    for folder in (real_path(source), *real_path(source).parents):
        if _is_protected(folder):
            raise OutputError(
                f"{folder} was written by protect: protecting it twice would break the budget",
                "name the folder of the originals",
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
    names |= listed(output / MANIFEST_NAME).keys()
    with suppress(OutputError):
        if (record := state.read_run()) is not None:
            names |= set(record.unfinished)
            if record.manifest is not None and state.has_written(record.manifest):
                record.manifest.unlink()
    for name in names:
        target = output / name
        if is_within(target, output):
            target.unlink(missing_ok=True)
    (output / MANIFEST_NAME).unlink(missing_ok=True)
    for kind in ("labels.csv", "labels.jsonl", "metadata.csv", "metadata.jsonl"):
        (output / kind).unlink(missing_ok=True)
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
            since.
    """
    if existing is not Existing.RESUME:
        return False
    before = StateFolder.of(output).read_run()
    if before is None:
        return False
    if before.extended:
        raise OutputError(
            f"the run in {output} was finished and extended, so there is nothing to resume",
            "go on with --extend, or replace the output with --overwrite",
        )
    old = before.settings
    changed = [
        f"{name}: was {old.get(name)!r}, is {settings.get(name)!r}"
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
    return "; for pictures that were added or changed since, add --extend" if finished else ""


def begin(
    output: Path,
    settings: Mapping[str, Any],
    source: Path,
    labels: Path | None,
    digests: Mapping[str, str],
) -> None:
    """Clear what an earlier run left and record the settings, places and pictures of this one."""
    remove_previous(output)
    remove_half_written(output)
    StateFolder.of(output).write_run(
        RunRecord(
            source=real_path(source),
            labels=real_path(labels) if labels else None,
            settings=dict(settings),
            digests=dict(digests),
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


def _is_protected(folder: Path) -> bool:
    """Whether a run of this tool wrote the folder, wherever its manifest may be."""
    if is_our_manifest(folder / MANIFEST_NAME):
        return True
    if folder.name:
        with suppress(OutputError):
            record = StateFolder.of(folder).read_run()
            return record is not None and record.manifest is not None
    return False
