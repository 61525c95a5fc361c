"""MLVU: seven tasks of multiple-choice questions about long videos, and two of free text (the public "dev" set).

Layout of MLVU/MVLU (sic): `MLVU/json/<task>.json`, each an array of {"video", "duration", "question", "answer",
"question_type"}, with "candidates" besides in the seven tasks of multiple choice, where `answer` is the text of a
candidate; and `MLVU/video/<task>/<video>`. Names of files, folders and fields were checked against VLMEvalKit's
`vlmeval/dataset/mlvu.py`, the fields against the authors' `choice_bench.py` and `open_bench.py`
(github.com/JUNJIE99/MLVU) as well. Videos of different tasks share names, so the folder counts. Some users keep the
videos in folders without the number (`video/plotQA`): these are found too. Whether candidates are always texts was not
checked; numbers are read as texts.
"""

from collections.abc import Iterator
from pathlib import Path

from rushes.data.choices import choice_by_text
from rushes.data.folders import Hub, video_or_skip
from rushes.data.rows import json_rows
from rushes.data.sample import Missing, Sample, Skipped, ignore

HUB = Hub("MLVU/MVLU", "MLVU/json/*.json", "MLVU/video/")

TASKS = (
    "1_plotQA",
    "2_needle",
    "3_ego",
    "4_count",
    "5_order",
    "6_anomaly_reco",
    "7_topic_reasoning",
    "8_sub_scene",
    "9_summary",
)
FREE_TEXT = ("8_sub_scene", "9_summary")


def read(folder: Path, missing: Missing = ignore) -> Iterator[Sample]:
    """Samples with ids "task/number", task by task; a task without its file is told to `missing`.

    `8_sub_scene` and `9_summary` are of kind "description": the authors have a language model judge them. The others
    are of kind "choice", with the authors' prompt ("Question: ...", "Options:") but options as "A. ..." in place of
    "(A) ...", and asking for the letter in place of the authors' begun answer "Best option:(".

    Args:
        folder: the hub's, or the folder MLVU in it.

    Raises:
        RushesError: a folder, file or field that is wanted is not there.
    """
    root = HUB.root(folder, "MLVU")
    HUB.annotation_files(root, "json/*.json")
    videos = HUB.video_folders(root, "video")[0]
    return _samples(root / "json", videos, missing)


def _samples(annotations: Path, videos: Path, missing: Missing) -> Iterator[Sample]:
    for task in TASKS:
        file = annotations / f"{task}.json"
        if not file.is_file():
            missing(Skipped(task, f"no file {str(file)!r}"))
            continue
        folders = [videos / task]
        if not folders[0].is_dir() and (other := videos / task.split("_", 1)[1]).is_dir():
            folders = [other]
        for number, row in enumerate(json_rows(file), 1):
            sample = f"{task}/{number}"
            if video := video_or_skip(folders, row.text("video"), sample, missing):
                if task in FREE_TEXT:
                    yield Sample(sample, video, row.text("question"), row.text("answer"), "description")
                elif made := choice_by_text(sample, video, row, missing):
                    yield made
