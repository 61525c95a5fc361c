"""Greedy verification on trees and logits made by hand."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rushes.sampling import Sampling
from rushes.verification.base import Lossless
from rushes.verification.exact import verify_exact
from rushes.window import Verdict, Window, ancestors, chain_parents

VOCABULARY = 10


def wants(*tokens: int) -> torch.Tensor:
    """(n, V) logits whose argmax are `tokens`."""
    return torch.nn.functional.one_hot(torch.tensor(tokens), VOCABULARY).float() - 3


@pytest.mark.parametrize(
    ("choices", "path", "following"),
    [
        ((9, 6, 7, 8), [], 9),
        ((5, 9, 7, 8), [0], 9),
        ((5, 6, 9, 8), [0, 1], 9),
        ((5, 6, 7, 9), [0, 1, 2], 9),
        ((9, 5, 6, 7), [], 9),  # the right tokens, one place late
        ((5, 9, 7, 7), [0], 9),  # what agrees again behind a rejection is lost
    ],
)
def test_a_chain_is_accepted_up_to_the_first_difference(
    choices: tuple[int, ...], path: list[int], following: int
) -> None:
    assert verify_exact(Window([5, 6, 7], chain_parents(3)), wants(*choices)) == Verdict(path, following)


#        root
#     5   6   7      0 1 2
#    1 2  1   3      3 4 5 6
#    4    4          7 (below 3)  8 (below 5)
TREE = Window([5, 6, 7, 1, 2, 1, 3, 4, 4], (-1, -1, -1, 0, 0, 1, 2, 3, 5))


@pytest.mark.parametrize(
    ("choices", "path", "following"),
    [
        ({}, [], 0),
        ({-1: 7}, [2], 0),
        ({-1: 5, 0: 2, 4: 8}, [0, 4], 8),
        ({-1: 5, 0: 1, 3: 4, 7: 9}, [0, 3, 7], 9),
        ({-1: 6, 1: 1, 5: 4, 8: 9}, [1, 5, 8], 9),  # not the cousins with the same tokens
        ({-1: 6, 1: 2, 0: 2}, [1], 2),  # 2 is a child of 5, not of 6
        ({-1: 7, 2: 1}, [2], 1),
    ],
)
def test_a_tree_is_walked_along_the_targets_choices(choices: dict[int, int], path: list[int], following: int) -> None:
    logits = wants(*(choices.get(node, 0) for node in range(-1, len(TREE))))
    assert verify_exact(TREE, logits) == Verdict(path, following)


def test_an_empty_window_is_plain_decoding() -> None:
    assert verify_exact(Window([], ()), wants(4)) == Verdict([], 4)


def test_the_lossless_verifier_is_exact_when_greedy() -> None:
    verifier = Lossless()
    assert verifier.lossless
    verdict = verifier.verify(Window([5, 6], chain_parents(2)), wants(5, 1, 2), Sampling(), torch.Generator())
    assert verdict == Verdict([0], 1)


@given(st.data())
def test_the_verdict_is_the_longest_path_that_the_target_would_write(data: Any) -> None:
    count = data.draw(st.integers(0, 9))
    parents = tuple(data.draw(st.integers(-1, node - 1)) for node in range(count))
    tokens: list[int] = []
    for node in range(count):  # siblings differ, as in every window that a drafter writes
        taken = {tokens[other] for other in range(node) if parents[other] == parents[node]}
        tokens.append(data.draw(st.sampled_from([token for token in range(VOCABULARY) if token not in taken][:4])))
    choices = data.draw(st.lists(st.integers(0, 3), min_size=count + 1, max_size=count + 1))
    window = Window(tokens, parents)
    verdict = verify_exact(window, wants(*choices))

    def agreed(node: int) -> bool:
        return all(tokens[a] == choices[parents[a] + 1] for a in ancestors(parents, node))

    longest = max((len(ancestors(parents, node)) for node in range(count) if agreed(node)), default=0)
    end = verdict.path[-1] if verdict.path else -1
    assert len(verdict.path) == longest
    assert verdict.path == (ancestors(parents, end) if verdict.path else [])
    assert not verdict.path or agreed(end)
    assert verdict.next_token == choices[end + 1]
