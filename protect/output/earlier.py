"""A finished run that is to be extended: what it recorded, and what may not differ from it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protect.config.choices import NoiseMode
from protect.config.settings import INDIFFERENT, PLACES, SECRET, RunConfig, build
from protect.config.values import AUTO
from protect.documents.manifest import MANIFEST_NAME, ImageRecord, Manifest
from protect.errors import ConfigError, OutputError
from protect.models.names import BackboneName, published_name, resolve, with_tag
from protect.output.folder import difference, manifest_of
from protect.output.state_folder import RunRecord, StateFolder
from protect.system.files import (
    real_path,
    sha256_if_readable,
    sha256_of_bytes,
    write_atomically,
)

_OF_EACH_CALL = PLACES | INDIFFERENT | {"device"}
"""Settings that may differ from the run's: they change nothing about the noise."""
_REMEMBERED = {"labels", "on_error", "max_pixels"}
"""Those of them that are as in the run where they are not given."""


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A finished run and its extensions so far.

    Attributes:
        output: The output folder.
        state: Its private sibling.
        record: What the run noted of itself.
        manifest: What it published.
    """

    output: Path
    state: StateFolder
    record: RunRecord
    manifest: Manifest

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the noise."""
        return tuple(sorted(self.manifest.classes, key=self.manifest.classes.__getitem__))

    @property
    def optimised_classes(self) -> set[str]:
        """Those that the noise was made for.

        The others have a pattern, but each of their pictures was left out of the run.
        """
        counts = self.manifest.target_mapping.counts.values()
        seen = {name for table in counts for name, row in table.items() if row}
        return seen | {image.label for image in self.manifest.images}

    @property
    def images(self) -> dict[str, ImageRecord]:
        """Source name -> what was published of it."""
        return {image.source: image for image in self.manifest.images}

    @property
    def outputs(self) -> set[str]:
        """Names below the output folder of all that was published, or was about to be."""
        return {image.output for image in self.manifest.images} | set(self.record.unfinished)

    @property
    def secret(self) -> int | None:
        """What the manifest's digests of the noise are made with; None where it has the seed."""
        return None if SECRET & self.manifest.config.keys() else self.record.settings["seed"]

    def settle(self, config: RunConfig) -> RunConfig:
        """Return the settings of the run, with those of this call that change nothing about noise.

        Raises:
            OutputError: If a setting was given that changes the noise and is not the run's, naming
                each; or if those of the run cannot be read.
        """
        recorded = self._recorded()
        given = config.model_dump(mode="json", include=config.model_fields_set - _OF_EACH_CALL)
        known = recorded.effort.model_dump() | recorded.model_dump(mode="json", exclude_none=True)
        differing = [
            difference(name, _spelled(known.get(name)), _spelled(value))
            for name, value in sorted(given.items())
            if not _is_same_setting(name, value, known)
        ]
        if differing:
            raise OutputError(
                f"--extend goes on with the settings of the run in {self.output}, and others were "
                "given",
                "leave them out, or protect everything anew with --overwrite",
                differing,
            )
        file = manifest_of(self.output)
        if config.manifest is not None and real_path(config.manifest) != real_path(file):
            raise OutputError(
                f"--extend leaves the manifest where it is, which is {file}", "leave --manifest out"
            )
        own = _OF_EACH_CALL - (_REMEMBERED - config.model_fields_set)
        return recorded.model_copy(update={name: getattr(config, name) for name in own})

    def _recorded(self) -> RunConfig:
        # Runs from before there were modes knew but one.
        settings = {"mode": NoiseMode.CLASS} | {
            name: value
            for name, value in self.manifest.config.items()
            if name in RunConfig.model_fields
        }
        private = {"source": self.record.source, "labels": self.record.labels}
        private |= {name: self.record.settings.get(name) for name in SECRET}
        try:
            return build(RunConfig, **settings | private)
        except ConfigError as error:
            raise OutputError(
                f"the settings in {manifest_of(self.output)} and {self.state.run} cannot be used",
                "restore them from a copy, or protect everything anew with --overwrite",
                error.details or (error.message,),
            ) from None


def require_run(output: Path) -> None:
    """Stop where nothing was ever protected.

    Raises:
        OutputError: If there is neither a manifest nor the state of a run.
    """
    if not (output / MANIFEST_NAME).exists() and not StateFolder.of(output).run.exists():
        raise OutputError(
            f"there is no run in {output} to extend",
            "name its folder with -o, or protect the pictures by leaving out --extend",
        )


def read_earlier(output: Path) -> EarlierRun:
    """Read what a run recorded.

    Raises:
        OutputError: If it was not finished, or its private state is missing or damaged.
        InputError: If its manifest is damaged.
    """
    state = StateFolder.of(output)
    record = state.read_run()
    if record is None:
        raise OutputError(
            f"{state.run} is missing: without the private state of the run in {output} no picture "
            "can get the same noise",
            f"put {state.path} back beside the folder, or protect everything anew with --overwrite",
        )
    file = manifest_of(output)
    if not file.exists():
        if record.extended:
            raise OutputError(
                f"{file} is missing, and without it nothing is known of what was published",
                "put it back from a copy, or protect everything anew, with other noise, with "
                "--overwrite",
            )
        raise OutputError(
            f"the run in {output} was not finished, so it cannot be extended",
            "finish it with --resume and the flags of that run",
        )
    return EarlierRun(output, state, record, Manifest.read(file))


def set_aside(earlier: EarlierRun, name: str) -> None:
    """Move a published copy into the private state; folders that are empty then go.

    Copied before it is removed, since the output may be a disk of its own; beside what an earlier
    extension moved there under the same name.

    Args:
        earlier: The run.
        name: Path below the output folder.
    """
    path, kept = earlier.output / name, earlier.state.removed / name
    data = path.read_bytes()
    digest = sha256_of_bytes(data)
    if kept.exists() and sha256_if_readable(kept) != digest:
        kept = kept.with_stem(f"{kept.stem}-{digest[:8]}")
    write_atomically(kept, data)
    path.unlink()
    for folder in path.parents:
        if folder == earlier.output or any(folder.iterdir()):
            break
        folder.rmdir()


def _is_same_setting(name: str, value: Any, known: dict[str, Any]) -> bool:
    """Whether a setting, as JSON value, means what it meant in the run, however it is spelled."""
    recorded: Any = known.get(name)
    if name == "harden" and value == AUTO:
        return True  # of what that meant then, only the outcome is known
    if value is None or recorded is None:
        return value is recorded
    means = _MEANINGS.get(name, lambda value: value)
    return bool(means(value) == means(recorded))


def _network(text: str) -> BackboneName:
    """Return which network a name means, by what is published of it."""
    return with_tag(resolve(published_name(text)))


_MEANINGS: dict[str, Callable[[Any], Any]] = {
    "eps": lambda value: value["levels"],
    "surrogate": _network,
    "time_budget": lambda value: value["seconds"],
    "weights": lambda value: {_network(name): file for name, file in value.items()},
}
"""What JSON values mean that have several spellings."""


def _spelled(value: Any) -> str:
    return repr(value.get("text", value) if isinstance(value, dict) else value)
