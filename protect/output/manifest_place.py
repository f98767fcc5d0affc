"""Where a manifest lies: beside the pictures, or where its owner keeps it to himself."""

from pathlib import Path

from protect.config.choices import Existing
from protect.config.settings import RunConfig
from protect.data.walk import printable_name
from protect.documents.manifest import MANIFEST_NAME
from protect.errors import ConfigError, InputError
from protect.output.folder import manifest_of
from protect.output.state_folder import StateFolder
from protect.system.files import is_within, real_path, require_writable


def find_manifest(protected: Path, given: Path | None) -> Path:
    """Return the manifest of a protected folder: the given one, else where its run put it.

    Args:
        protected: The folder.
        given: The value of `--manifest`; None to look for it.

    Returns:
        A file; one that was looked for need not exist.

    Raises:
        InputError: If the given one is no file.
        OutputError: If what the run noted of itself is damaged.
    """
    if given is None:
        return manifest_of(protected)
    if not given.is_file():
        raise InputError(
            f"the manifest {given} is no file", "name what `protect run --manifest` wrote"
        )
    return given


def refuse_manifest_place(config: RunConfig) -> None:
    """Stop where `--manifest` names a place that cannot be written to, or must not be.

    Raises:
        ConfigError: If it lies among pictures or in the private state, its name is one that no
            document can hold, or it exists and is not what an earlier run into this output wrote.
        MachineError: If it cannot be written.
    """
    state = StateFolder.of(config.output)
    path = config.manifest
    if path is None and config.existing is Existing.RESUME:
        before = state.read_run()
        path = None if before is None else before.manifest
    if path is None:
        return
    hint = "name a file elsewhere with --manifest"
    if printable_name(str(real_path(path))) != str(real_path(path)):
        raise ConfigError(f"the path {real_path(path)} is not valid UTF-8", hint)
    for folder in (config.output, config.source, state.path):
        if is_within(path, folder):
            raise ConfigError(f"--manifest {path} lies inside {folder}", hint)
    if path.exists() and not state.has_written(path):
        raise ConfigError(
            f"--manifest {path} exists, and is not the manifest of {config.output}",
            f"{hint}; this one is not touched",
        )
    require_writable(path.parent, hint)


def settle_manifest(output: Path, wanted: Path | None) -> Path:
    """Note where the manifest of a run will lie, and take away one that lies elsewhere.

    Before anything is computed: no kill leaves a manifest among pictures that was not wanted there.

    Args:
        output: The output folder of a run that has been begun.
        wanted: The value of `--manifest`; None for where it was to lie before, at first beside the
            pictures: where a run is resumed, a flag that is forgotten publishes nothing.

    Returns:
        The file to write.
    """
    state = StateFolder.of(output)
    record = state.read_run()
    before = None if record is None else record.manifest
    place = before if wanted is None else real_path(wanted)
    if record is not None and record.manifest != place:
        if record.manifest is not None and state.has_written(record.manifest):
            record.manifest.unlink()
        state.write_run(record.model_copy(update={"manifest": place}))
    if place is None:
        return output / MANIFEST_NAME
    (output / MANIFEST_NAME).unlink(missing_ok=True)
    return place
