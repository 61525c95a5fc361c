"""Acceptance traces: would the draft's token at a position be right, given that all before it were?"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rushes.drafting.tree import SPECVLM_TREE, rank_paths
from rushes.errors import RushesError

# Chance that the target's token is the draft's next choice when it is none of those before it. With 0.5 the taus of
# SpecVLM's chains (2.79 pruned, 3.12 unpruned) give trees of 3.59 and 3.81; the paper reports 3.48 and 3.68.
NEXT_CHOICE = 0.5
TRACE_LENGTH = 4096  # the standard error of a chance of 0.8 is then 0.006
TREE_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Trace:
    """The rank of the target's token among the draft's choices, position by position; 0 is the draft's own choice.

    It repeats itself when it is over.
    """

    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.ranks:
            raise RushesError("the acceptance trace is empty; give one entry for each token of an answer")

    def rank(self, position: int) -> int:
        return self.ranks[position % len(self.ranks)]

    def right(self, position: int) -> bool:
        """Is the draft's own choice right here?"""
        return self.rank(position) == 0

    def run(self, position: int, limit: int) -> int:
        """Tokens of a chain of `limit` from here on that are accepted."""
        return next((i for i in range(limit) if not self.right(position + i)), limit)

    def descend(self, position: int, paths: frozenset[str], limit: int) -> int:
        """Levels of a tree, given by the rank paths of its nodes, that are accepted from here on."""
        path = ""
        for depth in range(limit):
            rank = self.rank(position + depth)
            path += str(rank)
            if rank > 9 or path not in paths:
                return depth
        return limit

    @property
    def share(self) -> float:
        """Positions at which the draft is right, as a share."""
        return sum(rank == 0 for rank in self.ranks) / len(self.ranks)


def geometric(chance: float, length: int = TRACE_LENGTH, seed: int = 0) -> Trace:
    """A trace of independent positions.

    Raises:
        RushesError: The chance is not in 0..1.
    """
    if not 0 <= chance <= 1:
        raise RushesError(f"acceptance must be between 0 and 1, got {chance:g}")
    draw = random.Random(seed)
    return ranked([draw.random() < chance for _ in range(length)], seed)


def ranked(right: Sequence[bool], seed: int) -> Trace:
    """Give a rank to every wrong position."""
    draw = random.Random(f"ranks {seed}")

    def rank() -> int:
        choice = 1
        while draw.random() >= NEXT_CHOICE:
            choice += 1
        return choice

    return Trace(tuple(0 if one else rank() for one in right))


def tree_paths(depth: int = TREE_DEPTH) -> frozenset[str]:
    """The nodes of SpecVLM's static tree, cut or prolonged to a depth."""
    return frozenset(name for level in rank_paths(SPECVLM_TREE, depth) for name in level)


def tree_tau(chance: float, depth: int = TREE_DEPTH) -> float:
    """Expected accepted tokens of a round of the static tree, where a chain's token is right with this chance."""

    def weight(rank: int) -> float:
        return chance if rank == 0 else (1 - chance) * NEXT_CHOICE * (1 - NEXT_CHOICE) ** (rank - 1)

    total = 0.0
    for path in tree_paths(depth):
        product = 1.0
        for rank in path:
            product *= weight(int(rank))
        total += product
    return total


def chain_tau(chance: float, gamma: int) -> float:
    """Expected accepted tokens of a round of a chain of `gamma`."""
    return sum(chance**k for k in range(1, gamma + 1))


def chance_of_tree(tau: float, depth: int = TREE_DEPTH) -> float:
    """The chance with which the static tree would have this tau."""
    return _invert(lambda chance: tree_tau(chance, depth), tau)


def chance_of_chain(tau: float, gamma: int) -> float:
    """The chance with which a chain of `gamma` would have this tau."""
    return _invert(lambda chance: chain_tau(chance, gamma), tau)


def _invert(rising: Callable[[float], float], value: float) -> float:
    """Where in 0..1 a rising function has a value; the nearer end where it has it nowhere."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2
