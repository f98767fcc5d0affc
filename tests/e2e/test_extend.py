"""`protect run --extend`: a source that has changed since it was protected."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases.gallery import put, tree, write
from cases.ran import run
from helpers import cli
from pictures import encoded, noise, picture
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import Result

from protect import ProtectError, RunConfig, protect_folder
from protect.console import Screen
from protect.events import Event, StageAdvanced, StageStarted
from protect.output.folder import only_run
from protect.output.writer import apply_noise

PHOTOS = [f"{label}/{number}.png" for label in "abc" for number in range(4)]


@dataclass
class Done:
    """A finished run, in a copy that the test may spoil."""

    root: Path

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def state(self) -> Path:
        return self.root / "out.state"

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.out / "manifest.json").read_text(encoding="utf-8"))

    @property
    def outputs(self) -> dict[str, str]:
        return {image["source"]: image["output"] for image in self.manifest["images"]}

    @property
    def counts(self) -> dict[str, int]:
        """Of the last extension, those that are not zero."""
        last = self.manifest["extended"][-1]
        return {kind: n for kind, n in last.items() if kind != "tool" and n}

    def extend(self, *words: object) -> Result:
        """Extend with the words that a user would type, and no flag of the run."""
        return cli("run", self.photos, "-o", self.out, "--extend", *words)

    def bytes(self) -> dict[str, bytes]:
        """Return every file, published and private, and of the source."""
        return {name: (self.root / name).read_bytes() for name in tree(self.root)}

    def require_intact(self) -> None:
        result = cli("check", self.out)
        assert result.exit_code == 0, result.stdout
        assert f"{len(self.manifest['images'])} " in result.stdout
        published = {name for name in tree(self.out) if name.endswith(".png")}
        assert published == set(self.outputs.values())


def move(run: Path, to: Path) -> Done:
    for name in ("photos", "out", "out.state"):
        shutil.copytree(run / name, to / name)
    record = to / "out.state/run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"source": str(to / "photos")}))
    return Done(to)


@pytest.fixture(scope="module")
def _one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    ran = run(write(root / "photos", *PHOTOS), root / "out")
    assert ran.result.exit_code == 0, ran.result.stderr
    return root


@pytest.fixture
def done(_one_run: Path, tmp_path: Path) -> Done:
    return move(_one_run, tmp_path)


def add(done: Done, name: str = "a/new.png", seed: int = 99) -> None:
    put(done.photos, name, encoded(picture("RGB", (16, 16), seed), "PNG"))


def take_away(done: Done, name: str) -> None:
    (done.photos / name).unlink()


def relabel(done: Done, name: str, to: str) -> None:
    (done.photos / name).rename(done.photos / to)


def spoil(done: Done, name: str) -> None:
    path = done.out / name
    path.write_bytes(path.read_bytes()[:-20])


def test_as_typed_new_pictures_are_published_with_the_noise_of_their_class(done: Done):
    (done.photos / "b/copy.png").write_bytes((done.photos / "b/2.png").read_bytes())
    large = Image.fromarray(noise(50, 70, 3))
    large.save(done.photos / "c/large.tif")
    before = {path: path.stat() for path in done.out.rglob("*.png")}
    contents = {path: path.read_bytes() for path in before}
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert "2 added, 12 kept" in result.stderr
    assert f"protect verify {done.out}" in result.stderr
    assert done.counts == {"kept": 12, "added": 2}

    for path, was in before.items():
        assert path.stat().st_mtime_ns == was.st_mtime_ns
        assert path.stat().st_ino == was.st_ino
        assert path.read_bytes() == contents[path]
    # The same pixels of the same class are published as the same bytes, by the run or later.
    assert (done.out / "b/copy.png").read_bytes() == (done.out / "b/2.png").read_bytes()
    patterns = load_file(done.state / "patterns.safetensors")["noise"]
    expected = apply_noise(np.asarray(large), patterns[2])
    published = np.asarray(Image.open(done.out / "c/large.png"))
    assert np.array_equal(published, expected)
    assert 0 < abs(published.astype(int) - np.asarray(large)).max() <= 8

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


def replace_noise(done: Done, **tensors: torch.Tensor) -> None:
    save_file(tensors, done.state / "patterns.safetensors")


def noise_of(done: Done) -> torch.Tensor:
    return load_file(done.state / "patterns.safetensors")["noise"].clone()


def edit_manifest(done: Done, **changes: object) -> None:
    (done.out / "manifest.json").write_text(json.dumps(done.manifest | changes))


def label_by_table(done: Done) -> None:
    lines = ["file_name,label", *(f"{name},{name[0]}" for name in PHOTOS)]
    (done.photos / "metadata.csv").write_text("\n".join(lines))


def only_new_pictures(done: Done) -> None:
    shutil.rmtree(done.photos)
    write(done.photos, "a/x.png", "b/x.png")


REFUSALS: dict[str, tuple[Callable[[Done], object], tuple[str, ...], list[str]]] = {
    "new classes": (
        lambda done: (add(done, "owls/0.png"), add(done, "d/1.png"), add(done)),
        (),
        ["no noise was made for 2 new classes", "  d\n  owls\n", "-o {root}/out --overwrite"],
    ),
    "another budget": (add, ("--eps", "4/255"), ["eps: was '8/255', is '4/255'", "--overwrite"]),
    "several other settings": (
        add,
        ("--seed", "1", "--size", "64", "--rounds", "2", "--surrogate", "resnet18"),
        ["seed: was 0, is 1", "size: was 32, is 64", "rounds: was 1", "surrogate: was 'timm:tf_"],
    ),
    "no state": (
        lambda done: shutil.rmtree(done.state),
        (),
        ["out.state/run.json is missing", "put {root}/out.state back"],
    ),
    "damaged record": (
        lambda done: (done.state / "run.json").write_text("{"),
        (),
        ["run.json is damaged"],
    ),
    "no noise": (
        lambda done: (done.state / "patterns.safetensors").unlink(),
        (),
        ["patterns.safetensors cannot be used", "--overwrite"],
    ),
    "damaged noise": (
        lambda done: (done.state / "patterns.safetensors").write_bytes(b"1234567890"),
        (),
        ["patterns.safetensors cannot be used", "--overwrite"],
    ),
    "a file without noise": (
        lambda done: replace_noise(done, other=noise_of(done)),
        (),
        ["patterns.safetensors cannot be used", "noise"],
    ),
    "noise that was changed": (
        lambda done: replace_noise(done, noise=noise_of(done) * 0.999),
        (),
        ["is not the noise"],
    ),
    "noise of other classes": (
        lambda done: replace_noise(done, noise=noise_of(done)[[1, 0, 2]].contiguous()),
        (),
        ["is not the noise"],
    ),
    "noise of fewer classes": (
        lambda done: replace_noise(done, noise=noise_of(done)[:2].contiguous()),
        (),
        ["is not the noise"],
    ),
    "noise of another type": (
        lambda done: replace_noise(done, noise=noise_of(done).half()),
        (),
        ["is not the noise"],
    ),
    "a smaller budget in the manifest": (
        lambda done: edit_manifest(done, eps={"text": "1/255", "value": 1 / 255, "levels": 1}),
        (),
        ["is not the noise"],
    ),
    "unfinished": (
        lambda done: (done.out / "manifest.json").unlink(),
        (),
        ["was not finished", "--resume"],
    ),
    "damaged manifest": (
        lambda done: (done.out / "manifest.json").write_text("{"),
        (),
        ["manifest.json cannot be read"],
    ),
    "nothing to extend": (
        lambda done: (shutil.rmtree(done.out), shutil.rmtree(done.state)),
        (),
        ["there is no run in {root}/out", "leaving out --extend"],
    ),
    "a folder of another tool": (
        lambda done: (shutil.rmtree(done.state), edit_manifest(done, tool={"name": "other"})),
        (),
        ["did not write"],
    ),
    "the new pictures only": (
        only_new_pictures,
        (),
        ["12 of the 12 pictures in {root}/out have no readable original", "a/0.png", "the old"],
    ),
    "an unreadable picture": (
        lambda done: (add(done), (done.photos / "a/cut.jpg").write_bytes(b"\xff\xd8\xff")),
        (),
        ["a/cut.jpg", "--on-error skip"],
    ),
    "a picture that cannot be": (
        lambda done: (done.photos / "a/phone.heic").write_bytes(b"....ftypheic"),
        (),
        ["a/phone.heic"],
    ),
    "a file in the way": (
        lambda done: (add(done), (done.out / "a/new.png").write_bytes(b"mine")),
        (),
        ["did not write", "a/new.png", "move them elsewhere"],
    ),
    "a folder in the way": (
        lambda done: (add(done), (done.out / "a/new.png").mkdir()),
        (),
        ["did not write", "a/new.png"],
    ),
    "labels from elsewhere": (
        label_by_table,
        (),
        ["came from the folders", "come from metadata.csv now"],
    ),
    "two wishes": (add, ("--resume",), ["--resume and --extend exclude each other"]),
    "two other wishes": (add, ("--overwrite",), ["--extend and --overwrite exclude each other"]),
    "no source": (lambda done: shutil.rmtree(done.photos), (), ["photos"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_extended_is_refused_and_nothing_is_touched(done: Done, name: str):
    spoil, flags, words = REFUSALS[name]
    spoil(done)
    before = done.bytes()
    result = done.extend(*flags)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word.format(root=done.root) in result.stderr
    assert result.stderr.count("error: ") == 1
    assert "hint: " in result.stderr
    assert "Traceback" not in result.output
    assert done.bytes() == before


@pytest.mark.parametrize(
    "flags",
    [
        ("--eps", "0.0313725490196", "--seed", "0", "--size", "32", "--binding", "features"),
        ("--surrogate", "tf_efficientnet_lite0", "--rounds", "1", "-b", "4", "--preset", "quick"),
        ("--device", "cpu", "-j", "1", "--offline", "--max-pixels", "1000000000"),
    ],
)
def test_flags_that_say_the_same_or_do_not_matter_are_taken(done: Done, flags: tuple[str, ...]):
    add(done)
    result = done.extend(*flags)
    assert result.exit_code == 0, result.stderr
    assert done.counts == {"kept": 12, "added": 1}


def test_the_command_for_a_new_run_can_be_pasted(done: Done):
    spaced = done.photos.rename(done.root / "my photos")
    put(spaced, "owls/0.png", encoded(picture("RGB", (16, 16)), "PNG"))
    result = cli("run", spaced, "-o", done.out, "--extend")
    assert f"protect run '{spaced}' -o {done.out} --overwrite" in result.stderr


def test_from_python_only_what_is_given_counts(done: Done):
    add(done)
    places = {"source": done.photos, "output": done.out, "existing": "extend"}
    with pytest.raises(ProtectError, match="others were given"):
        protect_folder(RunConfig(**places, seed=1))
    assert len(protect_folder(RunConfig(**places)).images) == 13


def test_while_another_run_writes_there_it_is_refused(done: Done):
    add(done)
    with only_run(done.out):
        result = done.extend()
    assert result.exit_code == 2
    assert "another run is writing" in result.stderr
    assert done.extend().exit_code == 0


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


class KilledError(Exception):
    """Stands for a kill."""


def killed(done: Done, stage: str, steps: int) -> None:
    """Extend until so many pictures of a stage are done."""
    current, left = "", steps

    def kill(event: Event) -> None:
        nonlocal current, left
        if isinstance(event, StageStarted):
            current = event.name
        if current.startswith(stage) and isinstance(event, StageStarted | StageAdvanced):
            if left == 0:
                raise KilledError
            left -= 1

    config = RunConfig(source=done.photos, output=done.out, existing="extend", workers=2)
    with pytest.raises(KilledError):
        protect_folder(config, kill)


def change_a_lot(done: Done) -> None:
    for seed in range(6):
        add(done, f"a/new{seed}.png", seed=200 + seed)
    add(done, "b/1.png")
    relabel(done, "b/3.png", to="a/3b.png")
    take_away(done, "c/2.png")
    spoil(done, "c/0.png")


def without_what_may_differ(done: Done) -> dict[str, object]:
    """Return all that was published; a kill costs the count of what it had already restored."""
    manifest = done.manifest
    for extension in manifest["extended"]:
        extension["kept"] += extension.pop("restored")
    return {name: (done.out / name).read_bytes() for name in tree(done.out)} | {
        "manifest.json": manifest
    }


@pytest.mark.parametrize(
    ("stage", "steps"), [("Comparing", 3), ("Writing", 0), ("Writing", 1), ("Writing", 8)]
)
def test_c54_an_extension_that_was_killed_goes_on_to_the_same_bytes(
    _one_run: Path, tmp_path: Path, stage: str, steps: int
):
    whole, done = (move(_one_run, tmp_path / name) for name in ("whole", "killed"))
    for each in (whole, done):
        change_a_lot(each)
    assert whole.extend().exit_code == 0
    before = done.bytes()
    killed(done, stage, steps)
    if stage == "Comparing":
        assert done.bytes() == before
    else:
        assert done.bytes()["out/manifest.json"] == before["out/manifest.json"]
        result = cli("run", done.photos, "-o", done.out, "--resume")
        assert result.exit_code == 2
        assert "go on with --extend" in result.stderr
    killed(done, "Writing", 0)
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    assert without_what_may_differ(done) == without_what_may_differ(whole)
    assert set(tree(done.state)) == set(tree(whole.state))
    done.require_intact()


@pytest.mark.parametrize("flag", ["--extend", "--overwrite"])
def test_what_a_killed_extension_left_goes_where_the_source_has_changed_again(
    done: Done, flag: str
):
    change_a_lot(done)
    killed(done, "Writing", 1)
    assert len([name for name in tree(done.out) if "new" in name]) > 1
    shutil.rmtree(done.photos)
    write(done.photos, *PHOTOS)
    if flag == "--extend":
        assert done.extend().exit_code == 0
        assert done.counts.get("added") is None
    else:
        assert run(done.photos, done.out, flag).result.exit_code == 0
        assert done.manifest["extended"] == []
    done.require_intact()
    assert set(done.outputs) == set(PHOTOS)


def test_a_full_journal_of_an_earlier_time_does_no_harm(done: Done):
    """A kill after the new manifest and before the journal: the manifest counts."""
    journal = (done.state / "journal.jsonl").read_bytes()
    relabel(done, "b/3.png", to="a/3b.png")
    assert done.extend().exit_code == 0
    (done.state / "journal.jsonl").write_bytes(journal)
    relabel(done, "a/3b.png", to="b/3.png")
    assert done.extend().exit_code == 0
    done.require_intact()
    assert done.outputs["b/3.png"] == "b/3.png"


def test_ctrl_c_says_how_to_go_on(done: Done, monkeypatch: pytest.MonkeyPatch):
    add(done)

    def interrupt(screen: Screen, event: Event) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Screen, "listen", interrupt)
        result = done.extend()
    assert result.exit_code == 130
    assert f"go on with: protect run {done.photos} --output {done.out} --extend" in result.stderr


@pytest.mark.parametrize("finished", [True, False])
def test_resume_after_pictures_were_added_names_extend_where_it_would_work(
    done: Done, finished: bool
):
    add(done)
    if not finished:
        (done.out / "manifest.json").unlink()
    resumed = run(done.photos, done.out, "--resume")
    assert resumed.result.exit_code == 2
    assert ("--extend" in resumed.result.stderr) is finished


def label_table(names: list[str], labels: dict[str, str]) -> str:
    rows = [f"{name},{labels.get(name, name[0])},caption of {name}" for name in names]
    return "\n".join(["file_name,label,caption", *rows])


@pytest.mark.parametrize("kind", ["csv", "metadata"])
def test_label_tables_are_found_again_and_written_again(tmp_path: Path, kind: str):
    done = Done(tmp_path)
    flat = [name.replace("/", "") for name in PHOTOS]
    write(done.photos, *flat)
    table = tmp_path / "mine.csv" if kind == "csv" else done.photos / "metadata.csv"
    table.write_text(label_table(flat, {}))
    flags = ("--labels", table) if kind == "csv" else ()
    assert run(done.photos, done.out, *flags).result.exit_code == 0
    first = (done.out / "a1.png").read_bytes()
    add(done, "new.jpg")
    table.write_text(label_table([*flat, "new.jpg"], {"a1.png": "c", "new.jpg": "b"}))
    result = done.extend()
    assert result.exit_code == 0, result.stderr
    # Its pixels are the same, its class is another: so is its noise.
    assert done.counts == {"kept": 11, "added": 1, "changed": 1}
    assert (done.out / "a1.png").read_bytes() != first
    published = done.out / ("labels.csv" if kind == "csv" else "metadata.csv")
    lines = published.read_text().splitlines()
    assert "a1.png,c,caption of a1.png" in lines
    assert "new.png,b,caption of new.jpg" in lines
    assert len(lines) == 14
    done.require_intact()

    table.write_text(label_table([*flat, "new.jpg"], {"a1.png": "new class"}))
    before = done.bytes()
    result = done.extend()
    assert result.exit_code == 2
    assert "new class" in result.stderr
    table.unlink()
    before.pop(table.relative_to(tmp_path).as_posix())
    result = done.extend()
    assert result.exit_code == 2
    assert ("mine.csv cannot be read" if kind == "csv" else "labels") in result.stderr
    assert done.bytes() == before


def test_a_table_that_lies_elsewhere_now_is_remembered(tmp_path: Path):
    done = Done(tmp_path)
    write(done.photos, *PHOTOS)
    table = tmp_path / "mine.csv"
    table.write_text(label_table(PHOTOS, {}))
    assert run(done.photos, done.out, "--labels", table).result.exit_code == 0
    moved = table.rename(tmp_path / "moved.csv")
    assert done.extend("--labels", moved).exit_code == 0
    assert done.extend().exit_code == 0
    done.require_intact()


def test_a_source_that_lies_elsewhere_now_is_remembered(done: Done):
    moved = done.photos.rename(done.root / "moved")
    add(Done(done.root), "../moved/a/new.png")
    result = cli("run", moved, "-o", done.out, "--extend")
    assert result.exit_code == 0, result.stderr
    assert done.counts == {"kept": 12, "added": 1}
    result = cli("check", done.out)
    assert result.exit_code == 0
    assert "not measured" not in result.stdout


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
