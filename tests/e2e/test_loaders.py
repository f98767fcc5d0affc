"""The libraries that datasets are read with find in the copy what they find in the source."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import timm.data
from helpers import TINY, cli
from PIL import Image
from torchvision.datasets import ImageFolder

# `datasets` leaves the tables that it reads to the garbage collector to close.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

Shown = tuple[object, np.ndarray]
"""A label as a library gives it, and the pixels that it decodes."""

# torchvision sorts these by letters, timm by numbers.
CLASSES = ("2", "10", "cats and dogs", "猫")
FILES = ("a.jpg", "a.png", "b.jpeg", "1.2.png", "metadata.png")
MANIFESTS = ((), ("--manifest", "mapping.json"))


def write_photos(folder: Path) -> list[str]:
    """Write class folders of smooth pictures, on which JPEG errs little."""
    draws = np.random.default_rng(0)
    names = []
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for file in FILES:
            small = draws.integers(60, 196, (3, 3, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((40, 30), Image.Resampling.BILINEAR)
            picture.save(folder / label / file, quality=95)
            names.append(f"{label}/{file}")
    return sorted(names)


def by_torchvision(folder: Path, cache: Path) -> dict[str, Shown]:
    data = ImageFolder(str(folder))
    return {
        Path(path).relative_to(folder).as_posix(): (index, np.asarray(image))
        for (path, _), (image, index) in zip(data.samples, data, strict=True)
    }


def by_timm(folder: Path, cache: Path) -> dict[str, Shown]:
    data = timm.data.create_dataset("", root=str(folder))
    return {
        data.filename(i, basename=False, absolute=False): (label, np.asarray(image))
        for i, (image, label) in enumerate(data)
    }


def by_hugging_face(folder: Path, cache: Path) -> dict[str, Shown]:
    from datasets import Image as Picture
    from datasets import load_dataset

    data = load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(cache))
    named = data.features["label"]
    paths = [row["path"] for row in data.cast_column("image", Picture(decode=False))["image"]]
    labels = data["label"]
    return {
        Path(path).relative_to(folder).as_posix(): (
            named.int2str(label) if hasattr(named, "int2str") else label,
            np.asarray(image.convert("RGB")),
        )
        for path, label, image in zip(paths, labels, data["image"], strict=True)
    }


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


def require_same(
    load: Callable[[Path, Path], Mapping[str, Shown]], photos: Path, out: Path, manifest: Path
) -> None:
    before, after = load(photos, photos.parent / "cache"), load(out, photos.parent / "cache")
    images = json.loads(manifest.read_text())["images"]
    assert before.keys() == {image["source"] for image in images}
    assert after.keys() == {image["output"] for image in images}
    for image in images:
        (label, pixels), (copied, published) = before[image["source"]], after[image["output"]]
        assert copied == label
        change = published.astype(int) - pixels
        assert abs(change).max() == image["linf_levels"] <= 8


@pytest.mark.parametrize("flags", MANIFESTS, ids=["beside", "apart"])
def test_class_folders_load_as_before_in_every_library(tmp_path, monkeypatch, flags):
    """The manifest and nothing else lies among the class folders, and no library minds it."""
    monkeypatch.chdir(tmp_path)
    photos, out = tmp_path / "photos", tmp_path / "protected"
    names = write_photos(photos)
    result = cli("run", photos, "-o", out, *TINY, "--rights", "noai", *flags)
    assert result.exit_code == 0, result.stderr
    manifest = tmp_path / flags[1] if flags else out / "manifest.json"
    for load in (by_torchvision, by_timm, by_hugging_face):
        require_same(load, photos, out, manifest)
    assert len(by_torchvision(out, tmp_path)) == len(names)
    assert ImageFolder(str(out)).classes == ImageFolder(str(photos)).classes == sorted(CLASSES)


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("flat", [True, False])
def test_a_hugging_face_table_loads_as_before(tmp_path, table, flat):
    photos, out = tmp_path / "photos", tmp_path / "protected"
    names = write_photos(photos)
    labels = {name: ("weiß" if name < "a" else "schwarz, grau") for name in names}
    if flat:
        for name in names:
            (photos / name).rename(photos / name.replace("/", "_"))
        for label in CLASSES:
            (photos / label).rmdir()
        labels = {name.replace("/", "_"): label for name, label in labels.items()}
    rows = [
        {"file_name": name, "label": label, "caption": f'of "{name}"\n'}
        for name, label in labels.items()
    ]
    with (photos / table).open("w", encoding="utf-8", newline="") as file:
        if table.endswith(".csv"):
            writer = csv.DictWriter(file, ["file_name", "label", "caption"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    result = cli("run", photos, "-o", out, *TINY)
    assert result.exit_code == 0, result.stderr
    require_same(by_hugging_face, photos, out, out / "manifest.json")
    found = by_hugging_face(out, tmp_path / "cache")
    assert sorted(label for label, _ in found.values()) == sorted(labels.values())
