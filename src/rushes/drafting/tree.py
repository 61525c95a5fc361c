"""SpecVLM's static draft tree (arXiv 2508.16201 and its official code): 25 nodes, depth 5, 5 forwards of the draft."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from rushes.drafting.state import DraftState
from rushes.errors import RushesError
from rushes.window import Window, ancestors, behind, tree_depths

# Each node by the ranks of its ancestors and itself among the draft's choices.
SPECVLM_TREE = (
    "0 1 2 3 "
    "00 01 02 10 11 20 21 30 "
    "000 001 002 010 011 020 021 100 "
    "0000 0001 0002 "
    "00000 00001"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """A static tree: parents in topological order, and each node's rank among its siblings."""

    parents: tuple[int, ...]
    ranks: tuple[int, ...]

    @classmethod
    @cache
    def parse(cls, paths: str, depth: int) -> "Shape":
        """From rank paths, cut at `depth`; deeper than the paths go, the best one goes on as a chain.

        Raises:
            RushesError: A node's parent is missing.
        """
        names = [name for name in paths.split() if len(name) <= depth]
        while len(names[-1]) < depth:
            names.append("0" * (len(names[-1]) + 1))
        where = {name: i for i, name in enumerate(names)}
        for name in names:
            if len(name) > 1 and name[:-1] not in where:
                raise RushesError(f"draft tree: node {name} has no parent {name[:-1]}")
        return cls(tuple(where.get(n[:-1], -1) for n in names), tuple(int(n[-1]) for n in names))

    def levels(self) -> list[list[int]]:
        """Nodes by depth."""
        depths = tree_depths(self.parents)
        return [[i for i, d in enumerate(depths) if d == level] for level in range(1, max(depths) + 1)]


@dataclass(frozen=True, slots=True)
class StaticTree:
    """Drafter of a static tree of depth `gamma`. Only nodes with children are run by the draft."""

    gamma: int = 5
    paths: str = SPECVLM_TREE

    def __post_init__(self) -> None:
        if self.gamma < 1:
            raise RushesError(f"gamma must be 1 or more, got {self.gamma}")
        Shape.parse(self.paths, self.gamma)

    @property
    def max_nodes(self) -> int:
        """Slots that a window can take in a cache."""
        return len(Shape.parse(self.paths, self.gamma).parents)

    def draft(self, state: DraftState, limit: int) -> Window:
        """Write a tree of at most `limit` levels."""
        if min(self.gamma, limit) < 1:
            return Window([], ())
        shape = Shape.parse(self.paths, min(self.gamma, limit))
        count = len(shape.parents)
        tokens, slots = [0] * count, [-1] * count
        q: list[Tensor | None] = [None] * count
        offset = len(state.pending)
        logits = state.read_pending()
        base = state.cache.length
        inner = [-1]  # the nodes whose logits these are
        levels = shape.levels()
        for depth, level in enumerate(levels):
            _choose(state, shape, level, inner, logits, tokens, q)
            if depth + 1 == len(levels):
                break
            parents = {shape.parents[node] for node in levels[depth + 1]}
            inner = [node for node in level if node in parents]
            for i, node in enumerate(inner):
                slots[node] = state.cache.length - base + i
            own = _own_columns(shape.parents, tuple(inner), tuple(slots)).to(state.model.device)
            mask = behind(base, own)
            hidden = state.run([tokens[node] for node in inner], [offset + depth] * len(inner), mask)
            paths = [[tokens[a] for a in ancestors(shape.parents, node)] for node in inner]
            logits = state.penalty(state.model.logits(hidden), paths)
        drawn = [x for x in q if x is not None]
        slots = [base + slot if slot >= 0 else -1 for slot in slots]
        return Window(tokens, shape.parents, slots, torch.stack(drawn) if drawn else None)


def _choose(
    state: DraftState,
    shape: Shape,
    level: list[int],
    inner: list[int],
    logits: Tensor,
    tokens: list[int],
    q: list[Tensor | None],
) -> None:
    """Fill in the tokens of one level: the best ones by rank, or when sampling, drawn without replacement."""
    most = max(shape.ranks[node] for node in level) + 1
    row_of = {node: row for row, node in enumerate(inner)}
    if state.sampling.greedy:
        best = logits.topk(min(most, logits.shape[-1]), dim=-1).indices.tolist()
        for node in level:
            row = best[row_of[shape.parents[node]]]
            tokens[node] = row[min(shape.ranks[node], len(row) - 1)]
        return
    distributions = state.sampling.probabilities(logits)
    for parent in inner:
        rest = distributions[row_of[parent]].clone()
        for node in (n for n in level if shape.parents[n] == parent):  # elder siblings first
            left = rest.sum()
            if float(left) <= 0:  # nothing left to draw: verification skips candidates of probability 0
                q[node] = torch.zeros_like(rest)
                continue
            q[node] = rest / left
            tokens[node] = int(torch.multinomial(rest, 1, generator=state.generator))
            rest = rest.clone()
            rest[tokens[node]] = 0


@cache
def _own_columns(parents: tuple[int, ...], inner: tuple[int, ...], slots: tuple[int, ...]) -> Tensor:
    """(rows, columns) bool: each node sees its ancestors' slots and its own; slots count from the window's first."""
    width = max(slots) + 1
    own = torch.zeros(len(inner), width, dtype=torch.bool)
    for row, node in enumerate(inner):
        for ancestor in ancestors(parents, node):
            own[row, slots[ancestor]] = True
    return own
