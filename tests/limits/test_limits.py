"""The limits that the README states; `limits.py` measures them in full."""

import sys
from pathlib import Path

import pytest
from cases.ran import run
from helpers import cli
from limits.limits import picture, scan
from pictures import encoded
from pictures import picture as random_picture
from PIL import Image

from protect.documents.manifest import MANIFEST_NAME, Manifest


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_hundred_thousand_files_are_listed_in_ten_seconds_and_little_memory(tmp_path: Path):
    """A fifth of them here, and seconds of computing: others may be busy too."""
    found = scan(20_000, tmp_path)
    assert found["files"] == 20_000
    assert found["seconds"] < 10 / 5
    assert found["bytes_per_file"] < 2_000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows says it in another way")
def test_a_large_picture_needs_few_bytes_a_pixel(tmp_path: Path):
    """Of 27 megapixels here, grey; `limits.py` takes one of 108 in colour."""
    found = picture(6_000, 4_500, "L", tmp_path)
    assert (found["image"]["width"], found["image"]["height"]) == (6_000, 4_500)
    assert found["image"]["status"] == "protected"
    assert 1 <= found["image"]["linf_levels"] <= 8
    assert found["bytes_per_pixel"] < 16


@pytest.mark.parametrize("side", [1, 2])
def test_folders_of_nothing_but_the_smallest_pictures_are_protected(tmp_path: Path, side: int):
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            path = tmp_path / "photos" / label / f"{number}.png"
            random_picture("RGB", (side, side), number).save(path)
    ran = run(tmp_path / "photos", tmp_path / "out")
    assert ran.result.exit_code in (0, 1), ran.result.output
    assert all(ran.published(name).size == (side, side) for name in ran.images)
    unchanged = [name for name, image in ran.images.items() if image["status"] == "unchanged"]
    assert ran.result.exit_code == (1 if unchanged else 0)
    assert side == 1 or not unchanged


def test_a_thousand_classes_of_one_picture_each(tmp_path: Path):
    """There is nothing to verify by, and that is said; with test pictures there is."""
    data = encoded(Image.new("RGB", (8, 8), "red"), "PNG")
    for number in range(1_000):
        folder = tmp_path / "photos" / f"{number:04}"
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(data)
    ran = run(tmp_path / "photos", tmp_path / "out")
    assert ran.result.exit_code == 0, ran.result.stderr
    manifest = Manifest.read(ran.out / MANIFEST_NAME)
    assert len(manifest.classes) == len(manifest.images) == 1_000
    verified = cli("verify", ran.out, "--epochs", "1", "--device", "cpu")
    assert verified.exit_code == 2
    assert "every class needs two pictures or more" in verified.stderr
