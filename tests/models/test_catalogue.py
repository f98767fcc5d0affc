"""What can be used here, and where the rest would come from."""

import json

import pytest
from helpers import cli

from protect.errors import ConfigError
from protect.models.catalogue import list_backbones
from protect.models.names import all_names, resolve


def test_without_a_pattern_only_what_is_here_is_listed():
    found = list_backbones()
    assert "timm:tf_efficientnet_lite0" in [entry.name for entry in found.entries]
    assert all(entry.origin in ("package", "cache") for entry in found.entries)
    assert all(entry.megabytes > 0 for entry in found.entries)
    assert found.known > 1000


def test_a_pattern_lists_both_libraries_and_says_where_weights_come_from(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entries = {entry.name: entry for entry in list_backbones("ViT_b_16").entries}
    vit = entries["torchvision:vit_b_16"]
    assert vit.input_size == 224
    assert vit.origin is None
    assert any("vit_b_16-c867db91.pth" in place for place in vit.places)
    names = {entry.name for entry in list_backbones("resnet18").entries}
    assert {"torchvision:resnet18", "timm:resnet18"} <= names


def test_a_damaged_file_in_a_cache_is_an_error_that_names_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "vit_b_16-c867db91.pth").write_bytes(b"no weights")
    result = cli("backbones", "torchvision:vit_b_16")
    assert result.exit_code == 3
    assert "vit_b_16-c867db91.pth" in result.stderr


def test_every_listed_name_is_one_that_verify_takes():
    for name in all_names()[::97]:
        assert resolve(str(name)) == name


def test_a_typo_gets_near_matches():
    with pytest.raises(ConfigError) as caught:
        list_backbones("vit_b_61")
    assert "vit_b_16" in caught.value.hint
    result = cli("backbones", "vit_b_61")
    assert result.exit_code == 2
    assert "vit_b_16" in result.stderr


def test_the_command_prints_a_table_or_one_document():
    result = cli("backbones")
    assert result.exit_code == 0
    assert "timm:tf_efficientnet_lite0" in result.stdout
    assert "package" in result.stdout
    listed = json.loads(cli("backbones", "tf_efficientnet_lite0", "--json").stdout)
    assert listed["schema_version"] == 1
    assert [entry["name"] for entry in listed["entries"]] == ["timm:tf_efficientnet_lite0"]
