"""Annotation files, row by row: JSON arrays, JSON lines and Parquet, with the place of every row for messages."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.errors import RushesError


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one row; `where` is the file and the row or line (from 1), ready for a message."""

    where: str
    values: Mapping[str, Any]

    def has(self, column: str) -> bool:
        """Is there a value?"""
        return self.values.get(column) is not None

    def text(self, column: str) -> str:
        """A text or a number as text: the benchmarks do not agree on which of the two an id or an answer is."""
        return _text(self._value(column), f"{self.where}: {column!r}")

    def texts(self, column: str) -> tuple[str, ...]:
        """A list of texts or numbers, not empty."""
        value, where = self._value(column), f"{self.where}: {column!r}"
        if not isinstance(value, list) or not value:
            raise RushesError(f"{where} is {_short(value)}; a list of texts is wanted")
        return tuple(_text(item, where) for item in value)

    def number(self, column: str) -> float:
        """A number."""
        value = self._value(column)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RushesError(f"{self.where}: {column!r} is {_short(value)}; a number is wanted")
        return value

    def rows(self, column: str) -> Iterator["Row"]:
        """The rows nested in this one."""
        value = self._value(column)
        if not isinstance(value, list):
            raise RushesError(f"{self.where}: {column!r} is {_short(value)}; a list of objects is wanted")
        for number, item in enumerate(value, 1):
            yield _row(f"{self.where}, {column} {number}", item)

    def _value(self, column: str) -> Any:
        if not self.has(column):
            raise RushesError(f"{self.where}: no {column!r} there; the row has {', '.join(map(repr, self.values))}")
        return self.values[column]


def json_rows(file: Path) -> Iterator[Row]:
    """The objects of a JSON file that is one array; the file is read when the first one is asked for.

    Raises:
        RushesError: the file cannot be read or is not a JSON array of objects.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RushesError(f"{str(file)!r} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise RushesError(f"{str(file)!r} is not JSON ({error}); download it again") from None
    if not isinstance(values, list):
        raise RushesError(f"{str(file)!r} is not a JSON array but {_short(values)}; download it again")
    for number, value in enumerate(values, 1):
        yield _row(f"{str(file)!r}, row {number}", value)


def jsonl_rows(file: Path) -> Iterator[Row]:
    """The objects of a file of JSON lines, read line by line; blank lines are passed over.

    Raises:
        RushesError: the file cannot be read, or a line is not a JSON object in UTF-8.
    """
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                where = f"{str(file)!r}, line {number}"
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                    if not text:
                        continue
                    value = json.loads(text)
                except ValueError as error:  # of decoding, too
                    raise RushesError(f"{where}: not JSON ({error}); mend or remove the line") from None
                yield _row(where, value)
    except OSError as error:
        raise RushesError(f"{str(file)!r} cannot be read ({error.strerror})") from None


def parquet_rows(file: Path, wanted: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a Parquet file, one row group in memory at a time.

    Args:
        wanted: columns that must be there.
        optional: columns to read where they are there; all others are left on disk.

    Raises:
        RushesError: pyarrow is not installed, the file cannot be read or lacks a column.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise RushesError(f"{str(file)!r} is read by pyarrow: pip install 'rushes[data]'") from None
    try:
        with ParquetFile(file) as table:
            names = table.schema_arrow.names
            for column in wanted:
                if column not in names:
                    there = ", ".join(map(repr, names))
                    raise RushesError(f"{str(file)!r}: no column {column!r} there; it has {there}")
            columns = [name for name in (*wanted, *optional) if name in names]
            number = 0
            for group in range(table.num_row_groups):
                for values in table.read_row_group(group, columns=columns).to_pylist():
                    number += 1
                    yield Row(f"{str(file)!r}, row {number}", values)
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise RushesError(f"{str(file)!r} is not readable Parquet ({reason}); download it again") from None


def _row(where: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise RushesError(f"{where}: {_short(value)} is not a JSON object")
    return Row(where, value)


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RushesError(f"{where} is {_short(value)}; a text is wanted")
    return str(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
