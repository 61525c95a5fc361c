"""Every rule of loose verification on choices made by hand, and its two ends: exact, and everything passes."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rushes.sampling import Sampling
from rushes.verification.base import Hearing
from rushes.verification.control import RandomRelaxation
from rushes.verification.exact import verify_exact
from rushes.verification.fly import Fly
from rushes.verification.loose import deferred, hesitates, judge, least_relevant, mark_of, strict_count
from rushes.window import TARGET, Guess, Mark, Verdict, Window, chain_parents

VOCABULARY = 40


def chain(*tokens: int) -> Window:
    return Window(list(tokens), chain_parents(len(tokens)))


def wants(*tokens: int) -> torch.Tensor:
    """(n, V) logits whose argmax are `tokens`, without a doubt."""
    return 50 * torch.nn.functional.one_hot(torch.tensor(tokens), VOCABULARY).float()


# --- How many are strict, and which -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidates", "share", "strict"),
    [
        (10, 0.0, 10),
        (10, 1.0, 0),
        (10, 0.7, 3),
        (10, 0.75, 3),  # never too few
        (10, 0.9, 1),
        (100, 0.29, 71),  # 0.29 * 100 is 28.999999999999996
        (1, 0.0, 1),
        (1, 0.7, 1),
        (1, 1.0, 0),
        (0, 0.7, 0),
    ],
)
def test_strict_count(candidates: int, share: float, strict: int) -> None:
    assert strict_count(candidates, share) == strict


@given(st.integers(0, 60), st.integers(0, 100))
def test_strict_count_is_the_rounded_up_share(candidates: int, hundredths: int) -> None:
    wanted = -(-candidates * (100 - hundredths) // 100)  # whole numbers: no rounding
    assert strict_count(candidates, hundredths / 100) == wanted


@pytest.mark.parametrize(
    ("relevance", "share", "relaxed"),
    [
        ([0.1, 0.9, 0.5, 0.3], 0.0, set()),
        ([0.1, 0.9, 0.5, 0.3], 0.25, {0}),
        ([0.1, 0.9, 0.5, 0.3], 0.5, {0, 3}),
        ([0.1, 0.9, 0.5, 0.3], 0.74, {0, 3}),
        ([0.1, 0.9, 0.5, 0.3], 0.75, {0, 2, 3}),
        ([0.1, 0.9, 0.5, 0.3], 1.0, {0, 1, 2, 3}),
        ([-0.5, -0.1], 0.5, {0}),  # not by size
        ([0.4, 0.4, 0.4, 0.4], 0.5, {2, 3}),  # between equals the later one
        ([0.4, 0.1, 0.4], 0.67, {1, 2}),
        ([], 0.7, set()),
    ],
)
def test_the_least_relevant_of_a_window_are_relaxed(relevance: list[float], share: float, relaxed: set[int]) -> None:
    assert least_relevant(relevance, share) == relaxed


@pytest.mark.parametrize(
    ("known", "relaxed"),
    [
        ([0.9, 0.9], {0, 1}),  # both belong to the lower half of four
        ([0.0, 0.0], set()),  # both to the upper half
        ([0.0, 0.9], {0}),
        ([0.3, 0.6], {0}),  # against an equal that came earlier the later one is relaxed
        ([0.9], {0}),  # one of three
        ([0.0], set()),
    ],
)
def test_what_is_known_of_the_answer_moves_the_line(known: list[float], relaxed: set[int]) -> None:
    assert least_relevant([0.3, 0.6], 0.5, known) == relaxed


# --- The walk ---------------------------------------------------------------------------------------------------------

TOKENS = (11, 12, 13, 14)
AGREED = (11, 12, 13, 14, 15)


def replaced(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*values[:at], value, *values[at + 1 :])


def test_what_agrees_passes_with_the_targets_token_behind_it() -> None:
    exact = (Mark("exact"),) * 4
    assert judge(chain(*TOKENS), AGREED, set()) == Verdict([0, 1, 2, 3], 15, marks=(*exact, TARGET))


@pytest.mark.parametrize("at", range(4))
def test_a_strict_mismatch_ends_the_round_at_every_index(at: int) -> None:
    others = set(range(4)) - {at}  # that the others are relaxed does not help it
    verdict = judge(chain(*TOKENS), replaced(AGREED, at, 30), others, shift=2)
    marks = (*[Mark("exact", strict=False)] * at, Mark("correction", other=TOKENS[at]))
    assert verdict == Verdict(list(range(at)), 30, marks=marks)


@pytest.mark.parametrize("at", range(4))
def test_a_relaxed_mismatch_passes_at_every_index(at: int) -> None:
    verdict = judge(chain(*TOKENS), replaced(AGREED, at, 30), {at})
    marks = [Mark("exact")] * 4
    marks[at] = Mark("relaxed", strict=False, other=30)
    assert verdict == Verdict([0, 1, 2, 3], 15, marks=(*marks, TARGET))


def test_the_walk_goes_on_behind_a_relaxed_mismatch_until_the_next_strict_one() -> None:
    verdict = judge(chain(*TOKENS), (30, 12, 31, 32, 15), {0, 2}, relevance=[0.1, 0.2, 0.3, 0.4])
    assert verdict.path == [0, 1, 2]
    assert verdict.next_token == 32
    assert verdict.marks == (
        Mark("relaxed", False, 0.1, 30),
        Mark("exact", True, 0.2),
        Mark("relaxed", False, 0.3, 31),
        Mark("correction", True, 0.4, 14),
    )


def test_an_empty_window() -> None:
    assert judge(chain(), (7,), set(), shift=2) == Verdict([], 7, marks=(TARGET,))


CHOICES = tuple(range(20, 30))  # of a window of nine
SHIFTS = [(at, w, off) for at in (0, 1, 4, 7, 8) for w in (0, 1, 2) for off in range(-3, 4) if 0 <= at + off < 10]


@pytest.mark.parametrize(("at", "w", "off"), SHIFTS)
def test_a_token_may_be_w_places_off_and_no_more(at: int, w: int, off: int) -> None:
    window = chain(*replaced(CHOICES[:9], at, CHOICES[at + off]))
    verdict = judge(window, CHOICES, set(), shift=w)
    if off == 0:
        assert verdict.marks[at] == Mark("exact")
    elif abs(off) <= w:
        assert verdict.marks[at] == Mark("shifted", other=CHOICES[at])
        assert verdict.path == list(range(9)), "the walk goes on behind it"
    else:
        assert verdict == Verdict(
            list(range(at)), CHOICES[at], marks=(*[Mark("exact")] * at, Mark("correction", other=CHOICES[at + off]))
        )


def test_the_places_are_those_of_this_window() -> None:
    """Neither the last choice stands before the first one, nor is there anything behind the last."""
    assert judge(chain(CHOICES[9], *CHOICES[1:9]), CHOICES, set(), shift=2).path == []
    assert judge(chain(CHOICES[8], *CHOICES[1:9]), CHOICES, set(), shift=2).path == []
    assert judge(chain(*CHOICES[:8], CHOICES[0]), CHOICES, set(), shift=2).path == list(range(8))
    assert judge(chain(*CHOICES[:8], 39), CHOICES, set(), shift=2).path == list(range(8))


@pytest.mark.parametrize("guarded", [{13}, {30}, {13, 30}], ids=["the draft's", "the target's", "both"])
def test_a_guarded_token_is_neither_relaxed_nor_shifted(guarded: set[int]) -> None:
    refused = Verdict([0, 1], 30, marks=(Mark("exact"), Mark("exact"), Mark("correction", other=13)))
    relaxed, shifted = (11, 12, 30, 14, 15), (11, 12, 30, 13, 15)
    assert judge(chain(*TOKENS), relaxed, {2}, guarded=guarded) == refused
    assert judge(chain(11, 12, 13, 13), shifted, set(), shift=2, guarded=guarded) == refused
    # The same without the guard, or with one that protects others.
    for free in (set[int](), {11, 12, 14, 15, 29}):
        assert judge(chain(*TOKENS), relaxed, {2}, guarded=free).path == [0, 1, 2, 3]
        assert judge(chain(11, 12, 13, 13), shifted, set(), shift=2, guarded=free).path == [0, 1, 2, 3]


def test_a_guarded_token_that_is_the_targets_own_passes_and_was_strict() -> None:
    verdict = judge(chain(*TOKENS), AGREED, {0, 2}, guarded={13})
    assert verdict.path == [0, 1, 2, 3]
    assert [mark.strict for mark in verdict.marks] == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("token", "strict", "mark"),
    [
        (22, True, Mark("exact", True, 0.5)),
        (22, False, Mark("exact", False, 0.5)),
        (23, False, Mark("relaxed", False, 0.5, 22)),  # would pass as shifted too: relaxed comes first
        (39, False, Mark("relaxed", False, 0.5, 22)),
        (23, True, Mark("shifted", True, 0.5, 22)),
        (21, True, Mark("shifted", True, 0.5, 22)),
        (24, True, Mark("correction", True, 0.5, 24)),
        (20, True, Mark("correction", True, 0.5, 20)),
        (25, False, Mark("correction", True, 0.5, 25)),  # guarded
    ],
)
def test_mark_of(token: int, strict: bool, mark: Mark) -> None:
    made = mark_of(token, CHOICES, 2, strict, shift=1, guarded={25}, relevance=0.5)
    assert made == mark
    assert made.drafted == (mark.how != "correction")


@given(st.lists(st.integers(0, 5), max_size=9), st.data())
def test_nothing_relaxed_is_exact_and_everything_relaxed_passes(tokens: list[int], data: Any) -> None:
    count = len(tokens)
    choices = data.draw(st.lists(st.integers(0, 5), min_size=count + 1, max_size=count + 1))
    guarded = data.draw(st.sets(st.integers(0, 5)))
    window, exact = chain(*tokens), verify_exact(chain(*tokens), wants(*choices))
    strict = judge(window, choices, set(), guarded=guarded)
    assert (strict.path, strict.next_token) == (exact.path, exact.next_token)
    assert [mark.how for mark in strict.marks] == [mark.how for mark in exact.marked(window)]
    assert [mark.other for mark in strict.marks] == [mark.other for mark in exact.marked(window)]
    loose = judge(window, choices, set(range(count)))
    assert (loose.path, loose.next_token) == (list(range(count)), choices[-1])
    assert len(loose.marks) == count + 1
    # Whatever is relaxed, shifted and guarded: never less than exact, and a mark for each token.
    relaxed = data.draw(st.sets(st.integers(0, 8)))
    some = judge(window, choices, relaxed, shift=data.draw(st.integers(0, 3)), guarded=guarded)
    assert len(exact.path) <= len(some.path) <= count
    assert len(some.marks) == len(some.path) + 1
    assert some.path == list(range(len(some.path)))
    assert some.next_token == choices[len(some.path)]
    assert all(mark.drafted for mark in some.marks[:-1])
    assert some.marks[-1].how == ("target" if len(some.path) == count else "correction")


# --- FLy --------------------------------------------------------------------------------------------------------------


def test_the_target_hesitates_where_its_three_likeliest_are_alike() -> None:
    alike, sure = [5.0, 5, 5, -9], [9.0, 1, 1, 1]
    pair = [5.0, 5, -40, -40]  # ln 2
    logits = torch.tensor([alike, sure, pair])
    assert hesitates(logits, 0.3) == [True, False, True]
    assert hesitates(logits, math.log(2) + 0.01) == [True, False, False]
    assert hesitates(logits, math.log(3) + 0.01) == [False] * 3
    assert hesitates(logits, 0.0) == [True] * 3


@pytest.mark.parametrize("gap", [0.5, 1.5, 3.0, 4.0])
def test_the_entropy_is_that_of_the_three_among_themselves(gap: float) -> None:
    logits = torch.full((1, 30), -1.0)  # a broad rest that the entropy leaves out
    logits[0, 3], logits[0, 7], logits[0, 8] = gap, 0, 0
    weights = [math.exp(gap), 1, 1]
    entropy = -sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights)
    assert hesitates(logits, entropy - 1e-4) == [True]
    assert hesitates(logits, entropy + 1e-4) == [False]
    assert hesitates(logits.bfloat16(), entropy - 0.02) == [True]


def test_fewer_than_three_tokens_and_impossible_ones() -> None:
    assert hesitates(torch.zeros(1, 2), 0.69) == [True]
    assert hesitates(torch.tensor([[0.0, -math.inf, -math.inf]]), 0.01) == [False]
    assert hesitates(torch.tensor([[0.0, -math.inf, -math.inf]]), 0.0) == [True]  # no nan


WINDOW = tuple(range(10, 25))  # 15 candidates


@pytest.mark.parametrize("at", range(15))
def test_a_mismatch_is_deferred_to_the_next_candidates(at: int) -> None:
    choices = (*replaced(WINDOW, at, 39), 25)
    exempt = deferred(WINDOW, choices, [True] * 15, 5, 6)
    assert (at in exempt) == (at < 9), "the last six never pass"
    assert exempt == {i for i in range(9) if at not in range(i + 1, i + 6)}


@pytest.mark.parametrize("wrong", range(4, 12))
def test_one_of_the_next_five_that_does_not_match_rejects(wrong: int) -> None:
    choices = (*replaced(replaced(WINDOW, 3, 39), wrong, 38), 25)
    assert (3 in deferred(WINDOW, choices, [True] * 15, 5, 6)) == (wrong > 8)


def test_where_the_target_is_sure_nothing_passes() -> None:
    choices = (*replaced(WINDOW, 3, 39), 25)
    unsure = [i != 3 for i in range(15)]
    assert 3 not in deferred(WINDOW, choices, unsure, 5, 6)
    assert 3 in deferred(WINDOW, choices, [i == 3 for i in range(15)], 5, 6)


@pytest.mark.parametrize(
    ("length", "ahead", "strict", "passes"),
    [
        (1, 0, 0, {0}),
        (1, 1, 0, set()),  # nobody to defer to
        (1, 0, 1, set()),
        (3, 1, 0, {0, 1}),
        (3, 2, 0, {0}),
        (3, 3, 0, set()),
        (3, 0, 2, {0}),
        (3, 0, 4, set()),  # a window shorter than its strict end
        (6, 5, 6, set()),
        (7, 5, 6, {0}),
        (0, 5, 6, set()),
    ],
)
def test_short_windows(length: int, ahead: int, strict: int, passes: set[int]) -> None:
    tokens = list(range(length))
    assert deferred(tokens, [*tokens, 30], [True] * length, ahead, strict) == passes


def test_fly_from_logits_to_verdict() -> None:
    """Window of four, one to defer to, the last strict: unsure mismatches at 0 and 2, the target's word in doubt."""
    rule = Fly(nats=0.3, ahead=1, strict=1, guards=("none",))
    logits = wants(30, 12, 31, 14, 15)
    fly = rule.begin(Hearing())
    assert not fly.lossless

    def verify(logits: torch.Tensor) -> Verdict:
        return fly.verify(chain(*TOKENS), logits, Sampling(), torch.Generator())

    assert verify(logits).path == [], "sure of 30"
    logits[0, 33] = 49.5
    assert verify(logits).path == [0, 1]
    logits[2, 33] = 49.5
    verdict = verify(logits)
    assert verdict.path == [0, 1, 2, 3]
    assert [mark.how for mark in verdict.marks] == ["relaxed", "exact", "relaxed", "exact", "target"]
    assert [mark.other for mark in verdict.marks] == [30, None, 31, None, None]
    logits[3, 16], logits[3, 14] = 50, 49.5  # the candidate behind the second mismatch does not match
    assert verify(logits).path == [0, 1]
    assert fly.metrics()["relaxed"] == 0 + 1 + 2 + 1
    assert fly.metrics()["shifted"] == 0


# --- The control ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.3, 3), (0.7, 7), (1.0, 10)])
def test_random_relaxes_as_many_but_others_each_time(share: float, count: int) -> None:
    rule = RandomRelaxation(share, w=0, guards=("none",), seed=3)
    window = chain(*range(10))
    logits = wants(*range(11))
    drawn: list[list[tuple[bool, ...]]] = []
    for _ in range(2):
        control = rule.begin(Hearing())
        verdicts = [control.verify(window, logits, Sampling(), torch.Generator()) for _ in range(40)]
        drawn.append([tuple(not mark.strict for mark in verdict.marks[:-1]) for verdict in verdicts])
        assert control.metrics()["exempt_share"] == share
    assert drawn[0] == drawn[1], "a seed repeats itself"
    assert all(sum(marks) == count for marks in drawn[0])
    if 0 < count < 10:
        assert len(set(drawn[0])) > 10
        assert all(any(marks[i] for marks in drawn[0]) for i in range(10))
        other = RandomRelaxation(share, w=0, guards=("none",), seed=4).begin(Hearing())
        again = [other.verify(window, logits, Sampling(), torch.Generator()) for _ in range(40)]
        assert [tuple(not mark.strict for mark in verdict.marks[:-1]) for verdict in again] != drawn[0]


def test_random_relaxes_the_guess_as_often() -> None:
    control = RandomRelaxation(0.7, w=0, guards=("none",)).begin(Hearing())
    control.verify(chain(), wants(1), Sampling(), torch.Generator())
    verdicts = [control.verify(chain(), wants(1), Sampling(), torch.Generator(), lambda: Guess(2)) for _ in range(1000)]
    assert 640 < sum(verdict.next_token == 2 for verdict in verdicts) < 760
    assert {(verdict.next_token, verdict.marks[0].how) for verdict in verdicts} == {(2, "relaxed"), (1, "correction")}


# --- What all judges share --------------------------------------------------------------------------------------------


def test_the_guess_is_asked_for_only_behind_a_whole_window() -> None:
    asked: list[int] = []

    def guess() -> Guess:
        asked.append(1)
        return Guess(39)

    control = RandomRelaxation(0.0, w=2, guards=("none",)).begin(Hearing())
    control.verify(chain(), wants(1), Sampling(), torch.Generator())
    for choices, times in (((11, 12, 30, 14, 15), 0), (AGREED, 1)):
        asked.clear()
        verdict = control.verify(chain(*TOKENS), wants(*choices), Sampling(), torch.Generator(), guess)
        assert len(asked) == times
        assert verdict.guessed == bool(times)
    assert verdict.next_token == 15, "a strict guess that is wrong gives way to the target's token"
    assert verdict.marks[-1] == Mark("correction", other=39)
    verdict = control.verify(chain(*TOKENS), wants(*AGREED), Sampling(), torch.Generator(), lambda: None)
    assert (verdict.next_token, verdict.marks[-1], verdict.guessed) == (15, TARGET, False)


@pytest.mark.parametrize(("off", "how"), [(0, "exact"), (-1, "shifted"), (-2, "shifted"), (-3, "correction")])
def test_the_guess_may_be_shifted_too(off: int, how: str) -> None:
    control = RandomRelaxation(0.01, w=2, guards=("none",)).begin(Hearing())
    control.verify(chain(), wants(1), Sampling(), torch.Generator())
    token = AGREED[4 + off]
    verdict = control.verify(chain(*TOKENS), wants(*AGREED), Sampling(), torch.Generator(), lambda: Guess(token))
    assert verdict.marks[-1].how == how
    assert verdict.next_token == (15 if how == "correction" else token)


def test_a_guess_that_is_guarded_is_not_relaxed() -> None:
    for guarded, passed in ((frozenset[int](), True), (frozenset({39}), False), (frozenset({15}), False)):
        control = RandomRelaxation(1.0, w=0).begin(Hearing(guarded=guarded))
        control.verify(chain(), wants(1), Sampling(), torch.Generator())
        verdict = control.verify(chain(*TOKENS), wants(*AGREED), Sampling(), torch.Generator(), lambda: Guess(39))
        assert (verdict.next_token == 39) == passed


def test_the_first_token_is_the_targets_own() -> None:
    """It belongs to no window: the draft's guess of it is neither relaxed nor counted."""
    control = RandomRelaxation(1.0, w=2, guards=("none",)).begin(Hearing())
    for token in (3, 4):
        verdict = control.verify(chain(), wants(3), Sampling(), torch.Generator(), lambda token=token: Guess(token))
        if token == 3:
            assert (verdict.next_token, verdict.marks) == (3, (TARGET,))
    assert (verdict.next_token, verdict.marks[0].how) == (4, "relaxed"), "but the one behind it is"
    control = RandomRelaxation(1.0, w=2, guards=("none",)).begin(Hearing())
    assert control.verify(chain(), wants(3), Sampling(), torch.Generator(), lambda: Guess(4)).next_token == 3
