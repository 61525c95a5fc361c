"""STD's selection for self-speculation: what each layer of the target attends to (arXiv 2505.19155)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rushes.pruning.base import Scorer
from rushes.signals import Signal, Signals


@dataclass(frozen=True, slots=True)
class LayerAttention(Scorer):
    """Layer by layer the tokens that the text behind the video attends to most there.

    The paper keeps as many as fill 1,024 slots together with the text; here the keep ratio says how many.
    """

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.LAYER_ATTENTION})
    per_layer: ClassVar[bool] = True

    def score(self, signals: Signals) -> Tensor:
        """(layers, m)."""
        assert signals.layer_attention is not None, "LAYER_ATTENTION was asked for"
        return signals.layer_attention
