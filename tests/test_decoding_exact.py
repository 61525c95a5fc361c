"""Greedy answers equal transformers' own generate, token for token, whatever the draft writes."""

from collections import Counter
from copy import deepcopy
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch

from rushes import Pair
from tiny import contrary, noisy, tiny_qwen2_5_vl, tiny_qwen2_vl, tiny_text_inputs, tiny_video_inputs

FAMILIES = {"qwen2_5_vl": tiny_qwen2_5_vl, "qwen2_vl": tiny_qwen2_vl}
SCORERS = ("full", "none", "uniform", "random", "specvlm")
SPELLED = tuple(f"{scorer}+{drafter}+exact+sequential" for scorer, drafter in product(SCORERS, ("chain", "tree")))
METHODS = ("ar", "sd", "specvlm", *SPELLED)
LENGTH = 20


@cache
def model(family: str = "qwen2_5_vl", seed: int = 0, **sizes: Any) -> Any:
    """Never wrapped in a Pair: the reference runs transformers' stock attention."""
    return FAMILIES[family](seed, **sizes)


DRAFTS = {
    "same": deepcopy,
    "close": lambda target: noisy(target, 0.05),
    "far": lambda target: noisy(target, 0.2),
    "stranger": lambda target: FAMILIES[target.config.model_type](9, hidden=32, layers=1),
    "contrary": contrary,
}


def plain(reference: Any, inputs: dict[str, Any], length: int = LENGTH) -> list[int]:
    made = reference.generate(**inputs, do_sample=False, max_new_tokens=length)
    return made[0, inputs["input_ids"].shape[1] :].tolist()


@cache
def pair(family: str, draft: str) -> Pair:
    return Pair(deepcopy(model(family)), DRAFTS[draft](model(family)))


@cache
def video_prompt(family: str, seed: int = 0) -> dict[str, Any]:
    return tiny_video_inputs(model(family), seed=seed)


@cache
def expected(family: str, seed: int = 0) -> tuple[int, ...]:
    return tuple(plain(model(family), video_prompt(family, seed)))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_window_and_keep_ratio_equals_generate(family: str, draft: str, name: str) -> None:
    assert len(set(expected(family))) > LENGTH // 3  # text that varies, or equality would prove little
    for gamma, keep in ((1, 0.1), (2, 0.5), (5, 0.0), (8, 1.0)) if name in SPELLED else product((1, 5), (0.1, 1.0)):
        result = pair(family, draft).generate_inputs(
            video_prompt(family), method=name, gamma=gamma, keep=keep, max_new_tokens=LENGTH
        )
        assert tuple(result.token_ids) == expected(family), (gamma, keep)
        assert result.finish_reason == "length"


@pytest.mark.parametrize("gamma", [1, 2, 5, 8])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("drafter", ["chain", "tree"])
def test_the_full_grid_of_windows_and_keep_ratios(drafter: str, keep: float, gamma: int) -> None:
    for seed in (1, 2):
        result = pair("qwen2_5_vl", "close").generate_inputs(
            video_prompt("qwen2_5_vl", seed),
            method=f"specvlm+{drafter}+exact+sequential",
            gamma=gamma,
            keep=keep,
            max_new_tokens=LENGTH,
        )
        assert tuple(result.token_ids) == expected("qwen2_5_vl", seed)
        assert len(result.kept_indices) == int(keep * result.video_tokens)


@pytest.mark.parametrize("heads", [(4, 4), (4, 1), (8, 2)], ids=str)
def test_every_grouping_of_heads(heads: tuple[int, int]) -> None:
    reference = model(heads=heads[0], kv_heads=heads[1])
    inputs = tiny_video_inputs(reference, seed=3)
    ours = Pair(deepcopy(reference), noisy(reference, 0.05))
    for name in ("ar", "sd", "specvlm"):
        made = ours.generate_inputs(inputs, method=name, keep=0.5, max_new_tokens=LENGTH)
        assert made.token_ids == plain(reference, inputs)


@pytest.mark.parametrize("drafter", ["chain", "tree"])
@pytest.mark.parametrize("gamma", [1, 2, 5, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_that_is_the_target_is_always_accepted(family: str, gamma: int, drafter: str) -> None:
    target = deepcopy(model(family))
    for draft in (target, deepcopy(target)):
        result = Pair(target, draft).generate_inputs(
            video_prompt(family), method=f"full+{drafter}+exact+sequential", gamma=gamma, max_new_tokens=LENGTH
        )
        assert tuple(result.token_ids) == expected(family)
        whole, last = divmod(LENGTH - 1, gamma + 1)  # the first token belongs to the prefill
        rounds = [gamma] * whole + ([last - 1] if last > 1 else [])
        counted = result.metrics["speculative_decoding"]["acceptance_histogram"]
        assert counted == [rounds.count(i) for i in range(max(rounds) + 1)]
        assert result.metrics["target_passes"] == whole + (last > 0)


@pytest.mark.parametrize("drafter", ["chain", "tree"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_that_never_agrees_is_never_accepted(family: str, drafter: str) -> None:
    result = pair(family, "contrary").generate_inputs(
        video_prompt(family), method=f"full+{drafter}+exact+sequential", max_new_tokens=LENGTH
    )
    speculative = result.metrics["speculative_decoding"]
    assert tuple(result.token_ids) == expected(family)
    assert speculative["num_accepted_draft_tokens"] == 0
    assert speculative["num_draft_tokens"] > 0
    assert result.metrics["target_passes"] == LENGTH - 1


@pytest.mark.parametrize("drafter", ["chain", "tree"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_that_agrees_now_and_then_is_cut_at_every_index(family: str, drafter: str) -> None:
    rounds: Counter[int] = Counter()
    for seed, draft in product(range(8), ("close", "far")):
        result = pair(family, draft).generate_inputs(
            video_prompt(family, seed), method=f"full+{drafter}+exact+sequential", gamma=3, max_new_tokens=LENGTH
        )
        assert tuple(result.token_ids) == expected(family, seed)
        rounds.update(dict(enumerate(result.metrics["speculative_decoding"]["acceptance_histogram"])))
    # Rejected at the first, second and third candidate, and accepted whole.
    assert all(rounds[accepted] for accepted in (0, 1, 2, 3)), rounds


@pytest.mark.parametrize("stop", range(14))
@pytest.mark.parametrize("drafter", ["chain", "tree"])
def test_the_answer_ends_at_end_of_sequence(drafter: str, stop: int) -> None:
    """With the target as its draft and gamma 5: index 0 is the prefill's, 1 to 5 accepted, 6 the bonus token, 7 ..."""
    reference = deepcopy(model())
    inputs = next(
        found
        for found in (video_prompt("qwen2_5_vl", seed) for seed in range(60))
        if (text := plain(reference, found, stop + 1)).index(text[-1]) == stop
    )
    reference.generation_config.eos_token_id = [plain(reference, inputs, stop + 1)[-1], 3]
    wanted = plain(reference, inputs)
    assert len(wanted) == stop + 1
    for draft in ("same", "close", "contrary"):
        for limit in (LENGTH, stop + 1):
            result = Pair(deepcopy(reference), DRAFTS[draft](reference)).generate_inputs(
                inputs, method=f"full+{drafter}+exact+sequential", gamma=5, max_new_tokens=limit
            )
            assert result.token_ids == wanted
            assert result.finish_reason == "stop"


@pytest.mark.parametrize("name", ["ar", "sd", "full+tree+exact+sequential", "specvlm"])
@pytest.mark.parametrize("draft", ["same", "close", "contrary"])
def test_the_answer_ends_at_the_length_limit(draft: str, name: str) -> None:
    for length in range(1, 13):
        result = pair("qwen2_5_vl", draft).generate_inputs(
            video_prompt("qwen2_5_vl"), method=name, max_new_tokens=length
        )
        assert tuple(result.token_ids) == expected("qwen2_5_vl")[:length]
        assert result.finish_reason == "length"


@pytest.mark.parametrize("penalty", [0.8, 1.05, 1.5])
@pytest.mark.parametrize("draft", ["same", "close", "stranger"])
def test_the_checkpoints_repetition_penalty_is_generates(draft: str, penalty: float) -> None:
    changed = 0
    for seed, vocab in product(range(3), (24, 96)):
        reference = deepcopy(model(seed=seed, vocab=vocab))
        inputs = tiny_video_inputs(reference, seed=seed)
        without = plain(reference, inputs)
        reference.generation_config.repetition_penalty = penalty
        wanted = plain(reference, inputs)
        changed += wanted != without
        ours = Pair(
            deepcopy(reference),
            FAMILIES["qwen2_5_vl"](9, hidden=32, vocab=vocab) if draft == "stranger" else DRAFTS[draft](reference),
        )
        for name in ("ar", "sd", "full+tree+exact+sequential", "specvlm"):
            result = ours.generate_inputs(inputs, method=name, keep=0.5, max_new_tokens=LENGTH)
            assert result.token_ids == wanted
            if draft == "same" and name == "sd":  # the draft's logits are penalised alike, inside the window too
                assert result.metrics["speculative_decoding"]["draft_acceptance_rate"] == 1
    assert changed


@pytest.mark.parametrize("draft", ["same", "close", "stranger"])
@pytest.mark.parametrize("family", FAMILIES)
def test_text_only_and_an_image_beside_the_video(family: str, draft: str) -> None:
    reference = model(family)
    pictured = tiny_video_inputs(reference, image=(4, 6), seed=5)
    only_image = {k: v for k, v in pictured.items() if "video" not in k and k != "second_per_grid_ts"}
    from_image = pictured["mm_token_type_ids"][0].tolist().index(1) - 1
    for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
        only_image[key] = pictured[key][:, from_image:]
    for inputs in (tiny_text_inputs(reference), tiny_text_inputs(reference, 1), pictured, only_image):
        wanted = plain(reference, inputs)
        for name in METHODS:
            result = pair(family, draft).generate_inputs(inputs, method=name, keep=0.5, max_new_tokens=LENGTH)
            assert result.token_ids == wanted, (name, inputs.keys())
            if draft == "same" and name == "sd":
                assert result.metrics["speculative_decoding"]["draft_acceptance_rate"] == 1


@pytest.mark.parametrize("drafter", ["chain", "tree"])
def test_keeping_everything_at_its_own_position_is_the_unpruned_draft(drafter: str) -> None:
    ours = pair("qwen2_5_vl", "close")
    for seed in range(3):
        unpruned, *pruned = (
            ours.generate_inputs(
                video_prompt("qwen2_5_vl", seed),
                method=f"{scorer}+{drafter}+exact+sequential",
                keep=1.0,
                max_new_tokens=LENGTH,
            )
            for scorer in ("full", "uniform", "random", "specvlm")
        )
        assert unpruned.metrics["speculative_decoding"]["num_accepted_draft_tokens"] > 0
        for other in pruned:
            assert other.metrics["speculative_decoding"] == unpruned.metrics["speculative_decoding"]
            assert other.kept_indices == list(range(other.video_tokens))


def test_the_kept_tokens_are_what_the_draft_sees() -> None:
    """If pruning did nothing to the draft, its acceptance would not move."""
    ours = pair("qwen2_5_vl", "same")
    counts = {}
    for keep, positions in product((0.0, 0.5, 1.0), ("original", "repacked")):
        result = ours.generate_inputs(
            video_prompt("qwen2_5_vl"),
            method="uniform+chain+exact+sequential",
            keep=keep,
            draft_positions=positions,
            max_new_tokens=LENGTH,
        )
        assert tuple(result.token_ids) == expected("qwen2_5_vl")
        counts[keep, positions] = result.metrics["speculative_decoding"]["num_accepted_draft_tokens"]
    assert counts[0.0, "original"] < counts[1.0, "original"]
    assert counts[1.0, "repacked"] < counts[1.0, "original"]  # a prompt with a video, re-numbered, is another prompt


@pytest.mark.parametrize("family", FAMILIES)
def test_both_models_still_generate_after_being_wrapped(family: str) -> None:
    target, draft = deepcopy(model(family)), deepcopy(model(family, seed=9))
    Pair(target, draft).generate_inputs(video_prompt(family), method="specvlm", max_new_tokens=8)
    for wrapped, seed in ((target, 0), (draft, 9)):
        untouched = model(family, seed=seed)
        for inputs in (video_prompt(family), tiny_text_inputs(untouched)):
            assert plain(wrapped, inputs) == plain(untouched, inputs)
        rows = [tiny_text_inputs(untouched, length, seed=length)["input_ids"][0] for length in (4, 9)]
        ids = torch.stack([torch.cat([row.new_zeros(9 - len(row)), row]) for row in rows])  # padded on the left
        batch = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        made = [m.generate(**batch, do_sample=False, max_new_tokens=8) for m in (wrapped, untouched)]
        assert torch.equal(*made)
        beams = [m.generate(**batch, do_sample=False, num_beams=2, max_new_tokens=8) for m in (wrapped, untouched)]
        assert torch.equal(*beams)


def test_a_request_does_not_disturb_the_next_one() -> None:
    ours = pair("qwen2_5_vl", "close")
    for seed, name in product((0, 1, 0), ("specvlm", "ar")):
        made = ours.generate_inputs(video_prompt("qwen2_5_vl", seed), method=name, max_new_tokens=LENGTH)
        assert tuple(made.token_ids) == expected("qwen2_5_vl", seed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["ar", "sd", "specvlm"])
def test_a_video_longer_than_the_text_behind_it(family: str, method: str) -> None:
    """The prompt's text then lies inside the video's time range, and what `generate` writes goes on from there."""
    target, untouched = deepcopy(model(family)), deepcopy(model(family))
    inputs = tiny_video_inputs(target, grid=(40, 4, 4), text_after=4)
    pair = Pair(target, target)
    prompt = pair.target.prompt(inputs, pair.target.encode(inputs))
    if family == "qwen2_5_vl":
        assert prompt.next_position < int(prompt.positions.max()), "not the case that this test is about"
    length = inputs["input_ids"].shape[1]
    wanted = untouched.generate(**inputs, do_sample=False, max_new_tokens=LENGTH)[0, length:].tolist()
    assert pair.generate_inputs(inputs, method=method, max_new_tokens=LENGTH).token_ids == wanted
