"""Folders of every shape: which pictures are found, and what is said of all the rest."""

import json
import os
import shlex
import sys
import unicodedata
from pathlib import Path

import pytest

from protect.data.discover import Listing, announce_listing, discover
from protect.errors import InputError
from protect.events import Event, Notice

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
needs_byte_names = pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")


def fill(root: Path, *names: str) -> Path:
    """Make files; their content does not matter, as nothing is opened."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def names(listing: Listing) -> list[str]:
    return [sample.name for sample in listing.samples]


def reasons(listing: Listing) -> dict[str, str]:
    return {item.source: item.reason for item in listing.refused}


TWO = ("cat/1.png", "dog/1.png")


def test_first_level_folders_are_the_classes_at_any_depth_c12(tmp_path: Path) -> None:
    listing = discover(fill(tmp_path, "cat/x/1.png", "cat/y/1.png", "dog/1.png"))
    assert names(listing) == ["cat/x/1.png", "cat/y/1.png", "dog/1.png"]
    assert [sample.label for sample in listing.samples] == ["cat", "cat", "dog"]
    assert listing.samples[0].path == tmp_path / "cat/x/1.png"
    assert listing.classes == ("cat", "dog")
    assert (listing.refused, listing.ignored, listing.notes) == ((), {}, ())
    assert (listing.labels.kind, listing.labels.file) == ("folders", None)


def test_order_is_by_code_point_c09(tmp_path: Path) -> None:
    listing = discover(fill(tmp_path, *(f"{number}/Z a-é.png" for number in (1, 2, 10, 11))))
    assert listing.classes == ("1", "10", "11", "2")
    assert names(listing) == sorted(names(listing))


def test_hidden_and_system_files_are_counted_not_classes_c01_c02_c03(tmp_path: Path) -> None:
    extra = (".DS_Store", "cat/.DS_Store", ".ipynb_checkpoints/1.png", "cat/Thumbs.db")
    listing = discover(fill(tmp_path, *TWO, *extra, "dog/desktop.ini", "__MACOSX/cat/._1.png"))
    assert names(listing) == list(TWO)
    assert listing.ignored == {"hidden": 6}


def test_other_files_are_counted_by_kind(tmp_path: Path) -> None:
    listing = discover(fill(tmp_path, *TWO, "README", "a.TXT", "cat/b.txt", "cat/c.svg"))
    assert listing.ignored == {".svg": 1, ".txt": 2, "no suffix": 1}
    assert list(listing.ignored) == sorted(listing.ignored)


@pytest.mark.parametrize(
    "folders", [("train", "test"), ("Train", "VAL", "test"), ("training", "validation")]
)
@pytest.mark.parametrize("labels", [False, True])
def test_the_splits_of_a_data_set_are_no_classes(tmp_path: Path, folders, labels):
    """Each picture would get the noise of its split, whatever its class."""
    for folder in folders:
        fill(tmp_path, *((f"{folder}/1.png", f"{folder}/2.png") if labels else ()))
        fill(tmp_path, f"{folder}/cat/1.png", f"{folder}/dog/1.png")
    if labels:
        rows = "".join(
            f"{folder}/{n}.png,cat\n{folder}/cat/1.png,dog\n" for folder in folders for n in (1, 2)
        )
        table = tmp_path / folders[0] / "metadata.csv"
        table.write_text("file_name,label\n1.png,cat\n2.png,dog\n")
    with pytest.raises(InputError, match="holds the splits") as caught:
        discover(tmp_path)
    assert str(tmp_path / sorted(folders)[-1]) in caught.value.hint
    if labels:
        assert names(discover(tmp_path / folders[0])) == ["1.png", "2.png"]
        table.rename(tmp_path / "metadata.csv")
        (tmp_path / "metadata.csv").write_text("file_name,label\n" + rows)
        assert discover(tmp_path).classes == ("cat", "dog")
    else:
        assert discover(tmp_path / folders[0]).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("site1/cat/1.png", "site1/dog/1.png", "site2/cat/1.png", "site2/dog/1.png"), True),
        (("a/x/1.png", "b/x/1.png"), False),
        (("a/x/1.png", "a/y/1.png", "b/x/1.png"), False),
        (("a/x/1.png", "a/y/1.png", "a/1.png", "b/x/1.png", "b/y/1.png"), False),
        (("train/1.png", "car/1.png"), False),
        (("train/cat/1.png", "train/dog/1.png", "ship/1.png"), False),
    ],
)
def test_folders_that_may_be_no_classes_are_said_to_be_taken_for_some(tmp_path: Path, files, said):
    listing = discover(fill(tmp_path, *files))
    assert listing.classes == tuple(sorted({name.partition("/")[0] for name in files}))
    assert [note for note in listing.notes if "cat, dog" in note] == list(listing.notes)
    assert bool(listing.notes) is said


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("used", [False, True])
def test_a_label_table_deeper_in_the_folder_is_named(tmp_path: Path, table: str, used: bool):
    fill(tmp_path, *TWO, f"cat/{table}")
    if used:
        (tmp_path / "metadata.csv").write_text("file_name,label\ncat/1.png,x\ndog/1.png,y\n")
    (note,) = discover(tmp_path).notes
    assert note == f"label tables below the folder itself are not used or copied: cat/{table}"


def test_a_label_table_that_is_named_may_lie_anywhere(tmp_path: Path) -> None:
    table = fill(tmp_path, *TWO) / "cat" / "metadata.csv"
    table.write_text("file_name,label\ncat/1.png,x\ndog/1.png,y\n")
    listing = discover(tmp_path, table)
    assert (listing.classes, listing.notes) == (("x", "y"), ())


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    said: list[Event] = []
    announce_listing(discover(fill(tmp_path, *TWO)), said.append)
    assert said == []
    fill(tmp_path, "a.txt", "b.txt", ".x", "cat/metadata.csv")
    announce_listing(discover(tmp_path), said.append)
    assert said[0].severity == "warning"
    assert said[1] == Notice("passed over, as no pictures: 1 .csv, 2 .txt, 1 hidden")


def test_suffixes_count_in_any_letter_case_c05(tmp_path: Path) -> None:
    files = ("a/1.JPG", "a/2.JPEG", "b/3.PNG", "b/4.Tiff", "b/5.WebP")
    assert names(discover(fill(tmp_path, *files))) == list(files)


def test_pictures_without_labels_show_both_layouts_c06(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labels are missing") as caught:
        discover(fill(tmp_path, "1.png", "2.png", "3.png"))
    assert "/cat/1.jpg" in caught.value.hint
    assert "file_name,label" in caught.value.hint


def test_a_picture_beside_the_class_folders_is_refused(tmp_path: Path) -> None:
    listing = discover(fill(tmp_path, *TWO, "stray.png"))
    assert reasons(listing) == {"stray.png": "lies outside every class folder"}


def test_a_blank_folder_name_is_no_class(tmp_path: Path) -> None:
    listing = discover(fill(tmp_path, *TWO, " /1.png"))
    assert listing.classes == ("cat", "dog")
    assert list(reasons(listing)) == [" /1.png"]


def test_an_empty_class_folder_is_noted_and_no_class_c07(tmp_path: Path) -> None:
    fill(tmp_path, *TWO, "texts/a.txt")
    (tmp_path / "birds").mkdir()
    listing = discover(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert any("birds, texts" in note for note in listing.notes)


def test_formats_that_cannot_be_read_are_refused_not_skipped_c17(tmp_path: Path) -> None:
    listing = discover(fill(tmp_path, *TWO, "cat/x.HEIC", "dog/y.cr2", "z.jxl"))
    assert list(reasons(listing)) == ["cat/x.HEIC", "dog/y.cr2", "z.jxl"]
    assert all("convert it to PNG or JPEG" in reason for reason in reasons(listing).values())


@pytest.mark.parametrize("files", [(), ("a.txt",), ("cat/x.heic",), (".hidden/1.png",)])
def test_a_folder_without_usable_pictures_is_refused_c56(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="holds no pictures") as caught:
        discover(fill(tmp_path, *files))
    assert str(tmp_path) in caught.value.message
    assert any("HEIC" in line for line in caught.value.details) == ("cat/x.heic" in files)


def test_a_single_class_is_refused_c41(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one class only, 'cat'") as caught:
        discover(fill(tmp_path, "cat/1.png", "cat/2.png", "dog/1.heic"))
    assert any("dog/1.heic" in line for line in caught.value.details)


def test_a_root_that_is_missing_or_a_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", fill(tmp_path, "file.png") / "file.png"):
        with pytest.raises(InputError) as caught:
            discover(path)
        assert str(path) in caught.value.message


def test_a_folder_that_may_not_be_read_stops_the_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, *TWO, "cat/locked/1.png")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"locked cannot be read: Permission denied"):
        discover(tmp_path)


@needs_links
def test_link_loops_end_and_dangling_links_are_noted_c10(tmp_path: Path) -> None:
    root = fill(tmp_path / "in", *TWO)
    (root / "cat/loop").symlink_to("..")
    (root / "cat/above").symlink_to(tmp_path)
    (root / "dog/self").symlink_to("self")
    (root / "dog/gone.png").symlink_to("nowhere.png")
    listing = discover(root)
    assert names(listing) == list(TWO)
    assert "links that lead nowhere: dog/gone.png, dog/self" in listing.notes
    assert any("cat/above, cat/loop" in note for note in listing.notes)


@needs_links
def test_links_to_outside_pictures_and_folders_are_followed_c10(tmp_path: Path) -> None:
    fill(tmp_path / "out", "1.png", "more/2.png", "more/deep/3.png")
    root = fill(tmp_path / "in", *TWO)
    (root / "cat/link.png").symlink_to(tmp_path / "out/1.png")
    (root / "fox").symlink_to(tmp_path / "out/more")
    listing = discover(root)
    assert names(listing) == [
        "cat/1.png",
        "cat/link.png",
        "dog/1.png",
        "fox/2.png",
        "fox/deep/3.png",
    ]
    assert listing.classes == ("cat", "dog", "fox")
    assert listing.notes == ()


@needs_links
def test_the_real_picture_and_folder_win_over_links_to_them_c10(tmp_path: Path) -> None:
    root = fill(tmp_path, "b/1.png", "b/sub/2.png", "c/3.png")
    (root / "a").symlink_to("b")
    (root / "c/0.png").symlink_to("../b/1.png")
    listing = discover(root)
    assert names(listing) == ["b/1.png", "b/sub/2.png", "c/3.png"]
    assert any("c/0.png -> b/1.png" in note for note in listing.notes)
    assert any("links to folders" in note and note.endswith(": a") for note in listing.notes)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_named_like_a_picture_is_refused(tmp_path: Path) -> None:
    os.mkfifo(fill(tmp_path, *TWO) / "cat/pipe.png")
    assert reasons(discover(tmp_path)) == {"cat/pipe.png": "is not a regular file"}


@needs_byte_names
def test_a_name_that_is_not_utf8_is_refused_printably_c16(tmp_path: Path) -> None:
    fill(tmp_path, *TWO, os.fsdecode(b"cat/\xe9.png"), os.fsdecode(b"\xff/1.png"))
    listing = discover(tmp_path)
    assert names(listing) == list(TWO)
    assert list(reasons(listing)) == ["\\udcff/1.png", "cat/\\udce9.png"]
    assert listing.notes == ()


def test_names_of_any_script_are_kept_c16(tmp_path: Path) -> None:
    files = ("dog/😀 1.png", "猫/é 1.png")
    assert names(discover(fill(tmp_path, *files))) == list(files)


@needs_byte_names
def test_names_that_differ_in_case_or_normal_form_are_noted_c15(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "dog/é.png")
    decomposed = unicodedata.normalize("NFD", "dog/é.png")
    listing = discover(fill(tmp_path, "Cat/2.png", "cat/1.png", composed, decomposed))
    (note,) = listing.notes
    assert "Cat and cat" in note
    assert f"{decomposed} and {composed}" in note
    assert len(listing.samples) == 4


CSV = "file_name,label\n"


def test_a_label_table_wins_over_folders_c40(tmp_path: Path) -> None:
    root = fill(tmp_path / "in", "dog/1.png", "cat/2.png", "3.png")
    table = tmp_path / "mine.csv"
    table.write_text(CSV + "dog/1.png,cat\ncat\\2.png,dog\n3.png,NA\n")
    listing = discover(root, table)
    assert [(s.name, s.label) for s in listing.samples] == [
        ("3.png", "NA"),
        ("cat/2.png", "dog"),
        ("dog/1.png", "cat"),
    ]
    assert listing.labels.model_dump() == {"kind": "csv", "file": "labels.csv", "column": "label"}


def test_each_mismatch_of_table_and_disk_is_named_c39(tmp_path: Path) -> None:
    root = fill(tmp_path, "1.png", "2.png", "3.png", "extra.png", "a.txt", "x.heic")
    table = root / "labels.csv"
    table.write_text(
        CSV + "1.png,cat\n2.png,dog\n3.png,\ngone.png,cat\na.txt,cat\nx.heic,dog\n../in.png,cat\n"
    )
    with pytest.raises(InputError, match="line 8 leads out"):
        discover(root, table)
    table.write_text(table.read_text().replace("../in.png,cat\n", ""))
    listing = discover(root, table)
    assert names(listing) == ["1.png", "2.png"]
    assert reasons(listing) == {
        "3.png": "has no label in labels.csv line 4",
        "a.txt": "listed in labels.csv line 6, but it is no picture",
        "extra.png": "not listed in labels.csv",
        "gone.png": "listed in labels.csv line 5, but there is no such file",
        "x.heic": "is HEIC, which cannot be read: convert it to PNG or JPEG first",
    }
    assert listing.ignored == {".txt": 1}


def test_a_table_for_another_folder_is_refused(tmp_path: Path) -> None:
    table = fill(tmp_path, "1.png", "2.png") / "labels.csv"
    table.write_text(CSV + "a.png,cat\nb.png,dog\n")
    with pytest.raises(InputError, match="no picture with a class") as caught:
        discover(tmp_path, table)
    assert any("not listed in labels.csv" in line for line in caught.value.details)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_hugging_face_metadata_is_used(tmp_path: Path, kind: str) -> None:
    root = fill(tmp_path, "1.png", "images/2.png")
    rows = [{"file_name": "1.png", "label": "cat"}, {"file_name": "images/2.png", "label": "dog"}]
    lines = [json.dumps(row) if kind == "jsonl" else ",".join(row.values()) for row in rows]
    head = "" if kind == "jsonl" else CSV
    (root / f"metadata.{kind}").write_text(head + "\n".join(lines))
    listing = discover(root)
    assert listing.classes == ("cat", "dog")
    assert listing.labels.model_dump() == {
        "kind": "metadata",
        "file": f"metadata.{kind}",
        "column": "label",
    }
    assert listing.ignored == {}


def test_captions_only_leave_the_labels_to_the_folders(tmp_path: Path) -> None:
    root = fill(tmp_path, *TWO)
    (root / "metadata.csv").write_text("file_name,text\ncat/1.png,a cat\n")
    listing = discover(root)
    assert listing.labels.kind == "folders"
    assert any("metadata.csv has no column 'label'" in note for note in listing.notes)


def test_metadata_against_its_own_folders_is_refused_c40(tmp_path: Path) -> None:
    root = fill(tmp_path / "it's mine", *TWO)
    table = root / "metadata.csv"
    table.write_text(CSV + "cat/1.png,dog\ndog/1.png,cat\n")
    with pytest.raises(InputError, match="disagree on the class of 2 pictures") as caught:
        discover(root)
    assert shlex.split(caught.value.hint)[-2:] == ["--labels", str(table)]
    assert caught.value.details[0] == "cat/1.png: 'dog' in metadata.csv"
    assert discover(root, table).samples[0].label == "dog"


def test_folders_that_are_no_classes_do_not_contradict_metadata_c40(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/1.png", "cat/2.png")
    (root / "metadata.csv").write_text(CSV + "train/1.png,cat\ncat/2.png,dog\n")
    assert discover(root).classes == ("cat", "dog")


def test_two_metadata_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"both metadata\.csv and metadata\.jsonl"):
        discover(fill(tmp_path, *TWO, "metadata.csv", "metadata.jsonl"))


def test_parquet_metadata_is_noted_as_not_read(tmp_path: Path) -> None:
    listing = discover(fill(tmp_path, *TWO, "metadata.parquet"))
    assert any("metadata.parquet is not read" in note for note in listing.notes)
    assert listing.ignored == {}


def test_an_unused_metadata_file_is_noted(tmp_path: Path) -> None:
    root = fill(tmp_path / "in", *TWO, "metadata.csv")
    table = tmp_path / "mine.csv"
    table.write_text(CSV + "cat/1.png,x\ndog/1.png,y\n")
    assert any("metadata.csv is not used" in note for note in discover(root, table).notes)
