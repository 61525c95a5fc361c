"""What `generate` has prepared is read back as it was meant, or refused by name."""

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
import torch

import rushes
from generating import NEW, draft, model, ours, same, video
from goodness import ALPHA, p_value
from rushes._transformers import transformers
from rushes.generate_options import sampling_of
from rushes.sampling import Sampling
from tiny import noisy, tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs


class Shorter(transformers.StoppingCriteria):
    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.tensor([input_ids.shape[1] > 3])


class Shifted(transformers.LogitsProcessor):
    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.roll(1)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"num_beams": 2}, "num_beams=2 is not supported"),
        ({"do_sample": True, "num_return_sequences": 2}, "num_return_sequences=2"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha=0.6"),
        ({"dola_layers": "high"}, "dola_layers='high'"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens=3"),
        ({"use_cache": False}, "use_cache=False"),
        ({"cache_implementation": "static"}, "cache_implementation='static'"),
        ({"return_dict_in_generate": True, "output_scores": True}, "output_scores=True"),
        ({"return_dict_in_generate": True, "output_logits": True}, "output_logits=True"),
        ({"return_dict_in_generate": True, "output_hidden_states": True}, "output_hidden_states=True"),
        ({"do_sample": True, "min_p": 0.1}, "min_p is not"),
        ({"do_sample": True, "typical_p": 0.9}, "typical_p is not"),
        ({"do_sample": True, "eta_cutoff": 1e-3}, "eta_cutoff is not"),
        ({"do_sample": True, "epsilon_cutoff": 1e-3}, "epsilon_cutoff is not"),
        ({"no_repeat_ngram_size": 2}, "no_repeat_ngram_size is not"),
        ({"bad_words_ids": [[9]]}, "bad_words_ids is not"),
        ({"min_new_tokens": 3}, "min_length or min_new_tokens is not"),
        ({"min_length": 99}, "min_length or min_new_tokens is not"),
        ({"suppress_tokens": [9]}, "suppress_tokens is not"),
        ({"forced_eos_token_id": 9}, "forced_eos_token_id is not"),
        ({"sequence_bias": {(9,): 1.0}}, "sequence_bias is not"),
        ({"guidance_scale": 1.5}, "guidance_scale is not"),
        ({"renormalize_logits": True}, "renormalize_logits is not"),
        ({"prefix_allowed_tokens_fn": lambda *_: [9]}, "prefix_allowed_tokens_fn is not"),
        ({"logits_processor": transformers.LogitsProcessorList([Shifted()])}, "logits_processor Shifted is not"),
        (
            {
                "logits_processor": transformers.LogitsProcessorList(
                    [transformers.RepetitionPenaltyLogitsProcessor(1.5, prompt_ignore_length=2)]
                )
            },
            "logits_processor RepetitionPenaltyLogitsProcessor is not",
        ),
        (
            {
                "logits_processor": transformers.LogitsProcessorList([transformers.TopKLogitsWarper(3)]),
                "do_sample": True,
                "temperature": 2.0,
            },
            "logits_processor T.* is not",
        ),
        ({"stopping_criteria": transformers.StoppingCriteriaList([Shorter()])}, "stopping_criteria Shorter is not"),
        ({"max_time": 1.0}, "max_time is not"),
        ({"past_key_values": transformers.DynamicCache()}, "past_key_values is not"),
        ({"inputs_embeds": torch.zeros(1, 32, 64)}, "inputs_embeds is not"),
        ({"position_ids": torch.zeros(4, 1, 32, dtype=torch.long)}, "position_ids is not"),
        ({"draft": None}, "method 'specvlm' needs a draft"),
        ({"draft": "Qwen/Qwen2.5-VL-7B-Instruct"}, "draft must be a loaded model"),
        ({"method": "specvml"}, "did you mean 'specvlm'"),
        ({"keep": 2}, "keep must be"),
        ({"gamma": 0}, "gamma must be"),
        ({"draft_positions": "mixed"}, "draft_positions must be"),
        ({"do_sample": True, "seed": -1}, "seed must be"),
        ({"max_new_tokens": 5000}, "the target holds 4096"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_is_not_supported_is_refused_by_name(how: dict[str, Any], words: str) -> None:
    with pytest.raises(rushes.RushesError, match=words) as caught:
        ours(model(), video(), **how)
    assert "\n" not in str(caught.value)


def test_inputs_that_are_not_one_whole_prompt_are_refused() -> None:
    text = tiny_text_inputs(model())
    batch = {name: tensor.repeat(2, 1) for name, tensor in text.items()}
    padded = {**text, "attention_mask": torch.tensor([[0, *[1] * 8]])}
    unmarked = {name: value for name, value in video().items() if name != "mm_token_type_ids"}
    blind = {name: value for name, value in video().items() if name != "pixel_values_videos"}
    for inputs, words in (
        (batch, r"one request at a time.*got \(2, 9\)"),
        (padded, "padded prompts are not supported"),
        (unmarked, "mm_token_type_ids are missing"),
        (blind, "the prompt has 18 video tokens, the features are 0"),
    ):
        with pytest.raises(rushes.RushesError, match=words):
            ours(model(), inputs)
    with pytest.raises(ValueError, match="kep"):  # generate's own check for typing errors
        ours(model(), video(), kep=0.1)


def test_models_in_training_mode_are_refused() -> None:
    for name in ("model", "draft"):
        target, other = deepcopy(model()), deepcopy(draft())
        (target if name == "model" else other).train()
        with pytest.raises(rushes.RushesError, match=f"the {name} is in training mode"):
            ours(target, video(), draft=other)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"temperature": 0.7},
        {"temperature": 1.6, "top_k": 0},
        {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
        {"top_k": None, "top_p": 0.5},
        {"top_k": 500},
    ],
    ids=str,
)
def test_the_distribution_is_the_one_that_generate_draws_from(how: dict[str, Any]) -> None:
    config = transformers.GenerationConfig(do_sample=True, **how)
    config.update(**transformers.GenerationConfig._get_default_generation_params(), defaults_only=True)
    processors = model()._get_logits_processor(config, input_ids_seq_length=4)
    logits = 3 * torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    wanted = processors(torch.zeros(5, 4, dtype=torch.long), logits.clone()).softmax(-1)
    assert torch.allclose(Sampling(**sampling_of(processors, True)).probabilities(logits), wanted, atol=1e-7)
    assert (wanted > 0).sum() < wanted.numel() or how.get("top_k") in (0, 500)


def test_a_temperature_that_leaves_one_token_is_greedy() -> None:
    wanted = model().generate(**video(), max_new_tokens=NEW)
    for how in ({"temperature": 1e-6}, {"top_k": 1}):  # what Qwen2.5-VL's and Qwen2-VL's checkpoints ask for
        assert same(model().generate(**video(), max_new_tokens=NEW, do_sample=True, **how), wanted)
        assert same(ours(model(), video(), do_sample=True, **how), wanted)


def test_a_seed_repeats_a_sampled_answer() -> None:
    made = [ours(model(), video(), do_sample=True, seed=seed).tolist() for seed in (0, 0, 1, None, None)]
    assert made[0] == made[1]
    assert len({str(one) for one in made}) == 4


def test_sampled_tokens_follow_generates_scores() -> None:
    target = tiny_qwen2_5_vl(1, 32, layers=1, vocab=11, vision_layers=1, fullatt=(0,))
    inputs = tiny_video_inputs(target, grid=(1, 4, 4), text_before=2, text_after=3)
    length = inputs["input_ids"].shape[1]
    how: dict[str, Any] = {"do_sample": True, "temperature": 3.0, "top_k": 7, "top_p": 0.9, "eos_token_id": []}

    def after(first: int | None) -> torch.Tensor:
        """(V,) what plain `generate` draws the first token from, or the second behind `first`."""
        allowed = None if first is None else lambda _, ids: [first] if len(ids) == length else list(range(11))
        out = target.generate(
            **inputs,
            **how,
            max_new_tokens=2,
            prefix_allowed_tokens_fn=allowed,
            return_dict_in_generate=True,
            output_scores=True,
        )
        return out.scores[0 if first is None else 1][0].softmax(-1)

    start = after(None)
    following = {a: after(a) for a in range(11) if start[a] > 0}
    chances = {(a, b): float(start[a] * rest[b]) for a, rest in following.items() for b in range(11)}
    expected = {outcome: chance for outcome, chance in chances.items() if chance > 0}
    other = noisy(target, 0.5)
    counts: Counter[Any] = Counter()
    draws = 600
    for seed in range(draws):
        made = ours(target, inputs, draft=other, method="sd", gamma=2, max_new_tokens=3, seed=seed, **how)
        counts[tuple(made[0, length : length + 2].tolist())] += 1
    assert sum(chance * draws >= 5 for chance in expected.values()) > 12
    assert p_value(counts, expected) > ALPHA
