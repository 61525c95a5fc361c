"""VideoDetailCaption: 499 videos to describe in detail.

Layout of lmms-lab/VideoDetailCaption: `data/test-00000-of-00001.parquet` with the columns `video_name` (no suffix),
`question` and `answer`, and `videos.zip`, which unpacks to `Test_Videos/<video_name>.mp4` (or .mkv). File and column
names were checked against a public script that downloads both by name, the suffixes and the use of the question as the
whole prompt against lmms-eval's `tasks/video_detail_description/utils.py`, which keeps the videos in
`evaluation/Test_Videos`. The files themselves were not seen: whether the zip has a folder around `Test_Videos` is not
known, so `videos/Test_Videos` and `videos` are looked into as well.
"""

from collections.abc import Iterator
from pathlib import Path

from rushes.data.folders import Hub, video_or_skip
from rushes.data.rows import parquet_rows
from rushes.data.sample import Missing, Sample, ignore

HUB = Hub("lmms-lab/VideoDetailCaption", "data/test-*.parquet", "Test_Videos/ (in videos.zip)")


def read(folder: Path, missing: Missing = ignore) -> Iterator[Sample]:
    """Samples of kind "description", with ids "row/video_name"; lmms-eval has a language model judge them.

    Raises:
        RushesError: a folder, file or column that is wanted is not there.
    """
    root = HUB.root(folder)
    files = HUB.annotation_files(root, "data/test-*.parquet", "test-*.parquet")
    folders = HUB.video_folders(root, "Test_Videos", "videos/Test_Videos", "evaluation/Test_Videos", "videos")
    return _samples(files, folders, missing)


def _samples(files: list[Path], folders: list[Path], missing: Missing) -> Iterator[Sample]:
    rows = (row for file in files for row in parquet_rows(file, ("video_name", "question", "answer")))
    for number, row in enumerate(rows, 1):
        name = row.text("video_name")
        sample = f"{number}/{name}"
        if video := video_or_skip(folders, name, sample, missing):
            yield Sample(sample, video, row.text("question"), row.text("answer"), "description")
