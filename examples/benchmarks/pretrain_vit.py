"""Pretrain a small vision transformer, as a victim of another family where none can be downloaded.

    python examples/export_fashion_mnist.py others --train-from 3000 --train 20000 --test-from 9000
    python examples/benchmarks/pretrain_vit.py others/train others/test vit

Writes vit/config.json and vit/model.safetensors as timm does; `protect verify` and the benchmark of
strength know it by the name of local-dir:vit. The pictures above are in no yardstick.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import torch.nn.functional as F
import typer
from timm.models import save_for_hf
from torch import nn
from torchvision.transforms import Normalize

from protect.config.choices import DEFAULT_MAX_PIXELS
from protect.data.augment import random_crop_flip
from protect.data.cache import PixelCache, load_square
from protect.data.discover import Sample, discover
from protect.evaluation.finetune import accuracy, answer, load
from protect.events import ignore
from protect.system.device import choose_device, generator, make_deterministic, thread_count
from protect.system.workspace import workspace

ARCHITECTURE = "vit_tiny_patch16_224"
SHAPE: dict[str, Any] = {"img_size": 64, "patch_size": 8, "depth": 6}
"""64 patches in place of 196, and half of the blocks: 2.7 million parameters."""
BATCH, RATE, DECAY = 256, 5e-4, 0.05


def train(
    network: nn.Module, pictures: PixelCache, test: PixelCache, epochs: int, device: torch.device
) -> None:
    """Train with AdamW and a cosine, on random crops and flips; tell the accuracy every epoch."""
    draws = generator(0, "pretrain")
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    batch_size = min(BATCH, len(pictures))
    steps = len(pictures) // batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps)
    for epoch in range(1, epochs + 1):
        network.train()
        order = torch.randperm(len(pictures), generator=draws)
        for index in torch.split(order, batch_size)[:steps]:
            view = random_crop_flip(load(pictures, index, device), draws)
            loss = F.cross_entropy(answer(network, view, device), pictures.labels[index].to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        reached = accuracy(network, test, device)
        share = "not finite" if reached is None else f"{reached:.1%}"
        typer.echo(f"epoch {epoch} of {epochs}: loss {loss.item():.2f}, test accuracy {share}")


def main(
    train_folder: Annotated[Path, typer.Argument(help="Pictures in class folders.")],
    test_folder: Annotated[Path, typer.Argument(help="Others, to measure it on.")],
    out: Path,
    epochs: int = 10,
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
        train(network, pictures, test, epochs, place)
    save_for_hf(vit.cpu(), str(out), model_args=SHAPE, safe_serialization=True)
    typer.echo(f"wrote {out}; its name is local-dir:{out}")


if __name__ == "__main__":
    typer.run(main)
