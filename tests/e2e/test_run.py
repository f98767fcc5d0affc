"""`protect run` on real files: what is published, what is recorded, what is refused."""

import json
import shlex
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import FAST, cli, files_of, seed_of, small_network, write_colours
from kill_events import KilledError, run_until
from PIL import Image, ImageCms

from protect import ProtectError, RunConfig, protect_folder
from protect.bait import alphabet
from protect.bait.engine import Engine
from protect.bait.pace import Pace
from protect.config.choices import Existing
from protect.console import Screen
from protect.data.reading import read_pictures
from protect.events import Event, Notice, StageAdvanced, StageStarted
from protect.output.state_folder import StateFolder


def test_every_picture_is_published_within_the_budget_under_its_own_name(done):
    sources = {p.relative_to(done.photos) for p in done.photos.rglob("*.png")}
    outputs = {p.relative_to(done.protected) for p in done.protected.rglob("*.png")}
    assert outputs == sources
    for name in sources:
        original = np.asarray(Image.open(done.photos / name)).astype(int)
        published = np.asarray(Image.open(done.protected / name)).astype(int)
        assert published.shape == original.shape
        assert 0 < abs(published - original).max() <= 8
        assert (published - original).min() < 0 < (published - original).max()


def test_the_manifest_tells_the_facts(done):
    manifest = done.manifest
    assert manifest["schema_version"] == 1
    assert manifest["classes"] == {"blue": 0, "red": 1}
    assert manifest["eps"] == {"text": "8/255", "value": 8 / 255, "levels": 8}
    assert [i["source"] for i in manifest["images"]] == sorted(
        f"{c}/{i}.png" for c in ("blue", "red") for i in range(12)
    )
    assert manifest["surrogate"]["weights"]["origin"] == "package"
    assert set(manifest["patterns"]) == {"blue", "red"}
    assert len(manifest["bound"]) == 3
    mapping = manifest["target_mapping"]
    assert mapping["anchor"] in ("blue", "red")
    faint = {name for name, digest in manifest["patterns"].items() if digest["linf_levels"] <= 2}
    assert faint == {mapping["anchor"]}
    assert mapping["stages"] == ["hardest", "random", "dissimilar"]
    assert {true: final["target"] for true, final in mapping["final"].items()} == {
        "blue": "red",
        "red": "blue",
    }
    for stage in mapping["counts"].values():
        # Of 12 outer steps half bind 8 pictures with noise each, half 16 clean ones.
        assert sum(n for row in stage.values() for n in row.values()) == 6 * 8 + 6 * 16
        assert all(true not in row for true, row in stage.items())


def test_nothing_of_this_machine_is_published(done):
    text = (done.protected / "manifest.json").read_text()
    assert str(done.root) not in text
    assert "/tmp" not in text
    for path in done.protected.rglob("*.png"):
        assert not Image.open(path).getexif()


def test_c63_the_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=3)
    for name, extra in {"a": ("-j", "1"), "b": ("-j", "3"), "c": ("--seed", "1")}.items():
        assert cli("run", photos, "-o", tmp_path / name, *FAST, *extra).exit_code == 0
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert files_of(tmp_path / "a") != files_of(tmp_path / "c")


@pytest.mark.parametrize(("stage", "steps"), [("Optimising", 1), ("Writing", 0), ("Writing", 5)])
def test_c54_a_killed_run_resumes_to_the_same_bytes(tmp_path, monkeypatch, stage, steps):
    monkeypatch.setattr("protect.generation.CHECKPOINT_SECONDS", 0)
    photos = write_colours(tmp_path / "photos", per_class=4)
    settings = {"size": 32, "rounds": 3, "batch_size": 8, "preset": "quick", "device": "cpu"}
    whole = RunConfig(source=photos, output=tmp_path / "whole", **settings)
    protect_folder(whole)

    killed = RunConfig(source=photos, output=tmp_path / "killed", **settings, seed=whole.seed)
    run_until(killed, stage, steps)
    assert not (tmp_path / "killed" / "manifest.json").exists()
    with pytest.raises(ProtectError, match=r"not empty|private state") as caught:
        protect_folder(killed)
    assert "--resume" in caught.value.hint
    told: list[Event] = []
    resuming = killed.model_copy(update={"existing": Existing.RESUME})
    resumed = protect_folder(resuming, told.append)
    assert Notice(f"resuming the run in {killed.output}") in told
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert len(resumed.images) == 8
    assert not (tmp_path / "killed.state" / "pixels.npy").exists()


STAGES = {"Reading": 3, "Choosing": 5, "Optimising": 1, "Writing": 2}
"""Stage -> steps of it that are done before Ctrl-C."""
FEW = 6
"""Textures to choose from: no test here is about how good the noise is."""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What a search and one round publish of some pictures, and an earlier run of more."""
    root = tmp_path_factory.mktemp("searched")
    photos = write_colours(root / "photos", per_class=3)
    words = ("--size", "32", "--preset", "quick", "-b", "8", "--device", "cpu", "-q")
    words += ("--harden", "jpeg", "--rounds", "1", *small_network(root))
    extra = photos / "red" / "gone.png"
    Image.new("RGB", (32, 32), (220, 40, 30)).save(extra)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alphabet, "FEWEST_TEXTURES", FEW)
        assert cli("run", photos, "-o", root / "earlier", *words, "--seed", 2**40).exit_code == 0
    extra.unlink()
    return SimpleNamespace(root=root, photos=photos, words=words)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("wish", [(), ("--overwrite",)])
def test_what_ctrl_c_says_to_type_gives_the_bytes_of_a_run_that_nothing_befell(
    tmp_path, monkeypatch, searched, stage, wish
):
    monkeypatch.setattr(alphabet, "FEWEST_TEXTURES", FEW)
    out, whole = tmp_path / "out", tmp_path / "whole"
    if wish:
        shutil.copytree(searched.root / "earlier", out)
        shutil.copytree(searched.root / "earlier.state", tmp_path / "out.state")
    listen, current, left = Screen.listen, "", STAGES[stage]

    def interrupt(screen: Screen, event: Event) -> None:
        nonlocal current, left
        current = event.name if isinstance(event, StageStarted) else current
        if current.startswith(stage) and isinstance(event, StageAdvanced):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        listen(screen, event)

    with monkeypatch.context() as patch:
        patch.setattr(Screen, "listen", interrupt)
        result = cli("run", searched.photos, "-o", out, *searched.words, *wish)
    assert result.exit_code == 130, result.stderr
    (hint,) = [line for line in result.stderr.splitlines() if line.startswith("hint: ")]
    said, _, words = hint.partition(": protect ")
    has_begun = stage != "Reading"
    assert said == ("hint: go on with" if has_begun else "hint: start again with")
    assert ("what was finished is kept" in result.stderr) is has_begun
    assert ("--resume" in words) is has_begun
    assert ("--overwrite" in words) is (bool(wish) and not has_begun)
    assert (out / "red" / "gone.png").exists() is (bool(wish) and not has_begun)
    assert out.with_name("out.state").exists() is (bool(wish) or has_begun)
    begun_with = seed_of(out) if has_begun else None

    again = cli(*shlex.split(words))
    assert again.exit_code == 0, again.stderr
    assert begun_with in (None, seed_of(out))
    assert seed_of(out) != 2**40
    seed = ("--seed", seed_of(out))
    assert cli("run", searched.photos, "-o", whole, *searched.words, *seed).exit_code == 0
    assert files_of(out) == files_of(whole)


def test_a_search_that_is_refused_removes_nothing(done):
    """And a run that cannot be is refused before the earlier one goes."""
    before = files_of(done.root)
    photos = done.root / "many"
    for label in range(14):
        (photos / str(label)).mkdir(parents=True)
        shutil.copy(done.photos / "red" / "0.png", photos / str(label))
    words = ("--harden", "jpeg", "--preset", "quick", "--overwrite")
    result = cli("run", photos, "-o", done.protected, *words)
    assert result.exit_code == 2
    assert "has time for" in result.stderr
    assert {name: files_of(done.root)[name] for name in before} == before


@pytest.mark.parametrize("begun", ["cuda", "mps", "auto"])
def test_c54_resuming_on_another_kind_of_device_is_refused_and_names_it(done, begun):
    """It decides the size at which pictures are shown, and that the noise."""
    noted = done.state / "run.json"
    before = json.loads(noted.read_text())
    assert before["settings"]["device"] == "cpu"
    before["settings"]["device"] = begun
    noted.write_text(json.dumps(before))
    for more in ((), ("--dry-run",)):
        result = cli("run", done.photos, "-o", done.protected, *FAST, "--resume", *more)
        assert result.exit_code == 2
        assert f"device: was {begun!r}, is 'cpu'" in result.stderr


def test_c54_however_a_device_is_chosen_the_same_kind_may_go_on(done, monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr("protect.run.choose_device", lambda _: cpu)
    for device in ("auto", "cuda:1"):
        words = (*FAST, "--device", device, "--resume")
        result = cli("run", done.photos, "-o", done.protected, *words)
        assert result.exit_code == 0, result.stderr


def test_rounds_that_are_made_fewer_stay_so_past_a_kill(tmp_path, monkeypatch):
    """The manifest tells of them, so the noise must be theirs."""
    settings = {"time_budget": "1h", "size": 32, "batch_size": 4, "outer_steps": 1}
    config = RunConfig(
        source=write_colours(tmp_path / "photos", per_class=2),
        output=tmp_path / "out",
        device="cpu",
        **settings,
    )

    def slower(_: Pace, engine: Engine) -> str:
        if engine.round != 3:
            return ""
        engine.plan(5)
        return "the machine has become slower"

    def plan(_: Pace, engine: Engine, most: int) -> float:
        engine.plan(most)
        return 1.0

    monkeypatch.setattr(Pace, "keep", slower)
    monkeypatch.setattr(Pace, "plan", plan)
    run_until(config, "Optimising", 3)
    manifest = protect_folder(config.model_copy(update={"existing": Existing.RESUME}))
    assert manifest.notes == ("the machine has become slower",)
    assert len(manifest.bound) == manifest.config["effort"]["rounds"] == 5


@pytest.mark.parametrize("place", [None, "private/mapping.json"])
def test_a_run_that_has_begun_knows_where_its_manifest_is_to_lie(tmp_path, monkeypatch, place):
    """A kill right then must not leave one among the pictures."""
    manifest = None if place is None else tmp_path / place

    def kill(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr("protect.run.settle_manifest", kill)
    with pytest.raises(KilledError):
        protect_folder(
            RunConfig(
                source=write_colours(tmp_path / "photos", per_class=2),
                output=tmp_path / "out",
                manifest=manifest,
                size=32,
                rounds=1,
                device="cpu",
            )
        )
    record = StateFolder.of(tmp_path / "out").read_run()
    assert record is not None
    assert record.manifest == manifest


def test_c54_resuming_with_other_settings_is_refused_and_names_them(done):
    result = cli("run", done.photos, "-o", done.protected, *FAST, "--resume", "--eps", "4/255")
    assert result.exit_code == 2
    assert "eps" in result.stderr
    assert "4/255" in result.stderr
    assert (done.protected / "manifest.json").exists()


@pytest.mark.parametrize("package", ["bait-protect", "torch", "pillow"])
def test_c54_resuming_with_another_version_is_refused_and_names_it(done, package):
    noted = done.state / "run.json"
    before = json.loads(noted.read_text())
    before["settings"][f"version of {package}"] = "0.0.1"
    noted.write_text(json.dumps(before))
    result = cli("run", done.photos, "-o", done.protected, *FAST, "--resume")
    assert result.exit_code == 2
    assert f"version of {package}: was '0.0.1', is " in result.stderr


def test_an_occupied_output_needs_a_word_and_foreign_files_are_never_touched(done):
    assert cli("run", done.photos, "-o", done.protected, *FAST).exit_code == 2
    (done.protected / "notes.txt").write_text("mine")
    (done.photos / "red" / "0.png").unlink()
    result = cli("run", done.photos, "-o", done.protected, *FAST, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert (done.protected / "notes.txt").read_text() == "mine"
    assert not (done.protected / "red" / "0.png").exists()

    foreign = done.root / "foreign"
    foreign.mkdir()
    (foreign / "x.png").write_bytes(b"mine")
    result = cli("run", done.photos, "-o", foreign, *FAST, "--overwrite")
    assert result.exit_code == 2
    assert (foreign / "x.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        ("photos", "photos/out", "inside the source"),
        ("photos", "photos", "inside the source"),
        ("photos/red", "photos", "inside the output"),
        ("protected", "again", "protecting it twice"),
        ("protected/red", "again", "protecting it twice"),
        ("nowhere", "out", "nowhere"),
    ],
)
def test_places_that_would_harm_are_refused(done, source, output, words):
    before = files_of(done.root)
    result = cli("run", done.root / source, "-o", done.root / output, *FAST)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert files_of(done.root) == before


def test_unreadable_pictures_stop_the_run_before_compute_and_are_all_named(tmp_path):
    """C20, C21, C55: the policy is to stop; nothing is left behind."""
    photos = write_colours(tmp_path / "photos", per_class=4)
    (photos / "red" / "empty.png").touch()
    whole = (photos / "red" / "0.png").read_bytes()
    (photos / "blue" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "blue" / "phone.heic").write_bytes(b"....ftypheic")
    result = cli("run", photos, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 2
    for name in ("red/empty.png", "blue/cut.png", "blue/phone.heic"):
        assert name in result.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.state").exists()

    result = cli("run", photos, "-o", tmp_path / "out", *FAST, "--on-error", "skip")
    assert result.exit_code == 1
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["images"]) == 8
    assert {item["source"] for item in manifest["refused"]} == {
        "red/empty.png",
        "blue/cut.png",
        "blue/phone.heic",
    }


def test_mixed_sizes_modes_and_formats_keep_their_shape(tmp_path):
    """C13, C33 and the alpha plane of C26."""
    photos = write_colours(tmp_path / "photos", per_class=2)
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> Image.Image:
        return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))

    noise(40, 33, 4).save(photos / "red" / "alpha.png")
    noise(7, 90).save(photos / "red" / "grey.png")
    noise(20, 30, 2).save(photos / "blue" / "grey-alpha.png")
    noise(1, 1, 3).save(photos / "blue" / "dot.png")
    noise(64, 64, 3).save(photos / "blue" / "photo.jpg", quality=95)
    noise(64, 64, 3).save(photos / "blue" / "photo.png")
    result = cli("run", photos, "-o", tmp_path / "out", *FAST)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["images"]) == 10
    assert len({item["output"] for item in manifest["images"]}) == 10
    for item in manifest["images"]:
        with (
            Image.open(photos / item["source"]) as original,
            Image.open(tmp_path / "out" / item["output"]) as published,
        ):
            assert published.size == original.size
            assert published.mode == original.mode
            before = np.asarray(original).astype(int)
            after = np.asarray(published).astype(int)
            assert abs(after - before).max() == item["linf_levels"] <= 8
            if original.mode in ("RGBA", "LA"):
                assert np.array_equal(after[..., -1], before[..., -1])
    unchanged = [i["source"] for i in manifest["images"] if i["status"] == "unchanged"]
    assert result.exit_code == (1 if unchanged else 0)
    assert set(unchanged) <= {"blue/dot.png"}


@pytest.mark.parametrize("kind", ["csv", "metadata"])
def test_a_table_that_changes_during_a_run_is_published_as_it_was_read(tmp_path, monkeypatch, kind):
    """The pictures carry the noise of the classes that they had then."""
    photos = write_colours(tmp_path / "photos", per_class=3)
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    table = photos / "metadata.csv" if kind == "metadata" else tmp_path / "mine.csv"
    before = ["file_name,label", *(f"{name},{name.partition('/')[0]}" for name in names)]
    table.write_text("\n".join(before))
    others = [(name, "blue" if name.startswith("red") else "red") for name in names]

    def changes_it(*words, **settings):
        table.write_text("\n".join(before[:1] + [f"{name},{other}" for name, other in others]))
        return read_pictures(*words, **settings)

    monkeypatch.setattr("protect.run.read_pictures", changes_it)
    flags = ("--labels", table) if kind == "csv" else ()
    assert cli("run", photos, "-o", tmp_path / "out", *FAST, *flags).exit_code == 0
    published = tmp_path / "out" / ("metadata.csv" if kind == "metadata" else "labels.csv")
    assert published.read_text().splitlines() == before
    assert cli("check", tmp_path / "out").exit_code == 1
    table.write_text("\n".join(before))
    assert cli("check", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize("change", ["added", "removed", "moved"])
def test_resume_says_in_words_that_other_pictures_are_there(tmp_path, change):
    photos = write_colours(tmp_path / "photos", per_class=3)
    assert cli("run", photos, "-o", tmp_path / "out", *FAST).exit_code == 0
    file = photos / "red" / "1.png"
    if change == "added":
        shutil.copy(file, photos / "red" / "new.png")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(photos / "blue" / "new.png")
    result = cli("run", photos, "-o", tmp_path / "out", *FAST, "--resume")
    said = " ".join(result.stderr.split())
    assert result.exit_code == 2
    assert "pictures: not the same names with the same classes as then" in said
    assert "give --extend in place of --resume" in said


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize("name", ["manifest.json", "Manifest.JSON"])
def test_a_class_with_the_name_of_the_manifest_is_refused_before_any_work(tmp_path, words, name):
    photos = write_colours(tmp_path / "photos", per_class=3)
    (photos / "red").rename(photos / name)
    result = cli("run", photos, "-o", tmp_path / "out", *FAST, *words)
    assert result.exit_code == 2
    assert "has the name of a file that protect writes" in " ".join(result.stderr.split())
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("words", [(), ("--dry-run",), ("--overwrite",), ("--resume",)])
def test_an_output_that_is_a_link_to_nowhere_is_refused_before_any_work(tmp_path, words):
    photos = write_colours(tmp_path / "photos", per_class=3)
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    result = cli("run", photos, "-o", tmp_path / "out", *FAST, *words)
    assert result.exit_code == 2
    assert "leads nowhere" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


def test_a_picture_that_lies_in_a_class_twice_is_said_to_show_more_of_itself(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=3)
    shutil.copy(photos / "red" / "1.png", photos / "red" / "copy.png")
    result = cli("run", photos, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0
    assert "keep one: red/1.png and red/copy.png" in " ".join(result.stderr.split())


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_a_finished_run_without_its_private_state_is_not_made_anew_by_resume(tmp_path, words):
    """Two publications with other noise show both by their difference."""
    photos, out = write_colours(tmp_path / "photos", per_class=3), tmp_path / "out"
    assert cli("run", photos, "-o", out, *FAST).exit_code == 0
    (tmp_path / "out.state").rename(tmp_path / "aside")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    result = cli("run", photos, "-o", out, *FAST, "--resume", *words)
    assert result.exit_code == 2
    assert "run.json is gone" in result.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "out.state").exists()
    (tmp_path / "aside").rename(tmp_path / "out.state")
    assert cli("run", photos, "-o", out, *FAST, "--resume", *words).exit_code == 0


@pytest.mark.parametrize("kind", ["csv", "metadata"])
def test_labels_from_a_table_are_text_and_travel_with_the_pictures(tmp_path, kind):
    """C37: `NA` and `0001` are class names."""
    photos = write_colours(tmp_path / "photos", per_class=3)
    names = sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png"))
    Image.open(photos / names[0]).save(photos / "red" / "extra.jpg", quality=95)
    rows = [(name, "NA" if name.startswith("red") else "0001") for name in names]
    rows.append(("red/extra.jpg", "NA"))
    table = photos / "metadata.csv" if kind == "metadata" else tmp_path / "mine.csv"
    lines = ["file_name,label,caption"] + [f"{name},{label},a b" for name, label in rows]
    table.write_text("\n".join(lines), encoding="utf-8-sig")
    flags = ("--labels", table) if kind == "csv" else ()
    result = cli("run", photos, "-o", tmp_path / "out", *FAST, *flags)
    assert result.exit_code == 0, result.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["classes"] == {"0001": 0, "NA": 1}
    published = tmp_path / "out" / ("metadata.csv" if kind == "metadata" else "labels.csv")
    text = published.read_text(encoding="utf-8")
    assert "red/extra.png,NA,a b" in text.splitlines()
    assert len(text.splitlines()) == 8
    assert cli("check", tmp_path / "out").exit_code == 0
    published.write_text(text.replace("red/extra.png,NA", "red/extra.png,0001"))
    result = cli("check", tmp_path / "out")
    assert result.exit_code == 1
    assert "red/extra.png" in result.stdout


def test_fewer_than_two_classes_are_refused(tmp_path):
    """C41."""
    photos = write_colours(tmp_path / "photos", per_class=2)
    for path in (photos / "red").iterdir():
        path.write_bytes(b"")
    result = cli("run", photos, "-o", tmp_path / "out", *FAST, "--on-error", "skip")
    assert result.exit_code == 2
    assert "two classes" in result.stderr


@pytest.mark.parametrize("name", ["run.json", "progress.safetensors", "journal.jsonl"])
@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "another kind", "folder"])
def test_damaged_state_is_an_error_that_says_what_to_do_or_is_made_anew(done, name, damage):
    """Neither a defect, nor a broken result."""
    file = done.state / name
    content = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes(
            {
                "empty": b"",
                "cut": content[: len(content) // 2],
                "noise": bytes(range(256)),
                "another kind": b"[1, 2]\n",
            }[damage]
        )
    result = cli("run", done.photos, "-o", done.protected, *FAST, "--resume")
    if name == "journal.jsonl" and damage != "folder":
        # The pictures are written again, to the same bytes.
        assert result.exit_code == 0, result.stderr
        assert cli("check", done.protected).exit_code == 0
        return
    assert result.exit_code == 2, result.stderr
    assert name in result.stderr
    assert ("move it elsewhere" if damage == "folder" else "--overwrite") in result.stderr
    if damage != "folder":
        result = cli("run", done.photos, "-o", done.protected, *FAST, "--overwrite")
        assert result.exit_code == 0, result.stderr


def test_a_file_where_the_state_folder_would_be_is_refused(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=4)
    (tmp_path / "out.state").write_text("")
    result = cli("run", photos, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 2
    assert "out.state" in result.stderr


@pytest.mark.parametrize("images", [5, "x", [5], [{}], {"output": 1}])
def test_an_odd_manifest_does_not_stop_an_overwrite(done, images):
    manifest = done.protected / "manifest.json"
    manifest.write_text(json.dumps({"tool": {"name": "bait-protect"}, "images": images}))
    (done.state / "run.json").write_text("")
    result = cli("run", done.photos, "-o", done.protected, *FAST, "--overwrite")
    assert result.exit_code == 0, result.stderr


TABLES = ("labels.csv", "labels.jsonl", "metadata.csv", "metadata.jsonl")


@pytest.mark.parametrize("state", ["finished", "killed before its manifest"])
@pytest.mark.parametrize("kind", ["folders", "csv"])
def test_overwriting_removes_the_label_file_of_the_run_and_no_other(done, kind, state):
    out = done.root / "out"
    table = done.root / "mine.csv"
    names = sorted(p.relative_to(done.photos).as_posix() for p in done.photos.rglob("*.png"))
    table.write_text("\n".join(["file_name,label", *(f"{n},{n.partition('/')[0]}" for n in names)]))
    flags = ("--labels", table) if kind == "csv" else ()
    assert cli("run", done.photos, "-o", out, *FAST, *flags).exit_code == 0
    if state != "finished":
        (out / "manifest.json").unlink()
    ours = {name for name in TABLES if (out / name).exists()}
    assert ours == ({"labels.csv"} if kind == "csv" else set())
    for name in set(TABLES) - ours:
        (out / name).write_text("mine")
    result = cli("run", done.photos, "-o", out, *FAST, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert {name for name in TABLES if (out / name).exists()} == set(TABLES) - ours
    assert all((out / name).read_text() == "mine" for name in set(TABLES) - ours)


@pytest.mark.parametrize("command", ["check", "verify", "preview"])
def test_the_root_of_a_disk_is_no_folder_to_look_at(command):
    result = cli(command, "/")
    assert result.exit_code == 2, result.output
    assert "root of a disk" in result.stderr


def test_the_root_of_a_disk_is_no_output(done):
    result = cli("run", done.photos, "-o", "/", *FAST)
    assert result.exit_code == 2, result.output
    assert "root of a disk" in result.stderr


@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_path_in_a_settings_file_that_no_system_takes_is_refused(tmp_path, command):
    file = tmp_path / "protect.toml"
    key = {"run": "output", "verify": "test"}[command]
    file.write_text(f'[{command}]\n{key} = "a\\u0000b"\n')
    result = cli(command, tmp_path, "--config", file)
    assert result.exit_code == 2, result.output
    assert "embedded null byte" in result.stderr


def test_a_colour_profile_that_no_png_can_hold_stops_no_run(tmp_path):
    """It is left out, which is said: found out in the writing, it would cost the whole run."""
    photos = write_colours(tmp_path / "photos", per_class=3)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(photos / "red/0.png") as image:
        image.save(photos / "red/wide.jpg", icc_profile=profile + bytes(1_200_000), quality=95)
    result = cli("run", photos, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0, result.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    (notes,) = [item["notes"] for item in manifest["images"] if item["source"] == "red/wide.jpg"]
    assert notes == ["its colour profile is larger than a PNG may have it and is left out"]
    with Image.open(tmp_path / "out/red/wide.png") as published:
        assert "icc_profile" not in published.info
