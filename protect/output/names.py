"""The name of the published PNG of each source picture.

Owns the promise that no two pictures share a file, on Linux and where case or Unicode form does not
count (macOS, Windows). Knows names only, never the disk.
"""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

_MAX_BYTES = 255
"""Longest file name of the common file systems, in UTF-8."""
_DIGEST_DIGITS = 8


def output_names(
    sources: Sequence[str], settled: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Name the published file of every source.

    A picture keeps its folder and its stem: `cats/a.jpg` becomes `cats/a.png`. Where several would
    get one name, the one that is a PNG already keeps it and the others tell their suffix,
    `a_jpg.png`; where that is taken too they are numbered, `a_jpg_2.png`. A stem too long for
    a file system is cut, with a digest of the source in place of its end.

    Names count as one where they differ only by case or by Unicode form, with one exception:
    sources that themselves differ only so (`A.jpg` and `a.jpg`) keep their own names as long as
    those differ at all, since they cannot meet anywhere but where case counts.

    Args:
        sources: POSIX paths below the source folder, with a suffix each.
        settled: Source -> the name it was published under before, which it keeps and no other
            source gets, unless a folder has that name now. That of a source that is gone nobody
            gets: its copy is still there.

    Returns:
        Source -> POSIX path below the output folder, sorted by source. Never the same path twice,
        and the same for any order of `sources`.
    """
    plain = {source: _spell(source) for source in sorted(set(sources))}
    folders = {folded(folder) for source in plain for folder in _folders_above(source)}
    claimants = defaultdict(set)
    for source, name in plain.items():
        claimants[folded(name)].add(folded(source))
    uses = Counter(plain.values())

    def is_contested(source: str) -> bool:
        name = plain[source]
        return uses[name] > 1 or len(claimants[folded(name)]) > 1 or folded(name) in folders

    def turn(source: str) -> tuple[bool, bool, bool, str]:
        return source != plain[source], is_contested(source), not _is_png(source), source

    names: dict[str, str] = {}
    owners: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for source, name in (settled or {}).items():
        holders = owners[folded(name)]
        if name not in holders and folded(name) not in folders:
            holders[name] = folded(source)
            if source in plain:
                names[source] = name
    for source in sorted(plain.keys() - names.keys(), key=turn):
        may_be_plain = _is_png(source) or not is_contested(source)
        for name in _choices(source, may_be_plain):
            holders = owners[folded(name)]
            if (
                name not in holders
                and set(holders.values()) <= {folded(source)}
                and folded(name) not in folders
            ):
                holders[name] = folded(source)
                names[source] = name
                break
    return {source: names[source] for source in plain}


def _choices(source: str, may_be_plain: bool) -> Iterator[str]:
    """Names for a source, best first, without end."""
    if may_be_plain:
        yield _spell(source)
    suffix = source.rpartition(".")[2].lower()
    yield _spell(source, f"_{suffix}")
    for number in count(2):
        yield _spell(source, f"_{suffix}", f"_{number}")


def _spell(source: str, mark: str = "", number: str = "") -> str:
    """Replace the suffix of `source` by a mark, a number and `.png`, and keep to the length."""
    folder, slash, name = source.rpartition("/")
    body = name.rpartition(".")[0] + mark
    ending = f"{number}.png"
    if len(_utf8(body + ending)) > _MAX_BYTES:
        ending = f"-{hashlib.sha256(_utf8(source)).hexdigest()[:_DIGEST_DIGITS]}{ending}"
        body = _utf8(body)[: _MAX_BYTES - len(ending)].decode(errors="ignore")
    return f"{folder}{slash}{body}{ending}"


def _utf8(text: str) -> bytes:
    # File names that are not UTF-8 reach Python as lone surrogates.
    return text.encode(errors="surrogatepass")


def _is_png(source: str) -> bool:
    return source.lower().endswith(".png")


def folded(path: str) -> str:
    """Make paths equal that differ by case or Unicode form (Unicode's canonical caseless match)."""
    decomposed = unicodedata.normalize("NFD", path)
    return unicodedata.normalize("NFD", decomposed.casefold())


def _folders_above(source: str) -> Iterator[str]:
    """Every folder that holds `source`; a file must not take the name of one."""
    folder = source.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
