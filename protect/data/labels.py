"""Label tables: the CSV or JSONL file that says which class each picture belongs to.

Owns how such a file is read and written again. Text stays text: `0001`, `NA` and `True` are class
names. Must not know which pictures exist.
"""

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from protect.errors import InputError

FILE_COLUMN = "file_name"
LABEL_COLUMN = "label"

_Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a label table.

    Attributes:
        file_name: POSIX path below the picture folder.
        label: Class name; empty where the table gives none.
        line: Line of the table it begins on, counted from 1.
    """

    file_name: str
    label: str
    line: int


@dataclass(frozen=True, slots=True)
class _Table:
    columns: tuple[str, ...]
    records: tuple[tuple[int, _Record], ...]


def read_labels(path: Path, column: str = LABEL_COLUMN) -> tuple[Row, ...]:
    """Read the table; rows that say the same twice become one.

    Args:
        path: A `.csv` or `.jsonl` file with the columns `file_name` and `column`.
        column: Name of the label column.

    Raises:
        InputError: If it cannot be read, lacks a column, leads out of the picture folder, or gives
            one picture two labels.
    """
    table = _load(path)
    _require(path, table, FILE_COLUMN)
    _require(path, table, column)
    rows: dict[str, Row] = {}
    for line, record in table.records:
        name = _file_name(path, line, record)
        row = Row(name, _text(path, line, column, record.get(column)), line)
        first = rows.setdefault(name, row)
        if first.label != row.label:
            raise InputError(
                f"{path} calls {name} {first.label!r} in line {first.line} "
                f"and {row.label!r} in line {line}",
                "keep one of the two lines",
            )
    if not rows:
        raise InputError(f"{path} lists no pictures", "give it one line for each picture")
    return tuple(rows.values())


def has_column(path: Path, column: str = LABEL_COLUMN) -> bool:
    """Whether the table has a column of that name.

    Raises:
        InputError: If it cannot be read.
    """
    return column in _load(path).columns


def rewrite_labels(path: Path, names: Mapping[str, str]) -> bytes:
    """Make the same table for pictures that were renamed; rows of other pictures are left out.

    Args:
        path: The table, as for `read_labels`.
        names: Source name, as `read_labels` gives it, -> name to write instead.

    Returns:
        The file's content, in the format of the source and in UTF-8 without a byte-order mark.

    Raises:
        InputError: If the table cannot be read.
    """
    table = _load(path)
    _require(path, table, FILE_COLUMN)
    kept: list[_Record] = []
    for line, record in table.records:
        name = names.get(_file_name(path, line, record))
        if name is not None:
            kept.append({**record, FILE_COLUMN: name})
    text = io.StringIO(newline="")
    if _is_csv(path):
        writer = csv.writer(text)
        writer.writerow(table.columns)
        writer.writerows(record.values() for record in kept)
    else:
        text.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
    return text.getvalue().encode()


def _empty(path: Path) -> InputError:
    return InputError(f"{path} is empty", f"begin it with the line {FILE_COLUMN},{LABEL_COLUMN}")


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _load(path: Path) -> _Table:
    if not _is_csv(path) and path.suffix.lower() != ".jsonl":
        raise InputError(
            f"{path} is neither .csv nor .jsonl", "save the labels as CSV with commas, in UTF-8"
        )
    text = _read_text(path)
    if not text.strip():
        raise _empty(path)
    return _parse_csv(path, text) if _is_csv(path) else _parse_jsonl(path, text)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", "check its name and its permissions"
        ) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} line {line} is not UTF-8 text", 'save the file as "CSV UTF-8"'
        ) from None
    zero = text.find("\0")
    if zero >= 0:
        _fail(path, text.count("\n", 0, zero) + 1, "holds a NUL character")
    return text


def _parse_csv(path: Path, text: str) -> _Table:
    rows = _csv_rows(path, text)
    _, header = next(rows, (1, None))
    if header is None:
        raise _empty(path)
    columns = tuple(cell.strip() for cell in header)
    for name in columns:
        if columns.count(name) > 1:
            _fail(path, 1, f"names the column {name!r} twice")
    records = []
    for line, cells in rows:
        if any(cell.strip() for cell in cells[len(columns) :]):
            _fail(
                path,
                line,
                f"has {len(cells)} cells for {len(columns)} columns; "
                'put names that contain a comma in "double quotes"',
            )
        padded = cells + [""] * (len(columns) - len(cells))
        records.append((line, dict(zip(columns, padded, strict=False))))
    return _Table(columns, tuple(records))


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        _fail(path, line, f"is not proper CSV: {error}")


def _parse_jsonl(path: Path, text: str) -> _Table:
    records = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
            # JSON can spell half a character, which no file can hold.
            json.dumps(record, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            _fail(path, line, f"is not proper JSON: {error}")
        if not isinstance(record, dict):
            _fail(path, line, 'is not a JSON object such as {"file_name": "1.png", "label": "cat"}')
        records.append((line, {key.strip(): value for key, value in record.items()}))
    columns = dict.fromkeys(key for _, record in records for key in record)
    return _Table(tuple(columns), tuple(records))


def _require(path: Path, table: _Table, column: str) -> None:
    if column in table.columns:
        return
    found = ", ".join(table.columns)
    hint = f"name one of them {column!r}; found: {found}"
    if _is_csv(path) and len(table.columns) == 1:
        for separator, word in ((";", "semicolons"), ("\t", "tabs")):
            if separator in found:
                hint = (
                    f"its columns seem to be parted by {word}: save it with commas; found: {found}"
                )
    raise InputError(f"{path} has no column {column!r}", hint)


def _file_name(path: Path, line: int, record: _Record) -> str:
    name = _text(path, line, FILE_COLUMN, record.get(FILE_COLUMN)).replace("\\", "/")
    if not name:
        _fail(path, line, f"has no {FILE_COLUMN}")
    plain = posixpath.normpath(name)
    if plain.startswith("/") or re.match(r"[A-Za-z]:/", plain) or plain.split("/")[0] == "..":
        _fail(path, line, f"leads out of the picture folder: {name}")
    return plain


def _text(path: Path, line: int, column: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        if "\0" in value:
            _fail(path, line, f"has a NUL character in its {column}")
        return value.strip()
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    _fail(path, line, f"has a {column} that is neither text nor a number")


def _fail(path: Path, line: int, problem: str) -> NoReturn:
    raise InputError(f"{path} line {line} {problem}", f"mend line {line} of {path.name}")
