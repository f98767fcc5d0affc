"""What has become of the source since it was published, and what is to be done about it.

Reads everything and writes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from protect.data.decode import decode
from protect.data.discover import Sample
from protect.data.reading import notes_on_copies
from protect.data.walk import some_names
from protect.documents.manifest import ImageRecord, Refused
from protect.errors import ImageRefused, InputError, OutputError
from protect.events import Listener, StageAdvanced
from protect.output.earlier import EarlierRun
from protect.output.names import folded, output_names
from protect.output.writing import is_current
from protect.system.files import is_within, sha256_if_readable
from protect.system.parallel import ordered_map

MOST_GONE = 0.5
"""Share of the published pictures that may be gone; beyond it the source is likely another one."""


@dataclass(frozen=True, slots=True)
class Look:
    """A picture of the source, compared with what was published.

    Attributes:
        sample: The picture.
        digest: Of its file; empty where it cannot be protected.
        record: Its published copy, if that is on disk as it should be.
        refusal: Why it cannot be protected, if it cannot.
        is_grey: Whether it was decoded and is grey.
    """

    sample: Sample
    digest: str = ""
    record: ImageRecord | None = None
    refusal: Refused | None = None
    is_grey: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be published, and what no longer is.

    Attributes:
        names: Source name -> output name, of all that is to be published.
        kept: Source name -> record, of what is on disk as it should be.
        to_write: The rest.
        added: Sources that were not published before, sorted.
        changed: Sources of which the file, the class or the output name is another now, sorted.
        restored: Sources whose published copies are missing or damaged, sorted.
        removed: Sources that were published before and are gone or unreadable, sorted.
        leaving: Output names of files on disk that are no longer to be published, sorted.
    """

    names: dict[str, str]
    kept: dict[str, ImageRecord]
    to_write: tuple[Sample, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    restored: tuple[str, ...]
    removed: tuple[str, ...]
    leaving: tuple[str, ...]


def compare_source(
    samples: Iterable[Sample],
    earlier: EarlierRun,
    *,
    threads: int,
    max_pixels: int,
    listener: Listener,
) -> tuple[Look, ...]:
    """Compare every picture with its published copy; those without a current one are decoded.

    Args:
        samples: What the source holds now.
        earlier: What was published.
        threads: That digest and decode.
        max_pixels: Larger pictures are refused.
        listener: Told of each picture.
    """
    before = earlier.images
    # An extension that was killed has published more than the manifest tells.
    since = earlier.state.read_journal()

    def look(sample: Sample) -> Look:
        records = list(filter(None, (since.get(sample.name), before.get(sample.name))))
        # Of a file that cannot be read, decoding says why.
        digest = sha256_if_readable(sample.path) if records else ""
        for record in records:
            if is_current(record, sample.label, digest, earlier.output):
                return Look(sample, digest, record)
        try:
            picture = decode(sample.path, max_pixels)
        except ImageRefused as refusal:
            return Look(sample, refusal=Refused.of(sample.name, refusal))
        return Look(sample, picture.sha256, is_grey=picture.is_grey)

    looks = []
    for seen in ordered_map(look, samples, threads):
        looks.append(seen)
        listener(StageAdvanced())
    return tuple(looks)


def make_plan(looks: Sequence[Look], earlier: EarlierRun) -> Plan:
    """Decide what becomes of every picture, old or new."""
    before = earlier.images
    readable = {look.sample.name: look for look in looks if look.refusal is None}
    settled = {source: image.output for source, image in before.items()}
    names = output_names(list(readable), settled)
    kept = {
        source: look.record
        for source, look in readable.items()
        if look.record is not None and look.record.output == names[source]
    }
    added = readable.keys() - before.keys()
    changed = {
        source
        for source in readable.keys() & before.keys()
        if (before[source].source_sha256, before[source].label, before[source].output)
        != (readable[source].digest, readable[source].sample.label, names[source])
    }
    return Plan(
        names=names,
        kept=kept,
        to_write=tuple(look.sample for name, look in readable.items() if name not in kept),
        added=tuple(sorted(added)),
        changed=tuple(sorted(changed)),
        restored=tuple(sorted(readable.keys() - kept.keys() - added - changed)),
        removed=tuple(sorted(before.keys() - readable.keys())),
        leaving=_leaving(names.values(), earlier),
    )


def refuse_other_source(plan: Plan, earlier: EarlierRun, source: Path) -> None:
    """Refuse a source that lacks most of what was published, such as a folder of new pictures.

    Raises:
        InputError: Naming what is missing.
    """
    if len(plan.removed) > MOST_GONE * len(earlier.images):
        raise InputError(
            f"{len(plan.removed)} of the {len(earlier.images)} pictures in {earlier.output} have "
            f"no readable original in {source}",
            "name the folder that holds the old pictures and the new ones, or protect what it "
            "holds anew with --overwrite",
            plan.removed,
        )


def refuse_foreign_files(plan: Plan, earlier: EarlierRun) -> None:
    """Refuse to write over files that were not published here.

    Raises:
        OutputError: Naming each.
    """
    ours = {folded(name): earlier.output / name for name in earlier.outputs}
    wanted = [plan.names[sample.name] for sample in plan.to_write]
    foreign = [
        name
        for name in wanted
        if (earlier.output / name).exists()
        and not _is_same_file(earlier.output / name, ours.get(folded(name)))
    ]
    if foreign:
        raise OutputError(
            f"{len(foreign)} files in {earlier.output}, which protect did not write, lie where "
            "new pictures would be published",
            "move them elsewhere",
            foreign,
        )


def new_copies(looks: Sequence[Look], earlier: EarlierRun) -> list[str]:
    """Say which new files are others too, to the byte, or were published under another name."""
    before = {(image.source, image.source_sha256) for image in earlier.images.values()}
    names = {look.sample.name for look in looks}
    gone = {
        image.source_sha256: image.source
        for image in earlier.images.values()
        if image.source not in names
    }
    first: dict[str, Sample] = {}
    pairs, renamed = [], []
    for is_new in (False, True):
        for look in looks:
            if look.refusal or ((look.sample.name, look.digest) not in before) is not is_new:
                continue
            other = first.setdefault(look.digest, look.sample)
            if is_new and other is not look.sample:
                pairs.append((other, look.sample))
            if is_new and look.digest in gone:
                renamed.append(f"{gone[look.digest]}, now {look.sample.name}")
    notes = notes_on_copies(pairs)
    if renamed:
        notes.append(
            "pictures that were published under other names get other noise, which an average with "
            f"their old copies shows less of; keep their names: {some_names(renamed)}"
        )
    return notes


def _leaving(published: Iterable[str], earlier: EarlierRun) -> tuple[str, ...]:
    staying = {folded(name): earlier.output / name for name in published}
    return tuple(
        sorted(
            name
            for name in earlier.outputs
            if (earlier.output / name).is_file()
            and is_within(earlier.output / name, earlier.output)
            and not _is_same_file(earlier.output / name, staying.get(folded(name)))
        )
    )


def _is_same_file(path: Path, other: Path | None) -> bool:
    """Whether two names lead to one file, as they may where case does not count."""
    return other is not None and other.exists() and path.samefile(other)
