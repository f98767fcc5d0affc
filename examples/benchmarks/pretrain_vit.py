"""Pretrain a small vision transformer on Fashion-MNIST pictures that no yardstick shows.

    python examples/benchmarks/pretrain_vit.py OUT [--epochs 10] [--device cpu]

Writes OUT/config.json and OUT/model.safetensors, as timm saves and `local-dir:OUT` names them: a
victim of another family than every surrogate, for machines that cannot download one. It learns from
the training pictures that follow the yardstick's 3,000, enlarged to its 64 pixels.
"""

from pathlib import Path
from typing import Annotated

import timm
import torch
import torch.nn.functional as F
import typer
from export_fashion_mnist import CLASSES, read
from timm.models import save_for_hf
from torch import Tensor, nn

from protect.data.augment import random_crop_flip
from protect.evaluation.finetune import answer
from protect.system.device import choose_device, generator, make_deterministic

ARCHITECTURE = "vit_tiny_patch16_224"
SHAPE = {"img_size": 64, "patch_size": 8, "depth": 6}
"""64 patches in place of 196, and half of the blocks: 2.7 million parameters."""
FIRST = 3000
"""The yardstick's training pictures are those before it."""
BATCH, RATE, DECAY = 256, 5e-4, 0.05


def pictures(data: Path, part: str, chosen: slice) -> tuple[Tensor, Tensor]:
    """Return pictures (N, 1, 28, 28), uint8, and labels (N,), int64."""
    pixels, labels = read(data, part)
    return (
        torch.tensor(pixels[chosen])[:, None],
        torch.tensor(labels[chosen], dtype=torch.int64),
    )


def enlarged(pixels: Tensor, device: torch.device) -> Tensor:
    """Return pictures (B, 3, 64, 64) in [0, 1], on the device."""
    x = pixels.to(device).float() / 255
    side = SHAPE["img_size"]
    return F.interpolate(x, size=(side, side), mode="bilinear").expand(-1, 3, -1, -1)


def normalised(x: Tensor, network: nn.Module) -> Tensor:
    """Prepare pictures in [0, 1] as timm's config of the network says."""
    config = network.pretrained_cfg
    mean, std = (torch.tensor(config[key], device=x.device) for key in ("mean", "std"))  # type: ignore[index]
    return (x - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


@torch.no_grad()
def accuracy(network: nn.Module, pixels: Tensor, labels: Tensor, device: torch.device) -> float:
    """Return the share of pictures that the network gets right."""
    network.eval()
    right = 0
    for batch in torch.arange(len(labels)).split(1000):
        logits = answer(network, normalised(enlarged(pixels[batch], device), network), device)
        right += int((logits.argmax(dim=1).cpu() == labels[batch]).sum())
    return right / len(labels)


def main(
    out: Path,
    data: Annotated[Path, typer.Option(help="Folder with the four files of the dataset.")] = Path(
        "/usr/share/datasets/fashion-mnist"
    ),
    epochs: int = 10,
    count: Annotated[int, typer.Option(help="Pictures to learn from, at most 57,000.")] = 20_000,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Train with AdamW and a cosine, on random crops and flips."""
    place = choose_device(device)
    make_deterministic()
    torch.manual_seed(seed)
    network = timm.create_model(ARCHITECTURE, num_classes=len(CLASSES), **SHAPE).to(place)
    pixels, labels = pictures(data, "train", slice(FIRST, FIRST + count))
    # The last 1,000 of the test part are in no yardstick either.
    test = pictures(data, "t10k", slice(-1000, None))
    draws = generator(seed, "pretrain")
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(epochs):
        network.train()
        for index in torch.randperm(len(labels), generator=draws).split(BATCH)[: steps // epochs]:
            view = random_crop_flip(enlarged(pixels[index], place), draws)
            logits = answer(network, normalised(view, network), place)
            loss = F.cross_entropy(logits, labels[index].to(place))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        print(
            f"epoch {epoch + 1}: loss {loss.item():.2f}, clean-test accuracy "
            f"{accuracy(network, *test, place):.1%}",
            flush=True,
        )
    save_for_hf(network.cpu(), str(out), model_args=SHAPE, safe_serialization=True)
    print(f"wrote {out}, a victim by the name of local-dir:{out.resolve()}")


if __name__ == "__main__":
    typer.run(main)
