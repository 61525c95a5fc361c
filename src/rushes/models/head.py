"""The beginning of a prompt that was read before, in another request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rushes.cache import KVCache

Shown = tuple[str, int]  # which hidden states of a prefill: who looks at them, and behind how many layers


@dataclass(frozen=True, slots=True)
class Head:
    """Columns that need not be read again.

    Attributes:
        length: n of them; 0 is none.
        cache: Holds them in its first n slots.
        states: (k, H) or more rows, of the k video tokens among them, in their order.
    """

    length: int = 0
    cache: KVCache | None = None
    states: Mapping[Shown, Tensor] = field(default_factory=dict)

    def join(self, shown: Shown, hidden: Tensor, columns: Tensor) -> Tensor:
        """The states of all of a prompt's video tokens: those of the head, then those that have just been read.

        Args:
            shown: Which states.
            hidden: (S - n, H) states of the columns behind the head.
            columns: (m,) ascending columns that hold video tokens.

        Returns:
            (m, H).
        """
        fresh = hidden[columns[columns >= self.length] - self.length]
        if self.length == 0:
            return fresh
        return torch.cat([self.states[shown][: len(columns) - len(fresh)].to(fresh.device, fresh.dtype), fresh])


NOTHING = Head()
