"""SAGE's adaptive tree (arXiv 2602.00523): deep where the draft is sure, wide where it is not."""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

import torch
from torch import Tensor

from rushes.drafting.growth import Growth
from rushes.drafting.limits import check_window
from rushes.drafting.state import DraftState
from rushes.window import Window

LEAST_DEPTH, USUAL_DEPTH = 3, 8


@dataclass(slots=True)
class Outlook:
    """What a request's windows so far say about the next one.

    Attributes:
        certainty: u = 1 - H / log 10 of the last window's root; 0.5 before the first.
        max_depth: Moved by the accepted lengths of the last ten rounds.
    """

    certainty: float = 0.5
    max_depth: int = USUAL_DEPTH


@dataclass(frozen=True, slots=True)
class AdaptiveTree:
    """Drafter of a tree that follows the draft's entropy.

    Known (`methods.md` section 8): depth D = 3 + 5 u, width W = 2 + 8 (1 - u), a parent of path probability P has
    W / l * (0.5 + P) children at level l, a child is expanded if its path probability is above 0.1 l / D, 64 nodes at
    most; the entropy of this step sets the next tree; the last 10 accepted lengths move the maximum depth.
    Our reading: the entropy is that of the root's ten best tokens; the maximum depth 8 grows by one while more than
    three quarters of it are accepted on average, and shrinks by one below a quarter.

    Args:
        gamma: The maximum depth never passes this.
        nodes: Most candidates in one window.
    """

    gamma: int = 10
    nodes: int = 64
    own: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_window(gamma=self.gamma, nodes=self.nodes)

    @property
    def max_nodes(self) -> int:
        """Slots that a window can take in a cache."""
        return self.nodes

    def draft(self, state: DraftState, limit: int) -> Window:
        """Write a tree of at most `limit` levels."""
        if limit < 1:
            return Window([], ())
        if not isinstance(state.outlook, Outlook):
            state.outlook = Outlook()
        outlook = state.outlook
        self._move(outlook, list(state.accepted))
        u = outlook.certainty
        depth = min(round(LEAST_DEPTH + u * (outlook.max_depth - LEAST_DEPTH)), self.gamma, limit)
        width = 2 + 8 * (1 - u)
        growth = Growth(state)
        outlook.certainty = certainty(growth.distributions[0])
        chances = [1.0]  # path probability of each of growth.nodes
        for level in range(1, depth + 1):
            drawable = (growth.distributions > 0).sum(-1).tolist()  # few, under top-k or top-p
            counts = self._counts(chances, drawable, width, level, len(growth.tokens))
            distributions, rows = growth.distributions, _rows(counts)
            new = growth.add(counts)
            at = torch.tensor([growth.tokens[node] for node in new], device=distributions.device)
            own = distributions[torch.tensor(rows, device=distributions.device), at].tolist()
            reached = [chances[row] * chance for row, chance in zip(rows, own, strict=True)]
            # Only nodes that will have children are run.
            sure = [i for i, chance in enumerate(reached) if chance > 0.1 * level / depth]
            if level == depth or not sure or len(growth.tokens) >= self.nodes or state.order.finish:
                break
            growth.run([new[i] for i in sure])
            chances = [reached[i] for i in sure]
        return growth.window()

    def _counts(self, chances: list[float], drawable: list[int], width: float, level: int, taken: int) -> list[int]:
        """Children of each parent, within the nodes that are left; likelier parents are served first."""
        left = self.nodes - taken
        counts = [0] * len(chances)
        for row in sorted(range(len(chances)), key=lambda row: -chances[row]):
            counts[row] = min(max(1, round(width / level * (0.5 + chances[row]))), drawable[row], left)
            left -= counts[row]
        return counts

    def _move(self, outlook: Outlook, accepted: list[int]) -> None:
        if len(accepted) == 10:
            mean = fmean(accepted)
            outlook.max_depth += (mean > 0.75 * outlook.max_depth) - (mean < 0.25 * outlook.max_depth)
        outlook.max_depth = max(LEAST_DEPTH, min(outlook.max_depth, self.gamma))


def certainty(distribution: Tensor) -> float:
    """u = 1 - H(ten best, renormalised) / log 10 of a (V,) distribution: 1 is sure, 0 is a guess among ten."""
    best = distribution.topk(min(10, len(distribution))).values
    best = best / best.sum()
    entropy = -float(torch.special.xlogy(best, best).sum())
    return min(1.0, max(0.0, 1 - entropy / math.log(10)))


def _rows(counts: list[int]) -> list[int]:
    return [row for row, count in enumerate(counts) for _ in range(count)]
