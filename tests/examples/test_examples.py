"""Every example runs."""

import os
import pickle
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from helpers import write_colours
from PIL import Image
from torchvision import datasets

from protect.cli.app import app
from protect.config.settings import RunConfig, build
from protect.config.values import Shard

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_python_api_goes_from_pictures_to_a_verdict(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=8)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "python_api.py", photos, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
    )
    for line in ("did you mean --eps 8/255?", "16 of 16 pictures, budget 8 levels", "intact"):
        assert line in done.stdout
    # The last line is the verdict: sixteen pictures are too few for any but this one.
    assert done.stdout.splitlines()[-1].startswith("inconclusive: linear-probe")


def test_the_jobs_for_slurm_are_commands_of_this_program(tmp_path):
    """Submitted to an `sbatch` that only writes down what it is given."""
    told = tmp_path / "told"
    sbatch = tmp_path / "sbatch"
    sbatch.write_text('#!/bin/bash\nprintf "%s\\n" "$@" "--end" >> "$TOLD"\necho 7\n')
    sbatch.chmod(0o755)
    script = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    subprocess.run(
        ["bash", script, "my photos", "out"],
        check=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TOLD": str(told)},
    )
    jobs = told.read_text().split("--end\n")[:-1]
    lines = [job.split("--wrap\n")[1].strip() for job in jobs]
    assert len(lines) == 3
    # %A is the same for all parts of an array, and they would share one log.
    assert all("--output=out.%x.%j.log\n" in job for job in jobs)
    assert all("--dependency=after" in job for job in jobs[1:])
    assert lines[0].startswith("torchrun --standalone --nproc-per-node 4 -m protect run ")
    for line in lines:
        words = shlex.split(line.replace("$SLURM_ARRAY_TASK_ID", "8"))
        name, *rest = words[words.index("protect") + 1 :]
        command = typer.main.get_command(app).commands[name]
        parameters = command.make_context(name, rest).params
        if name == "run":
            build(RunConfig, **{k: parameters[k] for k in ("source", "preset", "batch_size")})
            assert parameters["source"] == Path("my photos")
        elif parameters["shard"]:
            assert str(Shard.parse(parameters["shard"])) == "8/8"
            assert "--array=1-8" in jobs[1]


def cifar_files(folder: Path, kind: type[datasets.CIFAR10]) -> dict[str, np.ndarray]:
    """Write two pictures a file in the format of CIFAR, and return them by file."""
    labels, names = (
        ("labels", "label_names")
        if kind is datasets.CIFAR10
        else ("fine_labels", "fine_label_names")
    )
    rng = np.random.default_rng(0)
    folder.mkdir()
    written = {}
    for file, _ in [*kind.train_list, *kind.test_list]:
        written[file] = rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
        content = {"data": written[file].reshape(2, -1), labels: [1, 0]}
        (folder / file).write_bytes(pickle.dumps(content))
    meta = {names: ["air/plane", "automobile"]}
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps(meta))
    return written


@pytest.mark.parametrize(
    ("name", "kind"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)]
)
def test_a_dataset_of_torchvision_is_exported_without_loss(tmp_path, monkeypatch, name, kind):
    """Its files are made here; torchvision reads them, and downloads nothing that it has."""
    monkeypatch.setattr(kind, "train_list", [[file, None] for file, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [[file, None] for file, _ in kind.test_list])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": None})
    written = cifar_files(tmp_path / kind.base_folder, kind)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["export", name, str(out), "--data", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "export_torchvision.py"), run_name="__main__")

    for part, files in (("train", kind.train_list), ("test", kind.test_list)):
        assert sorted(path.name for path in (out / part).iterdir()) == ["air_plane", "automobile"]
        pictures = np.concatenate([written[file] for file, _ in files]).transpose(0, 2, 3, 1)
        assert len(list((out / part).rglob("*.png"))) == len(pictures)
        for i, pixels in enumerate(pictures):
            label = ("automobile", "air_plane")[i % 2]
            with Image.open(out / part / label / f"{i:06}.png") as picture:
                assert np.array_equal(np.asarray(picture), pixels)
