"""What a prefill reveals about the video, for scorers to read."""

from dataclasses import dataclass
from enum import Enum, IntEnum

from torch import Tensor

from rushes.models.base import Grid


class When(IntEnum):
    """When a signal exists: the draft may start as soon as all that its scorer needs is there."""

    VISION = 0
    EARLY_LAYERS = 1
    PREFILL = 2


class Signal(Enum):
    """The kinds of signal that a scorer can ask for."""

    FEATURES = "projected vision features"
    EARLY_STATES = "hidden states before and behind the target's first layers"
    TEXT_ATTENTION = "attention of the text behind the video, over all keys, mean of all layers"
    LAYER_ATTENTION = "the same, layer by layer"
    VISUAL_ATTENTION = "attention of the text behind the video, over the video's keys only, mean of all layers"

    @property
    def when(self) -> When:
        """The stage of the target's prefill behind which it exists."""
        early = {Signal.FEATURES: When.VISION, Signal.EARLY_STATES: When.EARLY_LAYERS}
        return early.get(self, When.PREFILL)


@dataclass(frozen=True, slots=True)
class States:
    """Hidden states of one depth.

    Attributes:
        video: (m, H) of the video tokens.
        text: (n, H) of the text behind the last video token.
    """

    video: Tensor
    text: Tensor


@dataclass(frozen=True, slots=True)
class Signals:
    """What one prefill revealed about m video tokens; None is what nobody asked for.

    Attributes:
        video_tokens: m.
        grids: The cells of each video; their products sum up to m.
        text_attention: (m,) softmax attention over all keys, averaged over layers, heads and the text rows behind the
            video.
        layer_attention: (layers, m) the same for every layer.
        visual_attention: (m,) the same with a softmax over the video's keys only; sums to 1.
        features: (m, H) projected vision features.
        early_states: Before the first layer, and behind the layer that the scorer asked for.
    """

    video_tokens: int
    grids: tuple[Grid, ...] = ()
    text_attention: Tensor | None = None
    layer_attention: Tensor | None = None
    visual_attention: Tensor | None = None
    features: Tensor | None = None
    early_states: tuple[States, States] | None = None
