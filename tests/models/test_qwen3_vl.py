"""DeepStack: rows that are added behind the first layers follow their tokens wherever these go."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from rushes import Pair
from rushes.models.base import Features
from rushes.models.prompt import Deep
from rushes.models.registry import adapt
from rushes.recording import Recording, attention_rows
from rushes.signals import Signal
from tiny import noisy, tiny_mixed_inputs, tiny_video_inputs
from tiny_qwen3 import tiny_qwen3_vl, tiny_qwen3_vl_moe

MIXED = [4, (4, 6), 2, (3, 4, 6), 1, (2, 4, 4), 2, (2, 8), 5]
WITHIN = 1e-5


def dense(prompt: Any) -> Tensor:
    """(n, S, H): DeepStack's rows, zeros for text."""
    made = torch.zeros(len(prompt.deep.rows), *prompt.embeds.shape)
    made[:, prompt.deep.columns] = prompt.deep.rows
    return made


@torch.inference_mode()
def test_rows_are_kept_and_dropped_with_their_tokens() -> None:
    model = tiny_qwen3_vl()
    inputs = tiny_mixed_inputs(model, MIXED)
    adapter = adapt(deepcopy(model), "x")
    prompt = adapter.prompt(inputs, adapter.encode(inputs))
    ids = inputs["input_ids"][0]
    seen = (ids == model.config.video_token_id) | (ids == model.config.image_token_id)
    assert prompt.deep.columns.tolist() == seen.nonzero()[:, 0].tolist()
    tower = model.model.visual(inputs["pixel_values_videos"], grid_thw=inputs["video_grid_thw"])
    whole = dense(prompt)
    for rows, wanted in zip(whole, tower.deepstack_features, strict=True):
        torch.testing.assert_close(rows[prompt.video_columns], wanted)
    for kept in ([], [0], [3, 4, 11, 25], list(range(26))):
        pruned = prompt.prune(torch.tensor(kept, dtype=torch.long))
        stays = torch.ones(len(prompt), dtype=torch.bool)
        stays[prompt.video_columns] = False
        stays[prompt.video_columns[torch.tensor(kept, dtype=torch.long)]] = True
        assert torch.equal(dense(pruned), whole[:, stays])
        assert torch.equal(pruned.embeds, prompt.embeds[stays])
        assert torch.equal(pruned.positions, prompt.positions[:, stays])
        again = pruned.prune(torch.arange(len(kept)))
        assert torch.equal(dense(again), dense(pruned))


@torch.inference_mode()
def test_timestamps_and_pictures_stay_when_every_video_token_is_dropped() -> None:
    model = tiny_qwen3_vl()
    inputs = tiny_mixed_inputs(model, MIXED)
    adapter = adapt(model, "x")
    prompt = adapter.prompt(inputs, adapter.encode(inputs))
    blind = prompt.prune(torch.arange(0))
    text = inputs["input_ids"][0] != model.config.video_token_id
    assert len(blind) == int(text.sum())
    assert torch.equal(blind.embeds, prompt.embeds[text])
    assert len(blind.deep.columns) == int((inputs["input_ids"] == model.config.image_token_id).sum())


@pytest.mark.parametrize("make", [tiny_qwen3_vl, tiny_qwen3_vl_moe])
@torch.inference_mode()
def test_a_pruned_prefill_is_the_language_model_over_the_columns_that_are_left(make: Any) -> None:
    model = make()
    inputs = tiny_mixed_inputs(model, MIXED)
    adapter = adapt(deepcopy(model), "x")
    prompt = adapter.prompt(inputs, adapter.encode(inputs)).prune(torch.tensor([1, 2, 9, 20]))
    hidden = adapter.prefill(prompt, adapter.new_cache(len(prompt)))
    everywhere = torch.ones(1, len(prompt), dtype=torch.bool)
    wanted = model.model.language_model(
        inputs_embeds=prompt.embeds[None],
        position_ids=prompt.positions[:, None],
        visual_pos_masks=everywhere,
        deepstack_visual_embeds=list(dense(prompt)),
        use_cache=False,
    ).last_hidden_state[0]
    torch.testing.assert_close(hidden, wanted, atol=1e-4, rtol=0)
    without = adapter.forward(prompt.embeds, prompt.positions, adapter.new_cache(len(prompt)))
    assert (without - hidden).abs().max() > 0.1  # DeepStack is not a detail


def test_a_model_without_deepstack_has_no_rows() -> None:
    model = tiny_qwen3_vl(deep=())
    inputs = tiny_mixed_inputs(model, MIXED)
    adapter = adapt(deepcopy(model), "x")
    features = adapter.encode(inputs)
    assert features.video_deep is None
    assert features.image_deep is None
    assert adapter.prompt(inputs, features).deep is None
    wanted = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :].tolist()
    for method, keep in (("ar", 1.0), ("specvlm", 0.0), ("specvlm", 0.5)):
        made = Pair(deepcopy(model), noisy(model, 0.05)).generate_inputs(
            inputs, method=method, keep=keep, max_new_tokens=12
        )
        assert made.token_ids == wanted


@torch.inference_mode()
def test_a_blind_draft_reads_what_a_seeing_one_would_after_dropping_the_video() -> None:
    adapter = adapt(tiny_qwen3_vl(), "x")
    for parts in (MIXED, [3, (3, 4, 6), 4], [3, (4, 6), 4], [9]):
        inputs = tiny_mixed_inputs(adapter.model, parts)
        nothing = torch.arange(0)
        seeing, blind = (
            adapter.prompt(inputs, features).prune(nothing)
            for features in (adapter.encode(inputs), adapter.blind_features(inputs))
        )
        torch.testing.assert_close(blind.embeds, seeing.embeds)
        assert torch.equal(blind.positions, seeing.positions)
        assert (blind.deep is None) == (seeing.deep is None)
        if blind.deep is not None:
            torch.testing.assert_close(dense(blind), dense(seeing))


def test_features_move_whole() -> None:
    rows = torch.ones(2, 3)
    moved = Features(rows, None, rows[None], None).to(torch.device("cpu"), torch.bfloat16)
    assert moved.video is not None
    assert moved.video_deep is not None
    assert moved.video.dtype == moved.video_deep.dtype == torch.bfloat16
    assert moved.image is moved.image_deep is None


def test_columns_are_renumbered() -> None:
    deep = Deep(torch.tensor([1, 2, 5]), torch.tensor([[[1.0], [2.0], [5.0]]]))
    left = deep.keep(torch.tensor([0, 2, 4, 5, 7]))
    assert left.columns.tolist() == [1, 3]
    assert left.rows.flatten().tolist() == [2.0, 5.0]


@pytest.mark.parametrize("draft_seed", [0, 9])  # one tower for both, and two towers
def test_the_draft_sees_deepstack_too(draft_seed: int) -> None:
    """A draft equal to the target writes what the target writes; without DeepStack it would not."""
    target = tiny_qwen3_vl()
    draft = deepcopy(target) if draft_seed == 0 else tiny_qwen3_vl(draft_seed)
    pair = Pair(target, draft)
    assert pair._share_features == (draft_seed == 0)
    made = pair.generate_inputs(tiny_video_inputs(target), method="sd", max_new_tokens=20)
    rate = made.metrics["speculative_decoding"]["draft_acceptance_rate"]
    assert (rate == 1) == (draft_seed == 0)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
@torch.inference_mode()
def test_recorded_attention_equals_eager_attention(heads: int, kv_heads: int) -> None:
    """Queries and keys are normalised before they are rotated, and the recorder sees them after both."""
    model = tiny_qwen3_vl(2, heads=heads, kv_heads=kv_heads)
    inputs = tiny_mixed_inputs(model, MIXED)
    reference = deepcopy(model)
    reference.set_attn_implementation("eager")
    wanted = [layer[0] for layer in reference(**inputs, output_attentions=True).attentions]
    target = adapt(model, "target")
    features = target.encode(inputs)
    prompt = target.prompt(inputs, features)
    count = prompt.text_rows_after_video
    recording = Recording(prompt, frozenset({Signal.TEXT_ATTENTION, Signal.LAYER_ATTENTION, Signal.FEATURES}))
    seen: dict[int, Tensor] = {}

    class Both:
        early_layer = 0

        def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
            seen[layer] = attention_rows(query[:, :, -count:], key, scaling)
            recording(layer, query, key, scaling)

        def states(self, hidden: Tensor) -> None:
            raise AssertionError("nobody asked")

    hidden = target.prefill(prompt, target.new_cache(len(prompt)), Both())
    for layer, attention in enumerate(wanted):
        torch.testing.assert_close(seen[layer], attention[:, -count:], atol=WITHIN, rtol=0)
    signals = recording.signals(features)
    by_hand = torch.stack([attention[:, -count:][:, :, prompt.video_columns].mean((0, 1)) for attention in wanted])
    torch.testing.assert_close(signals.layer_attention, by_hand, atol=WITHIN, rtol=0)
    torch.testing.assert_close(signals.text_attention, by_hand.mean(0), atol=WITHIN, rtol=0)
    assert signals.features is features.video
    assert signals.grids == ((3, 2, 3), (2, 2, 2))
    assert torch.equal(hidden, target.prefill(prompt, target.new_cache(len(prompt))))


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
@torch.inference_mode()
def test_early_states_are_what_the_next_layer_reads(layer: int) -> None:
    """DeepStack's rows for two layers included; behind the last layer there is nothing but the norm."""
    model = tiny_qwen3_vl(layers=4)
    inputs = tiny_mixed_inputs(model, MIXED)
    stock = deepcopy(model)
    read: list[Tensor] = []
    text = stock.model.language_model
    following = [*text.layers[1:], text.norm][layer - 1]
    following.register_forward_pre_hook(lambda _, args, kwargs: read.append(args[0][0]), with_kwargs=True)
    stock(**inputs)
    target = adapt(model, "target")
    features = target.encode(inputs)
    prompt = target.prompt(inputs, features)
    recording = Recording(prompt, frozenset({Signal.EARLY_STATES}), early_layer=layer)
    target.prefill(prompt, target.new_cache(len(prompt)), recording)
    early = recording.signals(features).early_states
    assert early is not None
    before, behind = early
    torch.testing.assert_close(before.video, prompt.embeds[prompt.video_columns])
    torch.testing.assert_close(behind.video, read[0][prompt.video_columns], atol=1e-4, rtol=0)
    torch.testing.assert_close(behind.text, read[0][-prompt.text_rows_after_video :], atol=1e-4, rtol=0)
    assert not text._forward_pre_hooks
    assert not any(block._forward_pre_hooks or block._forward_hooks for block in target.language_model.layers)
