"""LVBench: 1549 multiple-choice questions about 103 videos of half an hour to two hours.

Two layouts, both with the options inside the question ("...\\n(A) ...\\n(B) ...") and a letter for an answer:

- THUDM/LVBench (now zai-org/LVBench): `video_info.meta.jsonl`, a line per video, {"key" (of YouTube), "qa": [{"uid",
  "question", "answer", ...}]}. `key`, `qa`, `uid` and `answer` were checked against the authors' scripts
  (github.com/THUDM/LVBench), which want the file in `data/`; the options against two public loaders. Videos are
  `videos/<key>.mp4` on the hub of zai-org and `all_videos/<key>.mp4` in a zip of AIWinter/LVBench, both by public
  download scripts. video2dataset, which the authors recommend, numbers its files: those are not recognised.
- lmms-lab/LVBench: Parquet with a row per question and the columns `uid`, `question`, `answer`, and `video_path` or
  `key`, by public loaders that do not agree on the last two; its file name (`data/train-*.parquet`) was not checked.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from rushes.data.choices import letters_of, option_lines
from rushes.data.folders import Hub, video_or_skip
from rushes.data.rows import Row, jsonl_rows, parquet_rows
from rushes.data.sample import Missing, Sample, ignore
from rushes.errors import RushesError

HUB = Hub("zai-org/LVBench (or lmms-lab/LVBench)", "video_info.meta.jsonl (or data/*.parquet)", "videos/")
_META = "video_info.meta.jsonl"
_DIRECTLY = "Answer the question with the option letter."


def read(folder: Path, missing: Missing = ignore) -> Iterator[Sample]:
    """Samples of kind "choice": the question, options as "A. ..." in place of "(A) ...", and lmms-eval's last line.

    A question whose options cannot be told apart is asked as it is, with A to D for its letters: the authors' script
    for random answers knows no others.

    Raises:
        RushesError: a folder, file or column that is wanted is not there.
    """
    root = HUB.root(folder)
    files = HUB.annotation_files(root, _META, f"data/{_META}", "data/*.parquet", "*.parquet")
    folders = HUB.video_folders(root, "videos", "all_videos", "video", "scripts/videos")
    return _samples(files, [*folders, root], missing)


def _samples(files: list[Path], folders: list[Path], missing: Missing) -> Iterator[Sample]:
    for row, name in (pair for file in files for pair in _questions(file)):
        sample = row.text("uid")
        if video := video_or_skip(folders, name, sample, missing):
            question, options = _split(row.text("question"))
            letters = letters_of(options) if options else tuple("ABCD")
            lines = f"{question}\n{option_lines(options)}" if options else question
            answer = row.text("answer").strip().upper()
            if answer not in letters:
                raise RushesError(f"{row.where}: 'answer' is {answer!r}, none of {', '.join(letters)}")
            yield Sample(sample, video, f"{lines}\n{_DIRECTLY}", answer, "choice", letters)


def _questions(file: Path) -> Iterator[tuple[Row, str]]:
    """Every question and the name of its video."""
    if file.suffix == ".jsonl":
        for video in jsonl_rows(file):
            for row in video.rows("qa"):
                yield row, video.text("key")
    else:
        for row in parquet_rows(file, ("uid", "question", "answer"), ("video_path", "key")):
            yield row, row.text("video_path" if row.has("video_path") else "key")


def _split(question: str) -> tuple[str, tuple[str, ...]]:
    """The question alone and its options; no options unless they are (A), (B), ... at the starts of lines."""
    parts = re.split(r"^[ \t]*\(([A-Z])\)", question, flags=re.MULTILINE)
    letters, options = tuple(parts[1::2]), tuple(part.strip() for part in parts[2::2])
    if len(options) < 2 or letters != letters_of(options):
        return question.strip(), ()
    return parts[0].strip(), options
