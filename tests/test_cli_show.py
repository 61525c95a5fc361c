"""`rushes show` writes one picture for each scorer, and refuses bad input with one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rushes.methods import SCORERS
from rushes.video import write_video
from test_cli_bad_input import refused

Run = Callable[..., Any]
SHOWN = [name for name in SCORERS if name not in ("full", "none")]


def test_a_picture_for_each_scorer(rushes: Run, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    done = rushes("show", video, "-p", "Where is the red square?", "--keep", 0.25, "--out", out)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == SHOWN
    assert sorted(file.name for file in out.iterdir()) == sorted(f"show-{name}.png" for name in SHOWN)
    for line in lines:
        name, kept, of, tokens, *words = line.split()
        assert (of, words[:2]) == ("of", ["video", "tokens"])
        assert int(kept) == int(tokens) // 4
        assert Path(words[-1]) == out / f"show-{name}.png"
        assert np.asarray(Image.open(words[-1])).std() > 10


def test_only_the_scorers_asked_for(rushes: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = rushes("show", video, "--scorer", "specvlm,none", "--frames", 3)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1].split()[:2] == ["none", "0"]
    assert [file.name for file in sorted(Path("show-out").iterdir())] == ["show-none.png", "show-specvlm.png"]


def test_a_note_about_the_video(rushes: Run, tmp_path: Path) -> None:
    write_video(tmp_path / "large.mp4", np.zeros((4, 1080, 1920, 3), np.uint8), 4)
    done = rushes("show", tmp_path / "large.mp4", "--scorer", "specvlm", "--out", tmp_path)
    assert (done.code, done.err) == (0, "note: 1920x1080 frames were reduced to 1280x720\n")


class TestRefused:
    @pytest.fixture
    def no_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rushes.cli_show.load_pair", lambda *_: pytest.fail("a model was loaded"))

    @pytest.mark.usefixtures("no_models")
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ("--scorer specvml", "unknown scorer 'specvml'; did you mean 'specvlm'?"),
            ("--scorer specvlm,zzz", "known: full, none"),
            ("--scorer ,", "no scorer given"),
            ("--keep 1.5", "keep must be between 0"),
            ("--keep nan", "got nan"),
            ("--keep -1", "got -1"),
            ("--frames 0", "num_frames=0 is not possible"),
            ("--frames 4 --fps 2", "exclude each other"),
            ("--frames 17", "17 frames were asked of a video that has 16"),
            ("--device nope", "unknown device 'nope'"),
            ("--dtype int8", "unknown dtype 'int8'"),
            ("--draft somewhere", "No such option: --draft"),
        ],
    )
    def test_options(self, rushes: Run, video: Path, tmp_path: Path, options: str, words: str) -> None:
        refused(rushes("show", video, "--out", tmp_path / "out", *options.split()), words)
        assert not (tmp_path / "out").exists()

    @pytest.mark.usefixtures("no_models")
    def test_videos_and_prompts(self, rushes: Run, video: Path, tmp_path: Path) -> None:
        refused(rushes("show"), "no video given; `rushes demo --out demo-out` writes one")
        refused(rushes("show", tmp_path / "none.mp4"), "there is no file")
        refused(rushes("show", video, "-p", " "), "the prompt is empty")

    @pytest.mark.usefixtures("no_models")
    def test_out_is_a_file(self, rushes: Run, video: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        for out in (tmp_path / "out", tmp_path / "out" / "in"):
            refused(rushes("show", video, "--out", out), "cannot make this folder", "choose another --out")
        assert (tmp_path / "out").read_text() == "mine"

    def test_out_cannot_be_written_to(
        self, rushes: Run, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The suite may run as root, whom no permission stops.
        def denied(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("rushes.atomic.tempfile.mkstemp", denied)
        refused(rushes("show", video, "--out", tmp_path), "cannot write here (Permission denied)")

    def test_less_than_one_token(self, rushes: Run, video: Path, tmp_path: Path) -> None:
        refused(rushes("show", video, "--keep", 0.0001, "--out", tmp_path), "less than one; give", "or more")

    def test_a_target_that_is_not_there(self, rushes: Run, video: Path, tmp_path: Path) -> None:
        refused(rushes("show", video, "--target", tmp_path / "no", "--out", tmp_path), "does not exist")
