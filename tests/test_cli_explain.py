"""`rushes generate --explain` writes a page beside the same answer, and refuses bad files at once."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rushes.prompting import DEFAULT_PROMPT
from test_cli_bad_input import refused
from test_explain import Reader

Run = Callable[..., Any]


@pytest.mark.parametrize("method", ["ar", "specvlm", "lvspec"])
def test_generate_explains(rushes: Run, video: Path, tmp_path: Path, method: str) -> None:
    path = tmp_path / "a.html"
    options = ("generate", video, "--method", method, "--max-new-tokens", 16)
    plain = rushes(*options)
    done = rushes(*options, "--explain", path)
    assert (done.code, done.out, done.err) == (0, plain.out, f"{plain.err}explained: {path}\n")
    made = json.loads(rushes(*options, "--json").out)
    read = Reader(path.read_text())
    assert "".join(read.own) == made["text"]
    assert [(word["data-how"], word["data-strict"]) for word in read.words] == [
        (word["how"], str(word["strict"]).lower()) for word in made["tokens"]
    ]
    assert {kind: n for kind, n in made["counts"].items() if n or kind in read.legend} == read.legend
    assert sum(made["counts"].values()) == len(made["token_ids"])
    assert Counter(word["by"] for word in made["tokens"])["draft"] == sum(
        made["counts"][kind] for kind in ("anchor", "exempt", "relaxed", "shifted")
    )
    assert read.inside["question"] == DEFAULT_PROMPT
    assert read.inside["method"] == method
    assert read.inside["lossless"].startswith("yes" if made["lossless"] else "no")


def test_beside_a_timeline_json_and_a_question(rushes: Run, video: Path, tmp_path: Path) -> None:
    page, timeline = tmp_path / "a.html", tmp_path / "a.json"
    options = ("--max-new-tokens", 6, "--json", "--explain", page, "--timeline", timeline, "-p", "Is 1 < 2?")
    done = rushes("generate", video, *options)
    assert (done.code, done.err) == (0, f"timeline: {timeline}\nexplained: {page}\n")
    assert len(json.loads(done.out)["tokens"]) == len(Reader(page.read_text()).words) == 6
    assert Reader(page.read_text()).inside["question"] == "Is 1 < 2?"


@pytest.mark.parametrize("name", ["a.htm", "none/a.html", "."])
def test_bad_files_are_refused_before_anything_is_loaded(
    rushes: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("rushes.cli._load", lambda *_: pytest.fail("a model was loaded"))
    refused(rushes("generate", video, "--explain", tmp_path / name), str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_costs_the_page_and_not_the_answer(
    rushes: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    options = ("generate", video, "--max-new-tokens", 4)
    done = rushes(*options, "--explain", tmp_path / "a.html")
    assert done.code == 2
    assert done.err == f"rushes: {tmp_path / 'a.html'}: cannot write here (No space left on device)\n"
    assert done.out == rushes(*options).out != ""
    assert list(tmp_path.iterdir()) == []
