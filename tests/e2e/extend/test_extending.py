"""`protect run --extend`: a source that has changed since it was protected."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cases.gallery import put, tree, write
from cases.ran import run
from extending import PHOTOS, Done, add, edit_manifest, relabel, spoil, take_away
from helpers import cli
from pictures import encoded, noise, picture
from PIL import Image
from safetensors.torch import load_file

from protect.bait.patterns import RANDOM_TILE
from protect.output.writer import apply_noise


def test_as_typed_new_pictures_are_published_with_the_noise_of_their_class(done: Done):
    (done.photos / "b/copy.png").write_bytes((done.photos / "b/2.png").read_bytes())
    large = Image.fromarray(noise(50, 70, 3))
    large.save(done.photos / "c/large.tif")
    files = {path: path.stat() for path in done.out.rglob("*.png")}
    contents = {path: path.read_bytes() for path in files}
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert "2 added, 12 kept" in result.stderr
    assert f"protect verify {done.out}" in result.stderr
    assert done.counts == {"kept": 12, "added": 2}

    for path, was in files.items():
        assert path.stat().st_mtime_ns == was.st_mtime_ns
        assert path.stat().st_ino == was.st_ino
        assert path.read_bytes() == contents[path]
    patterns = load_file(done.state / "patterns.safetensors")["noise"]
    side = patterns.shape[-1] - RANDOM_TILE + 1
    for label, name in ((1, "b/copy"), (2, "c/large")):
        (original,) = done.photos.glob(f"{name}.*")
        before = np.asarray(Image.open(original))
        published = np.asarray(Image.open(done.out / f"{name}.png"))
        assert any(
            np.array_equal(
                published, apply_noise(before, patterns[label][:, y : y + side, x : x + side])
            )
            for y in range(RANDOM_TILE)
            for x in range(RANDOM_TILE)
        )
        assert 0 < abs(published.astype(int) - before).max() <= 8

    sources = [image["source"] for image in done.manifest["images"]]
    assert sources == sorted([*PHOTOS, "b/copy.png", "c/large.tif"])
    done.require_intact()
    assert {path.name for path in done.state.iterdir()} == {
        "run.json",
        "journal.jsonl",
        "patterns.safetensors",
        "progress.safetensors",
    }


def test_noise_of_each_picture_is_given_again_and_to_new_pictures(tmp_path: Path):
    """`--mode sample`: the place in the texture follows from the name, whenever it is asked for."""
    done = Done(tmp_path)
    write(done.photos, *PHOTOS)
    assert run(done.photos, done.out, "--mode", "sample", "--seed", "3").result.exit_code == 0
    first = {name: (done.out / name).read_bytes() for name in PHOTOS}
    for name in PHOTOS:
        (done.out / name).unlink()
    add(done)
    result = done.extend("--mode", "sample")
    assert result.exit_code == 0, result.stderr
    assert done.counts == {"added": 1, "restored": 12}
    assert {name: (done.out / name).read_bytes() for name in PHOTOS} == first
    done.require_intact()
    assert done.extend("--mode", "class").exit_code == 2


def test_a_run_from_before_there_were_modes_shares_its_noise_in_a_class(tmp_path: Path):
    done = Done(tmp_path)
    write(done.photos, *PHOTOS)
    assert run(done.photos, done.out, "--mode", "class").result.exit_code == 0
    config = {name: value for name, value in done.manifest["config"].items() if name != "mode"}
    edit_manifest(done, config=config)
    (done.out / PHOTOS[0]).rename(tmp_path / "first.png")
    assert done.extend().exit_code == 0
    assert (done.out / PHOTOS[0]).read_bytes() == (tmp_path / "first.png").read_bytes()


def test_an_extended_folder_can_be_verified(done: Done):
    for number in range(4, 8):
        add(done, f"a/{number}.png", seed=number)
    assert done.extend().exit_code == 0
    result = cli("verify", done.out, "--epochs", "1", "--device", "cpu", "--json")
    assert result.exit_code in (0, 1), result.stderr
    split = json.loads(result.stdout)["split"]
    assert split["n_train"] + split["n_test"] == 16


CHANGES: dict[str, tuple[list[Callable[[Done], object]], dict[str, int], str]] = {
    "nothing": ([], {}, "12 kept"),
    "added": ([add], {"kept": 12, "added": 1}, "1 added"),
    "changed": (
        [partial(add, name="b/1.png")],
        {"kept": 11, "changed": 1},
        "changed since they were published, and are published anew: b/1.png",
    ),
    "touched": ([lambda done: (done.photos / "b/1.png").touch()], {}, "12 kept"),
    "copy is missing": (
        [lambda done: (done.out / "c/0.png").unlink()],
        {"kept": 11, "restored": 1},
        "missing or damaged: written again: c/0.png",
    ),
    "copy is damaged": (
        [partial(spoil, name="c/0.png")],
        {"kept": 11, "restored": 1},
        "missing or damaged: written again: c/0.png",
    ),
    "removed": (
        [partial(take_away, name="b/1.png")],
        {"kept": 11, "removed": 1},
        "1 published copies have no readable original any more and are moved to",
    ),
    "another class": (
        [partial(relabel, name="b/1.png", to="c/9.png")],
        {"kept": 11, "added": 1, "removed": 1},
        "out.state/removed: b/1.png",
    ),
    "renamed": (
        [partial(relabel, name="b/1.png", to="b/9.png")],
        {"kept": 11, "added": 1, "removed": 1},
        "out.state/removed: b/1.png",
    ),
    "a class vanished": (
        [lambda done: shutil.rmtree(done.photos / "b")],
        {"kept": 8, "removed": 4},
        "out.state/removed: b/0.png, b/1.png, b/2.png, b/3.png",
    ),
    "all of it": (
        [
            add,
            partial(add, name="b/1.png"),
            partial(spoil, name="c/0.png"),
            partial(relabel, name="b/3.png", to="a/3b.png"),
        ],
        {"kept": 9, "added": 2, "changed": 1, "restored": 1, "removed": 1},
        "2 added, 1 changed, 1 restored, 1 removed, 9 kept",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_became_of_the_source_the_folder_follows_and_says_so(
    done: Done, _one_run: Path, name: str
):
    changes, counts, words = CHANGES[name]
    for change in changes:
        change(done)
    before = done.bytes()
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert words in result.stderr
    if counts:
        assert done.counts == counts
    else:
        assert done.bytes()["out/manifest.json"] == before["out/manifest.json"]
    done.require_intact()
    assert set(done.outputs) == set(tree(done.photos))
    # Not one published byte is lost, and a copy that was damaged is as it was first.
    was = Done(_one_run).outputs
    for source, output in was.items():
        first = (_one_run / "out" / output).read_bytes()
        if source not in done.outputs:
            assert (done.state / "removed" / output).read_bytes() == first
        elif before[f"photos/{source}"] == (_one_run / "photos" / source).read_bytes():
            assert (done.out / output).read_bytes() == first
        else:
            assert (done.out / output).read_bytes() != first
    again = done.extend()
    assert "extending the run" in again.stderr
    assert len(done.manifest["extended"]) == bool(counts)


def test_a_vanished_class_may_come_back(done: Done, _one_run: Path):
    shutil.rmtree(done.photos / "b")
    assert done.extend().exit_code == 0
    assert not (done.out / "b").exists()
    assert done.manifest["classes"] == {"a": 0, "b": 1, "c": 2}
    shutil.copytree(_one_run / "photos/b", done.photos / "b")
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert done.counts == {"kept": 8, "added": 4}
    for name in PHOTOS:
        assert (done.out / name).read_bytes() == (_one_run / "out" / name).read_bytes()
    done.require_intact()


def test_published_names_stay_whatever_comes_beside_them(tmp_path: Path):
    photos = write(tmp_path / "photos", "a/x.webp", "a/y.png", "b/x.png", "b/y.png")
    done = Done(tmp_path)
    assert run(photos, done.out).result.exit_code == 0
    assert done.outputs["a/x.webp"] == "a/x.png"
    first = (done.out / "a/x.png").read_bytes()
    for seed, name in enumerate(("a/x.png", "a/x.jpg", "a/X.bmp", "b/x_png.png", "b/x.PNG")):
        add(done, name, seed)
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert done.outputs == {
        "a/X.bmp": "a/X_bmp.png",
        "a/x.jpg": "a/x_jpg.png",
        "a/x.png": "a/x_png.png",
        "a/x.webp": "a/x.png",
        "a/y.png": "a/y.png",
        "b/x.PNG": "b/x_png_2.png",
        "b/x.png": "b/x.png",
        "b/x_png.png": "b/x_png.png",
        "b/y.png": "b/y.png",
    }
    assert (done.out / "a/x.png").read_bytes() == first
    done.require_intact()
    # A name that was given up is free; the copy of its first owner is not lost.
    (photos / "a/x.webp").unlink()
    add(done, "a/x.tif", seed=7)
    assert done.extend().exit_code == 0
    assert done.outputs["a/x.png"] == "a/x_png.png"
    assert (done.state / "removed/a/x.png").read_bytes() == first
    done.require_intact()


def test_a_folder_that_needs_the_name_of_a_published_picture_gets_it(tmp_path: Path):
    done = Done(tmp_path)
    write(done.photos, "a/x.webp", "a/y.png", "b/z.png")
    assert run(done.photos, done.out).result.exit_code == 0
    first = (done.out / "a/x.png").read_bytes()
    add(done, "a/x.png/1.png")
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert done.outputs["a/x.png/1.png"] == "a/x.png/1.png"
    assert (done.out / done.outputs["a/x.webp"]).read_bytes() == first
    assert done.counts == {"kept": 2, "added": 1, "changed": 1}
    done.require_intact()


def test_grey_noise_on_pictures_with_colours_is_said(tmp_path: Path):
    done = Done(tmp_path)
    for seed, name in enumerate(PHOTOS):
        put(done.photos, name, encoded(picture("L", (16, 16), seed), "PNG"))
    assert run(done.photos, done.out).result.exit_code == 0
    add(done, "a/colours.png")
    put(done.photos, "a/grey.png", encoded(picture("L", (16, 16), 60), "PNG"))
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert "1 pictures have colours and get grey noise: a/colours.png" in result.stderr
    original = np.asarray(Image.open(done.photos / "a/colours.png")).astype(int)
    change = np.asarray(Image.open(done.out / "a/colours.png")).astype(int) - original
    free = ((original >= 8) & (original <= 247)).all(-1)
    assert abs(change).max() > 0
    assert (change[free] == change[free][:, :1]).all()
    with Image.open(done.out / "a/grey.png") as grey:
        assert grey.mode == "L"
    done.require_intact()


@pytest.mark.parametrize(("per_time", "said"), [((5,), False), ((6,), True), ((3, 3), True)])
def test_many_new_pictures_call_for_another_verification(
    done: Done, per_time: tuple[int, ...], said: bool
):
    """By what the noise was made for, however often the folder was extended since."""
    for time, count in enumerate(per_time):
        for number in range(count):
            add(done, f"a/{time}-{number}.png", seed=300 + 10 * time + number)
        result = done.extend()
        assert result.exit_code == 0, result.stderr
    assert ("was made for 12 pictures, and 6 are new" in result.stderr) is said


def test_a_picture_under_another_name_gets_other_noise_and_that_is_said(done: Done):
    before = (done.out / "b/2.png").read_bytes()
    (done.photos / "b/2.png").rename(done.photos / "b/renamed.png")
    shutil.copy(done.photos / "b/1.png", done.photos / "b/twice.png")
    result = done.extend()
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "published under other names get other noise" in said
    assert "keep their names: b/2.png, now b/renamed.png" in said
    assert "lies in a class twice" in said
    assert "keep one: b/1.png and b/twice.png" in said
    assert (done.out / "b/renamed.png").read_bytes() != before


def test_a_file_that_lies_in_another_class_already_is_said_and_recorded(done: Done):
    shutil.copy(done.photos / "b/2.png", done.photos / "c/again.png")
    result = done.extend()
    assert result.exit_code == 0
    note = "the same picture lies in two classes: b/2.png and c/again.png"
    assert f"warning: {note}" in result.stderr
    assert done.manifest["notes"].count(note) == 1
    assert "two classes" not in done.extend().stderr


def test_what_cannot_be_protected_is_left_out_as_the_run_was_told(tmp_path: Path):
    done = Done(tmp_path)
    write(done.photos, *PHOTOS)
    (done.photos / "a/cut.png").write_bytes(b"")
    (done.photos / "d").mkdir()
    (done.photos / "d/cut.png").write_bytes(b"")
    assert run(done.photos, done.out, "--on-error", "skip").result.exit_code == 1
    add(done)
    (done.photos / "a/cut2.png").write_bytes(b"")
    (done.photos / "b/0.png").write_bytes(b"")
    result = done.extend()
    assert result.exit_code == 1, result.stderr
    assert done.counts == {"kept": 11, "added": 1, "removed": 1}
    assert [item["source"] for item in done.manifest["refused"]] == [
        "a/cut.png",
        "a/cut2.png",
        "b/0.png",
        "d/cut.png",
    ]
    assert "out.state/removed: b/0.png" in result.stderr
    done.require_intact()

    before = done.bytes()
    assert done.extend("--on-error", "stop").exit_code == 2
    assert done.bytes() == before
    # The run left every picture of this class out, so it has a pattern that nobody optimised.
    add(done, "d/good.png")
    result = done.extend()
    assert result.exit_code == 2
    assert "no noise was made for 1 new classes" in result.stderr


def test_a_larger_limit_of_pixels_is_recorded(tmp_path: Path):
    done = Done(tmp_path)
    write(done.photos, *PHOTOS)
    assert run(done.photos, done.out, "--max-pixels", 256).result.exit_code == 0
    put(done.photos, "a/large.png", encoded(picture("RGB", (17, 16)), "PNG"))
    result = done.extend()
    assert result.exit_code == 2
    assert "a/large.png" in result.stderr
    assert done.extend("--max-pixels", 1000).exit_code == 0
    done.require_intact()
    assert done.extend().exit_code == 0
    done.require_intact()


def test_a_manifest_from_before_there_were_extensions_can_be_extended(done: Done):
    manifest = done.manifest
    del manifest["extended"]
    (done.out / "manifest.json").write_text(json.dumps(manifest))
    record = json.loads((done.state / "run.json").read_text())
    for name in ("extended", "unfinished"):
        del record[name]
    (done.state / "run.json").write_text(json.dumps(record))
    add(done)
    assert done.extend().exit_code == 0
    assert done.counts == {"kept": 12, "added": 1}


def test_json_and_quiet(done: Done):
    add(done)
    take_away(done, "c/2.png")
    result = done.extend("--json", "--quiet")
    assert json.loads(result.stdout)["extended"][0]["added"] == 1
    assert result.stderr.startswith("warning: 1 published copies have no readable original")
    assert len(result.stderr.splitlines()) == 1


def test_nothing_outside_the_output_is_moved(done: Done):
    """Whatever a manifest was made to say."""
    (done.root / "mine.png").write_bytes(b"mine")
    images = done.manifest["images"]
    images[0] |= {"source": "a/gone.png", "output": "../mine.png"}
    edit_manifest(done, images=images)
    assert done.extend().exit_code == 0
    assert (done.root / "mine.png").read_bytes() == b"mine"


def test_every_copy_that_was_moved_away_is_kept_under_whatever_name(done: Done):
    """Also where pictures of one name come and go, and one comes back."""
    moved = set()
    for seed in (71, 72, 73, 71):
        put(done.photos, "a/0.png", encoded(picture("RGB", (16, 16), seed), "PNG"))
        assert done.extend().exit_code == 0
        moved.add((done.out / "a/0.png").read_bytes())
        take_away(done, "a/0.png")
        assert done.extend().exit_code == 0
    kept = [path.read_bytes() for path in (done.state / "removed/a").iterdir()]
    assert len(kept) == len(moved) == 3
    assert set(kept) == moved
    done.require_intact()


def test_a_link_that_leads_out_of_the_output_is_named(done: Done):
    (done.root / "elsewhere").mkdir()
    (done.out / "a/deep").symlink_to(done.root / "elsewhere")
    add(done, "a/deep/1.png")
    before = done.bytes()
    result = done.extend()
    assert result.exit_code == 2
    assert done.bytes() == before
    assert "leads out of the output folder" in result.stderr
    assert not any((done.root / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("suffix", "stem"), [("webp", "1_webp"), ("jpg", "1_jpg"), ("PNG", "1_png")]
)
def test_another_picture_that_takes_over_a_stem_does_not_take_the_old_copy(
    done: Done, suffix: str, stem: str
):
    """Its original is gone, so it is moved away; it is not written over."""
    before = (done.out / "b/1.png").read_bytes()
    take_away(done, "b/1.png")
    format_name = {"jpg": "JPEG"}.get(suffix, suffix.upper())
    put(done.photos, f"b/1.{suffix}", encoded(picture("RGB", (16, 16), 77), format_name))
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert done.counts == {"kept": 11, "added": 1, "removed": 1}
    assert (done.state / "removed/b/1.png").read_bytes() == before
    assert done.outputs[f"b/1.{suffix}"] == f"b/{stem}.png"
    assert not (done.out / "b/1.png").exists()
    done.require_intact()
