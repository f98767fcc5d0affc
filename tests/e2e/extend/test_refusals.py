"""`protect run --extend`: what cannot be extended is refused, and nothing is touched."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from cases.gallery import put, write
from cases.ran import run
from extending import PHOTOS, Done, add, edit_manifest
from helpers import cli, small_network
from pictures import encoded, picture
from safetensors.torch import load_file, save_file

from protect import ProtectError, RunConfig, protect_folder
from protect.output.folder import only_run


def replace_noise(done: Done, **tensors: torch.Tensor) -> None:
    save_file(tensors, done.state / "patterns.safetensors")


def noise_of(done: Done) -> torch.Tensor:
    return load_file(done.state / "patterns.safetensors")["noise"].clone()


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
        [
            "seed: is not that of the run",
            "size: was 32, is 64",
            "rounds: was 1",
            "surrogate: was 'timm:tf_",
        ],
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
    "noise on another grid": (
        lambda done: replace_noise(done, noise=noise_of(done), grid=torch.tensor([1, 2])),
        (),
        ["is not the noise"],
    ),
    "noise that is bent by no number": (
        lambda done: replace_noise(
            done, noise=noise_of(done), grid=torch.tensor([32, 32]), bend=torch.tensor(torch.nan)
        ),
        (),
        ["is not the noise"],
    ),
    "noise that is bent and does not repeat as it should": (
        lambda done: replace_noise(
            done, noise=noise_of(done), grid=torch.tensor([31, 31]), bend=torch.tensor(0.1)
        ),
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


def write_network(folder: Path) -> Path:
    """Write a small network as timm saves one."""
    folder.mkdir()
    config = {"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": {}}
    (folder / "config.json").write_text(json.dumps(config))
    weights = timm.create_model("test_resnet", num_classes=7).state_dict()
    save_file(weights, folder / "model.safetensors")
    return folder


def by_table(root: Path) -> Path:
    table = root / "mine.csv"
    table.write_text("\n".join(["file_name,label", *(f"{name},{name[0]}" for name in PHOTOS)]))
    return table


OF_THE_RUN: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "a folder of a network": lambda root: ("--surrogate", f"local-dir:{write_network(root / 'n')}"),
    "a network as timm names it": lambda root: (
        "--surrogate",
        f"timm:local-dir:{write_network(root / 'n')}/",
    ),
    "weights of a folder": lambda root: (
        "--surrogate",
        f"local-dir:{write_network(root / 'n')}",
        "--weights",
        f"local-dir:{root / 'n'}={root / 'n' / 'model.safetensors'}",
    ),
    "weights of a name": small_network,
    "labels": lambda root: ("--labels", by_table(root)),
    "a manifest apart": lambda root: ("--manifest", root / "apart" / "m.json"),
    "no path": lambda _: (
        *("--targets", "cyclic", "--binding", "head", "--mode", "class", "--harden", "grey,blur"),
        *("--rights", "noai", "--on-error", "skip", "--max-pixels", "10000", "--workers", "1"),
        "--offline",
    ),
    "found by trying": lambda _: ("--batch-size", "auto"),
}


@pytest.mark.parametrize("kind", OF_THE_RUN)
def test_the_very_flags_of_the_run_are_taken_and_no_folder_of_them_is_published(
    tmp_path: Path, kind: str
):
    photos, out = write(tmp_path / "photos", *PHOTOS), tmp_path / "out"
    flags = OF_THE_RUN[kind](tmp_path)
    ran = run(photos, out, *flags)
    assert ran.result.exit_code == 0, ran.result.stderr
    manifest = tmp_path / "apart/m.json" if kind == "a manifest apart" else out / "manifest.json"
    (out / "a/1.png").unlink()
    for more in ((), ("--extend",)):
        text = manifest.read_text()
        assert str(tmp_path) not in text
        assert "seed" not in json.loads(text)["config"]
        result = run(photos, out, *flags, *more).result if more else ran.result
        assert result.exit_code == 0, result.stderr
    assert (out / "a/1.png").exists()


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


def test_an_extended_run_without_its_manifest_is_not_sent_round_in_circles(done: Done):
    add(done, "a/new.png", seed=7)
    assert done.extend().exit_code == 0
    kept = (done.out / "manifest.json").read_bytes()
    (done.out / "manifest.json").unlink()
    result = done.extend()
    assert result.exit_code == 2
    assert "manifest.json is missing" in " ".join(result.stderr.split())
    assert "put it back from a copy" in " ".join(result.stderr.split())
    assert "--resume" not in result.stderr
    (done.out / "manifest.json").write_bytes(kept)
    assert done.extend().exit_code == 0
