"""Raw attention: a control that shows how attention favours the first and the last frames."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rushes.pruning.base import Scorer
from rushes.signals import Signal, Signals


@dataclass(frozen=True, slots=True)
class Attention(Scorer):
    """The tokens that the text behind the video attends to most, without any correction (`methods.md` section 4)."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.TEXT_ATTENTION})

    def score(self, signals: Signals) -> Tensor:
        assert signals.text_attention is not None, "TEXT_ATTENTION was asked for"
        return signals.text_attention
