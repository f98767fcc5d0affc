"""Label tables: what is read, what is refused, and what is written back."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from protect.data.labels import LabelTable, Row
from protect.errors import InputError


def table(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_reads_rows_with_their_lines(tmp_path: Path) -> None:
    path = table(tmp_path, "file_name,label\na.png,cat\n\nb.png,dog\n")
    assert LabelTable.read(path).rows() == (Row("a.png", "cat", 2), Row("b.png", "dog", 4))


@pytest.mark.parametrize("label", ["NA", "None", "nan", "null", "True", "0001", "1e5", "N/A", "猫"])
def test_labels_are_text_c37(tmp_path: Path, label: str) -> None:
    path = table(tmp_path, f"file_name,label\na.png,{label}\n")
    assert LabelTable.read(path).rows()[0].label == label
    path = table(tmp_path, json.dumps({"file_name": "a.png", "label": label}), "labels.jsonl")
    assert LabelTable.read(path).rows()[0].label == label


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("sub\\a.png", "sub/a.png"),
        ("./a.png", "a.png"),
        ("././x//a.png", "x/a.png"),
        ("x/../a.png", "a.png"),
        ("  a.png ", "a.png"),
        ("é 1.png", "é 1.png"),
    ],
)
def test_file_names_become_posix_paths_c39(tmp_path: Path, spelling: str, name: str) -> None:
    path = table(tmp_path, f"file_name,label\n{spelling},cat\n")
    assert LabelTable.read(path).rows()[0].file_name == name


@pytest.mark.parametrize(
    "name", ["../x.png", "..\\x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "\\\\host\\x.png"]
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_paths_out_of_the_folder_are_refused_c39(tmp_path: Path, name: str, suffix: str) -> None:
    line = json.dumps({"file_name": name, "label": "cat"})
    content = f"file_name,label\n{name},cat\n" if suffix == ".csv" else line
    with pytest.raises(InputError, match="leads out of the picture folder"):
        LabelTable.read(table(tmp_path, content, f"labels{suffix}")).rows()


def test_header_and_cells_are_stripped_and_a_bom_is_accepted(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeff file_name , label \r\n a.png ,  cat \r\n")
    assert LabelTable.read(path).rows() == (Row("a.png", "cat", 2),)
    assert LabelTable.read(path).has_column()
    assert not LabelTable.read(path).has_column("caption")


def test_quoted_cells_may_hold_commas_and_newlines(tmp_path: Path) -> None:
    path = table(tmp_path, 'file_name,label,text\n"a,1.png", "cat","x\ny"\nb.png,dog,\n')
    assert LabelTable.read(path).rows() == (Row("a,1.png", "cat", 2), Row("b.png", "dog", 4))


def test_another_label_column_may_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, "file_name,label,breed\na.png,cat,manx\n")
    assert LabelTable.read(path).rows("breed")[0].label == "manx"


def test_rows_that_say_the_same_twice_are_one_c39(tmp_path: Path) -> None:
    path = table(tmp_path, "file_name,label\na.png,cat\n./a.png,cat\n")
    assert LabelTable.read(path).rows() == (Row("a.png", "cat", 2),)


def test_two_labels_for_one_picture_name_both_lines_c39(tmp_path: Path) -> None:
    path = table(tmp_path, "file_name,label\na.png,cat\nb.png,cat\na.png,dog\n")
    with pytest.raises(InputError, match=r"'cat' in line 2 and 'dog' in line 4"):
        LabelTable.read(path).rows()


def test_json_numbers_become_their_text_and_a_missing_label_is_empty(tmp_path: Path) -> None:
    lines = [
        '{"file_name": "a.png", "label": 5}',
        '{"file_name": "b.png", "label": true}',
        "",
        '{"file_name": "c.png"}',
        '{"file_name": "d.png", "label": null}',
        '{"file_name": "e.png", "label": "x\u2028y"}',
    ]
    rows = LabelTable.read(table(tmp_path, "\n".join(lines), "labels.jsonl")).rows()
    assert [row.label for row in rows] == ["5", "true", "", "", "x\u2028y"]
    assert [row.line for row in rows] == [1, 2, 4, 5, 6]


def test_a_short_csv_row_has_an_empty_label(tmp_path: Path) -> None:
    assert LabelTable.read(table(tmp_path, "file_name,label\na.png\n")).rows() == (
        Row("a.png", "", 2),
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b",", "is empty"),
        (b" , \n,,\n", "is empty"),
        (b"file_name,label\n", "lists no pictures"),
        (b"file_name,label\na.png,\xe9t\xe9\n", "line 2 is not UTF-8"),
        ("file_name,label\na.png,cat\n".encode("utf-16"), "not UTF-8"),
        (b"file_name,label\na.png,c\0t\n", "line 2 holds a NUL"),
        (b"file_name,label\n,cat\n", "line 2 has no file_name"),
        (b"file_name,label\na,b.png,cat\n", "line 2 has 3 cells for 2 columns"),
        (b'file_name,label\na.png,"cat\nb.png,dog\n', "line 2 is not proper CSV"),
        (b"file_name,label,label\na.png,x,y\n", "the column 'label' twice"),
    ],
)
def test_bad_csv_is_refused_by_line(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        LabelTable.read(table(tmp_path, content)).rows()
    assert "labels.csv" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not proper JSON"),
        ("[" * 100_000, "line 2 is not proper JSON"),
        ("5", "line 2 is not a JSON object"),
        ('{"file_name": "b.png", "label": "\\ud800"}', "line 2 is not proper JSON"),
        ('{"file_name": "b.png", "label": ["cat"]}', "neither text nor a number"),
        ('{"file_name": "b\\u0000.png", "label": "cat"}', "NUL"),
        ('{"label": "cat"}', "line 2 has no file_name"),
    ],
)
def test_bad_jsonl_is_refused_by_line(tmp_path: Path, line: str, words: str) -> None:
    content = '{"file_name": "a.png", "label": "cat"}\n' + line
    with pytest.raises(InputError, match=words):
        LabelTable.read(table(tmp_path, content, "labels.jsonl")).rows()


def test_a_missing_column_lists_those_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'file_name'") as caught:
        LabelTable.read(table(tmp_path, "path,class\na.png,cat\n")).rows()
    assert "path, class" in caught.value.hint


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_named(tmp_path: Path, separator: str, word: str) -> None:
    content = f"file_name{separator}label\na.png{separator}cat\n"
    with pytest.raises(InputError) as caught:
        LabelTable.read(table(tmp_path, content)).rows()
    assert word in caught.value.hint


def test_missing_file_and_unknown_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        LabelTable.read(tmp_path / "labels.csv").rows()
    with pytest.raises(InputError, match=r"neither \.csv nor \.jsonl"):
        LabelTable.read(table(tmp_path, "x", "labels.xlsx")).rows()


def test_csv_is_rewritten_with_its_other_columns(tmp_path: Path) -> None:
    content = '\ufefffile_name,text,label\nsub\\a.jpg,"two, lines\nhere",0001\nb.jpg,x,NA\n'
    written = LabelTable.read(table(tmp_path, content)).renamed({"sub/a.jpg": "sub/a.png"})
    assert not written.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert rows == [["file_name", "text", "label"], ["sub/a.png", "two, lines\nhere", "0001"]]


def test_jsonl_is_rewritten_with_its_other_keys(tmp_path: Path) -> None:
    content = (
        '{"file_name": "./a.jpg", "label": 5, "box": [1, 2.5], "text": "猫"}\n{"file_name": "b"}\n'
    )
    written = LabelTable.read(table(tmp_path, content, "metadata.jsonl")).renamed(
        {"a.jpg": "a.png"}
    )
    assert "猫" in written.decode()
    assert json.loads(written) == {"file_name": "a.png", "label": 5, "box": [1, 2.5], "text": "猫"}


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
@example(content=b'file_name,label\r"a\rb",c\r')
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_any_bytes_give_rows_or_an_input_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    start = b"file_name,label\n" if suffix == ".csv" else b'{"file_name": "a", "label": "b"}\n'
    for data in (content, start + content):
        path = table(tmp_path, data, f"labels{suffix}")
        try:
            rows = LabelTable.read(path).rows()
        except InputError:
            continue
        again = table(
            tmp_path,
            LabelTable.read(path).renamed({row.file_name: row.file_name for row in rows}),
            f"again{suffix}",
        )
        assert [(row.file_name, row.label) for row in LabelTable.read(again).rows()] == [
            (row.file_name, row.label) for row in rows
        ]
