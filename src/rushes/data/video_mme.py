"""Video-MME: 2700 multiple-choice questions about 900 videos of 11 seconds to an hour.

Layout of lmms-lab/Video-MME: `videomme/test-00000-of-00001.parquet` with the columns `videoID` (of YouTube),
`question_id`, `question`, `options` (a list of "A. ..." texts) and `answer` (a letter), among others;
`videos_chunked_*.zip`, which unpack to `data/<videoID>.mp4`. Checked against lmms-eval's `tasks/videomme/utils.py`
(columns, `data/`, suffixes), VLMEvalKit's `vlmeval/dataset/videomme.py` (the Parquet file, `videoID`; it unpacks to
`video/`, which is looked into as well) and a public download script (the names of the zips, 01 to 20).
"""

from collections.abc import Iterator
from pathlib import Path

from rushes.data.choices import bare, letters_of, option_lines
from rushes.data.folders import Hub, video_or_skip
from rushes.data.rows import Row, parquet_rows
from rushes.data.sample import Missing, Sample, ignore
from rushes.errors import RushesError

HUB = Hub("lmms-lab/Video-MME", "videomme/test-*.parquet", "data/ (in videos_chunked_*.zip)")
_COLUMNS = ("videoID", "question_id", "question", "options", "answer")


def read(folder: Path, missing: Missing = ignore) -> Iterator[Sample]:
    """Samples of kind "choice", with the authors' prompt without subtitles (README of github.com/BradyFU/Video-MME).

    Raises:
        RushesError: a folder, file or column that is wanted is not there.
    """
    root = HUB.root(folder)
    files = HUB.annotation_files(root, "videomme/test-*.parquet", "test-*.parquet")
    folders = HUB.video_folders(root, "data", "video", "videos")
    return _samples(files, folders, missing)


def _samples(files: list[Path], folders: list[Path], missing: Missing) -> Iterator[Sample]:
    for row in (row for file in files for row in parquet_rows(file, _COLUMNS)):
        sample = row.text("question_id")
        if video := video_or_skip(folders, row.text("videoID"), sample, missing):
            options = row.texts("options")
            letters = letters_of(options)
            prompt = (
                "Select the best answer to the following multiple-choice question based on the video. "
                f"Respond with only the letter ({_in_words(letters)}) of the correct option.\n"
                f"{row.text('question')}\n{option_lines(bare(options))}\nThe best answer is:"
            )
            yield Sample(sample, video, prompt, _answer(row, letters), "choice", letters)


def _answer(row: Row, letters: tuple[str, ...]) -> str:
    answer = row.text("answer").strip().upper()
    if answer not in letters:
        raise RushesError(f"{row.where}: 'answer' is {answer!r}, none of {', '.join(letters)}")
    return answer


def _in_words(letters: tuple[str, ...]) -> str:
    """ "A, B, C, or D", as the authors write it."""
    if len(letters) < 3:
        return " or ".join(letters)
    return f"{', '.join(letters[:-1])}, or {letters[-1]}"
