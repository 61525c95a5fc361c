"""Videos and pictures in any number and order, in every Qwen family: greedy answers equal `generate`."""

from copy import deepcopy
from functools import cache
from typing import Any

import pytest

from rushes import Pair, RushesError
from tiny import noisy, tiny_mixed_inputs, tiny_qwen2_5_vl, tiny_qwen2_vl, tiny_text_inputs
from tiny_qwen3 import tiny_qwen3_vl, tiny_qwen3_vl_moe

FAMILIES = {
    "qwen2_vl": tiny_qwen2_vl,
    "qwen2_5_vl": tiny_qwen2_5_vl,
    "qwen3_vl": tiny_qwen3_vl,
    "qwen3_vl_moe": tiny_qwen3_vl_moe,
}
VIDEO, OTHER, LONG, PICTURE, WIDE = (3, 4, 6), (2, 4, 4), (14, 4, 4), (4, 6), (2, 8)
PROMPTS = {
    "one video": [5, VIDEO, 7],
    "a long video": [5, LONG, 4],
    "several videos": [3, VIDEO, 2, OTHER, 4, LONG, 6],
    "videos side by side": [3, VIDEO, OTHER, 6],
    "a picture behind": [4, VIDEO, 2, PICTURE, 6],
    "a picture before": [4, PICTURE, 2, VIDEO, 6],
    "pictures around videos": [PICTURE, 2, VIDEO, 1, WIDE, PICTURE, OTHER, 3, WIDE, 5],
    "pictures alone": [4, PICTURE, 2, WIDE, 6],
    "nothing behind the video": [4, PICTURE, VIDEO],
}
LENGTH = 20
SETTINGS = (("ar", 1.0), ("sd", 1.0), ("specvlm", 0.0), ("specvlm", 0.5), ("random+chain+exact+sequential", 0.3))


@cache
def model(family: str) -> Any:
    """Never wrapped in a Pair: the reference runs transformers' stock attention."""
    return FAMILIES[family]()


DRAFTS = {
    "same": deepcopy,
    "close": lambda target: noisy(target, 0.05),
    "stranger": lambda target: FAMILIES[target.config.model_type](9, hidden=32, layers=1),
}


@cache
def pair(family: str, draft: str) -> Pair:
    return Pair(deepcopy(model(family)), DRAFTS[draft](model(family)))


@cache
def prompt(family: str, name: str) -> dict[str, Any]:
    if name == "text alone":
        return tiny_text_inputs(model(family))
    return tiny_mixed_inputs(model(family), PROMPTS[name], seed=len(name), fps=(2.0, 1.0))


@cache
def expected(family: str, name: str) -> tuple[int, ...]:
    inputs = prompt(family, name)
    made = model(family).generate(**inputs, do_sample=False, max_new_tokens=LENGTH)
    return tuple(made[0, inputs["input_ids"].shape[1] :].tolist())


@pytest.mark.parametrize("name", [*PROMPTS, "text alone"])
@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_equal_generate(family: str, draft: str, name: str) -> None:
    inputs = prompt(family, name)
    videos = inputs["video_grid_thw"].tolist() if "video_grid_thw" in inputs else []
    for method, keep in SETTINGS:
        result = pair(family, draft).generate_inputs(inputs, method=method, keep=keep, max_new_tokens=LENGTH)
        assert tuple(result.token_ids) == expected(family, name), (method, keep)
        assert result.video_tokens == sum(t * h * w // 4 for t, h, w in videos)  # pictures are not counted
        if draft == "same" and (method == "sd" or ("chain" in method and not videos)):
            assert result.metrics["speculative_decoding"]["draft_acceptance_rate"] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cells_of_all_videos_are_the_video_tokens(family: str) -> None:
    target = pair(family, "same").target
    for name in PROMPTS:
        inputs = prompt(family, name)
        made = target.prompt(inputs, target.encode(inputs))
        assert made.grids == target.grids(inputs)
        assert sum(t * h * w for t, h, w in made.grids) == len(made.video_columns) == target.count(inputs)[1]
        is_video = inputs["input_ids"][0] == model(family).config.video_token_id
        assert made.video_columns.tolist() == is_video.nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("target", "draft"), [("qwen2_5_vl", "qwen2_vl"), ("qwen2_vl", "qwen2_5_vl"), ("qwen3_vl_moe", "qwen3_vl")]
)
def test_families_that_read_the_same_inputs_draft_for_each_other(target: str, draft: str) -> None:
    """A large model with experts and a small dense one above all."""
    mixed = Pair(deepcopy(model(target)), deepcopy(model(draft)))
    for name in ("one video", "pictures around videos"):
        for method, keep in SETTINGS[1:]:
            made = mixed.generate_inputs(prompt(target, name), method=method, keep=keep, max_new_tokens=LENGTH)
            assert tuple(made.token_ids) == expected(target, name)


@pytest.mark.parametrize("target", ["qwen2_vl", "qwen2_5_vl"])
def test_a_qwen3_vl_cannot_draft_for_a_qwen2_vl(target: str) -> None:
    with pytest.raises(RushesError, match="they read videos differently"):
        Pair(deepcopy(model(target)), deepcopy(model("qwen3_vl")))
    with pytest.raises(RushesError, match="they read videos differently"):
        Pair(deepcopy(model("qwen3_vl")), deepcopy(model(target)))
