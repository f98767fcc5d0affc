"""Loading of networks, offline.

The weight files are written here from networks with random parameters: accuracy is not the point,
where every tensor comes from is. Only the packaged EfficientNet-Lite0 is really pretrained.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from protect.documents.document import Weights
from protect.errors import ConfigError, ExitCode, WeightsError
from protect.models.backbones import Backbone, load_backbone
from protect.models.names import resolve
from protect.models.weights import find_weights
from protect.system.files import sha256_of


@pytest.fixture(autouse=True)
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def load(name: str, path: Path | None = None, *, size: int = 64, seed: int = 0) -> Backbone:
    weights = {} if path is None else {name: path}
    return load_backbone(name, classes=5, size=size, weights=weights, offline=True, seed=seed)


def saved(tensors: Mapping[str, Tensor], path: Path) -> Path:
    torch.save(dict(tensors), path)
    return path


def assert_body_equals(backbone: Backbone, tensors: Mapping[str, Tensor], head: str) -> None:
    """Every tensor of the network but `head.*` is the one in the file, and the head is new."""
    loaded = backbone.network.state_dict()
    body = {key for key in loaded if not key.startswith(f"{head}.")}
    assert body == {key for key in tensors if not key.startswith(f"{head}.")}
    assert all(torch.equal(loaded[key], tensors[key]) for key in body)
    assert loaded[f"{head}.weight"].shape[0] == 5


def assert_classifies(backbone: Backbone, side: int = 40) -> None:
    with torch.no_grad():
        logits = backbone.eval()(torch.rand(2, 3, side, side + 9))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone(
        "tf_efficientnet_lite0", classes=5, size=64, weights={}, offline=True, seed=0
    )


@pytest.fixture(scope="module")
def resnet18() -> Mapping[str, Tensor]:
    """What torchvision's file of a ResNet-18 holds, with random numbers."""
    network: nn.Module = torchvision.models.resnet18(weights=None)
    return network.state_dict()


@pytest.fixture(scope="module")
def resnet18_file(resnet18: Mapping[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(resnet18, tmp_path_factory.mktemp("resnet18") / "resnet18.pth")


@pytest.fixture(scope="module")
def vit_b_16_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of exactly the form that torchvision publishes for vit_b_16."""
    network: nn.Module = torchvision.models.vit_b_16(weights=None)
    path = tmp_path_factory.mktemp("vit_b_16") / "vit_b_16-c867db91.pth"
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()  # 330 MB


class TestEmbeddedDefault:
    def test_every_tensor_is_the_packaged_one(self, lite0: Backbone) -> None:
        path = find_weights(resolve("tf_efficientnet_lite0"), None, offline=True).path
        packaged = list(torch.load(path, weights_only=True).values())
        loaded = lite0.network.state_dict()
        assert len(packaged) == len(loaded) == 296
        for (key, tensor), expected in zip(loaded.items(), packaged, strict=True):
            if key.startswith("classifier."):
                assert tensor.shape[0] == 5
            else:
                assert torch.equal(tensor, expected), key

    def test_it_classifies(self, lite0: Backbone) -> None:
        assert_classifies(lite0)

    def test_its_description(self, lite0: Backbone) -> None:
        described = lite0.description
        assert described.name == "timm:tf_efficientnet_lite0"
        assert described.weights.origin == "package"
        assert described.weights.file == "efficientnet-lite0-57934424.pth"
        assert described.weights.sha256.startswith("57934424")
        assert described.mean == described.std == (0.5, 0.5, 0.5)
        assert described.input_size == lite0.input_size == 64

    def test_its_file_given_by_hand_is_recognised(self, lite0: Backbone) -> None:
        path = find_weights(resolve("tf_efficientnet_lite0"), None, offline=True).path
        again = load("timm:tf_efficientnet_lite0", path)
        assert again.description.weights.origin == "file"
        assert torch.equal(
            again.network.state_dict()["conv_stem.weight"],
            lite0.network.state_dict()["conv_stem.weight"],
        )

    def test_it_does_not_pass_for_another_network(self) -> None:
        path = find_weights(resolve("tf_efficientnet_lite0"), None, offline=True).path
        with pytest.raises(WeightsError, match="296 tensors"):
            load("resnet18", path)

    def test_it_is_channels_last(self, lite0: Backbone) -> None:
        kernel = lite0.network.get_parameter("conv_stem.weight")
        assert kernel.is_contiguous(memory_format=torch.channels_last)


class TestTorchvision:
    def test_vit_b_16_from_a_file(self, vit_b_16_file: Path) -> None:
        """The file holds random numbers: this is about keys and shapes, not accuracy."""
        backbone = load("vit_b_16", vit_b_16_file)
        assert_body_equals(backbone, torch.load(vit_b_16_file, weights_only=True), "heads.head")
        assert backbone.input_size == 224
        assert backbone.description.name == "torchvision:vit_b_16"
        assert backbone.description.weights.tag == "IMAGENET1K_V1"
        assert_classifies(backbone)

    def test_vit_b_16_of_another_digest_in_the_cache_is_refused(
        self, vit_b_16_file: Path, tmp_path: Path
    ) -> None:
        cached = tmp_path / "torch" / "hub" / "checkpoints" / vit_b_16_file.name
        cached.parent.mkdir(parents=True)
        cached.symlink_to(vit_b_16_file)
        with pytest.raises(WeightsError, match=re.escape(str(cached))) as caught:
            load("vit_b_16")
        assert "delete" in caught.value.hint

    def test_vit_b_16_without_weights_is_an_error(self) -> None:
        with pytest.raises(WeightsError, match="vit_b_16") as caught:
            load("vit_b_16")
        assert caught.value.exit_code is ExitCode.ENVIRONMENT

    def test_resnet18(self, resnet18: Mapping[str, Tensor], resnet18_file: Path) -> None:
        backbone = load("resnet18", resnet18_file)
        assert_body_equals(backbone, resnet18, "fc")
        assert backbone.description.weights.sha256 == sha256_of(resnet18_file)
        assert backbone.description.mean == (0.485, 0.456, 0.406)

    def test_safetensors(self, resnet18: Mapping[str, Tensor], tmp_path: Path) -> None:
        save_file(dict(resnet18), tmp_path / "resnet18.safetensors")
        backbone = load("resnet18", tmp_path / "resnet18.safetensors")
        assert_body_equals(backbone, resnet18, "fc")

    @pytest.mark.parametrize("key", ["resnet18", "torchvision:resnet18"])
    def test_the_file_may_be_given_under_either_name(self, key: str, resnet18_file: Path) -> None:
        backbone = load_backbone(
            "resnet18", classes=5, size=32, weights={key: resnet18_file}, offline=True, seed=0
        )
        assert backbone.description.weights.origin == "file"

    def test_squeezenet_has_a_convolution_for_a_head(self, tmp_path: Path) -> None:
        tensors = torchvision.models.squeezenet1_1(weights=None).state_dict()
        backbone = load("squeezenet1_1", saved(tensors, tmp_path / "squeezenet.pth"))
        assert_body_equals(backbone, tensors, "classifier.1")
        assert_classifies(backbone)

    @pytest.mark.parametrize(("name", "input_size"), [("googlenet", 64), ("inception_v3", 75)])
    def test_auxiliary_heads_in_the_file_are_dropped(
        self, name: str, input_size: int, tmp_path: Path
    ) -> None:
        build = torchvision.models.get_model_builder(name)
        tensors = build(weights=None, aux_logits=True, init_weights=False).state_dict()
        backbone = load(name, saved(tensors, tmp_path / "inception.pth"))
        auxiliary = ("aux1.", "aux2.", "AuxLogits.")
        main = {key: value for key, value in tensors.items() if not key.startswith(auxiliary)}
        assert len(main) < len(tensors)
        assert_body_equals(backbone, main, "fc")
        assert backbone.network.transform_input is True
        assert backbone.input_size == input_size  # the least that torchvision states, or the asked
        assert backbone.train()(torch.rand(2, 3, 80, 80)).shape == (2, 5)

    @pytest.mark.parametrize("name", ["densenet121", "timm:densenet121"])
    def test_old_densenet_keys(self, name: str, tmp_path: Path) -> None:
        tensors = torchvision.models.densenet121(weights=None).state_dict()
        old = {
            re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
            for key, value in tensors.items()
            if not key.endswith("num_batches_tracked")
        }
        assert "features.denseblock1.denselayer1.norm.1.weight" in old
        loaded = load(name, saved(old, tmp_path / "densenet.pth")).network.state_dict()
        assert all(
            torch.equal(loaded[key], value)
            for key, value in tensors.items()
            if not key.startswith("classifier.")
        )


class TestTimm:
    def test_a_file_of_the_same_architecture_fits(
        self, resnet18: Mapping[str, Tensor], resnet18_file: Path
    ) -> None:
        """Both libraries name the tensors of a ResNet alike, so nothing is lost."""
        assert_body_equals(load("timm:resnet18", resnet18_file), resnet18, "fc")

    def test_a_vision_transformer_has_its_own_size(self, tmp_path: Path) -> None:
        tensors = timm.create_model("vit_tiny_patch16_224").state_dict()
        backbone = load("vit_tiny_patch16_224", saved(tensors, tmp_path / "vit.pth"))
        assert_body_equals(backbone, tensors, "head")
        assert backbone.input_size == 224
        assert_classifies(backbone)

    def test_auxiliary_heads_are_dropped_and_too_small_a_size_is_raised(
        self, tmp_path: Path
    ) -> None:
        """timm states no least size for this one: the trial at 64 fails."""
        build = torchvision.models.inception_v3
        tensors = build(weights=None, aux_logits=True, init_weights=False).state_dict()
        backbone = load("timm:inception_v3", saved(tensors, tmp_path / "inception.pth"))
        main = {key: value for key, value in tensors.items() if not key.startswith("AuxLogits.")}
        assert_body_equals(backbone, main, "fc")
        assert backbone.input_size == 299

    def test_a_torchvision_file_does_not_pass_for_a_timm_network(self, tmp_path: Path) -> None:
        tensors = torchvision.models.mobilenet_v3_small(weights=None).state_dict()
        with pytest.raises(WeightsError, match=r"small\.pth does not fit timm:mobilenetv3_small"):
            load("timm:mobilenetv3_small_100", saved(tensors, tmp_path / "small.pth"))

    def test_a_file_that_confuses_timms_own_filter_is_refused(self, resnet18_file: Path) -> None:
        with pytest.raises(WeightsError, match=r"resnet18\.pth does not fit timm:vit_tiny"):
            load("vit_tiny_patch16_224", resnet18_file)

    def test_a_network_without_a_head_is_refused(
        self, resnet18_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As `deepseek_vit_412m_enc`, which is too large to build here."""
        monkeypatch.setattr(timm, "create_model", lambda name, **_: nn.Conv2d(3, 5, 1))
        with pytest.raises(ConfigError, match=r"timm:resnet18 is not a classifier"):
            load("timm:resnet18", resnet18_file)

    def test_a_folder_that_timm_saved(self, tmp_path: Path) -> None:
        network = timm.create_model("test_resnet", num_classes=7)
        folder = tmp_path / "my-net"
        folder.mkdir()
        config = {
            "architecture": "test_resnet",
            "num_classes": 7,
            "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
        }
        (folder / "config.json").write_text(json.dumps(config))
        save_file(network.state_dict(), folder / "model.safetensors")
        backbone = load(f"local-dir:{folder}")
        assert_body_equals(backbone, network.state_dict(), "fc")
        assert backbone.description.weights.origin == "local-dir"
        assert backbone.description.mean == (0.1, 0.2, 0.3)
        assert backbone.description.name == "timm:local-dir:my-net"  # nothing of this machine
        for broken in ("{", '{"architecture": "no_such_net"}', "[]"):
            (folder / "config.json").write_text(broken)
            with pytest.raises(WeightsError, match=r"config\.json"):
                load(f"local-dir:{folder}")


class TestWrongFiles:
    @pytest.fixture
    def damaged(
        self, resnet18: Mapping[str, Tensor], tmp_path: Path
    ) -> Callable[[dict[str, Tensor | None]], Path]:
        """A ResNet-18 file with some tensors replaced, or removed where None."""

        def make(changes: dict[str, Tensor | None]) -> Path:
            tensors = {key: changes.get(key, value) for key, value in resnet18.items()} | changes
            kept = {key: value for key, value in tensors.items() if value is not None}
            return saved(kept, tmp_path / "damaged.pth")

        return make

    def test_another_networks_file(self, resnet18_file: Path) -> None:
        with pytest.raises(WeightsError, match=r"resnet18\.pth does not fit") as caught:
            load("squeezenet1_1", resnet18_file)
        assert "another network" in caught.value.hint
        assert re.match(r"\d+ missing: features\.0\.weight, ", caught.value.details[0])
        assert re.match(r"\d+ unexpected: conv1\.weight, ", caught.value.details[1])
        assert caught.value.exit_code is ExitCode.ENVIRONMENT

    def test_one_missing_tensor(self, damaged: Callable[[dict[str, Tensor | None]], Path]) -> None:
        with pytest.raises(WeightsError) as caught:
            load("resnet18", damaged({"layer4.1.bn2.bias": None}))
        assert caught.value.details == ("1 missing: layer4.1.bn2.bias",)

    def test_one_unexpected_tensor(
        self, damaged: Callable[[dict[str, Tensor | None]], Path]
    ) -> None:
        with pytest.raises(WeightsError) as caught:
            load("resnet18", damaged({"layer5.weight": torch.ones(1)}))
        assert caught.value.details == ("1 unexpected: layer5.weight",)

    def test_one_tensor_of_another_shape(
        self, damaged: Callable[[dict[str, Tensor | None]], Path]
    ) -> None:
        with pytest.raises(WeightsError) as caught:
            load("resnet18", damaged({"conv1.weight": torch.ones(64, 1, 7, 7)}))
        assert caught.value.details == ("1 of another shape: conv1.weight",)

    def test_a_cut_file(self, resnet18_file: Path, tmp_path: Path) -> None:
        (tmp_path / "cut.pth").write_bytes(resnet18_file.read_bytes()[:-1000])
        with pytest.raises(WeightsError, match=r"cut\.pth"):
            load("resnet18", tmp_path / "cut.pth")

    def test_the_head_of_the_file_may_be_absent(
        self, damaged: Callable[[dict[str, Tensor | None]], Path]
    ) -> None:
        load("resnet18", damaged({"fc.weight": None, "fc.bias": None}))


class TestHead:
    def test_it_depends_on_the_seed_alone(self, resnet18_file: Path) -> None:
        torch.manual_seed(1)
        first = load("resnet18", resnet18_file, seed=3).network.get_parameter("fc.weight")
        torch.manual_seed(2)
        again = load("resnet18", resnet18_file, seed=3).network.get_parameter("fc.weight")
        other = load("resnet18", resnet18_file, seed=4).network.get_parameter("fc.weight")
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_the_global_generator_is_untouched(self, resnet18_file: Path) -> None:
        before = torch.get_rng_state()
        load("resnet18", resnet18_file)
        assert torch.equal(before, torch.get_rng_state())

    def test_it_is_new_even_for_as_many_classes_as_the_file_has(
        self, resnet18: Mapping[str, Tensor], resnet18_file: Path
    ) -> None:
        weights = {"resnet18": resnet18_file}
        backbone = load_backbone(
            "resnet18", classes=1000, size=32, weights=weights, offline=True, seed=0
        )
        assert not torch.equal(backbone.network.get_parameter("fc.weight"), resnet18["fc.weight"])


class TestInput:
    @pytest.mark.parametrize(
        ("name", "size", "expected"),
        [("resnet18", 64, 64), ("resnet18", 8, 32), ("timm:resnet18", 100, 100)],
    )
    def test_flexible_networks_get_the_asked_size(
        self, name: str, size: int, expected: int, resnet18_file: Path
    ) -> None:
        assert load(name, resnet18_file, size=size).input_size == expected

    @pytest.mark.parametrize(
        "name",
        [
            "resnet18",
            "inception_v3",
            "timm:inception_v3",
            "timm:test_vit",
            "timm:vit_tiny_patch16_224",
            "timm:test_efficientnet",
        ],
    )
    def test_it_tells_which_sizes_it_takes(self, name: str) -> None:
        def fresh(size: int) -> Backbone:
            return load_backbone(
                name, classes=5, size=size, weights={}, offline=True, seed=0, pretrained=False
            )

        takes = fresh(64).takes
        for size in (8, 32, 75, 96, 160, 224):
            assert takes(size) is (fresh(size).input_size == size)

    def test_pictures_are_normalised_inside(self, lite0: Backbone) -> None:
        x = torch.rand(2, 3, 64, 64)
        lite0.eval()
        with torch.no_grad():
            assert torch.allclose(lite0(x), lite0.network((x - 0.5) / 0.5), atol=1e-5)

    def test_a_gradient_reaches_the_pictures(self, lite0: Backbone) -> None:
        x = torch.rand(1, 3, 50, 70, requires_grad=True)
        lite0.eval()(x)[0, 0].backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "layer_norm"),
    [
        ("torchvision:vit_b_16", True),
        ("torchvision:swin_t", True),
        ("torchvision:convnext_tiny", True),
        ("timm:vit_tiny_patch16_224", True),
        ("timm:convnext_atto", True),
        ("timm:poolformer_s12", True),
        ("timm:efficientvit_m0", False),
        ("timm:mobilenetv3_small_050", False),
        ("timm:resnet18", False),
        ("torchvision:vgg11", False),
        ("timm:tf_efficientnet_lite0", False),
    ],
)
def test_networks_that_normalise_layers_are_told_from_others(name: str, layer_norm: bool) -> None:
    """They are fine-tuned in another way."""
    backbone = load_backbone(
        name, classes=5, size=64, weights={}, offline=True, seed=0, pretrained=False
    )
    assert backbone.layer_norm == layer_norm


def test_a_network_from_scratch_needs_no_weights_on_this_machine() -> None:
    """Which there are none of: `no_caches`."""

    def fresh(name: str, seed: int) -> Backbone:
        return load_backbone(
            name, classes=5, size=64, weights={}, offline=True, seed=seed, pretrained=False
        )

    for name in ("torchvision:resnet18", "timm:resnet18"):
        backbone = fresh(name, seed=1)
        assert_classifies(backbone)
        assert backbone.description.weights == Weights(origin="none", file="", sha256="")
        one, same, other = (fresh(name, seed).network.state_dict() for seed in (1, 1, 2))
        key = next(key for key in one if key.endswith("conv1.weight"))
        assert torch.equal(one[key], same[key])
        assert not torch.equal(one[key], other[key])
