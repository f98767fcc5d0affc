"""`protect run --dry-run`: what it foretells is what a run then does, and nothing is written."""

import json
import time
from pathlib import Path

import pytest
import torch
from cases.gallery import put, write
from cases.ran import run
from helpers import TINY, cli, write_colours
from pictures import bomb, encoded, picture
from safetensors.torch import load_file, save_file

from protect import RunConfig
from protect.bait import batches
from protect.data.discover import Sample, discover
from protect.data.scan import scan_pictures
from protect.dry_run import dry_run_folder
from protect.errors import ConfigError
from protect.events import ignore
from protect.output.writer import Rendered, Writer


def everything_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every file and folder, and of the folder itself."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def foretell(photos: Path, out: Path, *words: object):
    before = everything_in(out.parent)
    ran = run(photos, out, "--dry-run", *words)
    assert everything_in(out.parent) == before
    return ran


def good(root: Path) -> Path:
    return write(root / "photos", "a/1.png", "a/2.png", "b/1.png", "b/2.png")


def truncated(root: Path) -> Path:
    photos = good(root)
    whole = encoded(picture("RGB", (64, 64)), "JPEG")
    put(photos, "b/cut.jpg", whole[: len(whole) * 6 // 10])
    return photos


def messy(root: Path) -> Path:
    photos = good(root)
    put(photos, "a/x.heic", b"x")
    put(photos, "b/bomb.png", bomb())
    put(photos, "stray.png", encoded(picture("RGB"), "PNG"))
    put(photos, "a/notes.txt", b"x")
    put(photos, "a/.DS_Store", b"x")
    return photos


def one_class(root: Path) -> Path:
    return write(root / "photos", "a/1.png", "a/2.png")


def one_readable_class(root: Path) -> Path:
    photos = write(root / "photos", "a/1.png")
    put(photos, "b/bad.png", b"bad")
    return photos


def occupied(root: Path) -> Path:
    (root / "out").mkdir()
    (root / "out" / "mine.txt").write_text("mine")
    return good(root)


@pytest.mark.parametrize(
    ("build", "words", "status"),
    [
        (good, (), 0),
        (truncated, (), 2),
        (truncated, ("--on-error", "skip"), 1),
        (messy, (), 2),
        (messy, ("--on-error", "skip"), 1),
        (one_class, (), 2),
        (one_readable_class, ("--on-error", "skip"), 2),
        (occupied, (), 2),
        (occupied, ("--overwrite",), 2),
        (good, ("--surrogate", "resnet81"), 2),
        (good, ("--surrogate", "resnet18", "--offline"), 3),
        (good, ("--surrogate", "timm:vit_giant_patch14_224"), 3),
        (good, ("--device", "cuda:9"), 3),
        (good, ("--labels", "nowhere.csv"), 2),
    ],
)
def test_the_status_is_that_of_the_run(tmp_path, monkeypatch, build, words, status):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    photos, out = build(tmp_path), tmp_path / "out"
    told = foretell(photos, out, *words)
    ran = run(photos, out, *words)
    assert told.result.exit_code == ran.result.exit_code == status, told.result.output
    if status == 1:
        document = json.loads(foretell(photos, tmp_path / "new", *words, "--json").result.stdout)
        assert document["outcome"] == "incomplete"
        for key in ("refused", "ignored", "notes"):
            assert document[key] == ran.manifest[key]


def test_a_refused_run_is_told_as_a_document_with_every_reason(tmp_path):
    ran = foretell(messy(tmp_path), tmp_path / "out", "--json")
    found = json.loads(ran.result.stdout)
    assert found["outcome"] == "refused"
    assert "3 pictures cannot be protected" in found["problem"]
    assert "--on-error skip" in found["hint"]
    assert [item["source"] for item in found["refused"]] == ["a/x.heic", "b/bomb.png", "stray.png"]
    assert found["ignored"] == {".txt": 1, "hidden": 1}
    assert found["room"] is found["duration"] is None


def test_figures_are_those_of_the_run(tmp_path):
    photos, out = write_colours(tmp_path / "photos", per_class=12), tmp_path / "out"
    found = json.loads(foretell(photos, out, "--rounds", "4", "--json").result.stdout)
    ran = run(photos, out)
    assert found["outcome"] == "complete"
    assert found["classes"] == {"blue": 12, "red": 12}
    assert found["surrogate"] == ran.manifest["surrogate"]
    assert found["size"] == ran.manifest["config"]["worked_at"]
    room = found["room"]
    assert room["source"] == sum(path.stat().st_size for path in photos.rglob("*.png"))
    written = sum(path.stat().st_size for path in out.rglob("*.png"))
    assert room["output"] == pytest.approx(written, rel=0.2)
    assert room["cache"] == 24 * 32 * 32 * 3
    assert room["free"] > 0
    assert 50e6 < room["memory"] < 50e9
    duration = found["duration"]
    assert duration["rounds"] == 4
    assert 1 <= duration["timed_rounds"] <= 3
    assert min(duration[stage] for stage in ("read", "optimise", "write")) > 0


def test_the_working_size_and_the_copies_are_found_as_a_run_finds_them(tmp_path):
    """Of pictures that seem to be of one size, the last is not, and it lies in two classes."""
    photos = write(tmp_path / "photos", *(f"{'ab'[n % 2]}/{n:03}.png" for n in range(140)))
    odd = encoded(picture("RGB", (50, 40)), "PNG")
    for name in ("a/odd.png", "b/odd.png"):
        put(photos, name, odd)
    told = foretell(photos, tmp_path / "out", "--json")
    found = json.loads(told.result.stdout)
    assert "warning: the same picture lies in two classes" in told.result.stderr
    assert found["room"]["cache"] == 142 * 32 * 32 * 3
    assert found["notes"] == ["the same picture lies in two classes: a/odd.png and b/odd.png"]


def test_weights_that_would_be_downloaded_are_not(tmp_path, monkeypatch):
    """The network of the tests is dead: a try to download would fail."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    ran = foretell(
        good(tmp_path), tmp_path / "out", "--surrogate", "torchvision:resnet18", "--json"
    )
    assert ran.result.exit_code == 0, ran.result.output
    found = json.loads(ran.result.stdout)
    assert found["surrogate"] is None
    assert found["duration"]["optimise"] is None
    assert "torchvision:resnet18 would have to be downloaded" in found["duration"]["not_timed"]


def test_a_full_disk_is_foretold_as_the_run_would_end(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    result = foretell(good(tmp_path), tmp_path / "out").result
    assert result.exit_code == 3
    assert "no room for" in result.stderr


def test_a_run_to_resume_is_looked_at_and_left_alone(tmp_path):
    photos, out = good(tmp_path), tmp_path / "out"
    assert run(photos, out).result.exit_code == 0
    assert foretell(photos, out, "--resume").result.exit_code == 0
    other = foretell(photos, out, "--resume", "--eps", "4/255").result
    assert other.exit_code == 2
    assert "other settings" in other.stderr
    put(photos, "a/1.png", encoded(picture("RGB", seed=5), "PNG"))
    changed = foretell(photos, out, "--resume").result
    assert changed.exit_code == 2
    assert "a/1.png" in changed.stderr


def test_of_a_run_to_resume_only_what_is_left_is_foretold(tmp_path, monkeypatch):
    photos, out = good(tmp_path), tmp_path / "out"
    whole = json.loads(foretell(photos, out, "--json").result.stdout)["duration"]
    assert whole["write"] > 0
    assert run(photos, out).result.exit_code == 0
    left = json.loads(foretell(photos, out, "--resume", "--json").result.stdout)["duration"]
    assert (left["rounds"], left["timed_rounds"], left["optimise"]) == (0, 0, 0)
    assert left["write"] == 0
    journal = tmp_path / "out.state" / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:1]))
    progress = tmp_path / "out.state" / "progress.safetensors"
    table = load_file(progress)
    save_file(table | {"round": table["round"] - 1}, progress)
    left = json.loads(foretell(photos, out, "--resume", "--json").result.stdout)["duration"]
    assert (left["rounds"], left["timed_rounds"]) == (1, 1)
    assert left["optimise"] > 0
    assert left["write"] > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"existing": "extend"}, "--extend optimises none"), ({"time_budget": "5m"}, "--time-budget")],
)
def test_what_cannot_be_foretold_is_refused_from_python_too(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words) as caught:
        dry_run_folder(RunConfig(source=good(tmp_path), output=tmp_path / "out", **settings))
    assert caught.value.hint


def test_no_draw_is_of_the_generator_of_all(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    photos, before = good(tmp_path), torch.get_rng_state()
    for words in ((), ("--surrogate", "torchvision:resnet18")):
        assert foretell(photos, tmp_path / "out", *words).result.exit_code == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_of_a_run_that_found_its_batch_size_none_is_tried(tmp_path, monkeypatch):
    """As resuming needs none either, whether this system tells of its memory or not."""
    photos, out = good(tmp_path), tmp_path / "out"
    words = ("--batch-size", "auto", "--resume")
    assert run(photos, out, *words).result.exit_code == 0
    monkeypatch.setattr(batches, "working_memory", lambda _: None)
    told = foretell(photos, out, *words)
    assert told.result.exit_code == 0, told.result.stderr
    assert run(photos, out, *words).result.exit_code == 0
    (tmp_path / "out.state" / "progress.safetensors").unlink()
    for refused in (foretell(photos, out, *words), run(photos, out, *words)):
        assert refused.result.exit_code == 2
        assert "give a number" in refused.result.stderr


def test_people_are_told_the_same_and_the_command_to_go_on_with(tmp_path):
    photos, out = good(tmp_path), tmp_path / "out dir"
    result = cli("run", photos, "-o", out, *TINY, "--eps", "4/255", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("4 in 2 classes", "decoded in full", "a: 2, b: 2", "1 timed here", "at most"):
        assert words in result.stdout
    assert "nothing was written" in result.stdout
    assert f"next: protect run {photos} --output '{out}' --eps 4/255" in result.stderr
    assert "--dry-run" not in result.stderr


def test_that_the_first_picture_is_slower_does_not_count_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    render, slow = Writer.render, [5.0]

    def at_first_slow(writer: Writer, sample: Sample) -> Rendered:
        time.sleep(slow.pop() if slow else 0)
        return render(writer, sample)

    monkeypatch.setattr(Writer, "render", at_first_slow)
    found = foretell(good(tmp_path), tmp_path / "out", "--json")
    assert not slow
    assert json.loads(found.result.stdout)["duration"]["write"] < 4


def test_downloads_that_the_environment_turns_off_are_foretold_as_the_run_ends(
    tmp_path, monkeypatch
):
    """HF_HUB_OFFLINE, as huggingface_hub read it when it was imported."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    photos, words = good(tmp_path), ("--surrogate", "torchvision:resnet18")
    told = foretell(photos, tmp_path / "out", *words)
    assert told.result.exit_code == 3
    assert told.result.exit_code == run(photos, tmp_path / "out", *words).result.exit_code
    assert "HF_HUB_OFFLINE" in told.result.stderr


@pytest.mark.parametrize(("keep", "least"), [(0, 256), (300, 300), (900, 700)])
def test_as_many_pictures_are_kept_as_the_search_of_the_run_would_show(tmp_path, keep, least):
    """Foretold from fewer, a search would be said to take less time and memory than it does."""
    data = encoded(picture("RGB", (8, 8)), "PNG")
    for number in range(700):
        put(tmp_path, f"{'ab'[number % 2]}/{number:03}.png", data)
    reading = scan_pictures(
        discover(tmp_path),
        size=32,
        accelerated=False,
        at_room=False,
        threads=1,
        max_pixels=10_000,
        keep=keep,
        listener=ignore,
    )
    assert least <= len(reading.pictures) < 2 * max(least, 256)
    assert len(reading.samples) == 700
