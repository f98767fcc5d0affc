"""`protect verify`: a sceptic's verdict, and never one on a broken experiment."""

import json
import os
import shutil
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from helpers import FAST, cli, learned, write_colours
from PIL import Image, ImageOps

from protect.config.choices import Mode
from protect.console import Screen
from protect.evaluation.bench import Bench
from protect.evaluation.journal import Result
from protect.evaluation.learned import Answers, Learned
from protect.events import StageStarted

QUICK = ("--epochs", "4", "-b", "8", "--lr", "0.02", "--device", "cpu", "--mode", "full")


def report_of(result) -> dict:
    assert result.stdout, result.stderr
    return json.loads(result.stdout)


def test_noise_that_does_nothing_fails_and_the_control_learns(tmp_path):
    """Faint noise after one round is no protection; a verifier that passes it flatters."""
    photos = write_colours(tmp_path / "photos", per_class=48)
    weak = ("--size", "32", "--rounds", "1", "-b", "8", "--eps", "3/255")
    assert cli("run", photos, "-o", tmp_path / "out", *weak).exit_code == 0
    long = ("--epochs", "12", "-b", "18", "--lr", "0.01", "--size", "64", "--device", "cpu")
    test = write_colours(tmp_path / "test", per_class=60, seed=7)
    result = cli("verify", tmp_path / "out", *long, "--test", test, "--mode", "full", "--json")
    assert result.exit_code == 1, result.stderr
    report = report_of(result)
    assert report["schema_version"] == 1
    assert report["verdict"] == "fail"
    (cell,) = report["cells"]
    assert cell["control_peak"] >= 0.9
    assert cell["peak"] >= 0.9
    assert cell["retained"] > 0.8
    assert cell["retained_low"] <= cell["retained"] <= cell["retained_high"]
    assert cell["chance"] == 0.5
    assert cell["n_test"] == 120
    assert cell["n_train"] == 96
    (curve,) = cell["curves"]
    assert len(curve["protected"]) == len(curve["control"]) == 12
    assert cell["peak"] == max(curve["protected"])
    assert cell["final"] == curve["protected"][-1]
    assert cell["network"]["weights"]["origin"] == "package"
    assert report["not_run"]


def test_a_test_set_with_swapped_classes_gives_no_pass(tmp_path):
    """Protected accuracy is then near 0, which would look like perfect protection."""
    photos = write_colours(tmp_path / "photos", per_class=24)
    assert cli("run", photos, "-o", tmp_path / "out", *FAST).exit_code == 0
    test = write_colours(tmp_path / "test", per_class=20, seed=9)
    (test / "red").rename(tmp_path / "aside")
    (test / "blue").rename(test / "red")
    (tmp_path / "aside").rename(test / "blue")
    result = cli("verify", tmp_path / "out", *QUICK, "--test", test, "--json")
    report = report_of(result)
    assert report["split"]["kind"] == "test folder"
    # The control does as badly: the experiment says nothing.
    assert report["verdict"] == "inconclusive"
    assert result.exit_code == 1


def test_a_control_that_did_not_learn_is_inconclusive(done):
    result = cli("verify", done.protected, "--epochs", "1", "--lr", "1e-9", "--json")
    assert result.exit_code == 1
    report = report_of(result)
    assert report["verdict"] == "inconclusive"
    assert "control" in report["cells"][0]["reason"]
    assert report["cells"][0]["retained"] is None


@pytest.mark.parametrize("arm", ["originals", "protected"])
def test_a_training_that_diverges_makes_its_cell_inconclusive_and_others_go_on(
    done, monkeypatch, arm
):
    def diverges(self, training):
        broken = training.arm == arm and training.recipe.trained == "all"
        good = 1.0 if training.arm == "originals" else 0.5
        return Result(learned(0.0, diverged_in=1) if broken else learned(good), 1.0)

    monkeypatch.setattr(Bench, "_train", diverges)
    test = write_colours(done.root / "test", per_class=60, seed=7)
    words = ("verify", done.protected, *QUICK[:-2], "--test", test, "--json")
    for result in (cli(*words), cli(*words)):
        assert result.exit_code == 1, result.stderr
        report = report_of(result)
        full, probe = report["cells"]
        assert full["verdict"] == report["verdict"] == "inconclusive"
        assert "diverged in epoch 1" in full["reason"]
        assert probe["verdict"] == "pass"


def test_folders_that_share_results_train_each_control_once(done, tmp_path):
    words = ("--mode", "linear-probe", "--epochs", "1", "--results", tmp_path / "kept", "--json")
    first = cli("verify", done.protected, *words)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert not (done.state / "verify").exists()
    # Another folder of the same originals: its control is known, its protected pictures are not.
    other = shutil.copytree(done.photos, tmp_path / "other")
    for picture in other.rglob("*.png"):
        ImageOps.autocontrast(Image.open(picture)).save(picture)
    second = cli("verify", other, "--clean", done.photos, "--size", "32", *words)
    assert "on originals: known from an earlier verification" in second.stderr
    assert "on protected: known" not in second.stderr
    assert len(list((tmp_path / "kept").iterdir())) == 3
    (before,), (after,) = report_of(first)["cells"], report_of(second)["cells"]
    assert before["control_peak"] == after["control_peak"]


def test_results_are_kept_in_no_folder_of_pictures_and_never_without_a_cache(done):
    for words in (
        ("--results", done.protected / "kept"),
        ("--results", done.photos / "kept", "--clean", done.photos),
        ("--results", done.photos / "kept"),
        ("--results", done.root / "kept", "--no-cache"),
    ):
        result = cli("verify", done.protected, *QUICK, *words)
        assert result.exit_code == 2
        assert "results" in result.stderr or "lies among the pictures" in result.stderr
    assert not list(done.root.rglob("kept"))


def test_the_same_seed_gives_the_same_report(done):
    def accuracies() -> list:
        cells = report_of(cli("verify", done.protected, *QUICK, "--no-cache", "--json"))["cells"]
        return [(cell["curves"], cell["retained"]) for cell in cells]

    assert accuracies() == accuracies()


def test_a_tampered_folder_gets_no_verdict(done):
    shutil.copy(done.photos / "red/0.png", done.protected / "red/0.png")
    result = cli("verify", done.protected, *QUICK, "--json")
    assert result.exit_code == 2
    assert not result.stdout
    assert "red/0.png" in result.stderr


@pytest.mark.parametrize("what", ["originals", "protected", "test"])
def test_pictures_that_are_replaced_after_the_check_get_no_verdict(done, monkeypatch, what):
    """By a run that begins meanwhile, say: its results must not be kept as those of the others."""
    folders = {
        "originals": done.photos,
        "protected": done.protected,
        "test": write_colours(done.root / "test", per_class=4, seed=7),
    }
    listen = Screen.listen

    def replace(screen, event):
        if isinstance(event, StageStarted) and event.name == f"Reading pictures: {what}":
            shutil.copy(folders[what] / "red" / "1.png", folders[what] / "red" / "0.png")
        listen(screen, event)

    monkeypatch.setattr(Screen, "listen", replace)
    result = cli("verify", done.protected, *QUICK, "--test", folders["test"], "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "1 pictures have changed while they were verified" in result.stderr
    assert "red/0.png" in result.stderr
    assert not (done.state / "verify").exists()


def test_without_the_originals_there_is_no_verdict_and_the_flag_is_named(done):
    done.photos.rename(done.root / "moved")
    result = cli("verify", done.protected, *QUICK)
    assert result.exit_code == 2
    assert "--clean" in result.stderr
    result = cli("verify", done.protected, *QUICK, "--clean", done.root / "moved", "--json")
    assert report_of(result)["cells"]


@pytest.mark.parametrize(
    "what",
    [
        "trained",
        "protected",
        "trained as BMP",
        "protected as BMP",
        "unreadable",
        "unreadable by its name",
        "without a class",
        "unknown class",
        "one class",
        "empty",
    ],
)
def test_c08_c42_c49_a_test_folder_that_would_flatter_or_confuse_is_refused(done, what):
    """C08, C42, C49."""
    test = write_colours(done.root / "test", per_class=3, seed=5)
    if what == "trained":
        shutil.copy(done.photos / "red/0.png", test / "red/other-name.png")
        words = "red/other-name.png"
    elif what == "protected":
        shutil.copy(done.protected / "red/0.png", test / "red/p.png")
        words = "red/p.png is a protected picture"
    elif what == "trained as BMP":
        Image.open(done.photos / "red/0.png").save(test / "blue/o.bmp")
        words = "blue/o.bmp is an original that was trained on"
    elif what == "protected as BMP":
        Image.open(done.protected / "red/0.png").save(test / "red/p.bmp")
        words = "red/p.bmp is a protected picture"
    elif what == "unreadable":
        (test / "red/0.png").write_bytes(b"no picture")
        words = "red/0.png: is no picture"
    elif what == "unreadable by its name":
        (test / "red/0.png").rename(test / "red/0.heic")
        words = "red/0.heic: "
    elif what == "without a class":
        (test / "red/0.png").rename(test / "0.png")
        words = "0.png: "
    elif what == "one class":
        shutil.rmtree(test / "red")
        words = "two classes or more are needed"
    elif what == "unknown class":
        (test / "red").rename(test / "green")
        words = "green"
    else:
        shutil.rmtree(test)
        test.mkdir()
        words = "holds no pictures"
    result = cli("verify", done.protected, *QUICK, "--test", test)
    assert result.exit_code == 2
    assert words in result.stderr


def test_held_out_pictures_that_the_folder_already_shows_protected_are_refused(done):
    """Originals among which protected pictures of an earlier run lie are no clean test."""
    other = copy_of(done.photos, done.root / "other", levels=3)
    for number in range(10):
        copy = Image.open(other / f"red/{number}.png")
        for folder in (done.photos, other):
            copy.save(folder / f"red/again{number}.png", compress_level=0)
    result = cli("verify", other, "--clean", done.photos, *QUICK)
    assert result.exit_code == 2
    assert "is a protected picture" in result.stderr


def test_an_unknown_backbone_is_a_usage_error_with_near_matches(done):
    result = cli("verify", done.protected, "--backbone", "vit_b_61")
    assert result.exit_code == 2
    assert "vit_b_16" in result.stderr


def test_c62_missing_weights_exit_with_3_before_anything_is_trained(done, monkeypatch, tmp_path):
    """C62: file, URL and cache are named; random weights are never used instead."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    result = cli(
        "verify",
        done.protected,
        "--backbone",
        "tf_efficientnet_lite0",
        "--backbone",
        "vit_b_16",
        "--offline",
    )
    assert result.exit_code == 3
    assert "vit_b_16-c867db91.pth" in result.stderr
    assert "https://download.pytorch.org/models/" in result.stderr
    assert str(tmp_path / "torch-home") in result.stderr
    assert "--weights" in result.stderr
    assert "Training" not in result.stderr


def test_c61_vit_b_16_trains_from_a_file_in_torchvision_form(done, tmp_path):
    """The loading path is real; the weights are not trained, so accuracy is not the point here."""
    torch.manual_seed(0)
    file = tmp_path / "vit.pth"
    torch.save(torchvision.models.vit_b_16(weights=None).state_dict(), file)
    for label in ("red", "blue"):
        for i in range(3, 12):
            (done.protected / label / f"{i}.png").unlink()
    done.manifest["images"] = [
        i
        for i in done.manifest["images"]
        if int(i["source"][-5]) < 3 and len(i["source"].split("/")[1]) == 5
    ]
    (done.protected / "manifest.json").write_text(json.dumps(done.manifest))
    for path in done.photos.rglob("*.png"):
        if int(path.stem) >= 3:
            path.unlink()
    result = cli(
        "verify",
        done.protected,
        "--backbone",
        "vit_b_16",
        "--weights",
        f"vit_b_16={file}",
        "--epochs",
        "1",
        "-b",
        "2",
        "--mode",
        "full",
        "--json",
        "--offline",
    )
    assert result.exit_code in (0, 1), result.stderr
    (cell,) = report_of(result)["cells"]
    assert cell["backbone"] == "torchvision:vit_b_16"
    assert cell["training"]["optimiser"] == "adamw"
    assert cell["network"]["input_size"] == 224
    assert cell["network"]["weights"]["origin"] == "file"
    assert cell["network"]["weights"]["file"] == "vit.pth"


def test_one_backbone_under_two_names_is_one_cell(done, monkeypatch):
    monkeypatch.setattr(Bench, "_train", lambda *_: Result(learned(0.5), 1.0))
    names = ("--backbone", "tf_efficientnet_lite0", "--backbone", "timm:tf_efficientnet_lite0")
    assert len(report_of(cli("verify", done.protected, *QUICK, "--json", *names))["cells"]) == 1


def test_c48_two_backbones_are_two_cells_and_the_worst_decides(done, monkeypatch):
    def train(self, training):
        holds = training.network.name.endswith("lite0") and training.arm == "protected"
        return Result(learned(0.5 if holds else 1.0), 1.0)

    monkeypatch.setattr(Bench, "_train", train)
    test = write_colours(done.root / "test", per_class=60, seed=7)
    names = ("--backbone", "tf_efficientnet_lite0", "--backbone", "tf_efficientnet_lite1")
    words = ("verify", done.protected, *QUICK, "--test", test, "--json", *names)
    report = report_of(cli(*words))
    assert [cell["verdict"] for cell in report["cells"]] == ["pass", "fail"]
    assert (report["verdict"], report["worst"]) == ("fail", 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tier", "ci", "--attack", "grey"), "--tier ci"),
        (("--weights", "vit_b_16=w.pth"), "vit_b_16"),
        (("--weights", "timm:resnet18=a", "--weights", "timm:resnet18=b"), "twice"),
    ],
)
def test_flags_that_would_be_dropped_in_silence_are_refused(done, words, said):
    result = cli("verify", done.protected, *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_state_folder_that_cannot_be_written_is_found_before_training(done):
    (done.state / "verify").write_text("in the way")
    result = cli("verify", done.protected, *QUICK)
    assert result.exit_code == 3
    assert "--no-cache" in result.stderr


def test_the_held_out_pictures_are_recorded_and_of_every_class(done):
    report = report_of(cli("verify", done.protected, *QUICK, "--json"))
    split = report["split"]
    assert split["kind"] == "held out"
    assert split["n_test"] == len(split["test"]) == 6
    assert {Path(name).parent.name for name in split["test"]} == {"red", "blue"}


def test_every_mode_trains_and_says_how(done):
    modes = [word for mode in Mode for word in ("--mode", mode.value)]
    result = cli("verify", done.protected, *QUICK[:-2], *modes, "--clean-fraction", "0.3", "--json")
    cells = {cell["mode"]: cell for cell in report_of(result)["cells"]}
    assert set(cells) == set(Mode)
    assert cells["scratch"]["network"]["weights"]["origin"] == "none"
    assert cells["full"]["network"]["weights"]["origin"] == "package"
    for mode, cell in cells.items():
        assert cell["training"]["source"]
        assert cell["floor"] >= cell["chance"]
        epochs = 1 if mode == "refit" else cell["training"]["epochs"]
        # From scratch on so few pictures a training may diverge, on some machines, and ends there.
        trained = len(cell["curves"][0]["protected"])
        assert trained == epochs or (mode == "scratch" and 0 < trained < epochs), mode
    # A few clean pictures give something alone, and that is not the protection's fault.
    assert cells["refit"]["floor"] > cells["refit"]["chance"]
    assert cells["full"]["floor"] == cells["full"]["chance"]


def test_the_default_is_the_quick_tier_and_the_rest_is_listed_as_not_run(done):
    report = report_of(cli("verify", done.protected, *QUICK[:-2], "--json"))
    assert report["tier"] == "quick"
    assert [(c["mode"], c["attack"]) for c in report["cells"]] == [
        ("full", "none"),
        ("linear-probe", "none"),
    ]
    assert "jpeg10" in " ".join(report["not_run"])


def test_a_repeated_verification_is_instant_and_the_same(done):
    first = report_of(cli("verify", done.protected, *QUICK, "--json"))
    again = cli("verify", done.protected, *QUICK, "--json")
    assert report_of(again) == first
    assert len(list((done.state / "verify").iterdir())) == 2
    # Another seed is another training; a further cell needs only what is new.
    cli("verify", done.protected, *QUICK, "--seeds", "2", "--json")
    assert len(list((done.state / "verify").iterdir())) == 4


def test_a_folder_that_is_protected_anew_keeps_its_controls(done):
    assert cli("verify", done.protected, *QUICK).exit_code in (0, 1)
    stronger = cli(
        "run", done.photos, "-o", done.protected, *FAST, "--eps", "16/255", "--overwrite"
    )
    assert stronger.exit_code == 0, stronger.stderr
    result = cli("verify", done.protected, *QUICK)
    assert "on originals: known from an earlier verification" in result.stderr
    assert "on protected: known" not in result.stderr
    assert len(list((done.state / "verify").iterdir())) == 3


def test_an_unprotected_copy_is_known_from_its_control(done):
    shutil.copytree(done.photos, done.root / "copy")
    result = cli("verify", done.root / "copy", "--clean", done.photos, *QUICK, "--json")
    (cell,) = report_of(result)["cells"]
    assert cell["curves"][0]["protected"] == cell["curves"][0]["control"]
    assert len(list((done.root / "copy.state" / "verify").iterdir())) == 1


def test_several_seeds_are_reported_one_by_one_and_on_average(done):
    (cell,) = report_of(cli("verify", done.protected, *QUICK, "--seeds", "2", "--json"))["cells"]
    assert cell["seeds"] == [0, 1]
    peaks = [max(curve["protected"]) for curve in cell["curves"]]
    assert cell["peak"] == pytest.approx(sum(peaks) / 2)


def test_an_interrupted_verification_goes_on_where_it_was(done, monkeypatch):
    trained = []

    def interrupted(self, training):
        trained.append(training.arm)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(self, training)

    original = Bench._train
    monkeypatch.setattr(Bench, "_train", interrupted)
    assert cli("verify", done.protected, *QUICK).exit_code == 130
    assert cli("verify", done.protected, *QUICK).exit_code in (0, 1)
    assert trained == ["originals", "protected", "protected"]


def test_an_unknown_attack_is_a_usage_error_with_near_matches(done):
    result = cli("verify", done.protected, *QUICK, "--attack", "jpeg11")
    assert result.exit_code == 2
    assert "jpeg10" in result.stderr


def copy_of(photos: Path, folder: Path, levels: int = 0) -> Path:
    """Copy pictures, changed by up to some levels, as another tool might."""
    rng = np.random.default_rng(0)
    for path in photos.rglob("*.png"):
        pixels = np.asarray(Image.open(path)).astype(int)
        noise = rng.integers(-levels, levels + 1, pixels.shape)
        target = folder / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(target)
    return folder


def test_a_folder_of_another_tool_is_measured_and_its_missing_promise_is_said(done):
    """An unprotected copy must fail with everything retained."""
    photos = write_colours(done.root / "more", per_class=64)
    for levels in (0, 5):
        other = copy_of(photos, done.root / f"other{levels}", levels)
        result = cli(
            "verify", other, "--clean", photos, *QUICK[:-2], "--mode", "linear-probe", "--json"
        )
        report = report_of(result)
        assert report["quality"]["linf_levels"] == levels
        assert report["quality"]["promised_levels"] is None
        assert any("no budget was promised" in note for note in report["notes"])
        assert report["verdict"] == "fail"
        assert report["cells"][0]["retained"] > 0.9
        assert result.exit_code == 1


@pytest.mark.parametrize("content", ['{"name": "a web application"}', "[]", '"x"', "3"])
def test_the_manifest_of_somebody_else_is_no_manifest(done, monkeypatch, content):
    monkeypatch.setattr(Bench, "_train", lambda *_: Result(learned(0.5), 1.0))
    other = copy_of(done.photos, done.root / "other")
    (other / "manifest.json").write_text(content)
    report = report_of(cli("verify", other, "--clean", done.photos, *QUICK, "--json"))
    assert any("was not written by protect" in note for note in report["notes"])
    result = cli("verify", other, *QUICK)
    assert result.exit_code == 2
    assert "not a manifest" in result.stderr
    assert "--clean" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_of_another_tool_with_a_name_in_no_encoding_gets_its_document(done):
    folder = done.protected.rename(done.root / os.fsdecode(b"\xe9"))
    (folder / "manifest.json").unlink()
    result = cli("verify", folder, "--clean", done.photos, *QUICK, "--json")
    assert result.exit_code in (0, 1), result.stderr
    assert r"\udce9 has no manifest.json" in report_of(result)["notes"][0]


@pytest.mark.parametrize("content", ["", "{", '{"tool": {"name": "bait-protect"}}'])
def test_a_damaged_manifest_of_ours_is_not_passed_over(done, content):
    (done.protected / "manifest.json").write_text(content)
    result = cli("verify", done.protected, "--clean", done.photos, *QUICK)
    assert result.exit_code == 2
    assert "manifest.json" in result.stderr


def test_what_a_killed_run_left_is_not_judged_as_anothers_work(done):
    """It holds a part of the pictures, and a verdict on a part would be read as one on all."""
    (done.protected / "manifest.json").unlink()
    for name in ("blue", "red"):
        next((done.protected / name).iterdir()).unlink()
    result = cli("verify", done.protected, "--clean", done.photos, *QUICK)
    assert result.exit_code == 2
    assert "has not finished" in result.stderr
    assert "--resume" in result.stderr


def test_a_destroyed_dataset_retains_nothing_and_is_no_pass(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=64)
    other = copy_of(photos, tmp_path / "other")
    for path in other.rglob("*.png"):
        Image.new("RGB", (32, 32)).save(path)
    words = ("verify", other, "--clean", photos, *QUICK[:-2], "--mode", "linear-probe", "--json")
    result = cli(*words, "--max-retained", "0.9")
    report = report_of(result)
    assert report["verdict"] == "inconclusive"
    assert "no longer usable as pictures" in report["cells"][0]["reason"]
    assert result.exit_code == 1
    assert "this cannot pass" in result.stderr


@pytest.mark.parametrize(
    "what", ["no original", "another class", "another size", "another alpha", "twins"]
)
def test_pictures_that_do_not_pair_are_refused(done, what):
    other = copy_of(done.photos, done.root / "other")
    words = "red/0.png"
    if what == "no original":
        (done.photos / "red/0.png").unlink()
    elif what == "another class":
        table = "".join(
            f"{p.relative_to(other).as_posix()},{'blue' if p.stem == '0' else p.parent.name}\n"
            for p in sorted(other.rglob("*.png"))
        )
        (other / "metadata.csv").write_text("file_name,label\n" + table)
        words = "metadata.csv"
    elif what == "another size":
        Image.new("RGB", (9, 9)).save(other / "red/0.png")
    elif what == "another alpha":
        picture = Image.open(other / "red/0.png").convert("RGBA")
        picture.putalpha(0)
        picture.save(other / "red/0.png")
    else:
        Image.new("RGB", (32, 32)).save(other / "red/0.bmp")
        words = "red/0.bmp"
    result = cli("verify", other, "--clean", done.photos, *QUICK)
    assert result.exit_code == 2
    assert words in result.stderr


def test_without_a_manifest_and_without_originals_there_is_nothing_to_verify(done):
    other = copy_of(done.photos, done.root / "other")
    result = cli("verify", other, *QUICK)
    assert result.exit_code == 2
    assert "--clean" in result.stderr


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_the_page_shows_pictures_of_every_mode(tmp_path, mode):
    """Grey, alpha and palette pictures have fewer or more channels than three."""
    photos = write_colours(tmp_path / "photos", per_class=12)
    for path in photos.rglob("*.png"):
        with Image.open(path) as picture:
            picture.convert(mode).save(path)
    assert cli("run", photos, "-o", tmp_path / "out", *FAST, "--rounds", "1").exit_code == 0
    page, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    quick = ("--epochs", "1", "-b", "8", "--mode", "linear-probe", "--device", "cpu")
    result = cli("verify", tmp_path / "out", *quick, "--report", page, "--junit", junit)
    assert result.exit_code in (0, 1), result.stderr
    assert page.read_text().count("data:image/png;base64,") == 2 * 3
    assert "<testcase" in junit.read_text()


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("what", ["folder", "nowhere", "among pictures", "manifest", "twice"])
def test_a_report_that_cannot_or_must_not_be_written_is_refused_before_training(done, what, clean):
    manifest = (done.protected / "manifest.json").read_bytes()
    page = {
        "folder": done.photos,
        "nowhere": done.root / "no" / "page.html",
        "among pictures": done.photos / "red" / "0.png",
        "manifest": done.protected / "manifest.json",
        "twice": done.root / "page.html",
    }[what]
    result = cli(
        "verify",
        done.protected,
        *QUICK,
        *(["--clean", done.photos] if clean else []),
        "--report",
        page,
        "--junit",
        done.root / "page.html",
    )
    assert result.exit_code == 2, result.stderr
    assert str(page) in result.stderr or "same file" in result.stderr
    assert (done.protected / "manifest.json").read_bytes() == manifest
    assert not (done.state / "verify").exists()


def test_a_summary_that_cannot_be_written_is_a_warning(done, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(done.root / "no" / "summary.md"))
    result = cli("verify", done.protected, *QUICK, "--json")
    assert report_of(result)["cells"]
    assert "GITHUB_STEP_SUMMARY" in result.stderr


def test_a_folder_is_not_its_own_original(done):
    other = copy_of(done.photos, done.root / "other")
    result = cli("verify", other, "--clean", other / ".." / "other", *QUICK)
    assert result.exit_code == 2
    assert "--clean" in result.stderr


def test_too_few_test_pictures_are_no_pass(done):
    (cell,) = report_of(cli("verify", done.protected, *QUICK, "--json"))["cells"]
    assert cell["n_test"] == 6
    assert cell["verdict"] == "inconclusive"


@pytest.mark.parametrize(("red", "blue", "is_told"), [(60, 40, True), (40, 40, False)])
def test_unequal_test_classes_are_no_ground_for_a_pass(done, monkeypatch, red, blue, is_told):
    """A stranger with 60 % may know every class as well, or answer "red" to everything."""

    def learns(self, training):
        if training.arm == "originals":
            return Result(learned(1.0, shown=(blue, red)), 1.0)
        return Result(Learned((Answers((blue, red), (0, blue + red), (0, red)),)), 1.0)

    monkeypatch.setattr(Bench, "_train", learns)
    test = write_colours(done.root / "test", per_class=red, seed=7)
    for number in range(blue, red):
        (test / "blue" / f"{number}.png").unlink()
    result = cli("verify", done.protected, *QUICK, "--test", test, "--json")
    (cell,) = report_of(result)["cells"]
    assert cell["retained"] == 0
    assert cell["verdict"] == ("inconclusive" if is_told else "pass")
    for said in (result.stderr, cell["reason"]):
        assert ("60% of the test pictures are of one class of 2" in said) is is_told


def test_figures_of_a_manifest_that_are_not_what_is_measured_get_no_verdict(done):
    for image in done.manifest["images"]:
        image |= {"psnr": 99.0, "ssim": 1.0}
    (done.protected / "manifest.json").write_text(json.dumps(done.manifest))
    result = cli("verify", done.protected, *QUICK)
    assert result.exit_code == 2
    assert "is not what its manifest says" in result.stderr


def test_the_likeness_of_a_folder_without_a_manifest_is_measured(done):
    other = copy_of(done.photos, done.root / "other", levels=8)
    words = ("verify", other, "--clean", done.photos, *QUICK, "--epochs", "1", "--json")
    quality = report_of(cli(*words))["quality"]
    assert 20 < quality["psnr_worst"] <= quality["psnr_mean"] < 50
    assert quality["ssim_mean"] < 1


def test_a_page_is_written_though_pictures_are_gone_after_the_training(done, monkeypatch):
    def last(self, training):
        shutil.rmtree(done.photos, ignore_errors=True)
        return Result(learned(0.5), 1.0)

    monkeypatch.setattr(Bench, "_train", last)
    page = done.root / "page.html"
    result = cli("verify", done.protected, *QUICK, "--report", page)
    assert result.exit_code == 1, result.stderr
    assert page.read_text().count("data:image/png;base64,") == 2 * 3


@pytest.mark.parametrize(
    ("side", "flags", "seen"),
    [
        (128, (), 96),
        (128, ("--size", "128"), 128),
        (128, ("--size", "160"), 160),
        (96, (), 96),
        (96, ("--size", "64"), 64),
    ],
)
def test_whether_a_stranger_could_train_at_a_larger_size_is_said(tmp_path, side, flags, seen):
    """Noise that holds at the size of a laptop may fail at that of a GPU."""
    rng = np.random.default_rng(0)
    for folder, label, number in product(("photos", "copies"), "ab", range(8)):
        path = tmp_path / folder / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    words = ("--mode", "linear-probe", "--epochs", "1", "--device", "cpu", "--json")
    result = cli("verify", tmp_path / "copies", "--clean", tmp_path / "photos", *words, *flags)
    (listed,) = [line for line in report_of(result)["not_run"] if line.startswith("sizes: ")]
    name = "timm:tf_efficientnet_lite0"
    warned = f"{name} at {seen} px: these pictures have room for {side} px" in result.stderr
    assert warned == (seen < side)
    more = f"; these pictures have room for {side}" if seen < side else ""
    assert listed == f"sizes: {name} at any but {seen} px{more}"


@pytest.mark.parametrize("decides", [False, True])
def test_a_class_that_stays_learnable_is_told_of_and_decides_if_asked(
    tmp_path, monkeypatch, decides
):
    draws = np.random.default_rng(0)
    for label, (folder, count) in product("abcd", {"photos": 4, "test": 10}.items()):
        (tmp_path / folder / label).mkdir(parents=True)
        for number in range(count):
            picture = Image.fromarray(draws.integers(0, 256, (32, 32, 3), np.uint8))
            picture.save(tmp_path / folder / label / f"{number}.png")
    assert cli("run", tmp_path / "photos", "-o", tmp_path / "out", *FAST).exit_code == 0
    shown = (100, 100, 100, 100)
    readable = Answers(shown, (80, 0, 160, 160), (80, 0, 20, 0))

    def train(self, training):
        sound = learned(0.4, 0.95, shown=shown)
        return Result(sound if training.arm == "originals" else Learned((readable,)), 1.0)

    monkeypatch.setattr(Bench, "_train", train)
    page, junit = tmp_path / "page.html", tmp_path / "results.xml"
    words = ("verify", tmp_path / "out", *QUICK, "--test", tmp_path / "test", "--report", page)
    words += ("--junit", junit, *(["--every-class"] if decides else []))
    result = cli(*words, "--json")
    assert result.exit_code == (1 if decides else 0), result.stderr
    report = report_of(result)
    assert report["every_class"] is decides
    (cell,) = report["cells"]
    assert report["verdict"] == cell["verdict"] == ("fail" if decides else "pass")
    assert cell["retained"] == 0
    assert [share["label"] for share in cell["classes"]] == list("abcd")
    assert [share["verdict"] for share in cell["classes"]] == ["fail", "pass", "pass", "pass"]
    first = cell["classes"][0]
    assert (first["n_test"], first["learned"]) == (100, 0.8)
    assert first["control_learned"] == pytest.approx(0.95 - 0.05 / 3)
    assert "of single classes more: a 0.86" in cell["reason"]
    assert "of single classes more: a 0.86" in page.read_text()
    assert "of its classes: a 0.86" in junit.read_text()
    result = cli(*words)
    assert ("of 1 of 4 classes one did" in " ".join(result.stdout.split())) is not decides
    assert "its classes: a 0.86" in result.stdout
