"""Relevance is the mean of the largest cosines with the video's states, whatever the lengths, the N and the type."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rushes.verification.relevance import directions, relevance


def plain(states: list[list[float]], video: list[list[float]], top: int) -> list[float]:
    """The same in plain Python, from states of any length."""

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    return [sum(sorted((cosine(s, v) for v in video), reverse=True)[:top]) / top for s in states]


def made(rows: int, width: int, seed: int) -> list[list[float]]:
    """Rows of very different lengths: what forgets to divide by a length shows."""
    dice = random.Random(seed)
    return [[10 ** dice.uniform(-2, 2) * dice.gauss(0, 1) for _ in range(width)] for _ in range(rows)]


@given(st.integers(1, 6), st.integers(1, 8), st.integers(2, 9), st.data())
def test_it_is_the_mean_of_the_largest_cosines(n: int, m: int, width: int, data: st.DataObject) -> None:
    top = data.draw(st.integers(1, m))
    seed = data.draw(st.integers(0, 99))
    states, video = made(n, width, seed), made(m, width, seed + 100)
    found = relevance(torch.tensor(states), directions(torch.tensor(video)), top)
    assert found.shape == (n,)
    assert found.tolist() == pytest.approx(plain(states, video, top), abs=1e-5)


def test_one_is_the_best_cosine_and_all_is_the_mean_of_all() -> None:
    states, video = torch.randn(5, 16), torch.randn(7, 16)
    cosines = torch.cosine_similarity(states[:, None], video[None], dim=-1)
    assert torch.allclose(relevance(states, directions(video), 1), cosines.max(-1).values, atol=1e-6)
    assert torch.allclose(relevance(states, directions(video), 7), cosines.mean(-1), atol=1e-6)


def test_a_candidate_that_is_one_of_the_videos_states() -> None:
    video = directions(3 * torch.eye(4)[:3])  # three directions at right angles
    states = torch.tensor([[0.0, 5, 0, 0], [0, 0, 0, 5], [0, -5, 0, 0], [1, 1, 0, 0]])
    half = math.sqrt(0.5)
    assert relevance(states, video, 1).tolist() == pytest.approx([1, 0, 0, half])
    assert relevance(states, video, 2).tolist() == pytest.approx([1 / 2, 0, 0, half])
    assert relevance(states, video, 3).tolist() == pytest.approx([1 / 3, 0, -1 / 3, 2 * half / 3])


def test_no_candidates() -> None:
    assert relevance(torch.zeros(0, 8), directions(torch.randn(4, 8)), 2).shape == (0,)


def test_directions_have_length_one_and_keep_the_type() -> None:
    states = torch.tensor(made(20, 12, 3))
    assert torch.allclose(directions(states).norm(dim=-1), torch.ones(20))
    assert torch.allclose(directions(states) * states.norm(dim=-1, keepdim=True), states, rtol=1e-4)
    assert directions(states.bfloat16()).dtype == torch.bfloat16


def test_half_precision_is_close_and_its_large_states_do_not_overflow() -> None:
    generator = torch.Generator().manual_seed(0)
    states, video = (torch.randn(rows, 256, generator=generator) for rows in (9, 40))
    video[:9] += states  # cosines of every size, not only those of chance
    wanted = relevance(states, directions(video), 10)
    for kind, near in ((torch.bfloat16, 0.01), (torch.float16, 0.002)):
        found = relevance(1000 * states.to(kind), directions(1000 * video.to(kind)), 10)
        assert found.dtype == torch.float32
        assert torch.allclose(found, wanted, atol=near)
