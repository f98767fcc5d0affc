"""`protect check`: is the folder what its manifest says, to the byte and to the level? In seconds.

Also the first stage of `protect verify`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path

from protect.config.settings import CheckConfig
from protect.config.values import Eps
from protect.data.decode import Picture, decode
from protect.data.discover import discover
from protect.data.labels import LabelTable
from protect.data.walk import PICTURE_SUFFIXES, printable_name
from protect.documents.check_report import CheckReport, Problem, ProblemKind
from protect.documents.manifest import ImageRecord, Manifest, status_of
from protect.errors import ConfigError, ImageRefused, InputError, ProtectError
from protect.events import Listener, StageAdvanced, ignore, stage
from protect.output.compare import Comparison, compare
from protect.output.manifest_place import find_manifest
from protect.output.quality import Quality
from protect.output.state_folder import StateFolder
from protect.system.device import thread_count
from protect.system.files import is_within, sha256_if_readable, stays_below
from protect.system.parallel import ordered_map

_TOLERANCE = 1e-3
"""In dB and of SSIM: finer than any table shows, coarser than the rounding of any machine."""


@dataclass(frozen=True, slots=True)
class Examination:
    """A check with what it saw on its way.

    Attributes:
        report: Everything found.
        pairs: Source name -> the published picture beside its original, where both could be read.
    """

    report: CheckReport
    pairs: Mapping[str, Comparison]


@dataclass(frozen=True, slots=True)
class _Finding:
    problems: tuple[Problem, ...]
    pair: Comparison | None = None


def check_folder(config: CheckConfig, listener: Listener = ignore) -> CheckReport:
    """Compare a protected folder with its manifest, and with the originals where they are at hand.

    Args:
        config: Settings.
        listener: Told what happens.

    Returns:
        Everything found; `ok` if nothing was.

    Raises:
        InputError: If there is no manifest, or the named originals do not exist.
    """
    return examine_folder(config, listener).report


def examine_folder(config: CheckConfig, listener: Listener = ignore) -> Examination:
    """Check a folder as `check_folder` does, and keep what was seen of its pictures."""
    file = find_manifest(config.protected, config.manifest)
    manifest = Manifest.read(file)
    source = find_source(config.protected, config.source)
    threads = thread_count(config.workers)

    def examine(record: ImageRecord) -> _Finding:
        return _examine(record, config.protected, source, manifest)

    with stage("Checking images", len(manifest.images), listener):
        findings = []
        for finding in ordered_map(examine, manifest.images, threads):
            listener(StageAdvanced())
            findings.append(finding)
    problems = [problem for finding in findings for problem in finding.problems]
    problems += _contradictions(manifest, file.name)
    problems += _extra_files(config.protected, manifest)
    problems += _wrong_labels(config.protected, manifest)
    if not manifest.images:
        empty = Problem(file=file.name, kind="count", message="it lists no pictures at all")
        problems.append(empty)
    notes = []
    if source is None:
        notes.append("the originals are not at hand, so the budget was not measured again")
    elif (labels := _label_table(config.protected)) is None and manifest.labels.kind == "csv":
        notes.append(
            "the --labels table of the run is not at hand, so the labels of the originals were not "
            "compared, nor whether each has a copy"
        )
    else:
        problems += _original_labels(source, labels, manifest, file.name)
    pairs = {
        record.source: finding.pair
        for record, finding in zip(manifest.images, findings, strict=True)
        if finding.pair is not None
    }
    report = CheckReport(
        ok=not problems,
        n_images=len(manifest.images),
        budget_levels=manifest.eps.levels,
        measured_levels=max((pair.quality.linf_levels for pair in pairs.values()), default=None),
        problems=tuple(problems),
        notes=tuple(notes),
    )
    return Examination(report, pairs)


def find_source(protected: Path, given: Path | None) -> Path | None:
    """Return the folder of the originals: the given one, else the recorded one if it still exists.

    Raises:
        InputError: If the given one is not a folder.
    """
    if given is not None:
        if not given.is_dir():
            raise InputError(
                f"the originals {given} are not a folder", "name the source of the run"
            )
        return given
    recorded = StateFolder.of(protected).read_run()
    return recorded.source if recorded is not None and recorded.source.is_dir() else None


def _examine(
    record: ImageRecord, protected: Path, source: Path | None, manifest: Manifest
) -> _Finding:
    """Look at one published picture: its bytes, its size, its distance to the original."""
    levels, max_pixels = manifest.eps.levels, manifest.max_pixels
    path = protected / record.output
    if not is_within(path, protected):
        return _Finding((_problem(record, "missing", "its path leaves the folder"),))
    if not path.is_file():
        return _Finding((_problem(record, "missing", "the file is gone"),))
    problems = []
    picture, digest = _read(path, max_pixels)
    if digest not in ("", record.output_sha256):
        problems.append(_problem(record, "changed", "its bytes are not those that were written"))
    if isinstance(picture, ImageRefused):
        return _Finding((*problems, _problem(record, "unreadable", picture.message)))
    if (picture.width, picture.height) != (record.width, record.height):
        size = f"it is {picture.width}x{picture.height}, not {record.width}x{record.height}"
        return _Finding((*problems, _problem(record, "size", size)))
    if source is None:
        return _Finding(tuple(problems))

    original_path = source / record.source
    if not stays_below(record.source) or not original_path.is_file():
        gone = Problem(file=record.source, kind="original", message="the original is gone")
        return _Finding((*problems, gone))
    original, digest = _read(original_path, max_pixels)
    if digest not in ("", record.source_sha256):
        other = "the original is not the file that was protected"
        problems.append(Problem(file=record.source, kind="original", message=other))
    if isinstance(original, ImageRefused):
        bad = Problem(file=record.source, kind="original", message=original.message)
        return _Finding((*problems, bad))
    try:
        pair = compare(original, picture)
    except ImageRefused as refusal:
        return _Finding((*problems, _problem(record, "size", refusal.message)))
    if not pair.same_opacity:
        problems.append(_problem(record, "changed", "its alpha channel is not the original's"))
    measured = pair.quality.linf_levels
    if measured > levels:
        over = f"a pixel differs from the original by {measured} levels; the budget is {levels}"
        problems.append(_problem(record, "budget", over))
    elif not problems:
        # The figures of the manifest are of the recorded files, not of others in their place.
        problems += _wrong_figures(record, pair.quality)
    return _Finding(tuple(problems), pair)


def _wrong_figures(record: ImageRecord, quality: Quality) -> Iterator[Problem]:
    """Compare what the manifest says of a published picture with what was measured of it."""
    for what, said, found in (
        ("largest change in levels", record.linf_levels, quality.linf_levels),
        ("PSNR", record.psnr, quality.psnr),
        ("SSIM", record.ssim, quality.ssim),
        ("status", record.status, status_of(quality.linf_levels)),
    ):
        if not _agree(said, found):
            yield _problem(record, "budget", f"its {what} is {found}, the manifest says {said}")


def _agree(said: float | str | None, found: float | str | None) -> bool:
    if isinstance(said, float) and isinstance(found, float):
        return isclose(said, found, rel_tol=0, abs_tol=_TOLERANCE)
    return said == found


def _read(path: Path, max_pixels: int) -> tuple[Picture | ImageRefused, str]:
    """Return the picture in a file, or why there is none, and the digest of what can be read."""
    try:
        picture = decode(path, max_pixels)
    except ImageRefused as refusal:
        return refusal, sha256_if_readable(path)
    return picture, picture.sha256


def _contradictions(manifest: Manifest, file: str) -> Iterator[Problem]:
    """Find what a manifest says twice and not the same."""

    def problem(kind: ProblemKind, message: str) -> Problem:
        return Problem(file=file, kind=kind, message=message)

    eps = manifest.eps
    try:
        meant = Eps.parse(eps.text)
    except ConfigError as error:
        yield problem("budget", error.message)
    else:
        if meant != eps:
            yield problem(
                "budget",
                f"--eps {eps.text} is {meant.levels} levels ({meant.value}), it says {eps.levels} "
                f"({eps.value})",
            )
    if manifest.config.get("eps", eps.model_dump()) != eps.model_dump():
        yield problem("budget", "its settings have another --eps than its budget")
    for image in manifest.images:
        if image.linf_levels > eps.levels:
            over = f"the manifest says {image.linf_levels} levels; the budget is {eps.levels}"
            yield _problem(image, "budget", over)
    if manifest.classes != {name: i for i, name in enumerate(sorted(manifest.classes))}:
        yield problem("label", "its classes are not numbered from 0 in the order of their names")
    for names, what in (
        ([image.source for image in manifest.images], "original"),
        ([image.output for image in manifest.images], "protected picture"),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                yield problem("count", f"it lists the {what} {name} {count} times")


def _extra_files(protected: Path, manifest: Manifest) -> Iterator[Problem]:
    """Find pictures that the manifest does not know: they are not protected."""
    known = {image.output for image in manifest.images}
    for path in sorted(protected.rglob("*")):
        name = path.relative_to(protected).as_posix()
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and name not in known:
            yield Problem(
                file=printable_name(name),
                kind="extra",
                message="the manifest does not list it: not protected",
            )


def _wrong_labels(protected: Path, manifest: Manifest) -> Iterator[Problem]:
    """Compare the labels that a stranger would read with those of the manifest."""
    for image in manifest.images:
        if image.label not in manifest.classes:
            yield _problem(image, "label", f"its class {image.label!r} is not in the class list")
    if manifest.labels.file is None:
        for image in manifest.images:
            folder = image.output.partition("/")[0]
            if folder != image.label:
                yield _problem(
                    image, "label", f"it lies in {folder!r}, the manifest says {image.label!r}"
                )
        return
    table = protected / manifest.labels.file
    if not is_within(table, protected):
        outside = "the label table's path leaves the folder"
        yield Problem(file=manifest.labels.file, kind="label", message=outside)
        return
    try:
        rows = LabelTable.read(table).rows(manifest.labels.column or "label")
    except ProtectError as error:
        yield Problem(file=manifest.labels.file, kind="label", message=error.message)
        return
    read = {row.file_name: row.label for row in rows}
    for image in manifest.images:
        label = read.get(image.output)
        if label != image.label:
            yield _problem(
                image,
                "label",
                f"{manifest.labels.file} says {label!r}, the manifest says {image.label!r}",
            )


def _label_table(protected: Path) -> Path | None:
    """Return the `--labels` table of the run, if it had one that is still there."""
    recorded = StateFolder.of(protected).read_run()
    if recorded is None or recorded.labels is None or not recorded.labels.is_file():
        return None
    return recorded.labels


def _original_labels(
    source: Path, labels: Path | None, manifest: Manifest, file: str
) -> Iterator[Problem]:
    """Compare the labels of the manifest with those of the originals, as `run` read them."""
    try:
        listing = discover(source, labels)
    except ProtectError as error:
        yield Problem(file=file, kind="original", message=error.message)
        return
    truth = {sample.name: sample.label for sample in listing.samples}
    for image in manifest.images:
        label = truth.get(image.source)
        if label is not None and label != image.label:
            yield _problem(
                image, "label", f"the original is {label!r}, the manifest says {image.label!r}"
            )
    listed = {image.source for image in manifest.images} | {
        item.source for item in manifest.refused
    }
    for name in sorted(truth.keys() - listed):
        yield Problem(file=name, kind="count", message="this original has no protected copy")


def _problem(record: ImageRecord, kind: ProblemKind, message: str) -> Problem:
    return Problem(file=record.output, kind=kind, message=message)
