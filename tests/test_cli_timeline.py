"""`rushes generate --timeline` draws what ran, beside the same answer, and refuses bad files at once."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rushes.timeline import DRAFT, TARGET, Span
from rushes.timeline_picture import COLOURS
from test_cli_bad_input import refused
from test_timeline_picture import blocks

Run = Callable[..., Any]


@pytest.mark.parametrize("method", ["ar", "sd", "specvlm", "parallelvlm"])
def test_generate_draws_and_writes(rushes: Run, video: Path, tmp_path: Path, method: str) -> None:
    options = ("generate", video, "--method", method, "--keep", 0.3, "--max-new-tokens", 12)
    plain = rushes(*options)
    for name in ("a.png", "a.json"):
        done = rushes(*options, "--timeline", tmp_path / name)
        assert (done.code, done.out) == (0, plain.out)
        assert done.err == f"timeline: {tmp_path / name}\n"
    lanes = blocks(tmp_path / "a.png")
    made = json.loads((tmp_path / "a.json").read_text())
    assert made["method"] == method
    spans = [Span(**span) for span in made["spans"]]
    kinds = {lane: {span.kind for span in spans if span.lane == lane} for lane in (TARGET, DRAFT)}
    scoring = {"scoring"} if method != "ar" else set()
    assert kinds[TARGET] == {"vision", "prefill", "review"} | scoring
    # Where nobody waits for a draft that has not begun, it may not get round to a window.
    assert kinds[DRAFT] - {"window"} == (set() if method == "ar" else {"vision", "prefill"})
    assert "window" in kinds[DRAFT] or method in ("ar", "parallelvlm")
    assert len(lanes) % (1 if method == "ar" else 2) == 0
    for kind in ("vision", "prefill", "review"):
        assert any((lane == np.array(COLOURS[kind])).all(-1).any() for lane in lanes)
    assert 0 < made["shares"][TARGET]["busy"] <= 1
    # A worker does one thing after the other; of one request in turns, both together do.
    work = [span for span in spans if span.kind != "scoring"]
    for lane in (TARGET, DRAFT):
        own = [span for span in work if span.lane == lane or method != "parallelvlm"]
        assert all(before.end_s <= after.start_s for before, after in pairwise(own))
    assert method == "parallelvlm" or work[-1].end_s <= made["total_s"]


def test_beside_json_and_check(rushes: Run, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    done = rushes("generate", video, "--json", "--check", "--max-new-tokens", 8, "--timeline", path)
    assert (done.code, done.err) == (0, f"timeline: {path}\n")
    answer, made = json.loads(done.out), json.loads(path.read_text())
    assert "timeline" not in answer
    spent = answer["metrics"]["time_s"]
    assert made["total_s"] == pytest.approx(spent["total"] - spent["decode_video"])
    passes = sum(span["kind"] == "review" for span in made["spans"])
    assert passes == answer["metrics"]["target_passes"], "without those of the check"


@pytest.mark.parametrize("name", ["a.gif", "none/a.png", "."])
def test_bad_files_are_refused_before_anything_is_loaded(
    rushes: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("rushes.cli._load", lambda *_: pytest.fail("a model was loaded"))
    refused(rushes("generate", video, "--timeline", tmp_path / name), str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_costs_the_timeline_and_not_the_answer(
    rushes: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    options = ("generate", video, "--max-new-tokens", 4)
    done = rushes(*options, "--timeline", tmp_path / "a.png")
    assert done.code == 2
    assert done.err == f"rushes: {tmp_path / 'a.png'}: cannot write here (No space left on device)\n"
    assert done.out == rushes(*options).out != ""
    assert list(tmp_path.iterdir()) == []
