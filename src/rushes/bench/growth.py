"""How the cost of a token grows with the video: a pass of the target and a step of the draft over longer caches."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from rushes.errors import RushesError
from rushes.models.base import VideoLM
from rushes.pair import Pair
from rushes.stats import wait_for

LENGTHS = (256, 1024, 4096, 16384)  # video tokens
TEXT = 32  # other tokens of the prompt
PASSES = 7


@torch.inference_mode()
def growth(pair: Pair, keep: float, lengths: Sequence[int] = LENGTHS) -> tuple[list[dict[str, Any]], str | None]:
    """Seconds of one pass over one row, with caches as long as a video of so many tokens makes them.

    What stands in the cache does not change what a pass costs, so nothing is prefilled: lengths beyond what a model was
    trained for can be measured too.

    Args:
        keep: Share of the video tokens that the pruned draft sees.
        lengths: Numbers of video tokens.

    Returns:
        For each length the medians, in seconds: `target`, `draft` (sees everything), `draft_pruned`; up to the first
        length that there is no memory for, and the reason why not further.
    """
    made: list[dict[str, Any]] = []
    for length in lengths:
        try:
            row: dict[str, Any] = {"video_tokens": length, "keep": keep, "target": pass_s(pair.target, length)}
            if pair.draft is not None:
                row["draft"] = pass_s(pair.draft, length)
                row["draft_pruned"] = pass_s(pair.draft, int(keep * length))
        except (RushesError, torch.OutOfMemoryError) as error:
            return made, f"{length} video tokens: {error}"
        made.append(row)
    return made, None


def pass_s(model: VideoLM, video_tokens: int) -> float:
    """Median seconds of a pass over one row behind a prompt with so many video tokens.

    Raises:
        RushesError: No memory for the cache.
    """
    cache = model.new_cache(video_tokens + TEXT + 1)
    cache.blank(video_tokens + TEXT)
    embeds = model.embed([0])
    rows = _rows(model)
    found = []
    for _ in range(PASSES + 2):
        started = time.perf_counter()
        hidden = model.forward(embeds, model.rows_at(TEXT, [0], rows), cache)
        model.logits(hidden)
        wait_for(model.device)
        found.append(time.perf_counter() - started)
        cache.roll_back(video_tokens + TEXT)
    return statistics.median(found[2:])  # the first two warm up


def _rows(model: VideoLM) -> int:
    """On how many rows the model numbers its tokens."""
    text = {"input_ids": torch.tensor([[0, 0]])}
    return model.prompt(text, model.encode(text)).positions.shape[0]
