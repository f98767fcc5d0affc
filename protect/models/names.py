"""Which network a name means.

Owns the rule that a bare name is torchvision's if it has such a network, else timm's. Knows nothing
of weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

import timm
import torchvision

from protect.errors import ConfigError
from protect.system.files import real_path

LOCAL_DIR = "local-dir:"
"""Prefix of timm's names for a folder that holds `config.json` and weights."""

Library = Literal["torchvision", "timm"]


@dataclass(frozen=True, slots=True)
class BackboneName:
    """A network, without doubt about which library's.

    Attributes:
        library: Library that has it.
        name: As the library spells it, for timm with a tag where one was typed
            ("vit_base_patch16_224.augreg_in1k") or a folder ("local-dir:/path").
    """

    library: Library
    name: str

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"


def resolve(text: str) -> BackboneName:
    """Find the network that a user means.

    Args:
        text: "vit_b_16", "torchvision:vit_b_16", "timm:resnet18.a1_in1k" or "local-dir:/path".
            A bare name is looked up among torchvision's classification networks first.

    Raises:
        ConfigError: If neither library has it; the hint names the most similar ones.
    """
    library, colon, name = text.strip().partition(":")
    if not colon or library not in ("torchvision", "timm"):
        library, name = "", text.strip()
    if library != "timm" and name in _torchvision_names():
        return BackboneName("torchvision", name)
    if library != "torchvision" and (_is_folder(name) or name in _timm_names()):
        return BackboneName("timm", name)
    similar = _similar(name)
    raise ConfigError(
        f"there is no backbone {text!r}",
        f"did you mean {' or '.join(similar)}?"
        if similar
        else "use the name of a torchvision or timm classification network, such as vit_b_16",
    )


def with_tag(name: BackboneName) -> BackboneName:
    """Spell out the tag that timm takes where none is typed: both spellings are one network.

    What has no tag, as every network of torchvision's, is returned as it is.
    """
    if name.library != "timm" or _is_folder(name.name) or "." in name.name:
        return name
    config = timm.get_pretrained_cfg(name.name)
    return BackboneName("timm", f"{name.name}.{config.tag}") if config and config.tag else name


def published_name(text: str) -> str:
    """Spell the name of a network in full, without folders of this machine.

    Raises:
        ConfigError: If there is no such network.
    """
    name = resolve(text)
    if not _is_folder(name.name):
        return str(name)
    folder = real_path(Path(name.name.removeprefix(LOCAL_DIR)))
    return f"{name.library}:{LOCAL_DIR}{folder.name}"


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Drop each name of a network that an earlier one means already.

    Raises:
        ConfigError: If there is no such network.
    """
    first: dict[BackboneName, str] = {}
    for text in texts:
        first.setdefault(with_tag(resolve(text)), text)
    return tuple(first.values())


def refuse_stray_weights(files: Iterable[str], used: Sequence[str]) -> None:
    """Refuse weight files that would not be read.

    Args:
        files: Names of the networks that a file is given for.
        used: Names of the networks that are used.

    Raises:
        ConfigError: If a file is given for a network that is not used, or two for one.
    """
    known = {with_tag(resolve(text)) for text in used}
    named: dict[BackboneName, str] = {}
    for text in files:
        name = with_tag(resolve(text))
        if name not in known:
            raise ConfigError(
                f"--weights {text}=FILE is for {resolve(text)}, which is not used",
                f"used here: {', '.join(str(resolve(text)) for text in used)}",
            )
        other = named.setdefault(name, text)
        if other != text:
            raise ConfigError(
                f"--weights {other}=FILE and --weights {text}=FILE are for the same network",
                "give one of them",
            )


def _is_folder(name: str) -> bool:
    return name.startswith(LOCAL_DIR) and name != LOCAL_DIR


def all_names() -> list[BackboneName]:
    """Return every classification network of both libraries, torchvision's first, sorted."""
    return [
        *(BackboneName("torchvision", name) for name in sorted(_torchvision_names())),
        *(BackboneName("timm", name) for name in sorted(timm.list_models())),
    ]


@cache
def _torchvision_names() -> frozenset[str]:
    """Classification networks only: the detection and video ones are in modules below."""
    return frozenset(torchvision.models.list_models(module=torchvision.models))


@cache
def _timm_names() -> frozenset[str]:
    return frozenset(timm.list_models()) | frozenset(timm.list_models(include_tags=True))


def _similar(name: str) -> list[str]:
    """The qualified names of up to five networks spelt like `name`, most similar first."""
    known = _torchvision_names() | _timm_names()
    close = get_close_matches(name.lower(), sorted(known), n=5)
    qualified = [
        f"{library}:{match}"
        for match in close
        for library, names in (("torchvision", _torchvision_names()), ("timm", _timm_names()))
        if match in names
    ]
    return qualified[:5]
