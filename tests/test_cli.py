"""The command line keeps its contract: one JSON object, streamed text, a quiet stderr, exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushes.cli as cli
from rushes.demo import bundled
from rushes.methods import DRAFTERS, METHODS, SCHEDULES, SCORERS, VERIFIERS
from rushes.video import write_video

Run = Callable[..., Any]
COMMANDS = ("generate", "demo", "show", "bench", "check", "methods")
SHORT = ("--max-new-tokens", 24)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=str)
def test_every_command_has_help(rushes: Run, command: tuple[str, ...]) -> None:
    shown = rushes(*command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "Usage: rushes" in shown.out
    if not command:
        assert all(name in shown.out for name in COMMANDS)
        assert rushes() == shown, "without a command the help is shown"


@pytest.mark.parametrize("method", ["ar", "sd", "specvlm", "none+chain+exact+sequential"])
def test_json_is_the_contract(rushes: Run, video: Path, method: str) -> None:
    done = rushes("generate", video, "--json", "--method", method, "--keep", 0.3, *SHORT)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    made = json.loads(done.out)
    assert_matches(
        made,
        {
            "text": str,
            "token_ids": list,
            "finish_reason": str,
            "method": str,
            "lossless": bool,
            "video": {"frames": int, "tokens": int, "kept_tokens": int, "kept_indices": list},
            "metrics": {
                "speculative_decoding": {
                    "mean_acceptance_length": float,
                    "draft_acceptance_rate": float,
                    "num_spec_steps": int,
                    "num_accepted_draft_tokens": int,
                    "num_draft_tokens": int,
                },
                "accepted_per_round": float,
                "accepted_between_rejections": float,
                "time_s": dict.fromkeys(
                    ("decode_video", "vision", "target_prefill", "draft_prefill", "scoring", "decoding", "total"), float
                ),
                "tokens_per_second": float,
                "time_to_first_token_s": float,
            },
        },
    )
    assert "check" not in made
    assert made["method"] == method
    assert made["lossless"]
    assert all(type(token) is int for token in made["token_ids"])
    assert len(made["token_ids"]) <= 24
    assert made["finish_reason"] == ("length" if len(made["token_ids"]) == 24 else "stop")
    seen = made["video"]
    kept = seen["kept_indices"]
    assert seen["frames"] == 8, "2 seconds at the checkpoint's 4 frames a second"
    assert seen["tokens"] > 0
    # Plain decoding has no draft; "sd" keeps all, "none" keeps none, whatever --keep says.
    expected = {"ar": 0, "sd": seen["tokens"], "specvlm": int(0.3 * seen["tokens"])}.get(method, 0)
    assert seen["kept_tokens"] == len(kept) == expected
    assert kept == sorted(set(kept))
    assert all(0 <= i < seen["tokens"] for i in kept)
    times = made["metrics"]["time_s"]
    assert times["total"] >= times["decode_video"] + times["decoding"] > 0


def assert_matches(value: Any, shape: Any, where: str = "") -> None:
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for name, inner in shape.items():
            assert name in value, f"{where}.{name} is missing"
            assert_matches(value[name], inner, f"{where}.{name}")
    else:
        assert type(value) is shape, f"{where} is {value!r}"


def test_streamed_printed_and_json_texts_are_one(rushes: Run, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("generate", video, *SHORT)
    text = json.loads(rushes(*arguments, "--json").out)["text"]
    assert rushes(*arguments, "--no-stream") == (0, text + "\n", "")
    assert rushes(*arguments) == (0, text + "\n", "")

    pieces: list[str] = []
    monkeypatch.setattr(cli.typer, "echo", lambda message="", nl=True, err=False: pieces.append(message))
    rushes(*arguments)
    assert len(pieces) > 3, "the text comes piece by piece"
    assert "".join(pieces) == text


def test_check_compares_with_plain_decoding(rushes: Run, video: Path) -> None:
    arguments = ("generate", video, "--check", "--dtype", "float32", *SHORT)
    done = rushes(*arguments, "--json")
    assert done.err == ""
    # fp32: no rounding to hide behind.
    assert json.loads(done.out)["check"] == {"identical": True, "first_divergence": None, "logit_gap": None}
    assert rushes(*arguments).err == "check: identical to plain decoding\n"


def test_a_difference_is_said_in_words() -> None:
    from rushes.result import Check

    assert cli.describe_check(Check(False, 7, 0.03125)) == (
        "differs from plain decoding from token 7 on, where the target prefers its own token by 0.0312 logits"
    )
    assert cli.describe_check(Check(False, 7)).endswith("from token 7 on")


def test_a_seed_gives_the_same_answer_again(rushes: Run, video: Path) -> None:
    def answer(seed: int) -> list[int]:
        done = rushes("generate", video, "--json", "--temperature", 3, "--top-k", 50, "--seed", seed, *SHORT)
        return json.loads(done.out)["token_ids"]

    assert answer(5) == answer(5)
    assert len({tuple(answer(seed)) for seed in range(3)}) > 1, "the seed matters"


@pytest.mark.parametrize(
    ("option", "frames"), [(("--frames", 6), 6), (("--frames", 3), 3), (("--frames", 1), 1), (("--fps", 2), 4)], ids=str
)
def test_frames_and_rate_are_honoured(rushes: Run, video: Path, option: tuple[str, int], frames: int) -> None:
    done = rushes("generate", video, "--json", *option, "--max-new-tokens", 2)
    assert (done.code, done.err) == (0, "")
    seen = json.loads(done.out)["video"]
    assert seen["frames"] == frames
    rows = -(-frames // 2)  # two frames make one row of tokens in time
    assert seen["tokens"] % rows == 0


def test_a_large_video_is_reduced_with_a_note(rushes: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    write_video(path, np.zeros((4, 1080, 1920, 3), np.uint8), 4)
    arguments = ("generate", path, "--max-new-tokens", 2)
    said = rushes(*arguments)
    assert said.code == 0
    assert said.err == "note: 1920x1080 frames were reduced to 1280x720\n"
    in_json = rushes(*arguments, "--json")
    assert in_json.err == ""
    assert json.loads(in_json.out)["notes"] == ["1920x1080 frames were reduced to 1280x720"]


def test_methods_lists_every_method_and_part(rushes: Run) -> None:
    done = rushes("methods")
    assert (done.code, done.err) == (0, "")
    for name in (*METHODS, *SCORERS, *DRAFTERS, *VERIFIERS, *SCHEDULES):
        assert name in done.out


def test_check_tells_whether_a_pair_would_work(rushes: Run) -> None:
    done = rushes("check", bundled.TARGET, bundled.DRAFT)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("yes: ")


def test_a_process_of_its_own_is_quiet(video: Path) -> None:
    command = [sys.executable, "-m", "rushes", "generate", str(video), "--json", "--max-new-tokens", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), "no progress bars, no advice from libraries"
    assert json.loads(done.stdout)["video"]["frames"] == 8


def test_a_reader_that_goes_away_is_no_error(video: Path) -> None:
    command = [sys.executable, "-m", "rushes", "generate", str(video), "--max-new-tokens", "24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
