"""Every scorer meets the same videos and its controls, and what is printed follows from the counts."""

import statistics

import pytest

from rushes.demo import bundled
from rushes.demo.fairness import (
    BOUNDS,
    KEEPS,
    Cell,
    answers_of,
    as_json,
    beyond,
    compare_scorers,
    print_scorers,
    scorers,
)
from rushes.methods import SCORERS
from rushes.pair import Pair


def cells() -> list[Cell]:
    return [
        Cell("full", None, [4.0, 2.0, 3.0]),
        Cell("uniform", 0.1, [3.0, 1.0, 2.0]),
        Cell("uniform", 0.5, [3.5, 1.5, 2.5]),
        Cell("hippo", 0.1, [3.5, 1.5, 2.5]),
        Cell("hippo", 0.5, [3.5, 1.4, 2.6]),
    ]


def test_every_scorer_that_a_draft_can_have_is_compared() -> None:
    assert set(scorers()) == set(SCORERS) - {"std"}
    assert scorers()[:4] == ["full", "none", "uniform", "random"]


def test_a_difference_is_taken_video_by_video() -> None:
    _, uniform, *_, hippo, _ = cells()
    mean, spread = beyond(hippo, uniform)
    assert mean == 0.5
    assert spread == (0.5, 0.5)  # though each scorer alone varies by 1 or more
    assert hippo.interval_95[0] < uniform.mean


def test_the_tables_say_what_the_counts_are() -> None:
    said: list[str] = []
    print_scorers(cells(), said.append)
    text = "\n".join(said)
    assert "over 3 held-out videos" in text
    counts, more = text.split("Beyond uniform")
    assert counts.splitlines()[2].split()[:3] == ["full", "(control)", "3.00"]
    assert "hippo" in counts
    assert "2.50 [" in counts
    assert "+0.50 [+0.50, +0.50]" in more
    assert "uniform (control)" not in more
    rows = {(row["scorer"], row["keep"]): row for row in as_json(cells())}
    assert rows["hippo", 0.1]["beyond_uniform"] == 0.5
    assert rows["full", None]["accepted_per_round"] == 3.0
    assert "beyond_uniform" not in rows["full", None]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return bundled.pair()


def test_the_bundled_pair_answers_alike_under_every_scorer(pair: Pair) -> None:
    steps: list[None] = []
    made = compare_scorers(pair, 1, max_new_tokens=30, each=lambda: steps.append(None))
    assert len(steps) == answers_of(1) == len(made) == len(BOUNDS) + (len(scorers()) - len(BOUNDS)) * len(KEEPS)
    assert {cell.keep for cell in made if cell.scorer == "hippo"} == set(KEEPS)
    assert all(len(cell.accepted_per_round) == 1 for cell in made)
    assert statistics.fmean(cell.mean for cell in made if cell.keep == 0.5) > next(
        cell.mean for cell in made if cell.scorer == "none"
    )


def test_answers_that_differ_are_our_fault(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = pair.generate_inputs
    calls: list[str] = []

    def differing(inputs: object, **how: object) -> object:
        calls.append(str(how["method"]))
        return answer(inputs, **{**how, "max_new_tokens": 3 + (len(calls) == 5)})  # type: ignore[arg-type]

    monkeypatch.setattr(pair, "generate_inputs", differing)
    with pytest.raises(RuntimeError, match="got 2 different answers"):
        compare_scorers(pair, 1)
