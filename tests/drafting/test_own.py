"""Self-speculation: the target drafts over the tail of its own cache, and nothing is held twice."""

import gc
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from families import FAMILIES
from rushes import Pair, RushesError
from rushes.drafting.own import SelfChain, SelfState
from rushes.drafting.state import DraftState
from rushes.models.registry import adapt
from rushes.sampling import RepetitionPenalty, Sampling
from tiny import FIRST_TEXT_TOKEN, tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs

WITHIN = 1e-5


def live_bytes() -> int:
    """Bytes of all tensors that are alive, each memory counted once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (Tensor, torch.nn.Parameter):
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


@torch.inference_mode()
def prefilled(kept: Tensor, grid: tuple[int, int, int] = (3, 8, 8)) -> tuple[Any, Any, Any, SelfState, int]:
    """Target, its cache, prompt, the state, and what making the state added to the memory that is held."""
    target = adapt(tiny_qwen2_5_vl(layers=3), "target")
    inputs = tiny_video_inputs(target.model, grid=grid)
    prompt = target.prompt(inputs, target.encode(inputs))
    cache = target.new_cache(len(prompt) + 60)
    target.prefill(prompt, cache)
    before = live_bytes()
    penalty = RepetitionPenalty(1.0, inputs["input_ids"][0], target.vocabulary)
    state = SelfState(target, cache, prompt, kept, Sampling(), penalty)
    state.pending = [FIRST_TEXT_TOKEN]
    return target, cache, prompt, state, live_bytes() - before


@pytest.mark.parametrize("by_layer", [False, True])
def test_it_holds_no_second_copy_of_any_slot(by_layer: bool) -> None:
    kept = torch.arange(0, 48, 5)
    _, cache, prompt, state, added = prefilled(kept.expand(3, -1) if by_layer else kept)
    # 2 (keys and values) x layers x KV heads x head size x bytes of fp32 x slots: all that there is.
    a_slot = 2 * 3 * 2 * 16 * 4
    assert cache.bytes == a_slot * (len(prompt) + 60) == cache._data.untyped_storage().nbytes()
    assert state.cache._data.untyped_storage().data_ptr() == cache._data.untyped_storage().data_ptr()
    assert state.cache.length == len(prompt) - 48 + 10
    assert added < a_slot  # a generator and the like, less than one slot


@torch.inference_mode()
def test_a_draft_of_its_own_would_have_held_the_formulas_bytes() -> None:
    """The measurement sees a cache where there is one."""
    target, _, prompt, state, _ = prefilled(torch.arange(10))
    before = live_bytes()
    pruned = prompt.prune(torch.arange(10))
    draft = DraftState(target, pruned, len(pruned) + 60, state.sampling, state.penalty)
    held = live_bytes() - before
    assert draft.cache.bytes == 2 * 3 * 2 * 16 * 4 * (len(prompt) - 48 + 10 + 60)
    assert draft.cache.bytes <= held < draft.cache.bytes + 30_000  # and the pruned prompt's columns


def test_the_metrics_tell_the_memory() -> None:
    model = tiny_qwen2_5_vl()
    inputs = tiny_video_inputs(model)
    result = Pair(model).generate_inputs(inputs, method="std", keep=0.5, max_new_tokens=12)
    slots = inputs["input_ids"].shape[1] + 12 + SelfChain().max_nodes
    assert result.metrics["cache_bytes"] == {"target": 2 * 2 * 2 * 16 * 4 * slots, "draft": 0}


@pytest.mark.parametrize("by_layer", [False, True])
@torch.inference_mode()
def test_the_view_is_attention_over_the_kept_slots_at_their_own_positions(by_layer: bool) -> None:
    """Against the target's own layers on a cache that was gathered by hand."""
    one, other = torch.tensor([1, 2, 30, 47]), torch.tensor([0, 9, 10, 46])
    kept = torch.stack([one, other, one]) if by_layer else one
    target, cache, prompt, state, _ = prefilled(kept)
    plain = target.new_cache(cache.capacity)
    target.prefill(prompt, plain)
    by_hand = target.new_cache(cache.capacity)
    for layer in range(3):
        chosen = set((kept[layer] if by_layer else kept).tolist())
        columns = {int(c): i for i, c in enumerate(prompt.video_columns)}
        stay = [c for c in range(len(prompt)) if c not in columns or columns[c] in chosen]
        keys, values = plain._layers[layer]
        by_hand.update(keys[:, :, stay], values[:, :, stay], layer)
    by_hand.advance(len(stay))
    at = target.rows_at(prompt.next_position, [0], 3)
    wanted = target.logits(target.forward(target.embed(state.pending), at, by_hand))
    torch.testing.assert_close(state.read_pending(), wanted, atol=WITHIN, rtol=0)
    # The whole cache still answers as before: attention does not care where a slot lies.
    full = target.logits(target.forward(target.embed(state.pending), at, plain))
    again = target.logits(target.forward(target.embed(state.pending), at, cache))
    torch.testing.assert_close(again, full, atol=WITHIN, rtol=0)
    assert float((wanted - full).abs().max()) > 100 * WITHIN, "the video does not matter to this prompt"


@pytest.mark.parametrize("family", FAMILIES)
def test_keeping_everything_is_the_target_itself_and_always_accepted(family: str) -> None:
    model = FAMILIES[family].make()
    inputs = FAMILIES[family].inputs(model)
    wanted = deepcopy(model).generate(**inputs, do_sample=False, max_new_tokens=21)[0, -21:].tolist()
    for name in ("std", "full+self+exact+sequential", "uniform+self+exact+sequential"):
        result = Pair(model).generate_inputs(inputs, method=name, keep=1.0, gamma=4, max_new_tokens=21)
        assert result.token_ids == wanted
        assert result.metrics["accepted_per_round"] == 4
        assert result.kept_indices == list(range(result.video_tokens))


def test_dropping_video_costs_acceptance_not_the_answer() -> None:
    model = tiny_qwen2_5_vl()
    pair = Pair(model)
    accepted = []
    for keep in (0.0, 0.5, 1.0):
        rounds = 0.0
        for seed in range(4):
            inputs = tiny_video_inputs(model, seed=seed)
            plain = pair.generate_inputs(inputs, method="ar", max_new_tokens=20)
            result = pair.generate_inputs(inputs, method="std", keep=keep, max_new_tokens=20)
            assert result.token_ids == plain.token_ids
            rounds += result.metrics["accepted_per_round"]
        accepted.append(rounds)
    assert accepted[0] < accepted[2]


def test_layers_choose_for_themselves_and_the_result_names_what_any_of_them_sees() -> None:
    model = tiny_qwen2_5_vl(layers=4)
    result = Pair(model).generate_inputs(tiny_video_inputs(model, grid=(3, 8, 8)), method="std", max_new_tokens=4)
    assert 4 < len(result.kept_indices) <= 16  # 4 of 48 in each of 4 layers, not all the same
    assert result.kept_indices == sorted(set(result.kept_indices))
    assert result.kept_per_layer == 4
    assert result.to_json()["video"]["kept_tokens_per_layer"] == 4
    alike = Pair(model).generate_inputs(
        tiny_video_inputs(model, grid=(3, 8, 8)), method="uniform+self+exact+sequential", max_new_tokens=4
    )
    assert "kept_tokens_per_layer" not in alike.to_json()["video"]


@pytest.mark.parametrize("method", ["std", "ar"])
def test_no_second_model_is_asked_for(method: str) -> None:
    model = tiny_qwen2_5_vl()
    for inputs in (tiny_video_inputs(model), tiny_text_inputs(model)):
        assert len(Pair(model).generate_inputs(inputs, method=method, max_new_tokens=6).token_ids) == 6
    with pytest.raises(RushesError, match="needs a draft; give one, or use method 'ar' or 'std'"):
        Pair(model).generate_inputs(tiny_video_inputs(model), method="specvlm")


@pytest.mark.parametrize("scorer", ["std", "hippo", "uvprune", "specvlm", "attention"])
def test_a_prompt_without_text_behind_its_video(scorer: str) -> None:
    family = FAMILIES["llava_next_video"]
    model = family.make()
    inputs = family.inputs(model, text_after=0)
    wanted = deepcopy(model).generate(**inputs, do_sample=False, max_new_tokens=8)[0, -8:].tolist()
    for keep in (0.3, 1.0):
        result = Pair(model).generate_inputs(
            inputs, method=f"{scorer}+self+exact+sequential", keep=keep, max_new_tokens=8
        )
        assert result.token_ids == wanted


def test_a_draft_model_that_is_too_small_does_not_keep_the_target_from_drafting_for_itself() -> None:
    model, small = tiny_qwen2_5_vl(), tiny_qwen2_5_vl(9)
    small.config.text_config.max_position_embeddings = 8
    pair, inputs = Pair(model, small), tiny_video_inputs(model)
    assert len(pair.generate_inputs(inputs, method="std", keep=0.5, max_new_tokens=6).token_ids) == 6
    with pytest.raises(RushesError, match="the draft holds 8"):
        pair.generate_inputs(inputs, method="specvlm", keep=0.5, max_new_tokens=6)
