"""Every family that an adapter exists for, as tiny models: tests that must hold for all of them loop over FAMILIES."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from tiny import tiny_qwen2_5_vl, tiny_qwen2_vl, tiny_video_inputs
from tiny_llava import tiny_llava_inputs, tiny_llava_next_video, tiny_llava_onevision
from tiny_qwen3 import tiny_qwen3_vl


class Family(NamedTuple):
    """How to make a tiny model of a family, and prompts for it.

    Attributes:
        make: (seed=0, hidden=64, *, heads, kv_heads, intermediate, layers, vocab) -> model, as in tiny.py.
        inputs: (model, *, seed=0, frames, videos=1, image=False, text_before=5, text_after=7) -> inputs with that many
            videos of `frames` cells in time (18 cells each if left out) and, behind them, one picture or none.
        ends_videos: The last placeholder of each video is a newline, not a cell.
    """

    make: Callable[..., Any]
    inputs: Callable[..., dict[str, Any]]
    ends_videos: bool = False

    def cells(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """(S,) bool: the columns that hold video tokens, found without an adapter."""
        is_video = inputs["input_ids"][0] == model.config.video_token_id
        if self.ends_videos:  # a run of placeholders ends with the newline
            is_video[:-1] &= is_video[1:].clone()
        return is_video


def _qwen_inputs(model: Any, *, frames: int = 3, image: bool = False, **more: Any) -> dict[str, Any]:
    return tiny_video_inputs(model, grid=(frames, 4, 6), image=(4, 6) if image else None, **more)


FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family(tiny_qwen2_vl, _qwen_inputs),
    "qwen2_5_vl": Family(tiny_qwen2_5_vl, _qwen_inputs),
    "qwen3_vl": Family(tiny_qwen3_vl, _qwen_inputs),
    "llava_onevision": Family(tiny_llava_onevision, tiny_llava_inputs, ends_videos=True),
    "llava_next_video": Family(tiny_llava_next_video, tiny_llava_inputs),
    "llava_next_video_mistral": Family(partial(tiny_llava_next_video, language="mistral"), tiny_llava_inputs),
}
