"""Guidance without the target: the draft's own first layers say what the text asks about.

A scorer reads what a prefill of the target reveals. Where the target's attention is out of reach, as in a serving
engine's fused kernels, the draft can read the whole prompt through its first layers and reveal the same of itself.
"""

from contextlib import suppress

from torch import Tensor

from rushes.cache import KVCache
from rushes.models.base import Features, Prompt, VideoLM
from rushes.pruning.base import Scorer
from rushes.recording import Recording
from rushes.signals import Signals


def own_signals(
    model: VideoLM, prompt: Prompt, features: Features, scorer: Scorer, layers: int | None = None
) -> Signals:
    """What `scorer` reads, from the first layers of `model` itself over the unpruned prompt.

    Args:
        layers: How many layers to run and to look at; None for as many as the scorer's early states need, or a quarter
            of the depth. At most the model's depth.

    Returns:
        Signals as a target's prefill gives them; attention is the mean of these layers only.
    """
    depth = model.text_config.num_hidden_layers
    early = scorer.early_layer(depth)
    wanted = min(depth, max(1, early, depth // 4 if layers is None else layers))
    eye = _FirstLayers(Recording(prompt, scorer.needs, early, wanted), wanted)
    if not eye.recording.watches:
        return eye.recording.signals(features)
    heads, size = model.kv_shape
    # One layer more: the pass is left inside the attention of the next one, behind the writing of its keys.
    cache = KVCache(min(depth, wanted + 1), heads, size, len(prompt), model.dtype, model.device)
    with suppress(_Enough):
        model.prefill(prompt, cache, eye)
    return eye.recording.signals(features)


class _Enough(Exception):
    """The layers that were to be looked at have run."""


class _FirstLayers:
    """Recorder that ends a prefill behind a number of layers."""

    def __init__(self, recording: Recording, layers: int) -> None:
        self.recording = recording
        self.early_layer = recording.early_layer
        self._layers = layers

    def states(self, hidden: Tensor) -> None:
        self.recording.states(hidden)

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        if layer >= self._layers:
            raise _Enough
        self.recording(layer, query, key, scaling)
