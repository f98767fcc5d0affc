"""`protect run --extend`: an extension that was killed or interrupted goes on."""

import shutil
from pathlib import Path

import pytest
from cases.gallery import tree, write
from cases.ran import run
from extending import PHOTOS, Done, add, move, relabel, spoil, take_away
from helpers import cli
from kill_events import run_until

from protect import RunConfig
from protect.console import Screen
from protect.events import Event


def killed(done: Done, stage: str, steps: int) -> None:
    """Extend until so many pictures of a stage are done."""
    config = RunConfig(source=done.photos, output=done.out, existing="extend", workers=2)
    run_until(config, stage, steps)


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
