"""Rows are read when they are asked for: the first sample comes before a later row can fail or is looked at."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published
import pytest
from pyarrow.parquet import ParquetFile

from rushes.data import open_data
from rushes.errors import RushesError


def break_rows(file: Path) -> None:
    """Take the questions out of all rows but the first."""
    rows = json.loads(file.read_text())
    for row in rows[1:]:
        del row["question"]
    file.write_text(json.dumps(rows))


def break_lines(file: Path) -> None:
    """Make every line but the first no JSON."""
    first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([first, *("{" for _ in rest)]))


@pytest.mark.parametrize(
    ("name", "file", "spoil", "place"),
    [
        ("LongVideoBench", "lvb_val.json", break_rows, "lvb_val.json', row 2: no 'question' there"),
        ("MVBench", "json/moving_count.json", break_rows, "moving_count.json', row 2: no 'question' there"),
        ("MLVU", "MLVU/json/9_summary.json", lambda file: file.write_text("["), "9_summary.json' is not JSON"),
        ("LVBench", "video_info.meta.jsonl", break_lines, "video_info.meta.jsonl', line 2: not JSON"),
    ],
)
def test_the_first_sample_comes_before_a_later_row_fails(
    tmp_path: Path, name: str, file: str, spoil: Callable[[Path], Any], place: str
) -> None:
    root = published.MAKERS[name](tmp_path)
    spoil(root / file)
    samples = iter(open_data(f"{name}={root}"))
    assert next(samples).prompt
    with pytest.raises(RushesError) as caught:
        list(samples)
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["VideoDetailCaption", "Video-MME"])
def test_parquet_is_read_by_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    read, groups = ParquetFile.read_row_group, []

    def counted(self: ParquetFile, i: int, **options: Any) -> Any:
        groups.append((i, set(options["columns"])))
        return read(self, i, **options)

    monkeypatch.setattr(ParquetFile, "read_row_group", counted)
    data = open_data(f"{name}={published.MAKERS[name](tmp_path)}")
    assert groups == []
    samples = iter(data)
    next(samples)
    next(samples)
    assert [i for i, _ in groups] == [0]
    list(samples)
    assert [i for i, _ in groups] == [0, 1]
    assert "url" not in groups[0][1]  # columns that nobody wants stay on disk


def test_tasks_are_opened_one_after_the_other(tmp_path: Path) -> None:
    root = published.mlvu(tmp_path)
    samples = iter(open_data(f"MLVU={root}"))
    next(samples)
    (root / "MLVU/json/4_count.json").unlink()
    assert next(samples).id == "9_summary/1"
