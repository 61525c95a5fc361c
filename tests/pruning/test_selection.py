"""Every scorer keeps exactly its budget, in order; the controls keep what they say."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rushes import RushesError
from rushes.methods import SCORERS
from rushes.pruning.base import budget_of, top
from rushes.pruning.controls import evenly
from rushes.signals import Signals, States

SIZES = st.integers(0, 400)


def signals(tokens: int, seed: int = 0) -> Signals:
    """All signals of a video of `tokens` tokens and, for what does not fill a frame of it, a second video."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = 1 + seed % 3, 2 + seed % 4
    frames, rest = divmod(tokens, rows * columns)
    videos = ((frames, rows, columns), (1, 1, rest))
    before, behind = (
        States(torch.randn(tokens, 6, generator=generator), torch.randn(3, 6, generator=generator)) for _ in range(2)
    )
    attention = torch.rand(tokens, generator=generator) ** 6
    return Signals(
        tokens,
        tuple((t, h, w) for t, h, w in videos if t * h * w),
        text_attention=attention,
        layer_attention=torch.stack([attention.flip(0), attention]),
        visual_attention=attention / attention.sum(),
        features=torch.randn(tokens, 4, generator=generator) if tokens else None,
        early_states=(before, behind) if tokens else None,
    )


@given(video_tokens=st.integers(0, 20_000), percent=st.integers(0, 1000))
def test_the_budget_is_the_floor_of_the_exact_product(video_tokens: int, percent: int) -> None:
    wanted = math.floor(Fraction(percent, 1000) * video_tokens)
    if percent and video_tokens and not wanted:
        with pytest.raises(RushesError, match="is less than one; give"):
            budget_of(percent / 1000, video_tokens)
    else:
        assert budget_of(percent / 1000, video_tokens) == wanted


@given(video_tokens=st.integers(1, 20_000))
def test_the_least_share_that_the_message_names_works(video_tokens: int) -> None:
    try:
        budget_of(1e-9, video_tokens)
    except RushesError as error:
        named = float(str(error).split("give ")[1].split()[0])
        assert budget_of(named, video_tokens) >= 1


@pytest.mark.parametrize("keep", [-0.01, 1.01, float("nan"), 10])
def test_a_share_outside_of_0_to_1_is_refused(keep: float) -> None:
    with pytest.raises(RushesError, match="keep must be between 0"):
        budget_of(keep, 10)


@pytest.mark.parametrize("name", SCORERS)
@given(tokens=SIZES, keep=st.floats(0, 1), seed=st.integers(0, 9))
def test_exactly_the_budget_is_kept_ascending_and_distinct(name: str, tokens: int, keep: float, seed: int) -> None:
    scorer = SCORERS[name]()
    seen = signals(tokens, seed)
    scores = scorer.score(seen)
    assert scores.shape == ((2, tokens) if scorer.per_layer else (tokens,))
    assert torch.isfinite(scores).all()
    try:
        budget = scorer.budget(keep, tokens)
    except RushesError:  # a share above 0 of less than one token
        assert 0 < keep * tokens < 1
        return
    for grids in (seen.grids, ()):
        selected = scorer.select(scores, budget, grids)
        for kept in selected.tolist() if scorer.per_layer else [selected.tolist()]:
            assert len(kept) == {"full": tokens, "none": 0}.get(name, math.floor(keep * tokens + 1e-9))
            assert kept == sorted(set(kept))
            assert all(0 <= index < tokens for index in kept)


@pytest.mark.parametrize("name", ["uniform", "random", "specvlm", "hippo", "uvprune"])
@pytest.mark.parametrize("tokens", [0, 1, 2, 7])
def test_nothing_and_everything(name: str, tokens: int) -> None:
    scorer = SCORERS[name]()
    seen = signals(tokens)
    scores = scorer.score(seen)
    for grids in (seen.grids, ()):
        assert scorer.select(scores, 0, grids).tolist() == []
        assert scorer.select(scores, tokens, grids).tolist() == list(range(tokens))


@pytest.mark.parametrize("name", SCORERS)
def test_the_same_signals_keep_the_same_tokens(name: str) -> None:
    first, second = (
        scorer.select(scorer.score(signals(50)), 9, signals(50).grids).tolist()
        for scorer in (SCORERS[name](), SCORERS[name]())
    )
    assert first == second


@given(scores=st.lists(st.integers(0, 3), max_size=40), data=st.data())
def test_the_highest_scores_stay_and_among_equals_the_earlier(scores: list[int], data: st.DataObject) -> None:
    budget = data.draw(st.integers(0, len(scores)))
    wanted = sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:budget])
    assert top(torch.tensor(scores, dtype=torch.float32), budget).tolist() == wanted


@given(tokens=st.integers(1, 300), data=st.data())
def test_evenly_is_even(tokens: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, tokens))
    picked = evenly(torch.arange(100, 100 + tokens), count).tolist()
    assert picked[0] == 100
    assert count == 1 or picked[-1] == 99 + tokens
    gaps = {b - a for a, b in pairwise(picked)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_random_is_seeded_and_random() -> None:
    random = SCORERS["random"]
    draws = [random(seed=seed) for seed in range(200)]  # type: ignore[call-arg]
    picks = [tuple(scorer.select(scorer.score(signals(20)), 5).tolist()) for scorer in draws]
    assert len(set(picks)) > 150
    often = torch.bincount(torch.tensor(picks).flatten(), minlength=20)
    assert 20 < often.min() <= often.max() < 85  # 50 each on average
