"""`protect run --extend`: label tables and sources are found where they were, or are now."""

from pathlib import Path

import pytest
from cases.gallery import write
from cases.ran import run
from extending import PHOTOS, Done, add
from helpers import cli


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
