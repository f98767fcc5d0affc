"""The parts of the benchmark of strength around its methods: cells, pictures, folders, tables."""

import ast
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import export_fashion_mnist
import pytest
import strength
import torch
from harness import folders, yardsticks
from harness.cells import (
    OWN_WAYS,
    USUAL_ATTACKS,
    VICTIMS,
    Victim,
    calls,
    require_attack,
    victims_of,
)
from harness.folders import code_of_package
from harness.results import CONTROL, Entry, Pictures, Results, Row, grid, markdown
from harness.yardsticks import fashion, stamps
from methods import METHODS, Method, ProtectRun
from PIL import Image
from quickstart import draw_photos
from reports import make_cell, make_report

from protect.config.choices import Mode
from protect.data.discover import discover
from protect.evaluation.attacks.registry import ATTACKS
from protect.evaluation.plan import plan
from protect.models.backbones import load_backbone
from protect.system.files import sha256_of


def digests(folder: Path) -> set[str]:
    return {sha256_of(path) for path in folder.rglob("*.png")}


def test_every_pair_is_run_once_or_left_out_with_a_reason():
    wanted, left_out = calls(VICTIMS, USUAL_ATTACKS, seeds=3)
    run = [cell for call in wanted for cell in call.cells]
    assert len(set(run)) == len(run)
    without = {tuple(line.partition(":")[0].split(", ")) for line in left_out}
    assert {*run, *without} == set(product(VICTIMS, USUAL_ATTACKS))
    assert not set(run) & without
    assert ("lite0-probe", "cutmix") in without
    assert ("resnet18-scratch", "published") in without
    assert ("lite2", "clean-mix") in run


@pytest.mark.parametrize("attacks", [USUAL_ATTACKS, ("grey", "low-lr"), tuple(OWN_WAYS)])
def test_calls_name_their_cells_as_verify_orders_them(attacks):
    wanted, _ = calls(VICTIMS | {"fast": Victim("timm:resnet18", Mode.HIGH_LR)}, attacks, seeds=2)
    for call in wanted:
        specs = plan(call.backbones, None, (call.mode,), call.attacks)
        assert len(specs) == len(call.cells)
        for spec, (victim, attack) in zip(specs, call.cells, strict=True):
            known = VICTIMS.get(victim, Victim("timm:resnet18", Mode.HIGH_LR))
            assert spec.backbone == known.backbone
            assert (spec.mode, spec.attack) == (
                (known.mode, attack) if attack in ATTACKS else (Mode(attack), "none")
            )
        assert call.seeds == (2 if call.names == ("none",) else 1)


DECIDE_NO_BYTE = {
    "bait/looks.py",  # types
    "documents/backbone_list.py",
    "documents/document.py",
    "documents/manifest.py",
    "documents/shard_report.py",
    "errors.py",
    "events.py",
    "extend.py",
    "output/quality.py",
    "system/files.py",
    "system/folders.py",
    "system/memory.py",  # asked for `--batch-size auto` alone
    "system/parallel.py",
    "system/processes.py",
    "system/workers.py",
}
"""Modules beside a method's way from pictures to files; or that only carry what others decide."""


def modules_of(method: Method | ProtectRun) -> list[Path]:
    own = Path(str(sys.modules[type(method).__module__].__file__))
    return [own, own.with_name("base.py")]


def files_of(method: Method | ProtectRun) -> set[str]:
    """Return the files of the package that a method names, by their path in it."""
    named = (path for pattern in method.built_on for path in folders.PACKAGE.glob(pattern))
    return {path.relative_to(folders.PACKAGE).as_posix() for path in named}


def imported_by(path: Path) -> set[str]:
    """Return the files of the package that a module imports from, by their path in it."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    files = {f"{name.partition('.')[2].replace('.', '/')}.py" for name in names if "." in name}
    return {file for file in files if (folders.PACKAGE / file).exists()}


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_finished_work_is_known_by_all_code_that_makes_it(method):
    known = files_of(method)
    needed = [*modules_of(method), *(folders.PACKAGE / file for file in known)]
    assert set().union(*map(imported_by, needed)) <= known | DECIDE_NO_BYTE
    assert {"budget.py", "output/encode.py", "output/writer.py", "system/device.py"} <= known


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_a_change_of_any_of_this_code_makes_finished_work_stale(method, tmp_path, monkeypatch):
    copy = tmp_path / "protect"
    shutil.copytree(folders.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(folders, "PACKAGE", copy)
    # The real one is for one process, in which no code changes.
    monkeypatch.setattr(folders, "code_of_package", code_of_package.__wrapped__)
    before = folders._code_of(method)
    for file in files_of(method):
        content = (copy / file).read_bytes()
        (copy / file).write_bytes(content + b"#")
        assert folders._code_of(method) != before, file
        (copy / file).write_bytes(content)
    assert folders._code_of(method) == before


def test_a_pattern_that_names_no_file_of_the_package_is_an_error():
    with pytest.raises(ValueError, match=r"moved\.py"):
        code_of_package(("budget.py", "moved.py"))


def test_every_usual_attack_is_one():
    for name in USUAL_ATTACKS:
        require_attack(name)


def test_a_victim_is_a_name_a_network_or_a_network_and_a_mode():
    assert Victim.parse("lite0-probe") == VICTIMS["lite0-probe"]
    assert Victim.parse("vit_b_16") == Victim("torchvision:vit_b_16", Mode.FULL)
    assert Victim.parse("timm:resnet18@scratch") == Victim("timm:resnet18", Mode.SCRATCH)
    assert victims_of(["lite0", "timm:tf_efficientnet_lite0", "lite0-probe"]) == {
        "lite0": VICTIMS["lite0"],
        "lite0-probe": VICTIMS["lite0-probe"],
    }


@pytest.mark.parametrize(
    ("part", "folder", "other"), [("train", "train", "test"), ("t10k", "test", "train")]
)
def test_the_exported_pictures_may_begin_anywhere(tmp_path, part, folder, other):
    script = export_fashion_mnist.__file__
    words = (f"--{other}", "0", f"--{folder}", "5", f"--{folder}-from", "1000")
    subprocess.run([sys.executable, script, tmp_path, *words], check=True)
    assert not (tmp_path / other).exists()
    names = sorted(path.stem for path in (tmp_path / folder).rglob("*.png"))
    assert names == [f"{number:05}" for number in range(1000, 1005)]
    _, labels = export_fashion_mnist.read(Path("/usr/share/datasets/fashion-mnist"), part)
    for path in tmp_path.rglob("*.png"):
        assert path.parent.name == export_fashion_mnist.CLASSES[labels[int(path.stem)]]


def test_a_vit_is_pretrained_as_typed_and_found_by_its_name(tmp_path):
    draw_photos(tmp_path / "train", 8, seed=0)
    draw_photos(tmp_path / "test", 4, seed=1)
    script = Path(strength.__file__).with_name("pretrain_vit.py")
    words = ("train", "test", "vit", "--epochs", "2", "--device", "cpu")
    made = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    *epochs, last = made.stdout.splitlines()
    assert len(epochs) == 2
    assert all(re.fullmatch(r"test accuracy \d+\.\d%", line) for line in epochs)
    assert last == "wrote vit; its name is local-dir:vit"
    name = f"local-dir:{tmp_path / 'vit'}"
    assert Victim.parse(name).mode is Mode.FULL
    backbone = load_backbone(name, classes=10, size=48, weights={}, offline=True, seed=0)
    assert backbone.input_size == 64
    assert backbone.description.weights.origin == "local-dir"
    # What it was trained on has 6 classes; all but the head comes from the file.
    assert backbone(torch.rand(2, 3, 64, 64)).shape == (2, 10)


def test_fashion_is_tuned_on_other_pictures_than_those_reported(tmp_path):
    tuning, reported = fashion(tmp_path, tuning=True), fashion(tmp_path, tuning=False)
    assert tuning.train == reported.train
    assert (tuning.tuning, reported.tuning) == (True, False)
    parts = [digests(folder) for folder in (tuning.train, tuning.test, reported.test)]
    assert [len(discover(folder).samples) for folder in (tuning.train, tuning.test)] == [3000, 1000]
    assert [len(part) for part in parts[1:]] == [1000, 1000]
    assert not parts[1] & parts[2]
    assert not parts[0] & (parts[1] | parts[2])


def test_no_stamp_is_in_two_parts(tmp_path, monkeypatch):
    drawn: dict[str, list[Path]] = {}

    def note(chosen: list[Path], folder: Path, _: object) -> None:
        drawn.setdefault(folder.parent.name, []).extend(chosen)

    monkeypatch.setattr(yardsticks, "_draw_stamps", note)
    stamps(tmp_path, tuning=False)
    classes = len(yardsticks.STAMP_CLASSES)
    assert {part: len(paths) / classes for part, paths in drawn.items()} == yardsticks.STAMP_PARTS
    every = [path for paths in drawn.values() for path in paths]
    shown = {path.with_stem(path.stem.removesuffix("_mirror")) for path in every}
    assert len({sha256_of(path) for path in every}) == len(shown) == len(every)


def test_stamps_are_drawn_at_224_pixels_and_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(yardsticks, "STAMP_PARTS", {"train": 2, "test": 1, "tuning": 1})
    monkeypatch.setattr(yardsticks, "SCENES", 2)
    one, other = stamps(tmp_path / "a", tuning=False), stamps(tmp_path / "b", tuning=True)
    assert one.size == 224
    assert (one.test.name, other.test.name) == ("test", "tuning")
    assert discover(one.train).classes == tuple(yardsticks.STAMP_CLASSES)
    assert len(discover(one.train).samples) == 5 * 2 * 2
    for path in one.train.rglob("*.png"):
        with Image.open(path) as picture:
            assert picture.size == (224, 224)
    assert digests(one.train) == digests(other.train)
    assert not digests(one.train) & digests(one.test)


def results_of(rows: tuple[Row, ...], **changes: object) -> Results:
    report = make_report()
    names = dict.fromkeys(row.method for row in rows)
    pictures = Pictures(name="own", tuning=False, n_train=9, n_test=8, classes=2, chance=0.5)
    entries = tuple(
        Entry(
            name=name,
            title=f"title of {name}",
            source="a paper",
            settings={},
            seconds=1.0,
            quality=report.quality,
        )
        for name in names
    )
    facts = {"eps": "8/255", "seed": 0, "finished": True, "left_out": ()} | changes
    environment = report.environment
    return Results(pictures=pictures, methods=entries, rows=rows, environment=environment, **facts)


def test_the_table_has_the_control_first_and_a_dash_for_what_is_not_there_yet():
    plain = make_cell(peak=0.25, final=0.2, control_peak=0.9, control_final=0.8, seeds=(0,))
    grey = make_cell(attack="grey", peak=0.5, final=0.4, control_peak=0.7, control_final=0.6)
    rows = (
        Row(method="a", victim="v", attack="none", cell=plain),
        Row(method="b", victim="v", attack="none", cell=plain.model_copy(update={"peak": 0.3})),
        Row(method="a", victim="v", attack="grey", cell=grey),
    )
    results = results_of(rows, finished=False, left_out=("v, cutmix: it cannot",))
    assert grid(results) == [
        ["method", "none", "grey (mean of 3)"],
        [CONTROL, "90.0 / 80.0", "70.0 / 60.0"],
        ["title of a", "25.0 / 20.0", "50.0 / 40.0"],
        ["title of b", "30.0 / 20.0", "-"],
    ]
    text = markdown(results)
    assert "NOT FINISHED" in text
    assert "| title of b | 30.0 / 20.0 | - |" in text
    assert "- Not run: v, cutmix: it cannot" in text


def test_figures_of_tuning_say_that_they_are_no_result():
    rows = (Row(method="a", victim="v", attack="none", cell=make_cell()),)
    results = results_of(rows)
    assert "TUNING" not in markdown(results)
    tuned = results.pictures.model_copy(update={"tuning": True})
    assert "TUNING" in markdown(results.model_copy(update={"pictures": tuned}))
