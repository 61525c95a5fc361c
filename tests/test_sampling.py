"""Warping equals transformers' logits processors; out-of-range options are refused."""

from itertools import product
from typing import Any

import pytest
import torch
from scipy import stats

from rushes import RushesError
from rushes._transformers import transformers
from rushes.sampling import RepetitionPenalty, Sampling, draw


def by_transformers(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> torch.Tensor:
    warpers: list[Any] = [transformers.TemperatureLogitsWarper(temperature)]
    warpers += [transformers.TopKLogitsWarper(top_k)] if top_k else []
    warpers += [transformers.TopPLogitsWarper(top_p)] if top_p < 1 else []
    for warper in warpers:
        logits = warper(None, logits)
    return logits.softmax(-1)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), product([0.3, 1.0, 2.5], [0, 1, 5, 40, 100], [1.0, 0.95, 0.5, 0.01])
)
def test_probabilities_are_those_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    logits = 3 * torch.randn(7, 40, generator=torch.Generator().manual_seed(0))
    ours = Sampling(temperature, top_p, top_k).probabilities(logits)
    wanted = by_transformers(logits.clone(), temperature, top_k, top_p)
    assert torch.equal(ours > 0, wanted > 0)
    torch.testing.assert_close(ours, wanted)


def test_equal_logits_at_the_cut_all_stay_as_in_transformers() -> None:
    logits = torch.tensor([[2.0, 1.0, 1.0, 0.0]])
    torch.testing.assert_close(Sampling(1.0, top_k=2).probabilities(logits), by_transformers(logits, 1.0, 2, 1.0))


def test_half_precision_logits_are_warped_in_fp32() -> None:
    logits = torch.randn(3, 20, generator=torch.Generator().manual_seed(0)).bfloat16()
    made = Sampling(0.7).probabilities(logits)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, (logits.float() / 0.7).softmax(-1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature must be 0"),
        ({"temperature": float("nan")}, "temperature must be 0"),
        ({"temperature": float("inf")}, "temperature must be 0"),
        ({"temperature": 1e-6}, "temperature must be 0"),
        ({"seed": -1}, "seed must be between 0"),
        ({"seed": 2**63}, "seed must be between 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.01}, "top_p must be above 0"),
        ({"top_k": -1}, "top_k must be 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be between 1e-06 and"),
        ({"repetition_penalty": float("inf")}, "got inf"),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RushesError, match=message):
        Sampling(**options)


def test_temperature_zero_is_greedy() -> None:
    assert Sampling().greedy
    assert not Sampling(0.1).greedy


def test_a_seed_repeats_and_streams_of_one_seed_differ() -> None:
    cpu = torch.device("cpu")

    def numbers(seed: int | None, stream: int = 0) -> torch.Tensor:
        return torch.rand(2000, generator=Sampling(seed=seed).generator(cpu, stream))

    assert torch.equal(numbers(3), numbers(3))
    assert torch.equal(numbers(3, 1), numbers(3, 1))
    assert not torch.equal(numbers(None), numbers(None))
    for seed in (0, 1, 2**31, 2**63 - 1):
        assert abs(stats.pearsonr(numbers(seed), numbers(seed, 1)).statistic) < 0.1


def test_draws_need_no_normalised_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(torch.tensor([0.0, 2.0, 6.0]), generator) for _ in range(400)]
    assert 0 not in drawn
    assert 0.65 < drawn.count(2) / 400 < 0.85


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.3])
def test_the_penalty_of_each_row_is_that_of_transformers_for_its_own_history(penalty: float) -> None:
    logits = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    ours = RepetitionPenalty(penalty, torch.tensor([1, 1, 4, 90]), vocabulary=12)  # 90: a row that was cut off
    ours.add([7])
    made = ours(logits, [[], [2], [2, 3]])
    processor = transformers.RepetitionPenaltyLogitsProcessor(penalty)
    for row, history in enumerate(([1, 4, 7], [1, 4, 7, 2], [1, 4, 7, 2, 3])):
        wanted = processor(torch.tensor([history]), logits[row : row + 1].clone())
        torch.testing.assert_close(made[row : row + 1], wanted)
