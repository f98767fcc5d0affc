"""What is verified: a folder that `protect run` wrote, or anyone's beside its originals.

Before anything is trained: is every picture what it is said to be, and how far from its original?
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from protect.check import examine_folder, find_source
from protect.config.settings import CheckConfig, VerifyConfig
from protect.data.cache import choose_size
from protect.data.decode import Pixels, as_rgb, decode
from protect.data.discover import Listing, Sample, discover
from protect.data.walk import printable_name
from protect.documents.manifest import MANIFEST_NAME, ImageRecord, Manifest, status_of
from protect.errors import ImageRefused, InputError
from protect.events import Listener, StageAdvanced, stage
from protect.output.compare import LOWEST_PSNR, Comparison, compare
from protect.output.folder import is_unfinished
from protect.output.manifest_file import is_foreign_manifest
from protect.output.manifest_place import find_manifest
from protect.report.examples import Example, make_example
from protect.system.files import real_path
from protect.system.parallel import ordered_map

MOST_EXAMPLES = 6
MOST_SPOILED = 0.05
"""Share of pictures that may be unusable; the rest alone teaches nearly as much as all of them."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Pairs of published pictures and originals, all checked.

    Attributes:
        folder: Of the published pictures.
        source: Of the originals.
        images: One record a pair, sorted by original.
        pairs: Source name -> what was seen of its pair.
        class_index: Class name -> index.
        size: Side in pixels at which networks see the pictures, unless told otherwise.
        promised_levels: The budget; None where nobody promised one.
        max_pixels: Larger pictures are refused.
        notes: What a reader of the verdict should know.
    """

    folder: Path
    source: Path
    images: tuple[ImageRecord, ...]
    pairs: Mapping[str, Comparison]
    class_index: dict[str, int]
    size: int
    promised_levels: int | None
    max_pixels: int
    notes: tuple[str, ...] = ()

    @property
    def room(self) -> int:
        """Side in pixels at which a stranger with a GPU sees the pictures: at most 224."""
        return choose_size([(image.height, image.width) for image in self.images], accelerated=True)

    @property
    def doubt(self) -> str:
        """Why nothing that is measured on these pictures can be a pass; empty if it can."""
        spoiled = sum(not pair.usable for pair in self.pairs.values())
        if spoiled <= MOST_SPOILED * len(self.pairs):
            return ""
        return (
            f"{spoiled} of {len(self.pairs)} published pictures are no longer usable as pictures: "
            f"their PSNR is below {LOWEST_PSNR:g} dB, or little of them is left but the noise"
        )

    def examples(self) -> list[Example]:
        """Return a few pairs to look at, of as many classes as possible.

        Raises:
            InputError: If a picture has become unreadable.
        """
        first_of_class = {image.label: image for image in reversed(self.images)}
        shown = sorted(first_of_class.values(), key=lambda image: image.source)[:MOST_EXAMPLES]
        return [
            make_example(
                image.output,
                self._seen(self.source / image.source),
                self._seen(self.folder / image.output),
                psnr=self.pairs[image.source].quality.psnr,
                ssim=self.pairs[image.source].quality.ssim,
            )
            for image in shown
        ]

    def _seen(self, path: Path) -> Pixels:
        try:
            return as_rgb(decode(path, self.max_pixels).pixels)
        except ImageRefused as refusal:
            raise InputError(f"{path}: {refusal.message}", refusal.hint) from None


@dataclass(frozen=True, slots=True)
class Paired:
    """Pictures paired by their path.

    Attributes:
        pairs: Published picture and original.
        published: All that the folder holds.
        n_originals: Originals, with and without a published picture.
    """

    pairs: tuple[tuple[Sample, Sample], ...]
    published: Listing
    n_originals: int


def open_subject(
    config: VerifyConfig, threads: int, accelerated: bool, listener: Listener
) -> Subject:
    """Check the folder to verify, by its manifest or, without one, against `--clean`.

    Args:
        config: Settings.
        threads: That decode and compare.
        accelerated: Whether a GPU computes, which affords larger pictures.
        listener: Told what happens.

    Raises:
        InputError: If it is not what its manifest says, or there are no clean originals.
    """
    clean = originals_to_pair_with(config.protected, config.clean, config.manifest)
    if clean is None:
        return _from_manifest(config, listener)
    subject = _from_pairs(
        config.protected, clean, config.max_pixels, threads, accelerated, listener
    )
    name = printable_name(str(config.protected))
    origin = (
        f"the {MANIFEST_NAME} in {name} was not written by protect and is not used"
        if (config.protected / MANIFEST_NAME).exists()
        else f"{name} has no {MANIFEST_NAME}"
    )
    promise = f"{origin}: no budget was promised, so none was checked"
    return replace(subject, notes=(promise, *subject.notes))


def originals_to_pair_with(
    folder: Path, clean: Path | None, manifest: Path | None = None
) -> Path | None:
    """Return the originals by which a folder without a manifest of ours is read; None with one.

    Args:
        folder: Of published pictures.
        clean: The originals, if they were named.
        manifest: The manifest, if it was named.

    Raises:
        InputError: If it has no manifest, because its run has not finished or it is another
            tool's, and its originals were not named; or if the named manifest is no file.
    """
    file = find_manifest(folder, manifest)
    if not file.exists() and is_unfinished(folder):
        raise InputError(
            f"{file} does not exist: the run that writes {folder} has not finished",
            "let it end, or go on with it: the same `protect run` with --resume; if it has ended, "
            "and the manifest was moved, name it with --manifest",
        )
    is_foreign = manifest is None and is_foreign_manifest(file)
    if file.exists() and not (is_foreign and clean is not None):
        return None
    if clean is None:
        raise InputError(
            f"{file} does not exist",
            "name the folder that `protect run` wrote; if its manifest lies elsewhere, that with "
            "--manifest; or, for the work of another tool, the originals with --clean DIR",
        )
    return clean


def _from_manifest(config: VerifyConfig, listener: Listener) -> Subject:
    file = find_manifest(config.protected, config.manifest)
    manifest = Manifest.read(file)
    source = find_source(config.protected, config.clean)
    if source is None:
        raise InputError(
            f"the originals of {config.protected} are not at hand, and without them there is no "
            "control and no clean test",
            "name them with --clean DIR",
        )
    check_config = CheckConfig(
        protected=config.protected, source=source, manifest=file, workers=config.workers
    )
    examination = examine_folder(check_config, listener)
    check = examination.report
    if not check.ok:
        raise InputError(
            f"{config.protected} is not what its manifest says; a verdict on it would mean nothing",
            "protect the originals again, or restore the folder",
            [f"{problem.file}: {problem.message}" for problem in check.problems],
        )
    return Subject(
        folder=config.protected,
        source=source,
        images=manifest.images,
        pairs=examination.pairs,
        class_index=manifest.classes,
        size=manifest.surrogate.input_size,
        promised_levels=manifest.eps.levels,
        max_pixels=manifest.max_pixels,
    )


def _from_pairs(
    folder: Path,
    clean: Path,
    max_pixels: int,
    threads: int,
    accelerated: bool,
    listener: Listener,
) -> Subject:
    """Pair pictures by their path without its suffix, and measure them."""
    paired = pair_by_path(folder, clean)
    pairs, published = paired.pairs, paired.published

    def examine(pair: tuple[Sample, Sample]) -> tuple[ImageRecord, Comparison] | str:
        copy, original = pair
        try:
            return _record(copy, original, max_pixels)
        except ImageRefused as refusal:
            return f"{copy.name}: {refusal.message}"

    images: list[ImageRecord] = []
    seen: dict[str, Comparison] = {}
    problems: list[str] = []
    with stage("Comparing with the originals", len(pairs), listener):
        for found in ordered_map(examine, pairs, threads):
            listener(StageAdvanced())
            if isinstance(found, str):
                problems.append(found)
            else:
                record, comparison = found
                images.append(record)
                seen[record.source] = comparison
    if problems:
        raise InputError(
            f"{len(problems)} pictures cannot be compared",
            "publish each with the size, the channels and the alpha channel of its original",
            problems,
        )
    unpaired = paired.n_originals - len(images)
    left_out = [f"{item.source} was left out: {item.reason}" for item in published.refused]
    notes = [*left_out, *published.notes]
    if unpaired:
        notes.append(f"{unpaired} originals have no protected copy and were left out")
    return Subject(
        folder=folder,
        source=clean,
        images=tuple(sorted(images, key=lambda image: image.source)),
        pairs=seen,
        class_index=published.class_index,
        size=choose_size([(image.height, image.width) for image in images], accelerated),
        promised_levels=None,
        max_pixels=max_pixels,
        notes=tuple(notes),
    )


def pair_by_path(folder: Path, clean: Path) -> Paired:
    """Pair the pictures of a folder with their originals, by their path without its suffix.

    Raises:
        InputError: If both are one folder, a picture has no original, or the labels differ.
    """
    if real_path(folder) == real_path(clean):
        raise InputError(f"{folder} cannot be its own original", "name the originals with --clean")
    published, originals = discover(folder), discover(clean)
    by_stem = _by_stem(originals.samples, clean)
    copies = _by_stem(published.samples, folder)
    missing = [copy.name for stem, copy in copies.items() if stem not in by_stem]
    if missing:
        raise InputError(
            f"{len(missing)} pictures of {folder} have no original in {clean}",
            "name the folder of the originals with --clean; pictures are paired by their path",
            missing,
        )
    pairs = [(copy, by_stem[stem]) for stem, copy in copies.items()]
    wrong = [
        f"{copy.name} is {copy.label!r}, its original {original.label!r}"
        for copy, original in pairs
        if copy.label != original.label
    ]
    if wrong:
        raise InputError("the labels differ from those of the originals", "", wrong)

    return Paired(tuple(pairs), published, len(originals.samples))


def _by_stem(samples: tuple[Sample, ...], folder: Path) -> Mapping[str, Sample]:
    table: dict[str, Sample] = {}
    for sample in samples:
        other = table.setdefault(str(PurePosixPath(sample.name).with_suffix("")), sample)
        if other is not sample:
            raise InputError(
                f"{folder} has both {other.name} and {sample.name}, which cannot be told apart",
                "rename one of them in both folders",
            )
    return table


def _record(published: Sample, original: Sample, max_pixels: int) -> tuple[ImageRecord, Comparison]:
    after, before = decode(published.path, max_pixels), decode(original.path, max_pixels)
    comparison = compare(before, after)
    if not comparison.same_opacity:
        raise ImageRefused("its alpha channel is not the original's, which no budget covers")
    quality = comparison.quality
    record = ImageRecord(
        source=original.name,
        output=published.name,
        label=published.label,
        source_sha256=before.sha256,
        output_sha256=after.sha256,
        width=after.width,
        height=after.height,
        linf_levels=quality.linf_levels,
        psnr=quality.psnr,
        ssim=quality.ssim,
        status=status_of(quality.linf_levels),
    )
    return record, comparison
