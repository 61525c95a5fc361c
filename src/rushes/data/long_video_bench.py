"""LongVideoBench: multiple-choice questions that refer to a moment of a video of up to an hour.

Layout of longvideobench/LongVideoBench: `lvb_val.json` and `lvb_test_wo_gt.json`, arrays of {"id", "video_path",
"question", "candidates", "correct_choice" (from 0; not in the test set), ...}; the same as
`validation-00000-of-00001.parquet` and `test-...`, with `option0` to `option4` ("N/A" where there are fewer) for the
candidates; `videos.tar.part.*`, which join and unpack to `videos/<video_path>`. Checked: the JSON against the authors'
`longvideobench_dataset.py` and README (github.com/longvideobench/LongVideoBench), the options of the Parquet file
against lmms-eval's `tasks/longvideobench/utils.py`. What the Parquet test file has for `correct_choice` was not
checked, so nothing and any number below 0 mean "not published".
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from rushes.data.choices import DIRECTLY, letters_of, option_lines
from rushes.data.folders import Hub, video_or_skip
from rushes.data.rows import Row, json_rows, parquet_rows
from rushes.data.sample import Missing, Sample, ignore
from rushes.errors import RushesError

HUB = Hub(
    "longvideobench/LongVideoBench",
    "lvb_val.json (or validation-*.parquet)",
    "videos/ (in videos.tar.part.*, to be joined)",
)
_OPTIONS = tuple(f"option{number}" for number in range(5))


def read(folder: Path, missing: Missing = ignore) -> Iterator[Sample]:
    """Samples of kind "choice" of the validation set; of the test set, without answers, where only that is there.

    The prompt is the authors', without subtitles: "Question: ...", options as "A. ...", then the request for a letter.

    Raises:
        RushesError: a folder, file or column that is wanted is not there.
    """
    root = HUB.root(folder)
    files = HUB.annotation_files(
        root, "lvb_val.json", "validation-*.parquet", "data/validation-*.parquet", "lvb_test_wo_gt.json"
    )
    folders = HUB.video_folders(root, "videos")
    return _samples(files, folders, missing)


def _samples(files: list[Path], folders: list[Path], missing: Missing) -> Iterator[Sample]:
    for row in chain.from_iterable(map(_rows, files)):
        sample = row.text("id")
        if video := video_or_skip(folders, row.text("video_path"), sample, missing):
            options = _options(row)
            prompt = f"Question: {row.text('question')}\n{option_lines(options)}\n{DIRECTLY}"
            letters = letters_of(options)
            yield Sample(sample, video, prompt, _answer(row, letters), "choice", letters)


def _rows(file: Path) -> Iterator[Row]:
    if file.suffix == ".json":
        return json_rows(file)
    return parquet_rows(file, ("id", "video_path", "question"), ("candidates", *_OPTIONS, "correct_choice"))


def _options(row: Row) -> tuple[str, ...]:
    if row.has("candidates") or not row.has(_OPTIONS[0]):
        return row.texts("candidates")
    given = (row.text(name) for name in _OPTIONS if row.has(name))
    return tuple(option for option in given if option != "N/A")


def _answer(row: Row, letters: tuple[str, ...]) -> str | None:
    if not row.has("correct_choice"):
        return None
    choice = int(row.number("correct_choice"))
    if choice >= len(letters):
        raise RushesError(f"{row.where}: 'correct_choice' is {choice}, of {len(letters)} options")
    return letters[choice] if choice >= 0 else None
