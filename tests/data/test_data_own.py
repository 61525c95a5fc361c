"""One's own JSON lines: paths, kinds, options, and the line that cannot be used."""

import json
from pathlib import Path
from typing import Any

import published
import pytest

from rushes.data import Sample, Skipped, open_data
from rushes.errors import RushesError

DIRECTLY = "Answer with the option's letter from the given choices directly."


def test_relative_and_absolute_paths_unicode_and_blank_lines(tmp_path: Path) -> None:
    near = published.touch(tmp_path / "list/ж ø/猫.mp4")
    far = published.touch(tmp_path / "elsewhere/b.mp4")
    up = published.touch(tmp_path / "c.mp4")
    rows = [
        {"video": "ж ø/猫.mp4", "prompt": "何が見えますか"},
        {"video": str(far), "prompt": "Was?", "answer": "Ein Käse"},
        {"video": "../c.mp4", "prompt": "What?", "answer": "A long story.", "kind": "description", "id": "mine"},
        {"video": "gone.mp4", "prompt": "What?"},
        {"video": str(far), "prompt": "Which?", "options": ["dog", "cat"], "answer": "cat"},
        {"video": str(far), "prompt": "Which?", "options": ["dog", "cat"], "answer": "A"},
        {"video": str(far), "prompt": "Which?", "options": ["dog", "cat"]},
    ]
    file = tmp_path / "list/own.jsonl"
    lines = "\n\n  \n".join(json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows))
    file.write_bytes(b"\xef\xbb\xbf" + lines.encode())
    data = open_data(str(file))
    which = f"Which?\nA. dog\nB. cat\n{DIRECTLY}"
    assert list(data) == [
        Sample("1", near, "何が見えますか", None, "description"),
        Sample("2", far, "Was?", "Ein Käse", "open"),
        Sample("mine", tmp_path / "list/../c.mp4", "What?", "A long story.", "description"),
        Sample("5", far, which, "B", "choice", ("A", "B")),
        Sample("6", far, which, "A", "choice", ("A", "B")),
        Sample("7", far, which, None, "choice", ("A", "B")),
    ]
    assert up.is_file()
    assert data.name == "own.jsonl"
    assert data.skipped == [Skipped("4", f"no video 'gone.mp4' in '{file.parent}'")]


def test_a_path_with_an_equals_sign(tmp_path: Path) -> None:
    published.touch(tmp_path / "a.mp4")
    file = published.write_jsonl(tmp_path / "fps=2.jsonl", {"video": "a.mp4", "prompt": "What?"})
    assert [sample.id for sample in open_data(str(file))] == ["1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'video': 1}", "not JSON (Expecting property name"),
        ('{"video": "a.mp4"', "not JSON ("),
        ('{"video": "\xff"}'.encode("latin-1"), "not JSON ('utf-8' codec can't decode"),
        ("[1]", "[1] is not a JSON object"),
        ({"prompt": "What?"}, "no 'video' there; the row has 'prompt'"),
        ({"video": "a.mp4"}, "no 'prompt' there; the row has 'video'"),
        ({"video": "a.mp4", "prompt": 1.5, "answer": []}, "'answer' is []; a text is wanted"),
        ({"video": "a.mp4", "prompt": True}, "'prompt' is True; a text is wanted"),
        ({"video": "a.mp4", "prompt": "?", "kind": "poll"}, "'kind' is 'poll'; give 'description' or 'open'"),
        ({"video": "a.mp4", "prompt": "?", "kind": "choice"}, "or 'choice' together with 'options'"),
        ({"video": "a.mp4", "prompt": "?", "kind": "open", "options": ["a", "b"]}, "'kind' is 'open'"),
        ({"video": "a.mp4", "prompt": "?", "answer": "c", "options": ["a", "b"]}, "neither an option nor one of A, B"),
        ({"video": "a.mp4", "prompt": "?", "id": "1"}, "a second sample with the id '1'"),
    ],
)
def test_a_line_that_cannot_be_used(tmp_path: Path, line: str | bytes | dict[str, Any], message: str) -> None:
    published.touch(tmp_path / "a.mp4")
    raw = json.dumps(line) if isinstance(line, dict) else line
    file = tmp_path / "own.jsonl"
    good = b'{"video": "a.mp4", "prompt": "What?"}\n\n'
    file.write_bytes(good + (raw if isinstance(raw, bytes) else raw.encode()) + b"\n")
    samples = iter(open_data(str(file)))
    assert next(samples).id == "1"
    with pytest.raises(RushesError) as caught:
        next(samples)
    assert str(caught.value).startswith(f"'{file}', line 3: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_samples(tmp_path: Path, content: str) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(content)
    with pytest.raises(RushesError, match=r"no sample of own\.jsonl in .* can be used: the annotations are empty"):
        list(open_data(str(file)))
