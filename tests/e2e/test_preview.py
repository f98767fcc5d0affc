"""`protect preview`: a sheet of pairs, of any folder, at a place that harms nothing."""

import json
import shutil

import numpy as np
import pytest
from helpers import cli
from PIL import Image

from protect.config.settings import PreviewConfig
from protect.errors import InputError
from protect.preview import MOST_ROWS, preview_folder
from protect.report.examples import LARGEST_SIDE


def test_every_class_is_shown_with_what_lies_between_the_files(done):
    sheet = done.root / "sheet.png"
    result = cli("preview", done.protected, "-o", sheet, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    shown = [(pair["label"], pair["source"], pair["output"]) for pair in report["pairs"]]
    assert shown == [
        (label, f"{label}/{i}.png", f"{label}/{i}.png") for label in ("blue", "red") for i in (0, 1)
    ]
    recorded = {image["source"]: image for image in done.manifest["images"]}
    for pair in report["pairs"]:
        for figure in ("psnr", "ssim", "linf_levels"):
            assert pair[figure] == recorded[pair["source"]][figure]
    assert report["amplification"] == 16
    assert report["sheet"] == "sheet.png"
    assert report["notes"] == []
    # The very pixels are on it, each 4 times enlarged, original, protected and difference.
    pixels = np.asarray(Image.open(sheet).convert("RGB"))
    original = np.asarray(Image.open(done.photos / "blue/0.png")).astype(int)
    published = np.asarray(Image.open(done.protected / "blue/0.png")).astype(int)
    difference = np.clip(128 + 16 * (published - original), 0, 255)
    for view in (original, published, difference):
        assert contains(pixels, view.astype(np.uint8).repeat(4, 0).repeat(4, 1))


def contains(sheet: np.ndarray, view: np.ndarray) -> bool:
    """Say whether a view lies anywhere on a sheet."""
    corners = np.argwhere((sheet == view[0, 0]).all(axis=2))
    height, width = view.shape[:2]
    return any(
        np.array_equal(sheet[top : top + height, left : left + width], view)
        for top, left in corners
    )


def test_people_read_the_same_and_what_to_do_next(done):
    result = cli("preview", done.protected, "-o", done.root / "a sheet.png")
    assert "blue/0.png" in result.stdout
    assert f"wrote {done.root}/a sheet.png" in result.stdout.replace("\n", "")
    assert f"next: protect verify {done.protected}" in result.stderr


@pytest.mark.parametrize("flag", ["--clean", "--source"])
def test_the_originals_are_those_that_are_named(done, flag):
    moved = done.root / "moved"
    done.photos.rename(moved)
    result = cli("preview", done.protected, "-o", done.root / "x.png")
    assert result.exit_code == 2
    assert "--clean" in result.stderr
    assert not (done.root / "x.png").exists()
    assert cli("preview", done.protected, "-o", done.root / "x.png", flag, moved).exit_code == 0


def test_the_work_of_another_tool_is_shown_beside_its_originals(done):
    foreign = done.root / "foreign"
    shutil.copytree(done.protected, foreign, ignore=shutil.ignore_patterns("manifest.json"))
    assert cli("preview", foreign, "-o", done.root / "x.png").exit_code == 2
    result = cli("preview", foreign, "--clean", done.photos, "-o", done.root / "x.png", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["pairs"]) == 4


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("protected/sheet.png", "among the pictures"),
        ("protected/red/0.png", "among the pictures"),
        ("photos/sheet.png", "among the pictures"),
        ("folder.png", "cannot be written"),
        ("nowhere/sheet.png", "cannot be written"),
        ("sheet.jpg", "not named as a PNG"),
        ("sheet", "not named as a PNG"),
    ],
)
def test_a_place_that_harms_is_refused(done, place, said):
    (done.root / "folder.png").mkdir()
    before = {path: path.stat().st_mtime_ns for path in done.root.rglob("*")}
    result = cli("preview", done.protected, "-o", done.root / place)
    assert result.exit_code == 2
    assert said in result.stderr
    assert {path: path.stat().st_mtime_ns for path in done.root.rglob("*")} == before


def test_an_earlier_sheet_is_replaced(done):
    sheet = done.root / "sheet.png"
    sheet.write_bytes(b"old")
    assert cli("preview", done.protected, "-o", sheet).exit_code == 0
    Image.open(sheet).verify()


def test_classes_can_be_named_and_a_wrong_name_has_its_like(done):
    sheet = done.root / "sheet.png"
    words = ("preview", done.protected, "-o", sheet, "--json", "--per-class", "3")
    report = json.loads(cli(*words, "--class", "red").stdout)
    assert [pair["source"] for pair in report["pairs"]] == ["red/0.png", "red/1.png", "red/10.png"]
    result = cli(*words, "--class", "bleu")
    assert result.exit_code == 2
    assert "did you mean blue?" in result.stderr


def test_what_is_not_on_the_sheet_is_said(done):
    report = json.loads(
        cli(
            "preview", done.protected, "-o", done.root / "x.png", "--per-class", 1000, "--json"
        ).stdout
    )
    assert len(report["pairs"]) == 24 <= MOST_ROWS
    assert "so 20 of each class are shown" in report["notes"][0]


def test_of_many_classes_some_are_shown_and_the_rest_is_named(tmp_path, make_folder):
    names = tuple(f"class {i:02}" for i in range(90))
    photos = make_folder("photos", classes=names, per_class=1, size=(8, 8))
    copy = make_folder("copy", classes=names, per_class=1, size=(8, 8))
    result = cli("preview", copy, "--clean", photos, "-o", tmp_path / "x.png", "--json")
    report = json.loads(result.stdout)
    labels = [pair["label"] for pair in report["pairs"]]
    assert labels == list(names[::3])
    assert "class 01, class 02, class 04" in report["notes"][-1]
    assert "and 55 more" in report["notes"][-1]


@pytest.mark.parametrize("spoil", ["changed", "cut", "gone", "original"])
def test_a_spoiled_picture_is_named(done, spoil):
    picture = done.protected / "blue" / "0.png"
    match spoil:
        case "changed":
            Image.new("RGB", (32, 32)).save(picture)
        case "cut":
            picture.write_bytes(picture.read_bytes()[:100])
        case "gone":
            picture.unlink()
        case "original":
            Image.new("RGB", (30, 32)).save(done.photos / "blue" / "0.png")
    result = cli("preview", done.protected, "-o", done.root / "x.png")
    assert result.exit_code == (0 if spoil == "changed" else 2)
    assert "blue/0.png" in result.stdout + result.stderr
    if spoil == "changed":
        assert "blue/0.png is not the file that was written" in result.stdout
    else:
        assert "hint: see what `protect check` says of this folder" in result.stderr


@pytest.mark.parametrize("limit", [32 * 32 - 1, 32 * 32, 178_956_970])
@pytest.mark.parametrize("default", [32 * 32 - 1, 178_956_970])
@pytest.mark.parametrize("with_manifest", [True, False])
def test_the_largest_picture_is_that_of_the_run_where_there_is_a_manifest(
    done, limit, default, with_manifest
):
    manifest = done.protected / "manifest.json"
    done.manifest["config"]["max_pixels"] = limit
    manifest.write_text(json.dumps(done.manifest))
    if not with_manifest:
        manifest.unlink()
        shutil.rmtree(done.state)
    sheet = done.root / "x.png"
    config = PreviewConfig(
        protected=done.protected, output=sheet, clean=done.photos, max_pixels=default
    )
    if (limit if with_manifest else default) < 32 * 32:
        with pytest.raises(InputError, match="1024"):
            preview_folder(config)
    else:
        preview_folder(config)
        assert sheet.exists()


def test_names_of_any_script_and_large_pictures_are_drawn(tmp_path):
    for folder, level in (("photos", 100), ("copy", 104)):
        for label in ("猫 é\u202e", "x" * 200):
            (tmp_path / folder / label).mkdir(parents=True)
            pixels = np.full((1000, 900, 3), level, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / label / "1.png")
    sheet = tmp_path / "sheet.png"
    words = ("preview", tmp_path / "copy", "--clean", tmp_path / "photos", "-o", sheet)
    result = cli(*words)
    assert result.exit_code == 0, result.output
    assert "猫 é\\u202e" in result.stdout
    with Image.open(sheet) as image:
        assert image.width < 4 * LARGEST_SIDE
        assert image.height < 3 * LARGEST_SIDE
        assert (192, 192, 192) in {colour for _, colour in image.getcolors(1 << 20)}


def test_an_original_that_is_another_picture_is_said_to_be(done):
    other = done.root / "other"
    shutil.copytree(done.photos, other)
    Image.new("RGB", (32, 32)).save(other / "blue" / "0.png")
    result = cli("preview", done.protected, "-o", done.root / "x.png", "--clean", other)
    assert result.exit_code == 0
    said = "".join(result.stdout.split())
    assert "blue/0.pngisnotthepicturethatwasprotected" in said
    assert said.count("isnotthepicture") == 1
