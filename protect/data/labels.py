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
from typing import Any, NoReturn, Self

from protect.errors import InputError

FILE_COLUMN = "file_name"
LABEL_COLUMN = "label"

_Record = dict[str, Any]
_Parsed = tuple[tuple[str, ...], tuple[tuple[int, _Record], ...]]


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
class LabelTable:
    """A table as it was when it was read; its file may change afterwards.

    Attributes:
        path: A `.csv` or `.jsonl` file.
        columns: Their names.
        records: Each row with the line that it begins on.
    """

    path: Path
    columns: tuple[str, ...]
    records: tuple[tuple[int, _Record], ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table.

        Args:
            path: A `.csv` or `.jsonl` file.

        Raises:
            InputError: If it cannot be read.
        """
        if not _is_csv(path) and path.suffix.lower() != ".jsonl":
            raise InputError(
                f"{path} is neither .csv nor .jsonl", "save the labels as CSV with commas, in UTF-8"
            )
        text = _read_text(path)
        if not text.strip():
            raise _empty(path)
        return cls(path, *(_parse_csv if _is_csv(path) else _parse_jsonl)(path, text))

    def has_column(self, column: str = LABEL_COLUMN) -> bool:
        """Whether the table has a column of that name."""
        return column in self.columns

    def rows(self, column: str = LABEL_COLUMN) -> tuple[Row, ...]:
        """Return the pictures with their labels; rows that say the same twice become one.

        Args:
            column: Name of the label column.

        Raises:
            InputError: If the table lacks it or the column `file_name`, leads out of the picture
                folder, or gives one picture two labels.
        """
        self._require(FILE_COLUMN)
        self._require(column)
        path = self.path
        rows: dict[str, Row] = {}
        for line, record in self.records:
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

    def renamed(self, names: Mapping[str, str]) -> bytes:
        """Make the same table for pictures that were renamed, without the rows of others.

        Args:
            names: Source name, as `rows` gives it, -> name to write instead.

        Returns:
            A file's content, in the format of the source and in UTF-8 without a byte-order mark.

        Raises:
            InputError: If there is no column `file_name`.
        """
        self._require(FILE_COLUMN)
        kept: list[_Record] = []
        for line, record in self.records:
            name = names.get(_file_name(self.path, line, record))
            if name is not None:
                kept.append({**record, FILE_COLUMN: name})
        text = io.StringIO(newline="")
        if _is_csv(self.path):
            writer = csv.writer(text)
            writer.writerow(self.columns)
            writer.writerows(record.values() for record in kept)
        else:
            text.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        return text.getvalue().encode()

    def _require(self, column: str) -> None:
        if self.has_column(column):
            return
        found = ", ".join(self.columns)
        hint = f"name one of them {column!r}; found: {found}"
        if _is_csv(self.path) and len(self.columns) == 1:
            for separator, word in ((";", "semicolons"), ("\t", "tabs")):
                if separator in found:
                    hint = (
                        f"its columns seem to be parted by {word}: save it with commas; "
                        f"found: {found}"
                    )
        raise InputError(f"{self.path} has no column {column!r}", hint)


def _empty(path: Path) -> InputError:
    return InputError(f"{path} is empty", f"begin it with the line {FILE_COLUMN},{LABEL_COLUMN}")


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


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


def _parse_csv(path: Path, text: str) -> _Parsed:
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
    return columns, tuple(records)


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


def _parse_jsonl(path: Path, text: str) -> _Parsed:
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
    return tuple(columns), tuple(records)


def _file_name(path: Path, line: int, record: _Record) -> str:
    name = _text(path, line, FILE_COLUMN, record.get(FILE_COLUMN)).replace("\\", "/")
    if not name:
        _fail(path, line, f"has no {FILE_COLUMN}")
    plain = posixpath.normpath(name)
    if plain.startswith("/") or re.match(r"[A-Za-z]:/", plain) or plain.split("/")[0] == "..":
        _fail(
            path,
            line,
            f"leads out of the picture folder: {name} (names are relative to that folder)",
        )
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
