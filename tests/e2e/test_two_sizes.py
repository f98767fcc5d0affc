"""Pictures that have room for two sizes get textures that are searched at both."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from helpers import COLOURS, cli, small_network
from PIL import Image
from safetensors.torch import load_file, save_file

from protect import RunConfig
from protect.bait.patterns import BEND
from protect.bait.textures import BROAD_TILE, TILE
from protect.data.discover import discover
from protect.data.reading import read_pictures
from protect.data.scan import scan_pictures
from protect.generation import search_sizes
from protect.models.backbones import load_backbone
from protect.models.features import WithFeatures
from protect.noise import Noise
from protect.system.device import generator

SIDE = 128
WORDS = ("--preset", "quick", "--batch-size", "16", "--device", "cpu", "--seed", "0")


def write_large(folder: Path, sides: tuple[int, ...] = (SIDE,), per_class: int = 6) -> Path:
    """Write pictures of two colours, of these sizes in turn."""
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for i in range(per_class):
            side = sides[i % len(sides)]
            rough = np.array(colour) + rng.integers(-40, 41, (8, 8, 3))
            small = Image.fromarray(np.clip(rough, 20, 235).astype(np.uint8))
            small.resize((side, side)).save(folder / label / f"{i}.png")
    return folder


def changes(photos: Path, out: Path, name: str) -> np.ndarray:
    before, after = (np.asarray(Image.open(folder / name)).astype(int) for folder in (photos, out))
    return after - before


def recorded(out: Path, label: str, name: str) -> np.ndarray:
    """Return the noise of a picture by what the run recorded, in whole levels: (H, W, C)."""
    noise = Noise.unpack(load_file(f"{out}.state/patterns.safetensors"))
    assert noise.bend == BEND
    k = manifest_of(out)["classes"][label]
    own = noise.pattern(k, generator(0, "window", f"{label}/{name}"))
    return own.round().int().permute(1, 2, 0).numpy()


def manifest_of(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tuple[str, ...]]:
    folder = tmp_path_factory.mktemp("two sizes")
    photos = write_large(folder / "photos")
    words = (*WORDS, *small_network(folder))
    result = cli("run", photos, "-o", folder / "out", *words)
    assert result.exit_code == 0, result.stderr
    return photos, folder / "out", words


def test_the_sizes_are_recorded_and_one_class_is_changed_by_one_level(done):
    photos, out, _ = done
    manifest = manifest_of(out)
    assert manifest["config"]["searched_at"] == [SIDE, 96]
    assert manifest["surrogate"]["input_size"] == 96
    anchor = manifest["target_mapping"]["anchor"]
    assert anchor in COLOURS
    for label in COLOURS:
        noise = changes(photos, out, f"{label}/0.png")
        assert np.abs(noise).max() == (1 if label == anchor else 8)
    (record,) = {(p["height"], p["width"]) for p in manifest["patterns"].values()}
    assert record == (SIDE + BROAD_TILE - 1, SIDE + BROAD_TILE - 1)
    assert load_file(f"{out}.state/patterns.safetensors")["grid"].tolist() == [SIDE, SIDE]
    # In five views by two networks, and once more at the other size.
    for true, targets in manifest["target_mapping"]["counts"]["search"].items():
        assert sum(targets.values()) == 12 * len(list((photos / true).iterdir()))
    assert cli("check", out).exit_code == 0


def test_noise_is_not_enlarged(done):
    """A pixel of it is a pixel of the picture, bent as it was recorded."""
    photos, out, _ = done
    (label,) = COLOURS.keys() - {manifest_of(out)["target_mapping"]["anchor"]}
    noise = changes(photos, out, f"{label}/0.png")
    assert set(np.unique(np.abs(noise))) == {8}
    assert np.array_equal(noise, recorded(out, label, "0.png"))


SEARCHED = {"harden": "jpeg,blur"}
ROUNDS = {"harden": "grey"}


@pytest.mark.parametrize(
    ("sides", "settings", "accelerated", "searched", "grid"),
    [
        ((64,), SEARCHED, False, (), (64, 64)),
        ((96,), SEARCHED, True, (), (96, 96)),
        ((SIDE,), SEARCHED, False, (SIDE, 96), (SIDE, SIDE)),
        ((SIDE,), SEARCHED, True, (SIDE, 96), (SIDE, SIDE)),
        ((SIDE,), SEARCHED | {"size": 96}, False, (), (96, 96)),
        ((300,), SEARCHED | {"size": 224}, True, (), (224, 224)),
        ((SIDE,), ROUNDS, False, (), (96, 96)),
        ((300,), ROUNDS, True, (), (224, 224)),
        ((SIDE, 160), SEARCHED, False, (160, 96), (160, 160)),
        ((SIDE, SIDE, SIDE, 100), SEARCHED, False, (SIDE, 96), (SIDE, SIDE)),
        ((300,), SEARCHED, False, (224, 96), (224, 224)),
        ((300,), SEARCHED, True, (224, 96), (224, 224)),
    ],
)
def test_it_depends_on_the_room_and_on_what_is_asked_for(
    tmp_path, sides, settings, accelerated, searched, grid
):
    """And not on whether a GPU computes. Pictures are kept as large as they are to be shown."""
    config = RunConfig(source=write_large(tmp_path / "photos", sides, per_class=4), **settings)
    how = {
        "size": config.size,
        "accelerated": accelerated,
        "at_room": config.searches_sizes,
        "threads": 1,
        "max_pixels": config.max_pixels,
        "listener": lambda _: None,
    }
    listing = discover(config.source)
    for reading in (
        read_pictures(listing, tmp_path / "pixels.npy", **how),
        scan_pictures(listing, keep=2, **how),
    ):
        backbone = load_backbone(
            "timm:test_efficientnet",
            classes=2,
            size=reading.size,
            weights={},
            offline=True,
            seed=0,
            pretrained=False,
        )
        sizes = search_sizes(WithFeatures(backbone), reading, config)
        assert sizes == searched
        assert reading.grid_within(max(sizes, default=reading.size)) == grid
        assert reading.pictures.batch(torch.tensor([0])).shape[2] >= grid[0]


@pytest.mark.parametrize(
    ("side", "words", "warned"),
    [(SIDE, (), True), (96, (), False), (SIDE, ("--size", "64"), False)],
)
def test_it_is_said_where_pictures_have_room_for_more(tmp_path, side, words, warned):
    photos = write_large(tmp_path / "photos", (side,), per_class=2)
    words = (*WORDS, *small_network(tmp_path), "--rounds", "1", *words)
    for more in (("--dry-run",), ()):
        result = cli("run", photos, "-o", tmp_path / "out", *words, *more)
        assert result.exit_code == 0, result.stderr
        assert ("the surrogate sees these pictures at 96 px" in result.stderr) == warned
        assert ("--size 128" in result.stderr) == warned


def test_a_network_of_one_size_is_shown_no_other(tmp_path):
    photos = write_large(tmp_path / "photos", per_class=4)
    name, file = "test_vit", tmp_path / "vit.safetensors"
    save_file(timm.create_model(name).state_dict(), file)
    flags = ("--surrogate", f"timm:{name}", "--weights", f"timm:{name}={file}")
    result = cli("run", photos, "-o", tmp_path / "out", *WORDS, *flags)
    assert result.exit_code == 0, result.stderr
    manifest = manifest_of(tmp_path / "out")
    assert "the surrogate sees" not in result.stderr
    assert manifest["surrogate"]["input_size"] == 160
    assert manifest["config"]["searched_at"] == []
    (side,) = {pattern["height"] for pattern in manifest["patterns"].values()}
    assert side == 96 + TILE - 1


@pytest.mark.parametrize("is_fixed", [True, False])
@pytest.mark.parametrize("own", [96, SIDE])
def test_a_network_whose_one_size_is_among_them_is_shown_no_other(tmp_path, own, is_fixed):
    """Such as vit_b_16 where a GPU shows pictures at 224 px, which is its own size."""
    photos = write_large(tmp_path / "photos", per_class=4)
    folder = tmp_path / "net"
    folder.mkdir()
    config = {
        "architecture": "test_vit",
        "num_classes": 7,
        "model_args": {"img_size": own, "dynamic_img_size": False},
        "pretrained_cfg": {"input_size": [3, own, own], "fixed_input_size": is_fixed},
    }
    (folder / "config.json").write_text(json.dumps(config))
    network = timm.create_model("test_vit", num_classes=7, img_size=own)
    save_file(network.state_dict(), folder / "model.safetensors")
    words = ("run", photos, "-o", tmp_path / "out", *WORDS, "--surrogate", f"local-dir:{folder}")
    result = cli(*words, "--dry-run", "--json")  # which shows a texture in every view
    assert result.exit_code == 0, result.stderr
    assert "the surrogate sees" not in result.stderr
    assert json.loads(result.stdout)["surrogate"]["input_size"] == own


def test_a_dry_run_foretells_it(done, tmp_path):
    photos, out, words = done
    told = cli("run", photos, "-o", tmp_path / "out", *words, "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    took = manifest_of(out)["timing"]["optimise"]
    told = json.loads(told.stdout)
    assert took / 10 < told["duration"]["optimise"] < 20 * took
    assert told["room"]["cache"] >= 12 * SIDE * SIDE * 3


def test_a_resumed_run_and_one_anew_give_the_same_bytes(done, tmp_path):
    photos, out, words = done
    again = tmp_path / "again"
    assert cli("run", photos, "-o", again, *words).exit_code == 0
    (again / "manifest.json").unlink()
    (again / "red" / "3.png").unlink()
    result = cli("run", photos, "-o", again, *words, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "Choosing textures" not in result.stderr
    for path in out.rglob("*.png"):
        assert (again / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_pictures_that_come_later_get_the_same_texture(done, tmp_path):
    photos, out, _ = done
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(out, tmp_path / "out")
    shutil.copytree(f"{out}.state", tmp_path / "out.state")
    (label,) = COLOURS.keys() - {manifest_of(out)["target_mapping"]["anchor"]}
    (tmp_path / "photos" / label / "later.png").write_bytes((photos / label / "0.png").read_bytes())
    result = cli("run", tmp_path / "photos", "-o", tmp_path / "out", "--extend")
    assert result.exit_code == 0, result.stderr
    later = changes(tmp_path / "photos", tmp_path / "out", f"{label}/later.png")
    assert np.array_equal(later, recorded(out, label, "later.png"))
    assert cli("check", tmp_path / "out").exit_code == 0
