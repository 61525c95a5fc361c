"""SpecVLM's static draft tree (arXiv 2508.16201 and its official code): 25 nodes, depth 5, 5 forwards of the draft."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from rushes.drafting.growth import Growth
from rushes.drafting.limits import check_window
from rushes.drafting.state import DraftState
from rushes.errors import RushesError
from rushes.window import Window

# Each node by the ranks of its ancestors and itself among the draft's choices.
SPECVLM_TREE = (
    "0 1 2 3 "
    "00 01 02 10 11 20 21 30 "
    "000 001 002 010 011 020 021 100 "
    "0000 0001 0002 "
    "00000 00001"
)  # fmt: skip


@lru_cache(64)
def rank_paths(paths: str, depth: int) -> tuple[tuple[str, ...], ...]:
    """The nodes of a tree level by level, cut at `depth`; deeper than the paths go, the best one goes on as a chain.

    Raises:
        RushesError: No nodes or too many, not digits, or a node's parent or elder sibling is missing.
    """
    check_window(nodes=max(1, paths.count(" ")))  # before anything is done with them
    if not paths.split() or not all(name.isascii() and name.isdecimal() for name in paths.split()):
        raise RushesError(f"draft tree: nodes are digits with spaces between, such as '0 1 00', got {paths!r}")
    names = [name for name in paths.split() if len(name) <= depth]
    while len(names[-1]) < depth:
        names.append("0" * (len(names[-1]) + 1))
    known = set(names)
    check_window(nodes=len(known))
    for name in names:
        if len(name) > 1 and name[:-1] not in known:
            raise RushesError(f"draft tree: node {name} has no parent {name[:-1]}")
        elder = name[:-1] + str(int(name[-1]) - 1)
        if name[-1] != "0" and elder not in known:
            raise RushesError(f"draft tree: node {name} has no elder sibling {elder}")
    return tuple(tuple(sorted(n for n in known if len(n) == level)) for level in range(1, depth + 1))


@dataclass(frozen=True, slots=True)
class StaticTree:
    """Drafter of a static tree of depth `gamma`. Only nodes with children are run by the draft."""

    gamma: int = 5
    paths: str = SPECVLM_TREE
    own: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_window(gamma=self.gamma)
        rank_paths(self.paths, self.gamma)

    @property
    def max_nodes(self) -> int:
        """Slots that a window can take in a cache."""
        return sum(map(len, rank_paths(self.paths, self.gamma)))

    def draft(self, state: DraftState, limit: int) -> Window:
        """Write a tree of at most `limit` levels."""
        if min(self.gamma, limit) < 1:
            return Window([], ())
        levels = rank_paths(self.paths, min(self.gamma, limit))
        growth = Growth(state)
        inner = [""]
        for level, below in zip(levels, (*levels[1:], ()), strict=True):
            new = growth.add([sum(name[:-1] == parent for name in level) for parent in inner])
            if below and state.order.finish:
                break
            if below:
                parents = {name[:-1] for name in below}
                # The level is sorted, so its nodes stand below their parents in the order that `add` made them.
                growth.run([node for node, name in zip(new, level, strict=True) if name in parents])
                inner = [name for name in level if name in parents]
        return growth.window()
