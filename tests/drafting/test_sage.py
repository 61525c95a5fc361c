"""SAGE's tree: deep where the draft is sure, wide where it is not, never more than its nodes."""

import math
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rushes import RushesError
from rushes.drafting.sage import LEAST_DEPTH, AdaptiveTree, Outlook, certainty
from rushes.drafting.state import Order
from rushes.sampling import Sampling
from rushes.window import Window

VOCABULARY = 40


class Table:
    """A draft whose next-token logits depend on the last token only."""

    def __init__(self, logits: Tensor, sampling: Sampling | None = None) -> None:
        self.table = logits
        self.sampling = sampling or Sampling()
        self.generator = torch.Generator().manual_seed(0)
        self.model = SimpleNamespace(logits=lambda tokens: self.table[tokens], device=torch.device("cpu"))
        self.cache = SimpleNamespace(length=0)
        self.pending = [0]
        self.accepted: deque[int] = deque(maxlen=10)
        self.outlook: Any = None
        self.forwards = 0
        self.order = Order()

    def penalty(self, logits: Tensor, paths: list[list[int]]) -> Tensor:
        return logits

    def read_pending(self) -> Tensor:
        self.forwards += 1
        return self.table[self.pending[-1:]]

    def run(self, tokens: list[int], depths: list[int], mask: Tensor | None) -> Tensor:
        self.forwards += 1
        self.cache.length += len(tokens)
        return torch.tensor(tokens)


def windows(state: Table, count: int, drafter: AdaptiveTree | None = None, limit: int = 50) -> list[Window]:
    made = []
    for _ in range(count):
        state.cache.length = 0
        made.append((drafter or AdaptiveTree()).draft(state, limit))  # type: ignore[arg-type]
    return made


def sure(spread: float) -> Tensor:
    """Logits that prefer the token behind the last one by `spread`."""
    return spread * torch.eye(VOCABULARY).roll(1, 1)


def test_certainty_is_one_for_a_sure_draft_and_zero_for_a_guess_among_ten() -> None:
    assert certainty(torch.eye(20)[3]) == 1.0
    assert certainty(torch.full((20,), 0.05)) == pytest.approx(0.0, abs=1e-6)
    two = torch.zeros(20)
    two[:2] = 0.5
    assert certainty(two) == pytest.approx(1 - math.log(2) / math.log(10))
    assert certainty(torch.tensor([0.5, 0.5])) == pytest.approx(1 - math.log(2) / math.log(10))


def test_the_step_before_sets_the_tree() -> None:
    first, second = windows(Table(sure(50.0)), 2)
    assert first.depth == round(LEAST_DEPTH + 0.5 * 5)  # nothing is known yet: u = 1/2
    assert second.depth == 8  # u = 1
    assert [second.depths.count(level) for level in (1, 2)] == [3, 2]  # W = 2: 2 x 1.5, and 1 x 1.5 for the sure one
    first, second = windows(Table(torch.zeros(VOCABULARY, VOCABULARY)), 2)
    assert second.depths.count(1) == 15  # W = 10: 10 x 1.5
    assert second.depth == 1  # no child is likely enough to be expanded


def test_unlikely_children_are_candidates_but_are_not_expanded() -> None:
    logits = torch.full((VOCABULARY, VOCABULARY), -20.0)
    logits[:, 1], logits[:, 2], logits[:, 3] = math.log(0.9), math.log(0.09), math.log(0.01)
    state = Table(logits)
    window = windows(state, 2)[1]
    by_parent = {window.tokens[parent] for parent in window.parents if parent >= 0}
    assert by_parent == {1, 2}
    assert {window.tokens[node] for node, parent in enumerate(window.parents) if parent < 0} >= {1, 2, 3}


@given(
    spread=st.floats(0, 12),
    nodes=st.integers(1, 64),
    gamma=st.integers(1, 12),
    limit=st.integers(0, 12),
    seed=st.integers(0, 5),
)
def test_no_window_passes_its_nodes_its_depth_or_the_limit(
    spread: float, nodes: int, gamma: int, limit: int, seed: int
) -> None:
    logits = spread * torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed))
    for sampling in (Sampling(), Sampling(1.0)):
        state = Table(logits, sampling)
        for window in windows(state, 3, AdaptiveTree(gamma, nodes), limit):
            assert len(window) <= nodes
            assert window.depth <= min(gamma, limit, 8)
            assert all(parent < node for node, parent in enumerate(window.parents))
            assert (len(window) > 0) == (limit > 0)
            assert (window.q is None) == (sampling.greedy or limit == 0)
            for siblings in window.children.values():
                assert len({window.tokens[node] for node in siblings}) == len(siblings)


def test_a_level_costs_one_forward() -> None:
    state = Table(sure(50.0))
    before, window = state.forwards, windows(state, 1)[0]
    assert state.forwards - before == window.depth


@pytest.mark.parametrize(("accepted", "wanted"), [(8, 9), (7, 9), (5, 8), (1, 7)])
def test_the_last_ten_accepted_lengths_move_the_maximum_depth(accepted: int, wanted: int) -> None:
    state = Table(sure(50.0))
    state.outlook = Outlook(certainty=1.0)
    state.accepted.extend([accepted] * 9)
    assert windows(state, 1)[0].depth == 8  # nine rounds are too few
    state.accepted.append(accepted)
    assert windows(state, 1)[0].depth == wanted


def test_the_maximum_depth_stays_between_three_and_gamma() -> None:
    state = Table(sure(50.0))
    for accepted, depth in ((0, LEAST_DEPTH), (40, 10)):
        state.accepted.extend([accepted] * 10)
        assert windows(state, 12)[-1].depth == depth


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(RushesError, match="gamma must be between 1 and 1024, got 0"):
        AdaptiveTree(0)
    with pytest.raises(RushesError, match="nodes must be between 1 and 1024, got 0"):
        AdaptiveTree(nodes=0)


def test_no_more_children_than_there_are_tokens_to_draw() -> None:
    logits = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(0))
    state = Table(logits, Sampling(1.0, top_k=2))
    for window in windows(state, 4):
        assert window.q is not None
        assert all(len(siblings) <= 2 for siblings in window.children.values())
        assert all(window.q[node, token] > 0 for node, token in enumerate(window.tokens))
