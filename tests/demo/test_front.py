"""The sweep of loose verification: lines are appended once, lambda is chosen on other videos than it is reported on."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rushes import RushesError
from rushes.demo import front, front_report
from rushes.demo.facts import FACTS
from rushes.demo.front_settings import LAMBDAS, PLAIN, QUESTIONED, SETTINGS, VALIDATED, control, lvspec
from rushes.methods import method


def video(number: int, right: dict[str, int], asked: bool = False) -> dict[str, Any]:
    """A line of `answers`: ten facts of each kind, of which so many are right; 10 where nothing is said."""

    def row(name: str) -> dict[str, Any]:
        count = right.get(name, 10)
        return {
            "facts": {fact: [10, 10, count] for fact in FACTS},
            "accepted_per_round": 4.0 + number,
            "target_passes": 9,
            "tokens": 50,
            "identical": count == 10,
            "agreement": count / 10,
            "relaxed": 10 - count,
            "shifted": 0,
        }

    made: dict[str, Any] = {"video": number, "rows": {s.name: row(s.name) for s in {*SETTINGS, *VALIDATED}}}
    if asked:
        said = {setting.name: "B" for setting in QUESTIONED}
        said[control(0.7).name] = "A" if number else "B"
        made["questions"] = [{"kind": "choice", "answer": "B", "said": said}]
    return made


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_every_setting_is_a_method_and_lambda_can_be_reported() -> None:
    for setting in {*SETTINGS, *VALIDATED, *QUESTIONED}:
        method(setting.method)
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert set(QUESTIONED) <= set(SETTINGS)
    assert sorted(LAMBDAS) == list(LAMBDAS)


def test_the_largest_lambda_is_chosen_below_the_first_that_loses() -> None:
    bad = {lvspec(0.6).name: 9, lvspec(0.7).name: 8}  # and everything is well again above: noise, not a choice
    chosen = front_report.choose([video(i, bad) for i in range(4)])
    assert chosen["lambda"] == 0.55
    assert chosen["videos"] == 4
    assert front_report.choose([video(0, {lvspec(LAMBDAS[0]).name: 9})])["lambda"] == 0
    assert front_report.choose([video(0, {})])["lambda"] == 1


@pytest.mark.parametrize("timed", [False, True])
def test_the_report(tmp_path: Path, timed: bool) -> None:
    write(tmp_path / "validation-0.jsonl", [video(i, {lvspec(0.7).name: 9}) for i in range(5)])
    test = {control(0.7).name: 5, lvspec(0.7).name: 8}
    write(tmp_path / "test-0.jsonl", [video(2, test, asked=True), video(0, test, asked=True)])
    write(tmp_path / "test-1.jsonl", [video(1, test, asked=True)])
    if timed:
        names = ("speedup_decode", "speedup_end_to_end", "accepted_per_round", "relevance_share")
        rows = {setting.name: {name: [1.0, 2.0, 3.0] for name in names} for setting in SETTINGS}
        (tmp_path / "speeds.json").write_text(json.dumps({"videos": 3, "repeats": 1, "rows": rows}))
    front_report.report(tmp_path, tmp_path / "front.json")
    made = json.loads((tmp_path / "front.json").read_text())
    assert made["validation"]["lambda"] == 0.65
    rows = {row["name"]: row for row in made["test"]["rows"]}
    assert made["test"]["videos"] == 3
    assert rows[PLAIN.name]["retention"]["value"] == 1
    assert rows[lvspec(0.7).name]["retention"] == {"value": 0.8, "interval_95": [0.8, 0.8], "samples": 3}
    assert rows[lvspec(0.7).name]["accepted_per_round"]["mean"] == 5
    assert rows[lvspec(0.7).name]["tokens_per_pass"] == 5
    assert rows[lvspec(0.7).name]["relaxed_share"] == pytest.approx(2 / 50)
    gap = next(one for one in made["test"]["beyond_random"] if (one["lambda"], one["keep"]) == (0.7, 0.1))
    assert gap["retention"] == pytest.approx(0.3)
    assert made["test"]["questions"][control(0.7).name]["choice_same"] == pytest.approx(1 / 3)
    assert made["test"]["questions"][PLAIN.name]["choice_accuracy"] == 1
    assert ("speedup_decode" in rows[PLAIN.name]) == timed
    if timed:
        assert rows[PLAIN.name]["speedup_decode"] == {"median": 2.0, "range": [1.0, 3.0]}
    assert Image.open(tmp_path / "front.png").size[0] > 500


def test_a_report_of_nothing_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(RushesError, match="run `answers` first"):
        front_report.report(tmp_path, tmp_path / "front.json")


def test_answers_resume_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (PLAIN, lvspec(0.0), lvspec(1.0))
    monkeypatch.setattr(front, "NEW_TOKENS", 24)
    monkeypatch.setattr(front, "QUESTIONED", (PLAIN, lvspec(1.0)))
    out = tmp_path / "lines.jsonl"
    front.answers(out, range(1), settings, questions=True)
    first = out.read_text()
    with out.open("a") as lines:
        lines.write('{"video": 1, "ro')  # a kill in the middle of a line
    front.answers(out, range(2), settings, questions=True)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert out.read_text().startswith(first)
    assert [line["video"] for line in lines] == [0, 1]
    for line in lines:
        rows = line["rows"]
        assert rows[PLAIN.name]["identical"]
        assert rows[lvspec(0.0).name]["identical"]
        assert rows[lvspec(0.0).name]["agreement"] == 1
        assert rows[lvspec(1.0).name]["target_passes"] < rows[lvspec(0.0).name]["target_passes"]
        assert set(rows[PLAIN.name]["facts"]) == set(FACTS)
        assert {question["said"][PLAIN.name] != "" for question in line["questions"]} == {True}
    # The same seed gives the same figures.
    again = tmp_path / "again.jsonl"
    front.answers(again, range(1), settings, questions=True)
    assert again.read_text() == first
