"""Cases 37 to 42: which class a picture is of, and what a table may say."""

from pathlib import Path

import pytest
from cases.gallery import put, write
from cases.ran import run
from helpers import cli
from pictures import encoded, picture

WORDS = ["NA", "None", "nan", "null", "True", "0001", "1e5", "N/A", "猫", "-"]


def test_c37_labels_are_text(tmp_path: Path):
    photos = write(tmp_path / "photos", *(f"{number}.png" for number in range(len(WORDS))))
    rows = "".join(f"{number}.png,{word}\n" for number, word in enumerate(WORDS))
    put(tmp_path, "mine.csv", f"file_name,label\n{rows}".encode())
    ran = run(photos, tmp_path / "out", "--labels", tmp_path / "mine.csv")
    assert ran.result.exit_code == 0, ran.result.stderr
    assert list(ran.manifest["classes"]) == sorted(WORDS)
    assert [ran.images[f"{number}.png"]["label"] for number in range(len(WORDS))] == WORDS
    assert cli("check", ran.out).exit_code == 0


TWO = "1.png,cat\n2.png,dog\n"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (TWO + "gone.png,cat\n", "gone.png: listed in mine.csv line 4, but there is no such file"),
        (TWO + "note.txt,cat\n", "note.txt: listed in mine.csv line 4, but it is no picture"),
        (TWO, "sub/a.png: not listed in mine.csv"),
        (TWO + "sub\\a.png,\n", "sub/a.png: has no label in mine.csv line 4"),
        (TWO + "../x.png,cat\n", "line 4 leads out of the picture folder: ../x.png"),
        (TWO + "..\\x.png,cat\n", "line 4 leads out of the picture folder"),
        (TWO + "/etc/x.png,cat\n", "line 4 leads out of the picture folder: /etc/x.png"),
        (TWO + "C:\\x.png,cat\n", "line 4 leads out of the picture folder"),
        (TWO + "sub/../../x.png,cat\n", "line 4 leads out of the picture folder"),
        (TWO + "1.png,dog\n", "calls 1.png 'cat' in line 2 and 'dog' in line 4"),
        (TWO + "1.PNG,dog\n", "1.PNG: listed in mine.csv line 4, but there is no such file"),
    ],
)
def test_c39_every_mismatch_of_table_and_disk_is_named(tmp_path: Path, rows: str, words: str):
    photos = write(tmp_path / "photos", "1.png", "2.png", "sub/a.png")
    put(photos, "note.txt", b"")
    put(tmp_path, "mine.csv", f"file_name,label\n{rows}".encode())
    result = cli("run", photos, "-o", tmp_path / "out", "--labels", tmp_path / "mine.csv")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_c39_a_backslash_and_a_row_that_is_repeated_are_understood(tmp_path: Path):
    photos = write(tmp_path / "photos", "1.png", "2.png", "sub/a.png")
    put(tmp_path, "mine.csv", f"file_name,label\n{TWO}{TWO}sub\\a.png,cat\n".encode())
    ran = run(photos, tmp_path / "out", "--labels", tmp_path / "mine.csv")
    assert ran.result.exit_code == 0, ran.result.stderr
    assert ran.images["sub/a.png"]["label"] == "cat"


def test_c40_folders_and_metadata_that_disagree_are_refused(tmp_path: Path):
    photos = write(tmp_path / "photos", "cat/1.png", "dog/1.png")
    put(photos, "metadata.csv", b"file_name,label\ncat/1.png,dog\ndog/1.png,cat\n")
    result = cli("run", photos, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "disagree on the class of 2 pictures" in result.stderr
    assert f"--labels {photos}/metadata.csv" in result.stderr


def test_c41_a_single_class_is_refused(tmp_path: Path):
    result = cli("run", write(tmp_path / "photos", "cat/1.png", "cat/2.png"))
    assert result.exit_code == 2
    assert "two classes or more are needed" in result.stderr


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "WEBP", "TIFF"])
def test_c42_a_picture_in_two_classes_is_warned_of(tmp_path: Path, format_name: str):
    """As a copy of the file, and in another format without loss."""
    photos = write(tmp_path / "photos", "cat/1.png", "dog/1.png")
    options = {"lossless": True} if format_name == "WEBP" else {}
    data = encoded(picture("RGB", (16, 16), seed=0), format_name, **options)
    put(photos, "dog/copy.png", data)
    ran = run(photos, tmp_path / "out")
    note = "the same picture lies in two classes: cat/1.png and dog/copy.png"
    assert note in ran.manifest["notes"]
    assert f"warning: {note}" in ran.result.stderr
