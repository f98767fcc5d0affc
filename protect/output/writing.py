"""The writing stage: every picture published and journalled, and the label table beside them."""

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from protect.data.discover import Listing, Sample
from protect.data.labels import rewrite_labels
from protect.data.reading import Reading
from protect.documents.manifest import ImageRecord
from protect.events import Listener, StageAdvanced
from protect.output.state_folder import StateFolder
from protect.output.writer import Writer
from protect.system.files import sha256_of, sync_folders, write_atomically
from protect.system.parallel import ordered_map

TRIALS_PER_THREAD = 4
"""Pictures that are written to see how long it takes."""


def write_pictures(
    writer: Writer,
    samples: Iterable[Sample],
    digests: Mapping[str, str],
    state: StateFolder,
    threads: int,
    listener: Listener,
) -> tuple[ImageRecord, ...]:
    """Write every picture that is not on disk already, journalling each.

    Args:
        writer: Writes one picture.
        samples: The pictures.
        digests: Source name -> digest of the original as it was read.
        state: Holds the journal.
        threads: That decode and encode.
        listener: Told of each picture.

    Returns:
        What is on disk, in the order of the samples.
    """
    journal = state.read_journal()

    def write(sample: Sample) -> ImageRecord:
        before = journal.get(sample.name)
        if (
            before is not None
            and before.output == writer.names[sample.name]
            and is_current(before, sample.label, digests[sample.name], writer.folder)
        ):
            return before
        return writer.write(sample)

    records = []
    with state.append_journal() as journalise:
        for record in ordered_map(write, samples, threads):
            journalise(record.model_dump_json())
            records.append(record)
            listener(StageAdvanced(known=record is journal.get(record.source)))
    sync_folders((writer.folder / record.output for record in records), writer.folder)
    return tuple(records)


def seconds_to_write(writer: Writer, reading: Reading, threads: int) -> float:
    """Say how long writing all pictures will take, by writing some of them.

    Args:
        writer: Writes into a folder for this purpose alone, which is removed afterwards.
        reading: The pictures, at least one.
        threads: That decode and encode.
    """
    tried = reading.samples[:: max(1, len(reading.samples) // (TRIALS_PER_THREAD * threads))]
    start = time.monotonic()
    try:
        for _ in ordered_map(writer.write, tried, threads):
            pass
    finally:
        shutil.rmtree(writer.folder, ignore_errors=True)
    seconds = time.monotonic() - start
    whole, part = (
        sum(reading.origins[sample.name].n_levels for sample in group)
        for group in (reading.samples, tried)
    )
    return seconds * whole / part


def is_current(record: ImageRecord, label: str, digest: str, output: Path) -> bool:
    """Whether a picture is on disk as it was written, of that class and from that original.

    Args:
        record: What was written.
        label: The class that the picture has now.
        digest: Of the original as it is now.
        output: The output folder.
    """
    written = output / record.output
    return (
        record.label == label
        and record.source_sha256 == digest
        and written.is_file()
        and sha256_of(written) == record.output_sha256
    )


def write_labels(
    listing: Listing, labels: Path | None, output: Path, images: Iterable[ImageRecord]
) -> None:
    """Copy a label file into the output, with the names of the published pictures.

    Args:
        listing: What was found in the source.
        labels: The `--labels` table; None without one.
        output: The output folder.
        images: What was published.
    """
    if listing.labels.file is None:
        return
    table = labels or listing.root / listing.labels.file
    names = {image.source: image.output for image in images}
    write_atomically(output / listing.labels.file, rewrite_labels(table, names))
