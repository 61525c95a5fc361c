"""Every bad input ends in one line that says what is wrong, where, and what to do."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published
import pytest

from rushes.data import DATASETS, open_data
from rushes.errors import RushesError


def refusal(spec: str) -> str:
    with pytest.raises(RushesError) as caught:
        list(open_data(spec))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("MVBnch=/tmp", "unknown data set 'MVBnch'; did you mean 'MVBench'?"),
        ("Video-MMMU=/tmp", "did you mean 'Video-MME'?"),
        ("qqq=/tmp", "known: VideoDetailCaption, MVBench, MLVU, LongVideoBench, Video-MME, LVBench"),
        ("MVBench", "'MVBench' is neither NAME=FOLDER nor the path of a .jsonl file; names: VideoDetailCaption,"),
        ("MVBench=", "'MVBench=' is neither NAME=FOLDER"),
        ("", "'' is neither NAME=FOLDER"),
        ("nowhere.jsonl", "there is no file 'nowhere.jsonl'; give a file of lines"),
    ],
)
def test_a_spec_that_names_nothing(spec: str, message: str) -> None:
    assert message in refusal(spec)


@pytest.mark.parametrize("name", list(DATASETS))
def test_an_absent_folder_says_what_to_download(tmp_path: Path, name: str) -> None:
    message = refusal(f"{name}={tmp_path / 'nowhere'}")
    assert message.startswith(f"there is no folder '{tmp_path}/nowhere'; download ")
    assert "from the Hugging Face hub into it: " in message


@pytest.mark.parametrize(
    ("name", "hub", "annotations", "videos"),
    [
        ("VideoDetailCaption", "lmms-lab/VideoDetailCaption", "data", "Test_Videos"),
        ("MVBench", "OpenGVLab/MVBench", "json", "video"),
        ("MLVU", "MLVU/MVLU", "MLVU/json", "MLVU/video"),
        ("LongVideoBench", "longvideobench/LongVideoBench", "lvb_val.json", "videos"),
        ("Video-MME", "lmms-lab/Video-MME", "videomme", "data"),
        ("LVBench", "zai-org/LVBench", "video_info.meta.jsonl", "videos"),
    ],
)
def test_absent_parts_are_found_before_any_row_is_read(
    tmp_path: Path, name: str, hub: str, annotations: str, videos: str
) -> None:
    root = published.MAKERS[name](tmp_path)
    shutil.rmtree(root / videos)
    with pytest.raises(RushesError, match="holds no folder") as caught:
        open_data(f"{name}={root}")
    assert f"{Path(videos).name}/" in str(caught.value)
    assert hub in str(caught.value)

    root = published.MAKERS[name](tmp_path)
    if (root / annotations).is_dir():
        shutil.rmtree(root / annotations)
        (root / annotations).mkdir()
    else:
        (root / annotations).unlink()
    with pytest.raises(RushesError, match=r"holds no .*; download ") as caught:
        open_data(f"{name}={root}")
    assert hub in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", list(DATASETS))
def test_a_copy_without_one_usable_sample(tmp_path: Path, name: str) -> None:
    root = published.MAKERS[name](tmp_path)
    for file in [path for path in root.rglob("*") if path.suffix in (".mp4", ".mkv")]:
        file.unlink()
    message = refusal(f"{name}={root}")
    assert message.startswith(f"no sample of {name} in '{root}' can be used; ")
    assert "were skipped, the first (" in message


def test_empty_annotations(tmp_path: Path) -> None:
    root = published.long_video_bench(tmp_path)
    published.write_json(root / "lvb_val.json", [])
    assert refusal(f"LongVideoBench={root}").endswith("can be used: the annotations are empty")


MME = {"videoID": "fFjv93ACGo8", "question_id": "1", "question": "?", "options": ["A. a", "B. b"], "answer": "A"}


@pytest.mark.parametrize("column", ["videoID", "question_id", "question", "options", "answer"])
def test_a_parquet_file_without_a_column(tmp_path: Path, column: str) -> None:
    root = published.video_mme(tmp_path)
    row = {key: value for key, value in MME.items() if key != column}
    file = published.write_parquet(root / "videomme/test-00000-of-00001.parquet", row)
    assert refusal(f"Video-MME={root}").startswith(f"'{file}': no column {column!r} there; it has '")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "E"}, "row 1: 'answer' is 'E', none of A, B"),
        ({"answer": None}, "row 1: no 'answer' there"),
        ({"options": []}, "row 1: 'options' is []; a list of texts is wanted"),
        ({"options": "A. a"}, "row 1: 'options' is 'A. a'; a list of texts is wanted"),
        ({"question": [1]}, "row 1: 'question' is [1]; a text is wanted"),
    ],
)
def test_a_parquet_row_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    root = published.video_mme(tmp_path)
    published.write_parquet(root / "videomme/test-00000-of-00001.parquet", MME | change)
    assert message in refusal(f"Video-MME={root}")


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    root = published.video_mme(tmp_path)
    (root / "videomme/test-00000-of-00001.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "is not readable Parquet (" in refusal(f"Video-MME={root}")


def test_pyarrow_is_asked_for_only_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert list(open_data(f"MVBench={published.mvbench(tmp_path / 'mvbench')}"))
    message = refusal(f"Video-MME={published.video_mme(tmp_path / 'mme')}")
    assert message.endswith("is read by pyarrow: pip install 'rushes[data]'")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: file.write_text("{"), "lvb_val.json' is not JSON (Expecting"),
        (lambda file: file.write_bytes(b'["\xff"]'), "lvb_val.json' is not JSON ("),
        (lambda file: file.write_text('{"a": 1}'), "is not a JSON array but {'a': 1}"),
        (lambda file: file.write_text("[7]"), "lvb_val.json', row 1: 7 is not a JSON object"),
        (lambda file: published.write_json(file, [{"id": "x"}]), "row 1: no 'video_path' there; the row has 'id'"),
        (
            lambda file: published.write_json(
                file, [published.LVB | {"id": "x", "candidates": ["a", "b"], "correct_choice": 2}]
            ),
            "row 1: 'correct_choice' is 2, of 2 options",
        ),
        (
            lambda file: published.write_json(
                file, [published.LVB | {"id": "x", "candidates": ["a", "b"], "correct_choice": "B"}]
            ),
            "row 1: 'correct_choice' is 'B'; a number is wanted",
        ),
        (lambda file: published.write_json(file, [published.LVB | {"id": "x"}]), "row 1: no 'candidates' there"),
    ],
)
def test_a_json_file_that_cannot_be_used(tmp_path: Path, write: Callable[[Path], Any], message: str) -> None:
    root = published.long_video_bench(tmp_path)
    write(root / "lvb_val.json")
    assert message in refusal(f"LongVideoBench={root}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"key": "Cm73ma6Ibcs", "qa": "none"}, "line 1: 'qa' is 'none'; a list of objects is wanted"),
        ({"key": "Cm73ma6Ibcs", "qa": [3]}, "line 1, qa 1: 3 is not a JSON object"),
        ({"key": "Cm73ma6Ibcs", "qa": [{"question": "?"}]}, "line 1, qa 1: no 'uid' there"),
        ({"qa": [published.LVBENCH | {"uid": 1}]}, "line 1: no 'key' there"),
        (
            {"key": "Cm73ma6Ibcs", "qa": [published.LVBENCH | {"uid": 1, "answer": "E"}]},
            "line 1, qa 1: 'answer' is 'E', none of A, B, C, D",
        ),
    ],
)
def test_a_line_of_lvbench_that_cannot_be_used(tmp_path: Path, line: dict[str, Any], message: str) -> None:
    root = published.lvbench(tmp_path)
    published.write_jsonl(root / "video_info.meta.jsonl", line)
    assert message in refusal(f"LVBench={root}")
