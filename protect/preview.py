"""`protect preview`, from top to bottom: pair, choose a few of each class, measure, draw."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from protect.check import find_source
from protect.config.settings import PreviewConfig
from protect.data.decode import as_rgb, decode
from protect.data.walk import some_names
from protect.documents.manifest import Manifest
from protect.documents.preview_report import PreviewReport, ShownPair
from protect.errors import ConfigError, ImageRefused, InputError
from protect.events import Listener, StageAdvanced, ignore, stage
from protect.output.compare import compare
from protect.output.folder import require_report_place
from protect.output.manifest_place import find_manifest
from protect.report.examples import AMPLIFICATION, amplified, shown, view_of
from protect.report.sheet import Row, draw_sheet
from protect.subject import originals_to_pair_with, pair_by_path
from protect.system.files import sha256_of, write_atomically

MOST_ROWS = 40
"""A sheet of more would be too long to look at, and for some viewers to open."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Where a picture and its copy lie.

    Attributes:
        label: Class name.
        source: Path of the original below its folder.
        output: Path of the copy below the protected folder.
        sha256: Of the copy as it was written; None where nobody noted it.
        original: Of the original as it was read; None where nobody noted it.
    """

    label: str
    source: str
    output: str
    sha256: str | None = None
    original: str | None = None


def preview_folder(config: PreviewConfig, listener: Listener = ignore) -> PreviewReport:
    """Draw a few pictures of each class beside their protected copies.

    One pair at a time is in memory as a whole; the sheet has cuts of at most 384 pixels.

    Args:
        config: Settings.
        listener: Told what happens.

    Returns:
        What the sheet shows.

    Raises:
        ConfigError: If the sheet cannot be written where it is to go, or a class does not exist.
        InputError: If the originals are not at hand, or a picture cannot be read or compared.
    """
    pairs, originals, max_pixels = _pairs(config)
    if config.output.suffix.lower() != ".png":
        raise ConfigError(
            f"the sheet {config.output} is not named as a PNG",
            "name it so, such as sheet.png: a lossy format would blur what it is to show",
        )
    require_report_place(config.output, [config.protected, originals])
    chosen, notes = _choose(pairs, config)
    rows = []
    with stage("Comparing with the originals", len(chosen), listener):
        for pair in chosen:
            rows.append(_row(pair, config.protected, originals, max_pixels))
            listener(StageAdvanced())
    write_atomically(config.output, draw_sheet(rows))
    return PreviewReport(
        sheet=config.output.name,
        amplification=AMPLIFICATION,
        pairs=tuple(row.pair for row in rows),
        notes=(*notes, *_changed(chosen, config.protected, originals)),
    )


def _pairs(config: PreviewConfig) -> tuple[list[_Pair], Path, int]:
    """Return all pairs, sorted by original, the folder of the originals, and the limit on pixels.

    That is the run's own, as in `protect check`, where its manifest is at hand.
    """
    max_pixels = config.max_pixels
    to_pair_with = originals_to_pair_with(config.protected, config.clean, config.manifest)
    if to_pair_with is not None:
        originals = to_pair_with
        paired = pair_by_path(config.protected, originals).pairs
        pairs = [_Pair(copy.label, one.name, copy.name) for copy, one in paired]
    else:
        recorded = find_source(config.protected, config.clean)
        if recorded is None:
            raise InputError(
                f"the originals of {config.protected} are not at hand", "name them with --clean DIR"
            )
        originals = recorded
        manifest = Manifest.read(find_manifest(config.protected, config.manifest))
        max_pixels = manifest.max_pixels
        pairs = [
            _Pair(image.label, image.source, image.output, image.output_sha256, image.source_sha256)
            for image in manifest.images
        ]
    return sorted(pairs, key=lambda pair: pair.source), originals, max_pixels


def _choose(pairs: Sequence[_Pair], config: PreviewConfig) -> tuple[list[_Pair], list[str]]:
    """Pick the first pairs of each class; of too many classes some, spread over their names."""
    by_class: dict[str, list[_Pair]] = {}
    for pair in pairs:
        by_class.setdefault(pair.label, []).append(pair)
    if not by_class:
        raise InputError(f"{config.protected} holds no pictures", "protect some first")
    _require_classes(config.classes, by_class)
    names = sorted(set(config.classes) or by_class)
    step = -(-len(names) // MOST_ROWS)
    picked = names[::step]
    each = min(config.per_class, max(1, MOST_ROWS // len(picked)))
    notes = []
    if each < config.per_class:
        notes.append(f"a sheet has {MOST_ROWS} rows at most, so {each} of each class are shown")
    if step > 1:
        missing = [name for name in names if name not in set(picked)]
        notes.append(f"classes without a row, to be named with --class: {some_names(missing)}")
    return [pair for name in picked for pair in by_class[name][:each]], notes


def _require_classes(wanted: Sequence[str], known: Mapping[str, object]) -> None:
    for name in wanted:
        if name not in known:
            close = get_close_matches(name, known, n=3)
            raise ConfigError(
                f"there is no class {name!r}",
                f"did you mean {' or '.join(close)}?"
                if close
                else f"classes: {some_names(list(known))}",
            )


def _row(pair: _Pair, protected: Path, originals: Path, max_pixels: int) -> Row:
    """Decode, measure and cut one pair.

    Raises:
        InputError: If one of the two cannot be read, or they are of different sizes.
    """
    try:
        path = originals / pair.source
        original = decode(path, max_pixels)
        path = protected / pair.output
        published = decode(path, max_pixels)
        quality = compare(original, published).quality
    except ImageRefused as refusal:
        raise InputError(
            f"{path}: {refusal.message}", "see what `protect check` says of this folder"
        ) from None
    before, after = shown(as_rgb(original.pixels)), shown(as_rgb(published.pixels))
    said = ShownPair(
        label=pair.label,
        source=pair.source,
        output=pair.output,
        linf_levels=quality.linf_levels,
        psnr=quality.psnr,
        ssim=quality.ssim,
        view=view_of(original.height, original.width),
    )
    return Row(said, (before, after, amplified(before, after)))


def _changed(pairs: Sequence[_Pair], protected: Path, originals: Path) -> Iterator[str]:
    for pair in pairs:
        if pair.sha256 is not None and sha256_of(protected / pair.output) != pair.sha256:
            yield f"{pair.output} is not the file that was written"
        if pair.original is not None and sha256_of(originals / pair.source) != pair.original:
            yield f"{originals / pair.source} is not the picture that was protected"
