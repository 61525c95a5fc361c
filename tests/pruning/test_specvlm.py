"""SpecVLM's two stages on scores made by hand."""

import pytest
import torch

from rushes import RushesError
from rushes.pruning.specvlm import SpecVLM
from rushes.signals import Signals


def kept(scores: list[float], budget: int, share: float = 0.5) -> list[int]:
    return SpecVLM(share).select(torch.tensor(scores), budget).tolist()


@pytest.mark.parametrize(
    ("scores", "budget", "share", "wanted"),
    [
        # Stage I: 5 is half of 10. The rest, 0 1 2 4 5, spread over two: its ends.
        ([1, 1, 1, 5, 1, 1], 3, 0.5, [0, 3, 5]),
        # A little more than half needs the next one too: the first of the ones.
        ([1, 1, 1, 5, 1, 1], 3, 0.51, [0, 1, 3]),
        # The shortest prefix: 4 + 3 of 12 reaches 0.5, 4 alone does not. Stage II: 0 2 4 5 -> 0 and 5.
        ([1, 4, 1, 3, 2, 1], 4, 0.5, [0, 1, 3, 5]),
        # Stage II alone: linspace over everything.
        ([1, 9, 1, 1, 1, 1, 1], 3, 0.0, [0, 3, 6]),
        # Stage I exceeds the budget and is cut to it, the highest first.
        ([2, 3, 2, 3, 2, 3], 2, 0.9, [1, 3]),
        # Everything is attended alike: the earlier ones.
        ([1, 1, 1, 1], 2, 1.0, [0, 1]),
        # Stage I fills the budget exactly: nothing is left to spread.
        ([0, 3, 0, 3], 2, 1.0, [1, 3]),
        # No attention at all: one token is prefix enough, the rest is spread.
        ([0, 0, 0, 0, 0], 3, 0.5, [0, 1, 4]),
        ([7.0], 1, 0.5, [0]),
        ([7.0], 0, 0.5, []),
    ],
)
def test_stage_one_then_stage_two(scores: list[float], budget: int, share: float, wanted: list[int]) -> None:
    assert kept(scores, budget, share) == wanted


def test_stage_two_takes_no_token_twice() -> None:
    scores = [0.0] * 30
    scores[0], scores[15], scores[29] = 1.0, 2.0, 1.0  # where an even spread over everything would go
    assert kept(scores, 6, 1.0) == [0, 1, 14, 15, 28, 29]


def test_the_scale_of_the_scores_does_not_matter() -> None:
    scores = torch.rand(40, generator=torch.Generator().manual_seed(0))
    for factor in (2.0**-20, 2.0**20):
        for share in (0.3, 0.5, 1.0):
            assert kept((scores * factor).tolist(), 20, share) == kept(scores.tolist(), 20, share)


def test_the_score_is_the_recorded_attention() -> None:
    attention = torch.tensor([0.1, 0.2])
    assert SpecVLM().score(Signals(2, text_attention=attention)) is attention


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_of_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(RushesError, match="attention_share"):
        SpecVLM(share)
