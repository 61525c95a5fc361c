"""What is LLaVA's own: the newline behind a video, pooling, the shared tower, and no mask where none is needed."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from rushes import Pair, RushesError
from rushes.models.prompt import Features
from rushes.models.registry import adapt
from rushes.pair import same_tower
from tiny import VIDEO, noisy
from tiny_llava import tiny_llava_inputs, tiny_llava_next_video, tiny_llava_onevision

MAKERS = {
    "onevision": tiny_llava_onevision,
    "llama": tiny_llava_next_video,
    "mistral": lambda *args, **more: tiny_llava_next_video(*args, language="mistral", **more),
}


@pytest.mark.parametrize("videos", [1, 2, 3])
@torch.inference_mode()
def test_the_newline_behind_each_video_counts_as_text(videos: int) -> None:
    model = tiny_llava_onevision()
    inputs = tiny_llava_inputs(model, videos=videos, frames=3)
    target = adapt(model, "target")
    features = target.encode(inputs)
    prompt = target.prompt(inputs, features)
    assert features.video is not None
    assert features.video.shape == (27 * videos, 64)
    assert prompt.grids == ((3, 3, 3),) * videos
    newline = target.model.model.image_newline
    is_newline = (prompt.embeds == newline).all(1)
    placeholders = (inputs["input_ids"][0] == VIDEO).nonzero()[:, 0].tolist()
    assert is_newline.nonzero()[:, 0].tolist() == placeholders[27::28]
    assert prompt.video_columns.tolist() == [c for c in placeholders if c not in placeholders[27::28]]
    assert prompt.text_rows_after_video == 8  # the newline and seven text tokens
    nothing = prompt.prune(torch.arange(0))
    assert int((nothing.embeds == newline).all(1).sum()) == videos
    assert len(nothing) == len(prompt) - 27 * videos
    assert nothing.next_position == len(prompt)
    assert prompt.prune(torch.arange(0), repack=True).positions.tolist() == [list(range(len(nothing)))]


@pytest.mark.parametrize("count", [17, 18, 20])
def test_placeholders_that_do_not_fit_are_refused(count: int) -> None:
    model = tiny_llava_onevision()
    inputs = tiny_llava_inputs(model)
    ids = inputs["input_ids"][0]
    is_video = ids == VIDEO
    few = torch.cat([ids[:5], torch.full((count,), VIDEO), ids[~is_video][5:]])[None]
    pair = Pair(model, model)
    for method in ("ar", "specvlm"):
        with pytest.raises(RushesError, match=f"the prompt has {count} video tokens, the features are 19"):
            pair.generate_inputs({**inputs, "input_ids": few, "attention_mask": torch.ones_like(few)}, method=method)


@pytest.mark.parametrize("make", [tiny_llava_onevision, tiny_llava_next_video])
def test_pixels_that_are_missing_are_refused(make: Any) -> None:
    model = make()
    inputs = tiny_llava_inputs(model, image=True)
    for name, words in (("pixel_values_videos", "video tokens"), ("pixel_values", "image tokens")):
        with pytest.raises(RushesError, match=rf"the prompt has \d+ {words}, the features are 0"):
            Pair(model).generate_inputs({k: v for k, v in inputs.items() if k != name}, method="ar")


@pytest.mark.parametrize("pool", ["average", "max", "conv"])
def test_every_pooling_equals_generate(pool: str) -> None:
    model = tiny_llava_next_video(pool=pool)
    inputs = tiny_llava_inputs(model, frames=3)
    wanted = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :].tolist()
    pair = Pair(deepcopy(model), noisy(model, 0.05))
    for method in ("ar", "specvlm"):
        assert pair.generate_inputs(inputs, method=method, max_new_tokens=12).token_ids == wanted


@pytest.mark.parametrize("make", [tiny_llava_onevision, tiny_llava_next_video])
@torch.inference_mode()
def test_one_tower_serves_both_only_if_it_sees_alike(make: Any) -> None:
    model = make()
    target = adapt(model, "target")
    assert same_tower(target, adapt(noisy(model, 0.1), "draft"))
    shallow, projector, newline = (deepcopy(model) for _ in range(3))
    shallow.config.vision_feature_layer = [-1, -2][model.config.vision_feature_layer == -1]
    projector.model.multi_modal_projector.linear_2.weight += 0.01
    newline.model.image_newline += 0.01  # part of what an image becomes
    for other in (shallow, projector, newline, make(1), make(0, hidden=32)):
        assert not same_tower(target, adapt(other, "draft"))


@pytest.mark.parametrize("make", [tiny_llava_onevision, tiny_llava_next_video])
@torch.inference_mode()
def test_features_are_what_the_draft_is_given(make: Any) -> None:
    target = adapt(make(), "target")
    inputs = tiny_llava_inputs(target.model, image=True)
    prompt = target.prompt(inputs, target.encode(inputs))
    blind = target.prompt(inputs, target.blind_features(inputs))
    assert (blind.embeds[prompt.video_columns] == 0).all()
    stays = torch.ones(len(prompt), dtype=torch.bool)
    stays[prompt.video_columns] = False
    assert torch.equal(blind.embeds[stays], prompt.embeds[stays])  # text, newline and image
    with pytest.raises(RushesError, match="video tokens, the features are 3"):
        target.prompt(inputs, Features(torch.zeros(3, 64), target.encode(inputs).image))


@pytest.mark.parametrize("family", MAKERS)
@torch.inference_mode()
def test_no_mask_is_built_for_a_prefill_or_for_one_row(family: str) -> None:
    target = adapt(MAKERS[family](), "target")
    inputs = tiny_llava_inputs(target.model)
    prompt = target.prompt(inputs, target.encode(inputs))
    masks: list[Tensor | None] = []
    layer = target.language_model.layers[0].self_attn
    hook = layer.register_forward_pre_hook(
        lambda _, __, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
    )
    cache = target.new_cache(len(prompt) + 4)
    hidden = target.prefill(prompt, cache)
    one = target.forward(target.embed([9]), torch.tensor([[prompt.next_position]]), cache)
    assert masks == [None, None]
    own = torch.ones(2, len(prompt) + 3, dtype=torch.bool).tril(len(prompt) + 1)
    target.forward(target.embed([9, 10]), torch.tensor([[0, 1]]) + prompt.next_position + 1, cache, own)
    assert masks[2] is not None
    assert torch.equal(masks[2][0, 0], own)
    hook.remove()
    # And it is causal: the same rows in one pass, and one row that sees everything.
    embeds = torch.cat([prompt.embeds, target.embed([9])])
    rows = torch.arange(len(embeds))[None]
    again = target.forward(embeds, rows, target.new_cache(len(embeds)))
    torch.testing.assert_close(again[:-1], hidden)
    torch.testing.assert_close(again[-1:], one)
