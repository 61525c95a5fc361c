"""The harness with a fake pair and a fake clock: interleaving, resuming at every place, medians, whole files."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rushes import RushesError
from rushes.bench.comparing import compare, load
from rushes.bench.journal import Journal
from rushes.bench.results import SCHEMA, rows_of, skipped
from rushes.bench.runner import run
from rushes.bench.trial import Question, Trial

TRIALS = [Trial("ar", "ar"), Trial("fast", "specvlm"), Trial("slow", "sd")]
QUESTIONS = [Question(f"{i}.mp4", "?", score=lambda text: float(text == "right")) for i in range(3)]
SECONDS = {"ar": 10.0, "fast": 5.0, "slow": 20.0}
ASKED = {"schema": SCHEMA, "what": "test"}


class Killed(BaseException):
    """The process is gone."""


class FakePair:
    """Every answer takes as long as the table says, a little more in every round; dies before call number `at`."""

    def __init__(self, at: int = 10**9) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.checks = 0
        self._at = at
        self._count: dict[tuple[str, str], int] = {}

    def answer(self, trial: Trial, question: Question, *, short: bool = False) -> dict[str, Any]:
        if len(self.calls) == self._at:
            raise Killed
        self.calls.append((trial.name, question.video, short))
        if question.video == "broken.mp4":
            raise RushesError("cannot be decoded")
        if trial.method == "sd" and question.video == "1.mp4":
            raise RushesError("does not apply")
        round_ = self._count[trial.name, question.video] = self._count.get((trial.name, question.video), 0) + (
            not short
        )
        tokens = [1, 2, 3, 4] if trial.name != "slow" else [1, 2, 9, 9]
        return {
            "token_ids": tokens,
            "text": "wrong" if trial.name == "slow" and question.video == "2.mp4" else "right",
            "tokens": 4,
            "decode_s": SECONDS[trial.name] + round_,
            "total_s": 2 * SECONDS[trial.name],
            "ttft_s": 1.0,
            "accepted_per_round": 3.0,
            "accepted_between_rejections": 6.0,
            "mean_acceptance_length": 4.0,
            "overhead_share": 0.01,
            "kept_tokens": 10,
            "video_tokens": 100,
            "cache_bytes": 5,
            "peak_bytes": 100 if trial.name == "fast" else None,
            "lossless": trial.name != "slow",
        }

    def check(self, question: Question, plain: list[int], tokens: list[int]) -> dict[str, Any]:
        self.checks += 1
        same = min(len(plain), len(tokens))
        at = next((i for i in range(same) if plain[i] != tokens[i]), same)
        return {"identical": False, "first_divergence": at, "logit_gap": 0.5}


def measured(path: Path, questions: Sequence[Question] = QUESTIONS, repeats: int = 2) -> tuple[FakePair, Journal]:
    pair, journal = FakePair(), Journal(path, ASKED)
    run(pair, TRIALS, questions, journal, repeats=repeats)
    return pair, journal


def test_trials_are_interleaved_sample_by_sample_behind_a_warm_up(tmp_path: Path) -> None:
    pair, _ = measured(tmp_path / "j")
    counted = [(name, video) for name, video, short in pair.calls if not short]
    once = [(trial.name, question.video) for question in QUESTIONS for trial in TRIALS]
    # Where a trial cannot run it fails again in its warm-up or its answer, and the others go on.
    assert [one for one in counted if one != ("slow", "1.mp4")] == [one for one in once * 2 if one != ("slow", "1.mp4")]
    warm = [name for name, _, short in pair.calls if short]
    assert sorted(warm) == sorted(trial.name for trial in TRIALS)


@pytest.mark.parametrize("at", range(21))
def test_a_run_that_was_killed_anywhere_goes_on_where_it_stopped(tmp_path: Path, at: int) -> None:
    _, whole = measured(tmp_path / "whole")
    broken = tmp_path / "broken"
    pair = FakePair(at)
    try:
        run(pair, TRIALS, QUESTIONS, Journal(broken, ASKED), repeats=2)
    except Killed:
        with broken.open("ab") as file:  # in the middle of a line
            file.write(b'{"trial": "ar", "sam')
    before = broken.read_text().rpartition("\n")[0]
    again = FakePair()
    journal = Journal(broken, ASKED)
    done = len(journal)
    run(again, TRIALS, QUESTIONS, journal, repeats=2)
    assert broken.read_text().startswith(before)
    assert len(journal) == len(whole) == 18
    answered = [call for call in again.calls if not call[2]]
    assert len(answered) <= 18 - done
    keys = [(r["trial"], r["sample"], r["repeat"]) for r in map(json.loads, broken.read_text().splitlines()[1:])]
    assert len(set(keys)) == len(keys) == 18
    assert {key: journal[key]["token_ids"] for key in keys if "error" not in journal[key]} == {
        key: whole[key]["token_ids"] for key in keys if "error" not in whole[key]
    }


def test_rows_are_medians_of_ratios_within_a_round(tmp_path: Path) -> None:
    _, journal = measured(tmp_path / "j")
    rows = {row["method"]: row for row in rows_of(TRIALS, journal)}
    # Decoding takes 11 and 12 s plainly, 6 and 7 s fast.
    assert rows["fast"]["speedup_decode"] == pytest.approx(statistics.median([11 / 6, 12 / 7]))
    low, high = rows["fast"]["speedup_decode_interval"]
    assert 12 / 7 <= low <= high <= 11 / 6
    assert rows["fast"]["speedup_end_to_end"] == 2
    assert rows["ar"]["speedup_decode"] == 1
    assert rows["fast"]["tokens_per_second"] == pytest.approx(statistics.median([3 / 6, 3 / 7]))
    assert rows["fast"]["answers"] == 6
    assert rows["fast"]["peak_bytes"] == 100
    assert rows["ar"]["peak_bytes"] is None
    assert rows["fast"]["identical"]
    assert rows["fast"]["identical_share"] == 1
    assert rows["slow"]["samples"] == 2
    assert not rows["slow"]["lossless"]
    assert not rows["slow"]["identical"]
    assert rows["slow"]["divergences"] == [
        {"sample": f"{i}.mp4", "first_divergence": 2, "logit_gap": 0.5} for _ in range(2) for i in (0, 2)
    ]
    assert rows["slow"]["quality"] == 0.5
    assert rows["slow"]["retention"] == 0.5
    assert rows["fast"]["retention"] == 1


def test_what_cannot_run_is_listed_with_its_reason(tmp_path: Path) -> None:
    _, journal = measured(tmp_path / "j", [*QUESTIONS, Question("broken.mp4", "?")])
    found = skipped(journal)
    assert {"trial": "slow", "sample": "1.mp4", "reason": "does not apply"} in found
    assert sum(one["sample"] == "broken.mp4" for one in found) == 3
    assert len(found) == 4
    assert {row["samples"] for row in rows_of(TRIALS, journal)} == {3, 2}


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RushesError, match="no samples"):
        measured(tmp_path / "j", [])
    assert rows_of(TRIALS, []) == []


def test_a_journal_of_another_run_is_refused(tmp_path: Path) -> None:
    measured(tmp_path / "j")
    with pytest.raises(RushesError, match="holds another run"):
        Journal(tmp_path / "j", {"schema": SCHEMA, "what": "else"})
    (tmp_path / "no").write_text("hello\n")
    with pytest.raises(RushesError, match="no journal"):
        Journal(tmp_path / "no", ASKED)
    with pytest.raises(RushesError, match="cannot write"):
        Journal(tmp_path / "nowhere" / "j", ASKED)


def test_no_space_left_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j", ASKED)
    journal.add("ar", "0.mp4", 0, {"x": 1})
    before = (tmp_path / "j").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(RushesError, match="No space left on device"):
            journal.add("ar", "1.mp4", 0, {"x": 2})
    assert (tmp_path / "j").read_bytes() == before
    assert len(Journal(tmp_path / "j", ASKED)) == 1


def test_an_answer_of_one_token_has_no_speed_and_ends_no_run(tmp_path: Path) -> None:
    class Short(FakePair):
        def answer(self, trial: Trial, question: Question, *, short: bool = False) -> dict[str, Any]:
            made = super().answer(trial, question, short=short)
            if question.video == "0.mp4" or trial.name == "fast":
                made |= {"token_ids": [1], "tokens": 1, "decode_s": 0.0}
            return made

    journal = Journal(tmp_path / "j", ASKED)
    run(Short(), TRIALS, QUESTIONS, journal, repeats=1)
    rows = {row["method"]: row for row in rows_of(TRIALS, journal)}
    assert rows["fast"]["speedup_decode"] is rows["fast"]["tokens_per_second"] is None
    assert rows["fast"]["speedup_end_to_end"] > 0
    assert rows["ar"]["speedup_decode"] == 1
    assert rows["ar"]["answers"] == 3


def test_tokens_that_come_with_the_prefill_are_not_decoded(tmp_path: Path) -> None:
    class Window(FakePair):
        def answer(self, trial: Trial, question: Question, *, short: bool = False) -> dict[str, Any]:
            made = super().answer(trial, question, short=short)
            return made | {"first_tokens": 3, "decode_s": 1.0} if trial.name == "fast" else made

    journal = Journal(tmp_path / "j", ASKED)
    run(Window(), TRIALS[:2], QUESTIONS, journal, repeats=1)
    row = rows_of(TRIALS[:2], journal)[1]
    assert row["per_token_s"] == 1  # one token of four
    assert row["speedup_decode"] == pytest.approx((11 / 3) / 1)


def test_a_comparison_that_fails_is_not_the_end(tmp_path: Path) -> None:
    class Full(FakePair):
        def check(self, question: Question, plain: list[int], tokens: list[int]) -> dict[str, Any]:
            raise RushesError("no memory")

    journal = Journal(tmp_path / "j", ASKED)
    run(Full(), TRIALS, QUESTIONS[:1], journal, repeats=1)
    assert rows_of(TRIALS, journal)[2]["divergences"] == [{"sample": "0.mp4", "first_divergence": 2, "logit_gap": None}]


def test_repeats_are_no_videos_of_their_own(tmp_path: Path) -> None:
    class Mixed(FakePair):
        def answer(self, trial: Trial, question: Question, *, short: bool = False) -> dict[str, Any]:
            made = super().answer(trial, question, short=short)
            wrong = trial.name == "fast" and question.video in ("0.mp4", "3.mp4")
            return made | {"text": "wrong" if wrong else "right"}

    many = [Question(f"{i}.mp4", "?", score=lambda text: float(text == "right")) for i in range(12)]
    spreads = []
    for repeats in (1, 4):
        journal = Journal(tmp_path / str(repeats), ASKED)
        run(Mixed(), TRIALS[:2], many, journal, repeats=repeats)
        spreads.append(rows_of(TRIALS[:2], journal)[1]["retention_interval"])
    assert spreads[0] == spreads[1]


def results(**figures: Any) -> dict[str, Any]:
    row = {
        "method": "specvlm",
        "answers": 4,
        "lossless": True,
        "identical": True,
        "identical_share": 1.0,
        "speedup_decode": 2.0,
        "speedup_decode_interval": [1.9, 2.1],
        "speedup_end_to_end": 1.5,
        "speedup_end_to_end_interval": [1.4, 1.6],
        "retention": 1.0,
        "retention_interval": [0.99, 1.0],
    }
    return {"schema": SCHEMA, "rows": [row | figures]}


@pytest.mark.parametrize(
    ("figures", "verdicts"),
    [
        ({}, {}),
        ({"speedup_decode": 1.95, "speedup_decode_interval": [1.85, 2.05]}, {}),
        ({"speedup_decode": 1.5, "speedup_decode_interval": [1.4, 1.6]}, {"speedup_decode": "worse"}),
        ({"speedup_end_to_end": 3, "speedup_end_to_end_interval": [2.9, 3.1]}, {"speedup_end_to_end": "better"}),
        ({"retention": 0.9, "retention_interval": [0.85, 0.95]}, {"retention": "worse"}),
        ({"identical": False, "identical_share": 0.5}, {"identical": "worse"}),
    ],
)
def test_what_changed_beyond_the_noise_is_flagged(figures: dict[str, Any], verdicts: dict[str, str]) -> None:
    found = compare(results(), results(**figures))
    assert {one.figure: one.verdict for one in found if one.verdict != "same"} == verdicts


def test_results_files_that_cannot_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for content, message in (
        ("{", "no results file"),
        ("[]", "no results file"),
        (json.dumps({"rows": []}), "no results file"),
        (json.dumps({"schema": SCHEMA + 1, "rows": []}), "update rushes"),
    ):
        path.write_text(content)
        with pytest.raises(RushesError, match=message):
            load(path)
    with pytest.raises(RushesError, match="cannot read"):
        load(tmp_path / "none.json")
    path.write_text(json.dumps(results()))
    assert load(path) == results()
