"""The private sibling of an output folder: what is in it, and how it is read and written."""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from protect.documents.manifest import ImageRecord
from protect.errors import MachineError, OutputError
from protect.output.manifest_file import listed
from protect.system.files import (
    appended_lines,
    make_private,
    real_path,
    write_atomically,
)
from protect.system.processes import place


class RunRecord(BaseModel):
    """What `run` notes of itself for resume, check and verify.

    Attributes:
        source: Folder of the originals.
        labels: The `--labels` table; None without one.
        label_file: Name of the label file that is written beside the pictures; None for none.
        settings: All that changes the published bytes, as JSON values.
        digests: Source name -> sha256 of the file, of every picture that was read.
        notes: What happened meanwhile that the manifest must tell.
        extended: Whether an extension of the finished run was ever begun.
        unfinished: Output names that extensions not yet finished were to write.
        manifest: Where the manifest lies, or will; None for beside the pictures.
    """

    source: Path
    labels: Path | None = None
    label_file: str | None = None
    settings: dict[str, Any]
    digests: dict[str, str] = {}
    notes: tuple[str, ...] = ()
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
        """Return the state folder that belongs to `output`.

        Raises:
            OutputError: If it is the root of a disk, which nothing can lie beside.
            MachineError: If it is there, and this user may not open it.
        """
        output = real_path(output)
        if not output.name:
            raise OutputError(f"{output} is the root of a disk", "name a folder on it")
        state = cls(output.with_name(output.name + ".state"))
        if os.path.isdir(state.path) and not os.access(state.path, os.X_OK):  # noqa: PTH112
            raise MachineError(
                f"{state.path}, the private state of {output}, may not be opened by this user",
                "work as the user who protected the folder, or have yourself given access",
            )
        return state

    def make(self) -> None:
        """Make the folder for the eyes of this user alone; one that exists stays as it is.

        Raises:
            MachineError: If it cannot be made.
        """
        make_private(self.path)

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

    def seed(self) -> int | None:
        """Return the seed of the run; None where there is nothing."""
        record = self.read_run()
        return None if record is None else record.settings.get("seed")

    def write_run(self, record: RunRecord) -> None:
        """Record the settings, places and pictures of a run."""
        content = record.model_dump(mode="json")
        text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
        write_atomically(self.run, text.encode() + b"\n")

    def note(self, text: str) -> None:
        """Keep a note for the manifest of a run that was begun, also past a kill."""
        record = self.read_run()
        if record is not None:
            self.write_run(record.model_copy(update={"notes": (*record.notes, text)}))

    def notes(self) -> tuple[str, ...]:
        """Return the notes of the run."""
        record = self.read_run()
        return () if record is None else record.notes

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
