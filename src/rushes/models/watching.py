"""Who looks at a model's passes while they run: at queries and keys, and at hidden states."""

from typing import Protocol

from torch import Tensor

from rushes.attention import Recorder


class PrefillRecorder(Recorder, Protocol):
    """Looks at a prefill: at every layer's rotated queries and keys, and at the states behind one layer."""

    @property
    def early_layer(self) -> int:
        """Behind so many layers `states` is called; 0 for never."""
        ...

    def states(self, hidden: Tensor) -> None:
        """(S, H) hidden states behind `early_layer` layers."""


class Watch:
    """Keeps the hidden states of one depth from the pass that ran last.

    Args:
        layer: Behind so many layers, 1..depth.
        depth: Layers of the model; behind the last one it is the states after the final norm.

    Attributes:
        states: (n, H).
    """

    def __init__(self, layer: int, depth: int) -> None:
        self.layer = layer
        self.last = layer == depth
        self.states: Tensor | None = None

    def see(self, hidden: Tensor) -> None:
        self.states = hidden

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        """Queries and keys do not matter here."""
