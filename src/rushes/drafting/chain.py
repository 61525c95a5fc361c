"""A chain: the draft writes gamma tokens one after the other (Leviathan et al. 2023)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rushes.drafting.limits import check_window
from rushes.drafting.state import DraftState
from rushes.sampling import draw
from rushes.window import Window, chain_parents


@dataclass(frozen=True, slots=True)
class Chain:
    """Drafter of `gamma` tokens in a row; gamma forwards of one row."""

    gamma: int = 5
    own: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_window(gamma=self.gamma)

    @property
    def max_nodes(self) -> int:
        """Slots that a window can take in a cache."""
        return self.gamma

    def draft(self, state: DraftState, limit: int) -> Window:
        """Write a window of at most `limit` tokens."""
        length = min(self.gamma, limit)
        if length < 1:
            return Window([], ())
        tokens: list[int] = []
        slots: list[int] = []
        distributions: list[Tensor] = []
        offset = len(state.pending)
        logits = state.read_pending()
        while True:
            if state.sampling.greedy:
                tokens.append(int(logits.argmax(-1)))
            else:
                q = state.sampling.probabilities(logits)[0]
                distributions.append(q)
                tokens.append(draw(q, state.generator))
            if len(tokens) == length or state.order.finish:
                break  # the last token is not run: if it is accepted it becomes pending
            slots.append(state.cache.length)
            hidden = state.run([tokens[-1]], [offset + len(tokens) - 1], None)
            logits = state.penalty(state.model.logits(hidden), [tokens])
        return Window(
            tokens,
            chain_parents(len(tokens)),
            [*slots, -1],
            torch.stack(distributions) if distributions else None,
        )
