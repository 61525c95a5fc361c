"""Miniature copies of the published data sets, in the layouts that the readers' docstrings state."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def touch(file: Path) -> Path:
    """An empty file: readers look for videos and never open them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def write_json(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def write_jsonl(file: Path, *rows: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def write_parquet(file: Path, *rows: dict[str, Any], group: int = 2) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), file, row_group_size=group)
    return file


def video_detail_caption(root: Path) -> Path:
    rows = [
        {"video_name": f"v_{name}", "question": "Describe the video in detail.", "answer": f"A {name} runs."}
        for name in ("dog", "cat", "cow")
    ]
    write_parquet(root / "data/test-00000-of-00001.parquet", *rows)
    touch(root / "Test_Videos/v_dog.mp4")
    touch(root / "Test_Videos/v_cat.mkv")
    return root


def mvbench(root: Path) -> Path:
    cut = {"video": "ZS9XR.mp4", "question": "What came first?", "candidates": ["The lid.", "The box."]}
    write_json(root / "json/action_sequence.json", [cut | {"answer": "The box.", "start": 1.5, "end": 9}])
    count = {"question": "How many?", "candidates": ["3", "2", "1"], "answer": "3"}
    write_json(
        root / "json/moving_count.json",
        [count | {"video": "video_10009.mp4"}, count | {"video": "video_10010.mp4"}, count | {"video": "gone.mp4"}],
    )
    write_json(root / "json/episodic_reasoning.json", [cut | {"video": "s01", "answer": "The lid."}])
    touch(root / "video/star/Charades_v1_480/ZS9XR.mp4")
    touch(root / "video/clevrer/video_validation/video_10009.mp4")
    touch(root / "video/data0613/clevrer/video_validation/video_10010.mp4")
    touch(root / "video/tvqa/frames_fps3_hq/s01/00001.jpg")
    return root


def mlvu(root: Path) -> Path:
    row = {"video": "1.mp4", "duration": 480.0, "question": "Where is it?", "question_type": "plotQA"}
    write_json(root / "MLVU/json/1_plotQA.json", [row | {"candidates": ["Here", "There"], "answer": "There"}])
    write_json(
        root / "MLVU/json/4_count.json",
        [row | {"candidates": [1, 2, 3], "answer": 3}, row | {"candidates": ["1", "2"], "answer": "7"}],
    )
    write_json(root / "MLVU/json/9_summary.json", [row | {"question": "Summarize.", "answer": "Much happens."}])
    for task in ("1_plotQA", "count", "9_summary"):  # one folder as some users have it
        touch(root / f"MLVU/video/{task}/1.mp4")
    return root


LVB = {"video_id": "86CxyhFV9MI", "video_path": "86CxyhFV9MI.mp4", "question": "What follows?", "duration": 190.0}


def long_video_bench(root: Path) -> Path:
    rows = [
        LVB | {"id": "86CxyhFV9MI_0", "candidates": ["Rain", "Sun", "Snow"], "correct_choice": 1},
        LVB | {"id": "86CxyhFV9MI_1", "candidates": ["Yes", "No"], "correct_choice": 0},
    ]
    write_json(root / "lvb_val.json", rows)
    touch(root / "videos/86CxyhFV9MI.mp4")
    return root


def long_video_bench_parquet(root: Path) -> Path:
    options = {"option0": "Rain", "option1": "Sun", "option2": "Snow", "option3": "N/A", "option4": "N/A"}
    rows = [LVB | options | {"id": f"86CxyhFV9MI_{i}", "correct_choice": choice} for i, choice in enumerate((2, -1))]
    write_parquet(root / "validation-00000-of-00001.parquet", *rows)
    touch(root / "videos/86CxyhFV9MI.mp4")
    return root


def video_mme(root: Path, folder: str = "data") -> Path:
    row = {"video_id": "001", "duration": "short", "question": "Which colour?", "url": "https://example.org"}
    rows = [
        row | {"videoID": "fFjv93ACGo8", "question_id": "001-1", "options": ["A. Red.", "B. Blue."], "answer": "B"},
        row | {"videoID": "fFjv93ACGo8", "question_id": "001-2", "options": ["C major.", "B. A."], "answer": "A"},
        row | {"videoID": "fFjv93ACGo8", "question_id": "001-3", "options": list("wxyz"), "answer": "D"},
        row | {"videoID": "gone", "question_id": "002-1", "options": ["A. Red.", "B. Blue."], "answer": "A"},
    ]
    write_parquet(root / "videomme/test-00000-of-00001.parquet", *rows)
    touch(root / folder / "fFjv93ACGo8.mp4")
    return root


LVBENCH = {"question": "What year is it?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633", "answer": "D"}


def lvbench(root: Path, videos: str = "videos") -> Path:
    odd = {"question": "Is it (A) or (B)?", "answer": "C", "uid": "4"}
    write_jsonl(
        root / "video_info.meta.jsonl",
        {"key": "Cm73ma6Ibcs", "type": "cartoon", "qa": [LVBENCH | {"uid": 0, "question_type": ["entity"]}, odd]},
        {"key": "gone", "type": "live", "qa": [LVBENCH | {"uid": "9"}]},
    )
    touch(root / videos / "Cm73ma6Ibcs.mp4")
    return root


def lvbench_parquet(root: Path) -> Path:
    write_parquet(
        root / "data/train-00000-of-00001.parquet",
        LVBENCH | {"key": "Cm73ma6Ibcs", "uid": "0", "video_path": "Cm73ma6Ibcs.mp4"},
        LVBENCH | {"key": "Cm73ma6Ibcs", "uid": "1", "video_path": None},
    )
    touch(root / "videos/Cm73ma6Ibcs.mp4")
    return root


MAKERS = {
    "VideoDetailCaption": video_detail_caption,
    "MVBench": mvbench,
    "MLVU": mlvu,
    "LongVideoBench": long_video_bench,
    "Video-MME": video_mme,
    "LVBench": lvbench,
}
