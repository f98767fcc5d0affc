"""Which networks there are, and the weights of which are on this machine."""

from typing import Any

import timm

from protect.documents.backbone_list import BackboneEntry, BackboneList
from protect.errors import ConfigError
from protect.models.names import BackboneName, all_names, resolve
from protect.models.weights import WeightFile, torchvision_weights, weight_places, weights_here


def list_backbones(pattern: str = "") -> BackboneList:
    """List networks by a part of their name, or those that can be used here without a download.

    Args:
        pattern: Part of a name, in any letter case; empty for all whose weights are here.

    Raises:
        ConfigError: If no name has the pattern; the hint names the most similar ones.
        WeightsError: If a file of weights is damaged.
    """
    names = all_names()
    found = [name for name in names if pattern.lower() in str(name).lower()]
    if not found:
        try:
            found = [resolve(pattern)]
        except ConfigError as error:
            raise ConfigError(f"no backbone has {pattern!r} in its name", error.hint) from None
    located = [(name, weights_here(name)) for name in found]
    entries = tuple(_entry(name, here) for name, here in located if here or pattern)
    return BackboneList(pattern=pattern, entries=entries, known=len(names))


def _entry(name: BackboneName, here: WeightFile | None) -> BackboneEntry:
    return BackboneEntry(
        name=str(name),
        input_size=_own_size(name),
        origin=here.origin if here else None,
        file=here.path.name if here else None,
        megabytes=round(here.path.stat().st_size / 1e6, 1) if here else None,
        places=tuple(weight_places(name)),
    )


def _own_size(name: BackboneName) -> int:
    if name.library == "torchvision":
        size: int = torchvision_weights(name.name).transforms().crop_size[0]
        return size
    config: Any = timm.get_pretrained_cfg(name.name)
    return int(config.input_size[-1]) if config is not None else 224
