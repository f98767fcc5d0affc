from pathlib import Path

import pytest

from protect.errors import ConfigError, ExitCode, WeightsError
from protect.models.backbones import load_backbone
from protect.models.names import (
    BackboneName,
    distinct,
    published_name,
    refuse_stray_weights,
    resolve,
)


@pytest.mark.parametrize(
    ("text", "qualified"),
    [
        ("vit_b_16", "torchvision:vit_b_16"),
        ("torchvision:vit_b_16", "torchvision:vit_b_16"),
        ("vit_base_patch16_224", "timm:vit_base_patch16_224"),
        ("timm:vit_base_patch16_224.augreg_in1k", "timm:vit_base_patch16_224.augreg_in1k"),
        ("vit_base_patch16_224.augreg_in1k", "timm:vit_base_patch16_224.augreg_in1k"),
        ("tf_efficientnet_lite0", "timm:tf_efficientnet_lite0"),
        ("resnet18", "torchvision:resnet18"),  # both have it
        ("timm:resnet18", "timm:resnet18"),
        ("  resnet18 ", "torchvision:resnet18"),
        ("local-dir:/data/my net", "timm:local-dir:/data/my net"),
        ("timm:local-dir:/data/net", "timm:local-dir:/data/net"),
    ],
)
def test_a_name_means_torchvision_first_then_timm(text: str, qualified: str) -> None:
    assert str(resolve(text)) == qualified


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (("timm:resnet18", "timm:resnet18.a1_in1k"), ("timm:resnet18",)),
        (("timm:resnet18.a1_in1k", "timm:resnet18"), ("timm:resnet18.a1_in1k",)),
        (("timm:resnet18", "timm:resnet18.fb_ssl_yfcc100m_ft_in1k"), None),
        (("resnet18", "timm:resnet18.a1_in1k"), None),
        (("local-dir:/a", "local-dir:/b.c"), None),
    ],
)
def test_the_tag_that_timm_takes_anyway_makes_no_second_network(texts, kept):
    assert distinct(texts) == (kept or texts)


def test_weights_are_for_a_network_however_its_tag_is_spelt(tmp_path):
    names = ["timm:tf_efficientnet_lite0.in1k"]
    refuse_stray_weights(["tf_efficientnet_lite0"], names)
    with pytest.raises(ConfigError, match="for the same network"):
        refuse_stray_weights(["tf_efficientnet_lite0", *names], names)
    # And they are read: a missing file is noticed.
    missing = tmp_path / "none.pth"
    with pytest.raises(WeightsError, match=r"none\.pth"):
        given = {"tf_efficientnet_lite0": missing}
        load_backbone(names[0], classes=2, size=32, weights=given, offline=True, seed=0)


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("resnet18", "torchvision:resnet18"),
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("local-dir:{root}/my net", "timm:local-dir:my net"),
        ("timm:local-dir:{root}/my net/", "timm:local-dir:my net"),
        ("local-dir:my net", "timm:local-dir:my net"),
        ("local-dir:.", "timm:local-dir:{here}"),
        ("local-dir:my net/../my net", "timm:local-dir:my net"),
    ],
)
def test_published_names_have_no_folders_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, published: str
) -> None:
    monkeypatch.chdir(tmp_path)
    named = published_name(text.format(root=tmp_path))
    assert named == published.format(here=tmp_path.name)
    assert published_name(named) == named


def test_qualified_names_resolve_to_themselves() -> None:
    for name in (BackboneName("torchvision", "swin_t"), BackboneName("timm", "resnet18.a1_in1k")):
        assert resolve(str(name)) == name


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("vit_b16", "torchvision:vit_b_16"),
        ("ViT_B_16", "torchvision:vit_b_16"),
        ("torchvision:resnet81", "torchvision:resnet18"),
        ("timm:vit_tiny_patch16_24", "timm:vit_tiny_patch16_224"),
        ("torchvision:vit_tiny_patch16_224", "timm:vit_tiny_patch16_224"),
        ("timm:vit_b_16", "torchvision:vit_b_16"),
        ("resnet18.a1_in1", "timm:resnet18.a1_in1k"),
    ],
)
def test_a_typo_is_met_with_a_suggestion(text: str, suggestion: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(text)
    assert text in caught.value.message
    assert suggestion in caught.value.hint
    assert caught.value.hint.count(":") <= 5
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "timm:",
        "local-dir:",
        "zzzzqqqq",
        "fasterrcnn_resnet50_fpn",  # finds objects, does not classify
        "resnet18.no_such_tag",
        "hf-hub:timm/resnet18.a1_in1k",
    ],
)
def test_anything_else_is_unknown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(text)
    assert caught.value.hint


def test_two_names_of_one_network_are_one():
    names = ["tf_efficientnet_lite0", "timm:tf_efficientnet_lite0", "timm:resnet18", "resnet18"]
    assert distinct(names) == ("tf_efficientnet_lite0", "timm:resnet18", "resnet18")


@pytest.mark.parametrize("files", [[], ["resnet18"], ["timm:resnet18", "torchvision:resnet18"]])
def test_weight_files_of_used_networks_are_welcome(files):
    refuse_stray_weights(files, ["resnet18", "timm:resnet18"])


@pytest.mark.parametrize("files", [["timm:resnet18"], ["resnet18", "vit_b_16"]])
def test_a_weight_file_that_would_not_be_read_is_refused(files):
    with pytest.raises(ConfigError) as caught:
        refuse_stray_weights(files, ["resnet18"])
    assert files[-1] in caught.value.message
    assert "torchvision:resnet18" in caught.value.hint


def test_two_weight_files_for_one_network_are_refused():
    with pytest.raises(ConfigError, match="same network"):
        refuse_stray_weights(["resnet18", "torchvision:resnet18"], ["resnet18"])
