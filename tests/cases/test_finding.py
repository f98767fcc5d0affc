"""Cases 1 to 19: which files of a folder are pictures, and what the copies are called."""

import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest
from cases.gallery import (
    COMPOSED,
    DECOMPOSED,
    HIDDEN,
    MODES,
    NAMES,
    bad_files,
    mode_name,
    put,
    tree,
    write,
)
from cases.ran import Ran, run
from helpers import cli
from pictures import encoded, picture
from PIL import Image, ImageChops

from protect.console import Screen
from protect.documents.check_report import CheckReport, Problem
from protect.errors import ProtectError

CLASSES = ["flat", "metadata", "modes", "nested", "profiles", "sizes", "turned", "猫"]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(".DS_Store", id="c01"),
        pytest.param(".ipynb_checkpoints", id="c02"),
        pytest.param("Thumbs.db", id="c03"),
        pytest.param("desktop.ini", id="c03"),
        pytest.param("__MACOSX", id="c03"),
        pytest.param(".hidden.png", id="c03"),
    ],
)
def test_c01_c02_c03_files_of_the_system_are_counted_once_and_no_classes(good: Ran, kind: str):
    assert any(kind in name for name in HIDDEN)
    assert list(good.manifest["classes"]) == CLASSES
    assert list(good.manifest["classes"].values()) == list(range(len(CLASSES)))
    assert not any(kind in name for name in tree(good.out))
    # A hidden folder counts as one.
    assert good.manifest["ignored"] == {"hidden": len(HIDDEN)}
    assert good.refused == {}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("UPPER", "Mixed"))])
def test_c05_suffixes_count_in_any_case(good: Ran, name: str):
    assert good.is_within_budget(f"猫/{name}")


def test_c06_pictures_without_classes_are_refused_with_both_layouts(tmp_path: Path):
    result = cli("run", write(tmp_path / "photos", "1.png", "2.png", "3.png", "4.png"))
    assert result.exit_code == 2
    assert "labels are missing" in result.stderr
    assert f"{tmp_path}/photos/cat/1.jpg" in result.stderr
    assert "file_name,label" in result.stderr


def test_c07_empty_class_folders_are_warned_of_and_shift_no_index(good: Ran):
    note = "folders without pictures are no classes: aa-empty, zz-empty"
    assert note in good.manifest["notes"]
    assert f"warning: {note}" in good.result.stderr
    assert good.manifest["classes"]["flat"] == 0


def test_c08_a_test_folder_that_lacks_a_class_is_read_by_name(tmp_path: Path):
    """An index by place would take the second folder of the test for the second class."""
    colours = {"a": (200, 40, 40), "b": (40, 200, 40), "c": (40, 40, 200)}
    for number in range(24):
        for label, colour in colours.items():
            speckle = picture("RGB", (32, 32), seed=number).point(lambda level: level // 4)
            image = ImageChops.add(Image.new("RGB", (32, 32), colour), speckle)
            folder = "photos" if number < 12 else "test"
            if (folder, label) != ("test", "b"):
                put(tmp_path, f"{folder}/{label}/{number}.png", encoded(image, "PNG"))
    ran = run(tmp_path / "photos", tmp_path / "out")
    flags = ("--test", tmp_path / "test", "--mode", "linear-probe", "--epochs", 4, "--json")
    result = cli("verify", ran.out, *flags)
    assert result.exit_code in (0, 1), result.stderr
    (cell,) = json.loads(result.stdout)["cells"]
    assert cell["control_peak"] > 0.9


def test_c09_the_manifest_says_which_class_has_which_index(tmp_path: Path):
    """C41 too: one picture a class will do."""
    folders = [str(number) for number in range(1, 12)]
    ran = run(write(tmp_path / "photos", *(f"{name}/a.png" for name in folders)), tmp_path / "out")
    assert ran.result.exit_code == 0, ran.result.stderr
    assert ran.manifest["classes"] == {name: i for i, name in enumerate(sorted(folders))}
    assert {image["label"] for image in ran.manifest["images"]} == set(folders)


def test_c10_links_end_and_every_picture_is_published_once(good: Ran):
    assert [name for name in good.images if name.startswith("nested/")] == [
        "nested/a/x/1.png",
        "nested/a/y/1.png",
        "nested/linked.png",
    ]
    notes = " ".join(good.manifest["notes"])
    assert "links that lead nowhere: nested/gone.png" in notes
    assert "nested/twice.png -> nested/a/x/1.png" in notes
    assert not (good.out / "nested/linked.png").is_symlink()
    assert good.is_within_budget("nested/linked.png")


def test_c10_c12_to_c19_what_was_published_is_intact(good: Ran):
    """Whatever its name, format or link, every picture is found again by `protect check`."""
    result = cli("check", good.out)
    assert result.exit_code == 0, result.output


def test_c12_nested_folders_keep_their_tree(good: Ran):
    assert {"nested/a/x/1.png", "nested/a/y/1.png"} <= set(tree(good.out))


def test_c13_no_two_pictures_share_a_file(good: Ran):
    outputs = {name: good.images[f"猫/{name}"]["output"] for name in NAMES if "same" in name}
    assert outputs == {
        "same.png": "猫/same.png",
        "same_jpg.png": "猫/same_jpg.png",
        "same.jpg": "猫/same_jpg_2.png",
        "same.webp": "猫/same_webp.png",
    }
    sources = [name for name in tree(good.photos) if name not in HIDDEN]
    links = [name for name in sources if (good.photos / name).is_symlink()]
    assert len(good.images) == len(sources) - len(links) + 1
    assert len({image["output"] for image in good.images.values()}) == len(good.images)
    assert set(tree(good.out)) == {i["output"] for i in good.images.values()} | {"manifest.json"}


def test_c15_names_that_clash_elsewhere_are_warned_of(good: Ran):
    (note,) = (note for note in good.manifest["notes"] if "macOS or Windows" in note)
    assert "猫/Cat.png and 猫/cat.png" in note
    assert f"猫/{DECOMPOSED} and 猫/{COMPOSED}" in note


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_c16_names_of_any_script_and_length_work(good: Ran, name: str):
    record = good.images[f"猫/{name}"]
    assert good.is_within_budget(f"猫/{name}")
    assert record["label"] == "猫"
    assert "猫" in (good.out / "manifest.json").read_bytes().decode("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_c16_a_terminal_of_another_encoding_gets_a_spelling(
    monkeypatch: pytest.MonkeyPatch, encoding: str
):
    name = "猫/é 😀.png"
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    screen = Screen()
    screen.error(ProtectError(name, name, [name]))
    screen.result(name)
    problem = Problem(file=name, kind="extra", message=name)
    document = CheckReport(
        ok=False, n_images=1, budget_levels=8, measured_levels=None, problems=(problem,)
    )
    screen.document(document)
    said = []
    for stream in streams:
        stream.flush()
        said.append(stream.buffer.getvalue())
    table, _, written = said[0].partition(b"{")
    assert table.decode(encoding).encode(encoding, "backslashreplace") == table
    assert CheckReport.model_validate_json(b"{" + written) == document
    assert said[1].count(name.encode(encoding, "backslashreplace")) == 3


@pytest.mark.parametrize("name", ["phone.heic", "phone.HEIF", "raw.CR2", "layers.psd"])
def test_c17_formats_that_cannot_be_read_are_refused_by_name(bad: Ran, name: str):
    assert bad_files()[name][0] in bad.refused[f"cats/{name}"]
    assert "convert it to PNG or JPEG first" in bad.refused[f"cats/{name}"]
    assert f"{len(bad.refused)} pictures" in bad.result.stdout
    assert not any(Path(name).stem in file for file in tree(bad.out))


@pytest.mark.parametrize(("format_name", "mode", "options"), MODES)
def test_c18_the_content_counts_and_not_the_suffix(good: Ran, format_name, mode, options):
    """Every picture of the modes is called .png, and every one of the turned .jpg."""
    assert mode_name(format_name, mode, options) in good.images


def test_c19_c47_names_classes_and_labels_are_kept(good: Ran):
    for source, image in good.images.items():
        folder, _, name = source.rpartition("/")
        kept, _, renamed = image["output"].rpartition("/")
        assert kept == folder
        assert image["label"] == folder.partition("/")[0]
        assert renamed.endswith(".png")
        if name.endswith(".png"):
            assert renamed == name
        elif len(name.encode()) < 200 and "same" not in name and name not in ("UPPER.JPEG",):
            assert unicodedata.normalize("NFC", renamed).startswith(Path(name).stem)


def test_c19_a_stem_that_is_taken_tells_its_suffix(tmp_path: Path):
    photos = write(tmp_path / "photos", "a/1.png", "b/1.png")
    put(photos, "a/1.bmp", encoded(picture("RGB"), "BMP"))
    ran = run(photos, tmp_path / "out")
    assert {name: image["output"] for name, image in ran.images.items()} == {
        "a/1.bmp": "a/1_bmp.png",
        "a/1.png": "a/1.png",
        "b/1.png": "b/1.png",
    }
