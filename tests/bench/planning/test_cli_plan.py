"""`rushes plan`: what it prints, and bad input in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rushes.bench.planning import here
from rushes.demo import bundled
from test_cli_bad_input import refused

Run = Callable[..., Any]
FIXED = "bandwidth=17e9,flops=4e11,memory=24e9,overhead=6e-4"
PAIR = ("Qwen/Qwen2.5-VL-32B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct")


@pytest.fixture(autouse=True)
def _no_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "measure", lambda _: pytest.fail("this machine was benchmarked"))


def test_the_table_says_what_it_is(rushes: Run) -> None:
    done = rushes("plan", "--device", FIXED, "--keep", "0.1")
    assert done.code == 0
    assert done.err == ""
    assert done.out.startswith("PREDICTED, not run")
    assert "measured" not in done.out.lower()
    lines = done.out.splitlines()
    [second] = [i for i, line in enumerate(lines) if re.match(r"\s*method ", line)]
    # Every figure stands in a column whose heading is two lines, the upper one "predicted".
    figures = ("best gamma", "best keep", "T_p, T_q", "tokens/s", "decode speedup", "end to end")
    assert all(figure in lines[second] for figure in figures)
    assert lines[second - 1].split() == ["predicted"] * len(figures)
    assert lines[second].endswith("predicted limits of decoding")
    assert sum(line.startswith("*") for line in lines) == 1
    assert "Predicted best" in done.out


def test_json(rushes: Run) -> None:
    done = rushes("plan", *PAIR, "--device", "A100-80", "--devices", 2, "--json", "--keep", "0.1", "--new-tokens", 64)
    assert done.code == 0
    made = json.loads(done.out)
    assert made["predicted"] is True
    assert (made["target"], made["draft"]) == PAIR
    assert made["rows"][0]["method"] == "ar"
    assert made["rows"][made["best"]]["total_s"] == min(row["total_s"] for row in made["rows"])
    assert {"gamma", "keep", "speedup_decode", "speedup_end_to_end", "limits"} <= made["rows"][1].keys()
    assert "ASSUMED" in made["acceptance"]["source"]


def test_checkpoint_folders(rushes: Run) -> None:
    done = rushes(
        "plan", bundled.TARGET, bundled.DRAFT, "--device", FIXED, "--video-tokens", 288, "--keep", 0.1, "--json"
    )
    assert json.loads(done.out)["target"] == bundled.TARGET


def test_acceptance_and_traces_are_used(rushes: Run, tmp_path: Path) -> None:
    def speedup(*options: object) -> float:
        done = rushes("plan", "--device", FIXED, "--keep", "0.1", "--json", "--new-tokens", 40, *options)
        # A wrong first choice may still be a tree's second.
        return max(row["speedup_decode"] for row in json.loads(done.out)["rows"] if row["method"] != "specvlm")

    (tmp_path / "good.json").write_text(json.dumps([1] * 50))
    (tmp_path / "bad.json").write_text(json.dumps([0] * 50))
    assert speedup("--trace", tmp_path / "bad.json") == pytest.approx(1, abs=0.01)
    assert speedup("--acceptance", 0.3) < speedup("--acceptance", "0.1=0.8,1=0.3") < speedup("--acceptance", 1)
    assert speedup("--trace", tmp_path / "good.json") == speedup("--acceptance", 1)


def test_what_does_not_fit_is_said_and_predicted(rushes: Run) -> None:
    done = rushes("plan", *PAIR, "--device", "RTX-4090", "--keep", "0.1")
    assert done.code == 0
    assert "Memory: does not fit into RTX-4090: the pair needs" in done.out
    assert "GiB too many" in done.out


def test_what_is_unknown_below_a_keep_ratio_is_said(rushes: Run) -> None:
    assert "No acceptance is known below keep 0.1" in rushes("plan", *PAIR, "--keep", "0.05").out


def test_this_machine_is_the_default_for_the_stand_ins(rushes: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_roofline import BENCHMARKED

    monkeypatch.setattr(here, "measure", lambda dtype: BENCHMARKED)
    monkeypatch.setattr(here, "busy", lambda: "This machine was busy.")
    for options in ((), ("--device", "here"), ("--device", "cpu")):
        made = json.loads(rushes("plan", "--keep", "0.1", "--json", *options).out)
        assert made["device"]["name"] == BENCHMARKED.name
        assert made["notes"][0] == "This machine was busy."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--device H1000", "unknown device 'H1000'; did you mean 'H100'?"),
        ("--device bandwidth=0,flops=1e14", "bandwidth must be a number above 0"),
        ("--devices 3 --device H100", "--devices must be 1"),
        ("--devices 2", "it is one device"),
        ("--dtype int8", "unknown dtype 'int8'"),
        ("--keep 1.5", "keep must be between 0 and 1, got '1.5'"),
        ("--keep 0.1,nan", "got 'nan'"),
        ("--keep 0.001", "is less than one"),
        ("--keep ,", "no keep ratios given"),
        ("--acceptance 2", "acceptance must be between 0 and 1, got '2'"),
        ("--acceptance 0.1=x", "acceptance must be between 0 and 1, got 'x'"),
        ("--acceptance 0.5 --trace x.json", "exclude each other"),
        ("--trace nonesuch.json", "cannot read this trace"),
        ("--video-tokens -1", "--video-tokens must be 0 or more"),
        ("--text-tokens 0", "--text-tokens must be 1 or more"),
        ("--new-tokens 0", "--new-tokens must be 2 or more"),
        ("--new-tokens many", "Invalid value for '--new-tokens'"),
        (f"{PAIR[0]} llava-hf/llava-onevision-qwen2-7b-ov-hf", "they read videos differently"),
        (PAIR[0], "needs a target and a draft"),
        ("./nonesuch ./other --device H100", "does not exist"),
    ],
)
def test_bad_input(rushes: Run, options: str, words: str) -> None:
    refused(rushes("plan", *options.split()), words)


def test_a_malformed_trace(rushes: Run, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2]")
    refused(rushes("plan", "--trace", tmp_path / "a.json", "--device", FIXED), "entry 1 is 2")
    (tmp_path / "b.json").write_text("{")
    refused(rushes("plan", "--trace", tmp_path / "b.json", "--device", FIXED), "not JSON")
