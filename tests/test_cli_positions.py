"""`generate --positions`: the rule for a prompt's positions, and what is said where the rules differ."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.video import write_video


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 seconds of 3 x 4 cells: longer than it is wide."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    write_video(path, np.full((64, 84, 112, 3), 128, np.uint8), 8)
    return path


def test_the_note_is_printed_once_and_goes_with_the_option(rushes: Any, long_video: Path) -> None:
    stock = rushes("generate", long_video, "--max-new-tokens", 8, "--check")
    assert stock.code == 0
    (note,) = [line for line in stock.err.splitlines() if line.startswith("note:")]
    assert 'positions="reference"' in note
    reference = rushes("generate", long_video, "--max-new-tokens", 8, "--check", "--positions", "reference")
    assert reference.code == 0
    assert "note:" not in reference.err
    assert "check:" in reference.err


def test_the_note_is_in_the_json(rushes: Any, long_video: Path, video: Path) -> None:
    made = json.loads(rushes("generate", long_video, "--max-new-tokens", 1, "--json").out)
    assert [note for note in made["notes"] if "positions=" in note]
    for more in (("--positions", "reference", long_video), (video, "--fps", 2)):  # short, and whole seconds a cell
        made = json.loads(rushes("generate", *more, "--max-new-tokens", 1, "--json").out)
        assert "notes" not in made


def test_an_unknown_rule_is_refused_before_anything_is_loaded(rushes: Any, video: Path) -> None:
    code, out, err = rushes("generate", video, "--target", "/no/such", "--method", "ar", "--positions", "vllm")
    assert (code, out) == (2, "")
    assert err == "rushes: positions must be 'stock' or 'reference', got 'vllm'\n"
