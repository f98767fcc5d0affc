"""A published vision transformer that was exported to ONNX comes out as the network it was."""

import dinov2
import onnx
import pytest
import timm
import torch
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from protect.models.backbones import load_backbone

SHAPE = {"img_size": 28, "depth": 2, "embed_dim": 48, "num_heads": 3}
LINEAR = {
    "attention.attention.query": ("attn.qkv", 0),
    "attention.attention.key": ("attn.qkv", 1),
    "attention.attention.value": ("attn.qkv", 2),
    "attention.output.dense": ("attn.proj", None),
    "mlp.fc1": ("mlp.fc1", None),
    "mlp.fc2": ("mlp.fc2", None),
}
"""The linear layers of a block, as transformers names them: those of timm, and which third."""


@pytest.fixture
def network():
    torch.manual_seed(3)
    made = timm.create_model(dinov2.ARCHITECTURE, num_classes=0, **SHAPE)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def exported(network):
    """Name and turn the tensors as the exporter does; linear layers keep the names of biases."""
    ours = network.state_dict()
    named = {
        "embeddings.cls_token": ours["cls_token"],
        "embeddings.patch_embeddings.projection.weight": ours["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": ours["patch_embed.proj.bias"],
        "layernorm.weight": ours["norm.weight"],
        "layernorm.bias": ours["norm.bias"],
    }
    nameless = {
        "onnx::Reshape_2": ours["pos_embed"][:, 1:],
        "onnx::Concat_1": ours["pos_embed"][:, :1],
    }
    nodes = []
    for i in range(SHAPE["depth"]):
        block = f"encoder.layer.{i}."
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            named[block + part] = ours[f"blocks.{i}.{part}"]
        for j in (1, 2):
            named[f"{block}layer_scale{j}.lambda1"] = ours[f"blocks.{i}.ls{j}.gamma"]
        for theirs, (layer, third) in LINEAR.items():
            pair = [ours[f"blocks.{i}.{layer}.{kind}"] for kind in ("weight", "bias")]
            weight, bias = pair if third is None else [t.chunk(3)[third] for t in pair]
            number = len(nodes)
            nameless[f"onnx::MatMul_{number}"] = weight.T
            named[f"{block}{theirs}.bias"] = bias
            product = f"made_{number}"
            matrix = helper.make_node("MatMul", ["x", f"onnx::MatMul_{number}"], [product])
            added = [product, f"backbone.{block}{theirs}.bias"][:: -1 if i else 1]
            nodes += [matrix, helper.make_node("Add", added, [f"{product}b"])]
    nodes.append(helper.make_node("MatMul", ["x", "y"], ["scores"]))
    tensors = {f"backbone.{name}": tensor for name, tensor in named.items()} | nameless
    arrays = [numpy_helper.from_array(t.numpy(), name) for name, t in tensors.items()]
    return helper.make_model(helper.make_graph(nodes, "vit", [], [], arrays))


def test_every_tensor_comes_back_to_its_place(network, tmp_path):
    onnx.save(exported(network), tmp_path / "vit.onnx")
    dinov2.write(tmp_path / "vit.onnx", tmp_path / "vit", SHAPE)
    name = f"local-dir:{tmp_path / 'vit'}"
    loaded = load_backbone(name, classes=3, size=64, weights={}, offline=True, seed=0)
    assert loaded.input_size == SHAPE["img_size"]
    body = {k: v for k, v in loaded.network.state_dict().items() if not k.startswith("head.")}
    assert body.keys() == network.state_dict().keys()
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(body[key], tensor, rtol=0, atol=0, msg=key)


def test_a_larger_input_gets_more_places_and_the_same_network(network, tmp_path):
    onnx.save(exported(network), tmp_path / "vit.onnx")
    larger = SHAPE | {"img_size": 56}
    dinov2.write(tmp_path / "vit.onnx", tmp_path / "vit", larger)
    name = f"local-dir:{tmp_path / 'vit'}"
    loaded = load_backbone(name, classes=3, size=64, weights={}, offline=True, seed=0)
    assert loaded.input_size == 56
    assert loaded.network.pos_embed.shape == (1, 1 + 16, 48)


def test_without_the_package_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(dinov2, "PACKAGE", "no_such_package")
    app = dinov2.typer.Typer()
    app.command()(dinov2.main)
    result = CliRunner().invoke(app, [str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "no_such_package is not installed" in result.output
