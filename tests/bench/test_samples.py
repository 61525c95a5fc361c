"""Questions of a benchmark: folders, and data sets on disk."""

import json
from pathlib import Path

import pytest

from rushes import RushesError
from rushes.bench.samples import of_data, of_folder


def test_a_folder_of_videos(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "notes.txt", "c.webm"):
        (tmp_path / name).touch()
    made = of_folder(tmp_path, "What?", 2)
    assert [(one.name, one.prompt, one.score) for one in made] == [("a.MKV", "What?", None), ("b.mp4", "What?", None)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RushesError, match="no samples"):
        of_folder(tmp_path / "empty", "What?", 1)
    with pytest.raises(RushesError, match="cannot read the folder"):
        of_folder(tmp_path / "none", "What?", 1)


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    lines = [{"video": "a.mp4", "prompt": f"Question {i}?", "answer": "red"} for i in range(3)]
    lines.insert(1, {"video": "missing.mp4", "prompt": "?"})
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made, data = of_data(str(tmp_path / "mine.jsonl"), 2)
    assert [one.prompt for one in made] == ["Question 0?", "Question 1?"]
    assert made[0].score is not None
    assert made[0].score("Red.") == 1
    assert made[0].score("blue") == 0
    assert len({one.name for one in made}) == 2
    assert len(data.skipped) == 1
