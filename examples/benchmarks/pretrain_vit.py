"""Pretrain a small vision transformer, as a victim of another family where none can be downloaded.

    python examples/export_fashion_mnist.py others --train-from 3000 --train 20000 --test-from 9000
    python examples/benchmarks/pretrain_vit.py others/train others/test vit

Writes vit/config.json and vit/model.safetensors as timm does; `protect verify` and the benchmark of
strength know it by the name of local-dir:vit. The pictures above are in no yardstick.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer
from timm.models import save_for_hf
from torch import nn
from torchvision.transforms import Normalize

from protect.config.choices import DEFAULT_MAX_PIXELS
from protect.data.cache import PixelCache, load_square
from protect.data.discover import Sample, discover
from protect.evaluation.attacks.base import Attack
from protect.evaluation.finetune import fine_tune
from protect.evaluation.recipes import Recipe
from protect.events import ignore
from protect.system.device import choose_device, make_deterministic, thread_count
from protect.system.workspace import workspace

ARCHITECTURE = "vit_tiny_patch16_224"
SHAPE: dict[str, Any] = {"img_size": 64, "patch_size": 8, "depth": 6}
"""64 patches in place of 196, and half of the blocks: 2.7 million parameters."""
RECIPE = Recipe(
    epochs=10,
    batch_size=256,
    lr=5e-4,
    optimiser="adamw",
    weight_decay=0.05,
    source="a usual one of vision transformers from scratch",
)


def main(
    train_folder: Annotated[Path, typer.Argument(help="Pictures in class folders.")],
    test_folder: Annotated[Path, typer.Argument(help="Others, to measure it on.")],
    out: Path,
    epochs: int = RECIPE.epochs,
    device: str = "auto",
) -> None:
    """Pretrain a ViT of 64 pixels on the pictures of a folder."""
    place = choose_device(device)
    make_deterministic()
    listing = discover(train_folder)
    torch.manual_seed(0)
    vit = timm.create_model(ARCHITECTURE, num_classes=len(listing.classes), **SHAPE)
    config: Any = vit.pretrained_cfg
    network = nn.Sequential(Normalize(config["mean"], config["std"]), vit).to(place)
    with workspace("pretrain-") as folder:

        def decoded(samples: Sequence[Sample], name: str) -> PixelCache:
            return load_square(
                samples,
                listing.class_index,
                SHAPE["img_size"],
                folder / name,
                threads=thread_count(None),
                max_pixels=DEFAULT_MAX_PIXELS,
                listener=ignore,
            )[0]

        pictures = decoded(listing.samples, "train.npy")
        test = decoded(discover(test_folder).samples, "test.npy")
        fine_tune(
            network,
            pictures,
            test,
            replace(RECIPE, epochs=epochs),
            classes=len(listing.classes),
            attack=Attack(),
            seed=0,
            device=place,
            on_epoch=lambda share: typer.echo(f"test accuracy {share:.1%}"),
        )
    save_for_hf(vit.cpu(), str(out), model_args=SHAPE, safe_serialization=True)
    typer.echo(f"wrote {out}; its name is local-dir:{out}")


if __name__ == "__main__":
    typer.run(main)
