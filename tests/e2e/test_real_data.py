"""Real folders of Debian packages, as they are installed; CI installs the packages first."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from helpers import cli
from PIL import Image

STAMPS = Path("/usr/share/tuxpaint/stamps")
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_tuxpaint_stamp_is_protected_or_listed(tmp_path):
    """800 drawings and photographs: RGBA, grey with alpha, palettes, many sizes, nested folders."""
    out = tmp_path / "out"
    flags = ("--rounds", "1", "-b", "4", "--size", "32", "--on-error", "skip")
    result = cli("run", STAMPS, "-o", out, *flags)
    assert result.exit_code in (0, 1), result.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    found = {p.relative_to(STAMPS).as_posix() for p in STAMPS.rglob("*.png") if p.is_file()}
    published = {image["source"] for image in manifest["images"]}
    refused = {item["source"] for item in manifest["refused"]}
    noted = " ".join(manifest["notes"])
    assert len(published) > 700
    for name in found - published - refused:
        assert name in noted, f"{name} was passed over in silence"
    for image in manifest["images"]:
        with (
            Image.open(STAMPS / image["source"]) as original,
            Image.open(out / image["output"]) as copy,
        ):
            assert copy.size == original.size
            assert image["output"] == image["source"]
            if original.mode in ("RGBA", "LA"):
                before, after = np.asarray(original), np.asarray(copy)
                assert np.array_equal(before[..., -1], after[..., -1])
    assert cli("check", out).exit_code == 0


def test_fashion_mnist_is_exported_to_folders(tmp_path):
    export = [sys.executable, str(EXAMPLES / "export_fashion_mnist.py"), str(tmp_path)]
    subprocess.run([*export, "--train", "40", "--test", "20", "--side", "28"], check=True)
    pictures = list((tmp_path / "train").rglob("*.png"))
    assert len(pictures) == 40
    assert len(list((tmp_path / "test").rglob("*.png"))) == 20
    with Image.open(pictures[0]) as picture:
        assert (picture.mode, picture.size) == ("L", (28, 28))
    result = cli("run", tmp_path / "train", "-o", tmp_path / "out", "--rounds", "1", "-b", "4")
    assert result.exit_code == 0, result.stderr
    with Image.open(next((tmp_path / "out").rglob("*.png"))) as picture:
        assert picture.mode == "L"
