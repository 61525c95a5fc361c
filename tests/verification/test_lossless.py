"""Sampled tokens follow the target's distribution, whatever the draft proposes: chi-square, with power."""

from collections import Counter, deque
from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from goodness import ALPHA, p_value
from rushes.drafting.chain import Chain
from rushes.drafting.sage import AdaptiveTree
from rushes.drafting.state import Order
from rushes.drafting.tree import StaticTree
from rushes.sampling import Sampling, draw
from rushes.verification.lossless import verify_sampling
from rushes.window import Verdict, Window, chain_parents

VOCABULARY = 6
START = 0
DRAWS = 2500
DRAFTERS: dict[str, Any] = {
    "chain": Chain(2),
    "siblings": StaticTree(1, "0 1 2"),
    "tree": StaticTree(3, "0 1 2 00 01 10 000 001"),
    "adaptive": AdaptiveTree(gamma=3, nodes=8),
}
Verify = Callable[[Window, Tensor, torch.Generator], Verdict]


class Bigram:
    """A language model in a table: the next token's logits depend on the last token only."""

    def __init__(self, logits: Tensor) -> None:
        self.table = logits

    def logits(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


class BigramState:
    """The part of `DraftState` that drafters use, around a `Bigram`."""

    def __init__(self, model: Bigram, sampling: Sampling, generator: torch.Generator) -> None:
        self.order = Order()
        self.model, self.sampling, self.generator = (
            SimpleNamespace(logits=model.logits, device=torch.device("cpu")),
            sampling,
            generator,
        )
        self.cache = SimpleNamespace(length=0)
        self.pending = [START]
        self.accepted: deque[int] = deque(maxlen=10)
        self.outlook: Any = None

    def penalty(self, logits: Tensor, paths: list[list[int]]) -> Tensor:
        return logits

    def read_pending(self) -> Tensor:
        return self.model.logits(torch.tensor(self.pending[-1:]))

    def run(self, tokens: list[int], depths: list[int], mask: Tensor | None) -> Tensor:
        self.cache.length += len(tokens)
        return torch.tensor(tokens)


def tables(kind: str) -> tuple[Tensor, Tensor]:
    """Logits of the target and of the draft, (V, V) each."""
    generator = torch.Generator().manual_seed(3)
    target = 1.5 * torch.randn(VOCABULARY, VOCABULARY, generator=generator)
    if kind == "equal":
        return target, target.clone()
    if kind == "random":
        return target, 1.5 * torch.randn(VOCABULARY, VOCABULARY, generator=generator)
    if kind == "greedy":  # a one-hot q
        return target, 100 * torch.randn(VOCABULARY, VOCABULARY, generator=generator)
    disjoint = torch.arange(VOCABULARY) < VOCABULARY // 2
    return target.masked_fill(disjoint, -1e9), target.masked_fill(~disjoint, -1e9)


def pairs(
    drafter: Any, kind: str, sampling: Sampling, verify: Verify = verify_sampling, draws: int = DRAWS
) -> tuple[Counter[Any], dict[Any, float]]:
    """Counts of the first two emitted tokens in `draws` answers, and their probabilities under the target alone."""
    target, draft = tables(kind)
    p = sampling.probabilities(target)
    state = BigramState(Bigram(draft), sampling, torch.Generator().manual_seed(11))
    generator = torch.Generator().manual_seed(12)
    counts: Counter[Any] = Counter()
    for _ in range(draws):
        emitted: list[int] = []
        while len(emitted) < 2:
            state.pending, state.cache.length = [(emitted or [START])[-1]], 0
            window = drafter.draft(state, 8)
            verdict = verify(window, p[[state.pending[-1], *window.tokens]], generator)
            state.accepted.append(len(verdict.path))
            emitted += [window.tokens[node] for node in verdict.path] + [verdict.next_token]
        counts[tuple(emitted[:2])] += 1
    expected = {(a, b): float(p[START, a] * p[a, b]) for a, b in product(range(VOCABULARY), repeat=2)}
    return counts, {outcome: chance for outcome, chance in expected.items() if chance > 0}


def both_p_values(counts: Counter[Any], expected: dict[Any, float]) -> tuple[float, float]:
    """Of the first token, and of the pair."""
    first, chances = Counter[Any](), Counter[Any]()
    for (token, _), count in counts.items():
        first[token] += count
    for (token, _), chance in expected.items():
        chances[token] += chance
    return p_value(first, chances), p_value(counts, expected)


@pytest.mark.parametrize("kind", ["equal", "disjoint", "random", "greedy"])
@pytest.mark.parametrize("shape", DRAFTERS)
def test_the_first_token_and_pairs_follow_the_target(shape: str, kind: str) -> None:
    assert min(both_p_values(*pairs(DRAFTERS[shape], kind, Sampling(1.0)))) > ALPHA


@pytest.mark.parametrize("sampling", [Sampling(0.6, top_k=3), Sampling(1.3, top_p=0.7), Sampling(1.0, 0.9, 4)], ids=str)
@pytest.mark.parametrize("shape", ["chain", "tree", "adaptive"])
def test_truncated_distributions_are_followed_too(shape: str, sampling: Sampling) -> None:
    counts, expected = pairs(DRAFTERS[shape], "random", sampling)
    assert len(expected) < VOCABULARY**2  # truncation did bite
    assert min(both_p_values(counts, expected)) > ALPHA


def accept_always(window: Window, p: Tensor, generator: torch.Generator) -> Verdict:
    path, node = [], -1
    while window.children.get(node):
        node = window.children[node][0]
        path.append(node)
    return Verdict(path, draw(p[node + 1], generator))


def wrong(rest_after: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Verify:
    """Verification as it should be but for what is left of p after a rejection: `rest_after(p, rest, q)`."""

    def verify(window: Window, p: Tensor, generator: torch.Generator) -> Verdict:
        path, node = [], -1
        while True:
            rest, accepted = p[node + 1], -1
            for child in window.children.get(node, ()):
                token, q = window.tokens[child], window.q[child]
                if q[token] > 0 and float(torch.rand((), generator=generator)) * q[token] < rest[token]:
                    accepted = child
                    break
                rest = rest_after(p[node + 1], rest, q)
            if accepted < 0:
                return Verdict(path, draw(rest, generator))
            path.append(accepted)
            node = accepted

    return verify


def normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum()


WRONG: dict[str, Verify] = {
    "accepts always": accept_always,
    "forgets to take q out": wrong(lambda p, rest, q: rest),
    "does not renormalise": wrong(lambda p, rest, q: (rest - q).clamp_min(0)),
    "starts from p again for each sibling": wrong(lambda p, rest, q: normalised((p - q).clamp_min(0))),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_same_chi_square_finds_wrong_verifiers(name: str) -> None:
    assert min(both_p_values(*pairs(DRAFTERS["siblings"], "random", Sampling(1.0), WRONG[name]))) < ALPHA


def test_the_chi_square_passes_the_textbook_written_down_once_more() -> None:
    textbook = wrong(lambda p, rest, q: normalised((rest - q).clamp_min(0)))
    assert min(both_p_values(*pairs(DRAFTERS["siblings"], "random", Sampling(1.0), textbook))) > ALPHA


def test_equal_distributions_are_always_accepted() -> None:
    p = torch.full((4, 3), 1 / 3)
    window = Window([0, 1, 2], chain_parents(3), q=p[:3])
    generator = torch.Generator().manual_seed(0)
    assert all(verify_sampling(window, p, generator).path == [0, 1, 2] for _ in range(100))


def test_disjoint_distributions_are_never_accepted() -> None:
    p = torch.tensor([[0.0, 0.0, 0.3, 0.7]]).expand(3, -1)
    window = Window([0, 1], (-1, -1), q=torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]))
    generator = torch.Generator().manual_seed(0)
    verdicts = [verify_sampling(window, p, generator) for _ in range(100)]
    assert all(verdict.path == [] and verdict.next_token in (2, 3) for verdict in verdicts)


def test_candidates_without_probability_are_skipped() -> None:
    """More siblings than the draft has tokens to draw: the rest are no candidates, even where p likes their token."""
    window = Window([1, 0], (-1, -1), q=torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    p = torch.tensor([[1.0, 0.0, 0.0]] * 3)
    verdict = verify_sampling(window, p, torch.Generator().manual_seed(0))
    assert verdict == Verdict([], 0)


def test_an_empty_window_samples_from_the_target() -> None:
    p, generator = torch.tensor([[0.2, 0.5, 0.3]]), torch.Generator().manual_seed(0)
    counts = Counter(verify_sampling(Window([], ()), p, generator).next_token for _ in range(2000))
    assert p_value(counts, dict(enumerate(p[0].tolist()))) > ALPHA
