"""What passes between drafting and verification: candidate tokens with their parents, and the verdict on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Candidate tokens of one round, as a tree below the last emitted token. A chain is a tree without branches.

    Attributes:
        tokens: (n,) candidate token ids; a parent always stands before its children.
        parents: (n,) index of each node's parent; -1 is the last emitted token.
        draft_slots: (n,) the draft's cache slot of each node, -1 where the draft never ran it.
        q: (n, V) the draft's distribution that each node was drawn from (after its elder siblings were taken out), or
            None for greedy decoding.
    """

    tokens: list[int]
    parents: tuple[int, ...]
    draft_slots: list[int] = field(default_factory=list)
    q: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def depths(self) -> tuple[int, ...]:
        """(n,) 1 for a child of the last emitted token."""
        return tree_depths(self.parents)

    @cached_property
    def children(self) -> dict[int, list[int]]:
        """Node (-1: the last emitted token) -> its children, elder first."""
        found: dict[int, list[int]] = {}
        for node, parent in enumerate(self.parents):
            found.setdefault(parent, []).append(node)
        return found

    @property
    def depth(self) -> int:
        """Most tokens that one round can accept."""
        return max(self.depths, default=0)

    @cached_property
    def main_path(self) -> list[int]:
        """The nodes from the top down that the draft likes best, to a leaf: the whole of a chain."""
        path: list[int] = []
        while below := self.children.get(path[-1] if path else -1):
            path.append(below[0])
        return path


EMPTY = Window([], ())  # nothing to review: plain decoding


@dataclass(frozen=True)
class Guess:
    """What the draft holds for the token behind a window's main path, written while the target reviews the window.

    Attributes:
        token: The candidate.
        q: (V,) the distribution that it was drawn from; None for greedy decoding.
    """

    token: int
    q: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """How one token of the answer came about.

    Attributes:
        how: The draft's: "exact" (accepted by a lossless test), "relaxed", "shifted"; the target's own: "correction"
            (in place of a rejected candidate), "target" (there was no candidate).
        strict: Only the target's own choice would have been accepted, but for a shift.
        relevance: How much the candidate depends on the video, where that was measured.
        other: For the draft's tokens what the target would have said, for a correction what the draft had; None where
            that is unknown, or there were several candidates.
    """

    how: str
    strict: bool = True
    relevance: float | None = None
    other: int | None = None

    @property
    def drafted(self) -> bool:
        return self.how in ("exact", "relaxed", "shifted")


EXACT, TARGET = Mark("exact"), Mark("target")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The accepted path (node indices from the top down) and the token behind it.

    Attributes:
        guessed: Under sampling, a guess was tested for `next_token`; it was accepted if it is that token.
        marks: How the tokens of the path and the one behind it came about; empty where the window tells.
    """

    path: list[int]
    next_token: int
    guessed: bool = False
    marks: tuple[Mark, ...] = ()

    def marked(self, window: Window) -> tuple[Mark, ...]:
        """How each emitted token came about; what a lossless verifier accepts is what the target would have said."""
        if self.marks:
            return self.marks
        rejected = window.children.get(self.path[-1] if self.path else -1, [])
        last = TARGET if not rejected else Mark("correction", other=_only(window, rejected))
        return (*[EXACT] * len(self.path), last)


def _only(window: Window, nodes: list[int]) -> int | None:
    """The token of a node that has no siblings."""
    return window.tokens[nodes[0]] if len(nodes) == 1 else None


@lru_cache(4096)
def tree_depths(parents: tuple[int, ...]) -> tuple[int, ...]:
    """Depth of every node; cached, because static trees and chains repeat every round."""
    depths: list[int] = []
    for parent in parents:
        depths.append(1 if parent < 0 else depths[parent] + 1)
    return tuple(depths)


@lru_cache(256)  # an adaptive tree has many shapes
def tree_mask(parents: tuple[int, ...], device: torch.device) -> Tensor:
    """(n + 1, n + 1) bool: row 0 is the last emitted token, row i + 1 is node i; True where a row may look."""
    rows = len(parents) + 1
    mask = torch.zeros(rows, rows, dtype=torch.bool)
    mask[:, 0] = True
    for node, parent in enumerate(parents):
        if parent >= 0:
            mask[node + 1] |= mask[parent + 1]
        mask[node + 1, node + 1] = True
    return mask.to(device)


def behind(prefix: int, own: Tensor) -> Tensor:
    """(n, prefix + k) mask: every row sees the whole prefix and, of the last k columns, what `own` (n, k) says."""
    mask = own.new_ones(own.shape[0], prefix + own.shape[1])
    mask[:, prefix:] = own
    return mask


def chain_parents(length: int) -> tuple[int, ...]:
    """-1, 0, 1, ...: every node the child of the one before."""
    return tuple(range(-1, length - 1))


def ancestors(parents: Sequence[int], node: int) -> list[int]:
    """The path from the top down to `node`, which is included."""
    path = [node]
    while parents[path[-1]] >= 0:
        path.append(parents[path[-1]])
    return path[::-1]
