"""`rushes bench` from the command line: bad input in one line, resuming, repeatable figures, comparisons."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rushes.pair import Pair

Run = Callable[..., Any]
QUICK = ("--samples", 1, "--repeats", 1, "--max-new-tokens", 12, "--lengths", "none")


@pytest.fixture(autouse=True)
def small_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled pair at its trained size, in fp32: bf16 answers may differ at near ties."""
    from rushes.demo import bundled

    monkeypatch.setattr(bundled, "standins", lambda *_: bundled.pair())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--methods", "ar,specvml"), "did you mean 'specvlm'"),
        (("--methods", " , "), "no methods given"),
        (("--preset", "hipo"), "did you mean 'hippo'"),
        (("--preset", "hippo", "--methods", "ar"), "exclude each other"),
        (("--pair", "one"), "--pair is demo or TARGET,DRAFT"),
        (("--pair", "a,b", "--standin", "a,b"), "exclude each other"),
        (("--data", "MVBench=x", "--videos", "x"), "exclude each other"),
        (("--data", "MVBensh=x"), "MVBench"),
        (("--data", "none.jsonl"), "none.jsonl"),
        (("--videos", "nowhere"), "cannot read the folder nowhere"),
        (("-p", "What?"), "--prompt is for --videos FOLDER"),
        (("--keep", 2), "keep"),
        (("--lengths", "12,x"), "--lengths are numbers"),
        (("--standin", "Qwen/Qwen2.5-VL-7B-Instruct"), "TARGET,DRAFT"),
        (("--samples", 0), "samples"),
        (("--preset", "hippo", "--keep", 0.2), "shares of its own"),
        (("--draft-device", "cpu"), "stand-ins share one device"),
        (("--pair", "a,"), "--pair is demo or TARGET,DRAFT"),
        (("--frames", 2, "--fps", 1), "fps"),
        (("--dtype", "int8"), "int8"),
        (("--compare", "a.json", "b.json"), "cannot read a.json"),
    ],
)
def test_bad_input_is_one_line(
    rushes: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[Any, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = rushes("bench", *args)
    assert done.code == 2, done.err
    assert len(done.err.splitlines()) == 1
    assert message in done.err


def test_the_figures_that_hang_on_no_clock_repeat_themselves(rushes: Run, tmp_path: Path) -> None:
    methods = "transformers,assisted,sd,specvlm,lvspec,uniform+chain:gamma=4+exact+pipelined:overlap=always"
    reports = []
    for name in ("one", "two"):
        done = rushes("bench", *QUICK, "--methods", methods, "--out", tmp_path / name)
        assert done.code == 0, done.err
        reports.append(json.loads((tmp_path / name / "results.json").read_text()))
    for a, b in zip(reports[0]["rows"], reports[1]["rows"], strict=True):
        for figure in ("accepted_per_round", "quality", "retention", "identical_share", "kept_tokens", "lossless"):
            assert a[figure] == b[figure], (a["method"], figure)
    answers = [
        [json.loads(line)["token_ids"] for line in (tmp_path / name / "answers.jsonl").read_text().splitlines()[1:]]
        for name in ("one", "two")
    ]
    assert answers[0] == answers[1]
    rows = {row["method"]: row for row in reports[0]["rows"]}
    assert list(rows) == ["ar", *methods.split(",")]
    assert reports[0]["skipped"] == []
    assert rows["assisted"]["kept_tokens"] == 0
    assert all(row["identical"] for row in rows.values() if row["lossless"])
    about = reports[0]["about"]
    assert {"versions", "commit", "device", "cores", "pixel_caps", "trials", "samples"} <= about.keys()
    assert (tmp_path / "one" / "report.html").read_text().startswith("<!doctype html>")


def test_an_interrupted_run_goes_on_where_it_stopped(
    rushes: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("bench", *QUICK, "--samples", 2, "--methods", "ar,specvlm", "--out", tmp_path)
    generate, calls = Pair.generate, 0

    def interrupted(self: Pair, *args: Any, **how: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return generate(self, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Pair, "generate", interrupted)
        assert rushes(*asked).code == 130
    assert not (tmp_path / "results.json").exists()
    kept = (tmp_path / "answers.jsonl").read_text()
    assert len(kept.splitlines()) == 3  # what was asked for, and two answers
    assert rushes(*asked).code == 0
    assert (tmp_path / "answers.jsonl").read_text().startswith(kept)
    assert {row["answers"] for row in json.loads((tmp_path / "results.json").read_text())["rows"]} == {2}
    again = rushes(*asked)
    assert "4 answers were there already" in again.out
    other = rushes("bench", *QUICK, "--methods", "ar,sd", "--out", tmp_path)
    assert other.code == 2
    assert "holds another run" in other.err


def test_ones_own_videos_with_one_that_cannot_be_read(rushes: Run, tmp_path: Path, video: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    lines = [
        {"video": str(video), "prompt": "What colour is the square?", "answer": "red"},
        {"video": "bad.mp4", "prompt": "What is this?", "answer": "nothing"},
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = ("--data", tmp_path / "mine.jsonl", "--samples", 9)
    done = rushes("bench", *QUICK, *data, "--methods", "ar,sd", "--out", tmp_path / "o")
    assert done.code == 0, done.err
    made = json.loads((tmp_path / "o" / "results.json").read_text())
    assert {row["samples"] for row in made["rows"]} == {1}
    assert {one["trial"] for one in made["skipped"]} == {"ar", "sd"}
    assert "skipped: ar on" in done.out


def test_a_folder_of_videos(rushes: Run, tmp_path: Path, video: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(video.read_bytes())
    asked = ("bench", *QUICK, "--methods", "ar", "--videos", tmp_path / "v")
    done = rushes(*asked, "-p", "What?", "--out", tmp_path / "o")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "o" / "results.json").read_text())["about"]["samples"][0]["prompt"] == "What?"
    (tmp_path / "v" / "a.mp4").write_bytes(b"nothing")
    done = rushes(*asked, "--out", tmp_path / "p")
    assert done.code == 2
    assert "nothing could be measured" in done.err


def test_growth_is_in_the_results(rushes: Run, tmp_path: Path) -> None:
    done = rushes("bench", *QUICK[:-1], "32,64", "--methods", "ar", "--out", tmp_path)
    assert done.code == 0, done.err
    growth = json.loads((tmp_path / "results.json").read_text())["growth"]
    assert [point["video_tokens"] for point in growth] == [32, 64]
    assert "cost grows with the video" in (tmp_path / "report.html").read_text()


def test_a_comparison_tells_a_script(rushes: Run, tmp_path: Path) -> None:
    assert rushes("bench", *QUICK, "--methods", "ar,sd", "--repeats", 2, "--out", tmp_path).code == 0
    path = tmp_path / "results.json"
    same = rushes("bench", "--compare", path, path)
    assert same.code == 0
    assert "0 of" in same.out
    made = json.loads(path.read_text())
    made["rows"][1]["speedup_decode_interval"] = [0.01, 0.02]
    (tmp_path / "new.json").write_text(json.dumps(made))
    worse = rushes("bench", "--compare", path, tmp_path / "new.json")
    assert worse.code == 1
    assert "1 of" in worse.out
    made["rows"][1]["answers"] = 1  # one answer has no interval, and tells nothing
    (tmp_path / "new.json").write_text(json.dumps(made))
    assert rushes("bench", "--compare", path, tmp_path / "new.json").code == 0


def test_no_space_left_is_one_line(rushes: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    done = rushes("bench", *QUICK, "--methods", "ar", "--out", tmp_path)
    assert done.code == 2
    assert "No space left on device" in done.err
    assert not (tmp_path / "results.json").exists()
