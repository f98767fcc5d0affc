"""`protect check` finds whatever was done to a protected folder, and names the file."""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import FAST, cli
from PIL import Image


def rewrite_manifest(done: SimpleNamespace) -> None:
    (done.protected / "manifest.json").write_text(json.dumps(done.manifest))


def record(done: SimpleNamespace, output: str) -> dict:
    return next(i for i in done.manifest["images"] if i["output"] == output)


def change_pixel(done: SimpleNamespace, by: int = 1) -> None:
    path = done.protected / "red/0.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[3, 4, 1] = (int(pixels[3, 4, 1]) + by) % 256
    Image.fromarray(pixels).save(path)


def rename(done: SimpleNamespace) -> None:
    (done.protected / "red/0.png").rename(done.protected / "red/zero.png")


def remove(done: SimpleNamespace) -> None:
    (done.protected / "red/0.png").unlink()


def move_to_other_class(done: SimpleNamespace) -> None:
    (done.protected / "red/0.png").rename(done.protected / "blue/red0.png")
    record(done, "red/0.png")["output"] = "blue/red0.png"
    rewrite_manifest(done)


def swap_label_in_manifest(done: SimpleNamespace) -> None:
    record(done, "red/0.png")["label"] = "blue"
    rewrite_manifest(done)


def save_as_jpeg(done: SimpleNamespace) -> None:
    path = done.protected / "red/0.png"
    buffer = io.BytesIO()
    Image.open(path).save(buffer, "JPEG", quality=75)
    path.write_bytes(buffer.getvalue())


def add_unprotected(done: SimpleNamespace) -> None:
    shutil.copy(done.photos / "red/0.png", done.protected / "red/new.png")


def add_raw(done: SimpleNamespace) -> None:
    (done.protected / "red/raw.DNG").write_bytes(b"II*")


def add_from_a_phone(done: SimpleNamespace) -> None:
    (done.protected / "red/phone.heic").write_bytes(b"....ftypheic")


def truncate(done: SimpleNamespace) -> None:
    path = done.protected / "red/0.png"
    path.write_bytes(path.read_bytes()[:200])


def resize(done: SimpleNamespace) -> None:
    path = done.protected / "red/0.png"
    Image.open(path).resize((16, 16)).save(path)


def break_budget_and_forge_the_manifest(done: SimpleNamespace) -> None:
    path = done.protected / "red/0.png"
    pixels = np.asarray(Image.open(done.photos / "red/0.png")).copy()
    pixels[0, 0, 0] = pixels[0, 0, 0] + 9 if pixels[0, 0, 0] < 128 else pixels[0, 0, 0] - 9
    Image.fromarray(pixels).save(path)
    record(done, "red/0.png")["output_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite_manifest(done)


def change_opacity_and_forge_the_manifest(done: SimpleNamespace) -> None:
    path = done.protected / "red/0.png"
    picture = Image.open(path).convert("RGBA")
    picture.putalpha(0)
    picture.save(path)
    record(done, "red/0.png")["output_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite_manifest(done)


def change_original(done: SimpleNamespace) -> None:
    Image.new("RGB", (32, 32)).save(done.photos / "red/0.png")


def add_original(done: SimpleNamespace) -> None:
    shutil.copy(done.photos / "red/0.png", done.photos / "red/late.png")


def leave_the_folder(done: SimpleNamespace) -> None:
    shutil.copy(done.protected / "red/0.png", done.root / "outside.png")
    record(done, "red/0.png")["output"] = "../outside.png"
    rewrite_manifest(done)


def name_no_file(done: SimpleNamespace) -> None:
    record(done, "red/0.png")["output"] = "red/\0.png"
    rewrite_manifest(done)


def change_eps(done: SimpleNamespace, **changes: object) -> None:
    done.manifest["eps"] |= changes
    rewrite_manifest(done)


def loosen_the_levels(done: SimpleNamespace) -> None:
    change_eps(done, levels=64)


def loosen_the_value(done: SimpleNamespace) -> None:
    change_eps(done, value=0.25)


def loosen_the_text(done: SimpleNamespace) -> None:
    change_eps(done, text="64/255")


def loosen_all_but_the_settings(done: SimpleNamespace) -> None:
    change_eps(done, text="64/255", value=64 / 255, levels=64)


def write_no_budget(done: SimpleNamespace) -> None:
    change_eps(done, text="plenty")


def renumber_the_classes(done: SimpleNamespace) -> None:
    done.manifest["classes"] = {"blue": 1, "red": 7}
    rewrite_manifest(done)


def list_a_picture_twice(done: SimpleNamespace) -> None:
    done.manifest["images"].append(record(done, "red/0.png"))
    rewrite_manifest(done)


TAMPERINGS: list[tuple[Callable[[SimpleNamespace], None], str, str]] = [
    (change_pixel, "changed", "red/0.png"),
    (rename, "missing", "red/0.png"),
    (rename, "extra", "red/zero.png"),
    (remove, "missing", "red/0.png"),
    (move_to_other_class, "label", "blue/red0.png"),
    (swap_label_in_manifest, "label", "red/0.png"),
    (save_as_jpeg, "changed", "red/0.png"),
    (save_as_jpeg, "budget", "red/0.png"),
    (add_unprotected, "extra", "red/new.png"),
    (add_raw, "extra", "red/raw.DNG"),
    (add_from_a_phone, "extra", "red/phone.heic"),
    (truncate, "unreadable", "red/0.png"),
    (resize, "size", "red/0.png"),
    (break_budget_and_forge_the_manifest, "budget", "red/0.png"),
    (change_opacity_and_forge_the_manifest, "changed", "red/0.png"),
    (change_original, "original", "red/0.png"),
    (add_original, "count", "red/late.png"),
    (leave_the_folder, "missing", "../outside.png"),
    (name_no_file, "missing", "red/\0.png"),
    (loosen_the_levels, "budget", "manifest.json"),
    (loosen_the_value, "budget", "manifest.json"),
    (loosen_the_text, "budget", "manifest.json"),
    (loosen_all_but_the_settings, "budget", "manifest.json"),
    (write_no_budget, "budget", "manifest.json"),
    (renumber_the_classes, "label", "manifest.json"),
    (list_a_picture_twice, "count", "manifest.json"),
]


@pytest.mark.parametrize(("tamper", "kind", "file"), TAMPERINGS)
def test_tampering_is_found_and_named(done, tamper, kind, file):
    tamper(done)
    result = cli("check", done.protected, "--json", "-q")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["ok"]
    assert (kind, file) in {(p["kind"], p["file"]) for p in report["problems"]}
    result = cli("check", done.protected)
    assert result.exit_code == 1
    assert file.replace("\0", "\\x00") in result.stdout


FIGURES = [
    ("linf_levels", -1),
    ("linf_levels", 1),
    ("psnr", -0.1),
    ("psnr", 0.1),
    ("psnr", None),
    ("psnr", float("inf")),
    ("psnr", float("nan")),
    ("ssim", -0.01),
    ("ssim", 0.01),
    ("ssim", None),
    ("ssim", float("nan")),
    ("status", "unchanged"),
]


def problems_of(done: SimpleNamespace) -> list[tuple[str, str]]:
    """Check a folder that is not intact, and return the kind and the file of each problem."""
    result = cli("check", done.protected, "--json")
    assert result.exit_code == 1, result.stderr
    return [(p["kind"], p["file"]) for p in json.loads(result.stdout)["problems"]]


@pytest.mark.parametrize(("figure", "by"), FIGURES)
def test_a_figure_that_is_not_what_is_measured_is_found(done, figure, by):
    forged = record(done, "red/0.png")
    forged[figure] = forged[figure] + by if isinstance(by, int | float) else by
    rewrite_manifest(done)
    assert problems_of(done) == [("budget", "red/0.png")]


@pytest.mark.parametrize(
    ("figure", "said"),
    [("linf_levels", 8), ("psnr", 99.0), ("ssim", None), ("status", "protected")],
)
def test_a_figure_of_an_unchanged_picture_is_compared_too(done, figure, said):
    """There the PSNR is no number."""
    path = done.protected / "red/0.png"
    shutil.copy(done.photos / "red/0.png", path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    true = {"linf_levels": 0, "psnr": None, "ssim": 1.0, "status": "unchanged"}
    record(done, "red/0.png").update(output_sha256=digest, **true)
    rewrite_manifest(done)
    assert cli("check", done.protected).exit_code == 0
    record(done, "red/0.png")[figure] = said
    rewrite_manifest(done)
    assert problems_of(done) == [("budget", "red/0.png")]


@pytest.mark.parametrize("figure", ["psnr", "ssim"])
def test_the_rounding_of_another_machine_is_no_problem(done, figure):
    for image in done.manifest["images"]:
        image[figure] += 1e-5
    rewrite_manifest(done)
    assert cli("check", done.protected).exit_code == 0


@pytest.mark.parametrize("levels", [9, 255])
def test_a_change_beyond_the_budget_is_found_without_the_originals(done, levels):
    shutil.rmtree(done.photos)
    record(done, "red/0.png")["linf_levels"] = levels
    rewrite_manifest(done)
    assert problems_of(done) == [("budget", "red/0.png")]


def test_an_untouched_folder_is_intact_and_its_budget_is_measured(done):
    result = cli("check", done.protected, "--json", "-q")
    assert result.exit_code == 0, result.stdout
    report = json.loads(result.stdout)
    assert report["ok"]
    assert report["n_images"] == 24
    largest = max(
        abs(
            np.asarray(Image.open(done.photos / i["source"])).astype(int)
            - np.asarray(Image.open(done.protected / i["output"])).astype(int)
        ).max()
        for i in done.manifest["images"]
    )
    assert report["measured_levels"] == largest


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_an_unlisted_picture_with_a_name_in_no_encoding_is_listed(done):
    shutil.copy(done.protected / "red" / "0.png", done.protected / "red" / os.fsdecode(b"\xe9.png"))
    result = cli("check", done.protected, "--json")
    assert result.exit_code == 1, result.stderr
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["kind"], problem["file"]) == ("extra", r"red/\udce9.png")


def test_without_the_originals_the_budget_is_said_to_be_unmeasured(done):
    shutil.rmtree(done.photos)
    result = cli("check", done.protected, "--json", "-q")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["measured_levels"] is None
    assert report["notes"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "not a manifest"),
        (b'{"schema_version": 99}', "newer"),
        (b'{"schema_version": 1}', "not a manifest"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        ("folder", "cannot be read"),
    ],
)
def test_a_folder_without_a_readable_manifest_is_refused(done, content, words):
    path = done.protected / "manifest.json"
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    for command in ("check", "verify"):
        result = cli(command, done.protected)
        assert result.exit_code == 2
        assert words in result.stderr
        assert "hint" in result.stderr


DAMAGES = {
    "empty": b"",
    "cut": b'{"source": "x',
    "no JSON": b"\xff\xfe\0",
    "a list": b"[]",
    "a number": b"7",
    "nothing": b"null",
    "no keys": b"{}",
    "no settings": b'{"source": "x"}',
    "other types": b'{"source": 5, "settings": []}',
    "labels of another type": b'{"source": "x", "settings": {}, "labels": 5}',
    "deep": b"[" * 100_000,
    "a folder": None,
}


def put(path: Path, content: bytes | None) -> None:
    """Put a damaged file, or a folder, in the place of a file."""
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_notes_of_a_run_are_an_error_that_says_what_to_do(done, damage):
    put(done.state / "run.json", DAMAGES[damage])
    for words in (("check",), ("check", "--source", done.photos), ("verify",)):
        result = cli(words[0], done.protected, *words[1:])
        assert result.exit_code == 2, result.stderr
        assert "run.json" in result.stderr
        assert "--source" in result.stderr
        assert "--clean" in result.stderr


@pytest.mark.parametrize("folder", ["protected", "photos"])
def test_a_file_that_may_not_be_read_is_one_finding_and_the_rest_is_checked(
    done, monkeypatch, folder
):
    """As for anybody but root, whom permissions do not keep out."""
    locked, opened = done.root / folder / "red/0.png", Path.open

    def guarded(path: Path, *args: object, **options: object):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", guarded)
    change_pixel(done)
    shutil.copy(done.protected / "red/1.png", done.protected / "red/2.png")
    result = cli("check", done.protected, "--json")
    assert result.exit_code == 1, result.stderr
    found = [(p["file"], p["message"]) for p in json.loads(result.stdout)["problems"]]
    assert ("red/0.png", "may not be read by this user") in found
    assert "red/2.png" in {file for file, _ in found}


def test_that_a_label_table_is_not_at_hand_is_said(done):
    """Without it nobody can tell whether each original has a copy."""
    table = done.root / "labels.csv"
    names = sorted(p.relative_to(done.photos).as_posix() for p in done.photos.rglob("*.png"))
    rows = [f"{name},{name.partition('/')[0]}" for name in names]
    table.write_text("\n".join(["file_name,label", *rows]))
    out = done.root / "out"
    assert cli("run", done.photos, "-o", out, *FAST, "--labels", table).exit_code == 0
    add_original(done)
    assert "no protected copy" not in cli("check", out).stdout, "the table does not list it"
    table.write_text("\n".join([*table.read_text().splitlines(), "red/late.png,red"]))
    assert "no protected copy" in cli("check", out).stdout
    table.unlink()
    result = cli("check", out, "--json")
    assert result.exit_code == 0
    (note,) = json.loads(result.stdout)["notes"]
    assert "--labels table of the run is not at hand" in note
