"""The writing stage: every picture published and journalled, and the label table beside them."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image, ImageFile
from safetensors.torch import load_file

from protect.data.discover import Listing, Sample
from protect.data.reading import Reading
from protect.documents.manifest import ImageRecord
from protect.events import Listener, StageAdvanced
from protect.noise import Noise
from protect.output.state_folder import StateFolder
from protect.output.writer import Writer
from protect.system.files import sha256_of, sync_folders, write_atomically
from protect.system.memory import working_memory
from protect.system.parallel import ordered_map
from protect.system.processes import place
from protect.system.workers import Workers

PICTURE_SECONDS = 1.5e-3
VALUE_SECONDS = 100e-9
"""What publishing a picture takes of a core: for itself, and for each of its values."""
PROCESS_BYTES = 300 * 10**6
"""What a process that helps takes of memory for itself, most of it PyTorch's."""
START_SECONDS = 15.0
"""From this time on it pays to start processes: each takes some seconds, and all together save a
fifth to two fifths of what two threads need (examples/benchmarks/speed.md)."""
TRIALS_PER_THREAD = 4
"""Pictures that are written to see how long it takes."""


def write_pictures(
    writer: Writer,
    samples: Iterable[Sample],
    names: Mapping[str, str],
    digests: Mapping[str, str],
    state: StateFolder,
    threads: int,
    listener: Listener,
    *,
    in_processes: bool = False,
) -> tuple[ImageRecord, ...]:
    """Write every picture that is not on disk already, journalling each.

    Args:
        writer: Writes one picture.
        samples: The pictures.
        names: Source name -> output name.
        digests: Source name -> digest of the original as it was read.
        state: Holds the journal.
        threads: That decode and encode.
        listener: Told of each picture.
        in_processes: Whether each thread leaves the work to a process of its own.

    Returns:
        What is on disk, in the order of the samples.
    """
    journal = state.read_journal()
    wishes = (
        _Wish(sample, names[sample.name], digests[sample.name], journal.get(sample.name))
        for sample in samples
    )
    publish: Callable[[_Wish], ImageRecord] = _Publisher(writer, state.patterns)
    records = []
    with ExitStack() as stack:
        journalise = stack.enter_context(state.append_journal())
        if in_processes:
            publish = stack.enter_context(Workers(publish, threads))
        written = stack.enter_context(closing(ordered_map(publish, wishes, threads)))
        for record in written:
            journalise(record.model_dump_json())
            records.append(record)
            listener(StageAdvanced(known=record == journal.get(record.source)))
    sync_folders((writer.folder / record.output for record in records), writer.folder)
    return tuple(records)


@dataclass(frozen=True, slots=True)
class _Wish:
    """A picture that is to be on disk.

    Attributes:
        sample: The picture.
        name: Its output name.
        digest: Of the original as it was read.
        before: What was written of it earlier; None for nothing.
    """

    sample: Sample
    name: str
    digest: str
    before: ImageRecord | None


@dataclass(frozen=True, slots=True)
class _Publisher:
    """Writes a picture if it is not on disk already; works here or in another process.

    Attributes:
        writer: Writes one picture.
        noise: File of its noise, which other processes map: it can be large.
    """

    writer: Writer
    noise: Path

    def __getstate__(self) -> tuple[Writer, Path, int | None, bool]:
        """Go to another process without the noise, and with what Pillow was told here."""
        noise = replace(self.writer.noise, patterns=torch.empty(0))
        writer = replace(self.writer, noise=noise)
        return writer, self.noise, Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES

    def __setstate__(self, state: tuple[Writer, Path, int | None, bool]) -> None:
        """Map the noise."""
        writer, file, Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = state
        writer = replace(writer, noise=Noise.unpack(load_file(file)))
        object.__setattr__(self, "writer", writer)
        object.__setattr__(self, "noise", file)

    def __call__(self, wish: _Wish) -> ImageRecord:
        before, sample = wish.before, wish.sample
        if (
            before is not None
            and before.output == wish.name
            and is_current(before, sample.label, wish.digest, self.writer.folder)
        ):
            return before
        return self.writer.publish(sample, wish.name)


def processes_pay(samples: Sequence[Sample], reading: Reading, workers: int) -> bool:
    """Whether processes would publish so many pictures sooner than as many threads.

    Threads take turns at what Python itself does of a picture, which is much of a small one;
    processes do not, but have to start.

    Args:
        samples: The pictures.
        reading: Knows how large they are.
        workers: Threads or processes.
    """
    needed = len(samples) * PICTURE_SECONDS + reading.n_levels(samples) * VALUE_SECONDS
    memory = working_memory(torch.device("cpu"))
    in_all = workers * place().local_count
    has_room = memory is None or in_all * PROCESS_BYTES < memory[1] / 2
    return workers > 1 and needed / workers > START_SECONDS and has_room


def seconds_to_write(writer: Writer, reading: Reading, threads: int) -> float:
    """Say how long writing all pictures will take, by writing some of them.

    Args:
        writer: Writes into a folder for this purpose alone, which is removed afterwards.
        reading: The pictures, at least one.
        threads: That decode and encode.
    """
    tried = reading.samples[:: max(1, len(reading.samples) // (TRIALS_PER_THREAD * threads))]

    def publish(numbered: tuple[int, Sample]) -> ImageRecord:
        number, sample = numbered
        return writer.publish(sample, f"{number}.png")

    try:
        # The first is slower, and would count as often as each tried one stands for others.
        publish((0, tried[0]))
        start = time.monotonic()
        for _ in ordered_map(publish, enumerate(tried), threads):
            pass
        seconds = time.monotonic() - start
    finally:
        shutil.rmtree(writer.folder, ignore_errors=True)
    return seconds * reading.n_levels(reading.samples) / reading.n_levels(tried)


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


def write_labels(listing: Listing, output: Path, images: Iterable[ImageRecord]) -> None:
    """Write the label table into the output, with the names of the published pictures.

    It is the one that they were labelled by, though its file may have changed since.

    Args:
        listing: What was found in the source.
        output: The output folder.
        images: What was published.
    """
    if listing.table is None or listing.labels.file is None:
        return
    names = {image.source: image.output for image in images}
    write_atomically(output / listing.labels.file, listing.table.renamed(names))
