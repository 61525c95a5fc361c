"""A draft tree while it grows, one level and one forward at a time."""

from functools import lru_cache

import torch
from torch import Tensor

from rushes.drafting.state import DraftState
from rushes.window import Window, ancestors, behind


class Growth:
    """Reads what is pending and then adds level below level; drafters decide how wide and how deep.

    Attributes:
        nodes: The nodes whose logits are known, -1 for the last emitted token.
        logits: (len(nodes), V).
        tokens, parents: The tree so far.
    """

    def __init__(self, state: DraftState) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.nodes = [-1]
        self._state = state
        self._offset = len(state.pending)
        self._depth = 0
        self._slots: list[int] = []  # from the window's first one
        self._q: list[Tensor] = []
        self._distributions: Tensor | None = None
        self.logits = state.read_pending()
        self._base = state.cache.length

    @property
    def distributions(self) -> Tensor:
        """(len(nodes), V) fp32: what candidates are drawn from; under greedy decoding the plain softmax."""
        if self._distributions is None:
            sampling = self._state.sampling
            self._distributions = (
                self.logits.float().softmax(-1) if sampling.greedy else sampling.probabilities(self.logits)
            )
        return self._distributions

    def add(self, counts: list[int]) -> list[int]:
        """Give each of `nodes` so many children; returns the new nodes, elder siblings first.

        Children are the best tokens by rank, or when sampling, drawn without replacement. For sampling to stay
        lossless the counts may depend on everything but the draws of this very level.
        """
        first = len(self.tokens)
        for parent, count in zip(self.nodes, counts, strict=True):
            self.parents += [parent] * count
        if self._state.sampling.greedy:
            best = self.logits.topk(min(max(counts), self.logits.shape[-1]), dim=-1).indices.tolist()
            for row, count in zip(best, counts, strict=True):
                self.tokens += [row[min(rank, len(row) - 1)] for rank in range(count)]
        else:
            for row, count in enumerate(counts):
                self._draw(self.distributions[row], count)
        self._slots += [-1] * (len(self.tokens) - first)
        self._depth += 1
        return list(range(first, len(self.tokens)))

    def _draw(self, distribution: Tensor, count: int) -> None:
        rest = distribution.clone()
        for _ in range(count):
            left = rest.sum()
            if float(left) <= 0:  # nothing left to draw: verification skips candidates of probability 0
                self._q.append(torch.zeros_like(rest))
                self.tokens.append(0)
                continue
            self._q.append(rest / left)
            self.tokens.append(int(torch.multinomial(rest, 1, generator=self._state.generator)))
            rest[self.tokens[-1]] = 0

    def run(self, nodes: list[int]) -> None:
        """One forward over nodes of the last level, so that they can have children."""
        state = self._state
        for i, node in enumerate(nodes):
            self._slots[node] = state.cache.length - self._base + i
        own = _own_columns(tuple(self.parents), tuple(nodes), tuple(self._slots), state.model.device)
        mask = behind(self._base, own)
        hidden = state.run([self.tokens[node] for node in nodes], [self._offset + self._depth - 1] * len(nodes), mask)
        paths = [[self.tokens[a] for a in ancestors(self.parents, node)] for node in nodes]
        self.nodes, self._distributions = nodes, None
        self.logits = state.penalty(state.model.logits(hidden), paths)

    def window(self) -> Window:
        """The tree, for verification."""
        slots = [self._base + slot if slot >= 0 else -1 for slot in self._slots]
        return Window(self.tokens, tuple(self.parents), slots, torch.stack(self._q) if self._q else None)


@lru_cache(1024)
def _own_columns(
    parents: tuple[int, ...], nodes: tuple[int, ...], slots: tuple[int, ...], device: torch.device
) -> Tensor:
    """(rows, columns) bool: each node sees its ancestors' slots and its own; slots count from the window's first."""
    own = torch.zeros(len(nodes), max(slots) + 1, dtype=torch.bool)
    for row, node in enumerate(nodes):
        own[row, [slots[ancestor] for ancestor in ancestors(parents, node)]] = True
    return own.to(device)
