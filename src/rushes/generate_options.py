"""What transformers' `generate` has prepared, read back into our own settings, or refused by name.

Values are read from the processors and criteria themselves: one that a user passed takes the place of `generate`'s own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.sampling import LEAST_TEMPERATURE

# What these are when they ask for nothing. Everything else that changes an answer comes as a processor or a criterion.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "penalty_alpha": (0,),
    "dola_layers": (),
    "constraints": (),
    "force_words_ids": (),
    "use_mtp": (False,),
    "prompt_lookup_num_tokens": (),
    "assistant_early_exit": (),
    "token_healing": (False,),
    "use_cache": (True,),
    "cache_implementation": ("dynamic",),
    "prefill_chunk_size": (),
    "output_scores": (False,),
    "output_logits": (False,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
}

# The names under which users know what `generate` makes of their options.
OPTIONS = {
    "EncoderNoRepeatNGramLogitsProcessor": "encoder_no_repeat_ngram_size",
    "EncoderRepetitionPenaltyLogitsProcessor": "encoder_repetition_penalty",
    "EpsilonLogitsWarper": "epsilon_cutoff",
    "EtaLogitsWarper": "eta_cutoff",
    "ExponentialDecayLengthPenalty": "exponential_decay_length_penalty",
    "ForcedBOSTokenLogitsProcessor": "forced_bos_token_id",
    "ForcedEOSTokenLogitsProcessor": "forced_eos_token_id",
    "InfNanRemoveLogitsProcessor": "remove_invalid_values",
    "LogitNormalization": "renormalize_logits",
    "MaxTimeCriteria": "max_time",
    "MinLengthLogitsProcessor": "min_length or min_new_tokens",
    "MinNewTokensLengthLogitsProcessor": "min_new_tokens",
    "MinPLogitsWarper": "min_p",
    "NoBadWordsLogitsProcessor": "bad_words_ids",
    "NoRepeatNGramLogitsProcessor": "no_repeat_ngram_size",
    "PrefixConstrainedLogitsProcessor": "prefix_allowed_tokens_fn",
    "SequenceBiasLogitsProcessor": "sequence_bias",
    "StopStringCriteria": "stop_strings",
    "SuppressTokensAtBeginLogitsProcessor": "begin_suppress_tokens",
    "SuppressTokensLogitsProcessor": "suppress_tokens",
    "SynthIDTextWatermarkLogitsProcessor": "watermarking_config",
    "TopHLogitsWarper": "top_h",
    "TypicalLogitsWarper": "typical_p",
    "UnbatchedClassifierFreeGuidanceLogitsProcessor": "guidance_scale",
    "WatermarkLogitsProcessor": "watermarking_config",
}


def unsupported(what: str) -> RushesError:
    """The error for something that plain `generate` knows and we do not."""
    return RushesError(f"{what} is not supported by rushes.custom_generate; leave it out")


def refuse_config(config: Any) -> None:
    """Refuse options of a generation config that would change the answer or the kind of output.

    Raises:
        RushesError: The first such option.
    """
    for name, neutral in NEUTRAL.items():
        value = getattr(config, name, None)
        if value is not None and value not in neutral:
            raise unsupported(f"{name}={value!r}")


def refuse_model_inputs(given: Mapping[str, Any]) -> None:
    """Refuse what `generate` would hand on to the model and the engine makes for itself.

    Args:
        given: The keyword arguments that are left for the model.

    Raises:
        RushesError: The first argument that has a meaning of its own.
    """
    for name, value in given.items():
        if name in ("attention_mask", "position_ids", "logits_to_keep", "use_cache") or value is None:
            continue
        if name == "past_key_values" and not getattr(value, "_is_user_defined", False):
            continue  # `generate` always makes one; it stays empty
        if name == "mm_encoder_outputs" and not value:
            continue
        raise unsupported(name)


def refuse_positions(positions: Tensor | None, length: int) -> None:
    """Refuse rope positions of a user's own; `generate`'s are 0..S-1, for it has not seen the pictures.

    Args:
        positions: (..., S) as `generate` would hand them to the model.
        length: S, tokens in the prompt.

    Raises:
        RushesError: They are others.
    """
    if positions is None:
        return
    if positions.shape[-1] != length or not bool((positions == torch.arange(length, device=positions.device)).all()):
        raise unsupported("position_ids")


def sampling_of(processors: Iterable[Any], do_sample: bool) -> dict[str, Any]:
    """The fields of `Settings` that say how tokens are chosen.

    A temperature below `LEAST_TEMPERATURE` (Qwen2.5-VL's checkpoints ask for 1e-6) or a top-k of 1 is greedy: it leaves
    one token, and exact ties are all that greedy decoding settles otherwise.

    Raises:
        RushesError: A processor that is not among `generate`'s own for these options, or not in its order.
    """
    order: list[Any] = [transformers.RepetitionPenaltyLogitsProcessor]
    how: dict[str, Any] = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    if do_sample:
        order += [transformers.TemperatureLogitsWarper, transformers.TopKLogitsWarper, transformers.TopPLogitsWarper]
        how["temperature"] = 1.0
    for processor in processors:
        kind = type(processor)
        if kind not in order or not _plain(processor):
            raise unsupported(_name("logits_processor", processor))
        del order[: order.index(kind) + 1]
        if kind is transformers.RepetitionPenaltyLogitsProcessor:
            how["repetition_penalty"] = processor.penalty
        elif kind is transformers.TemperatureLogitsWarper:
            how["temperature"] = processor.temperature
        elif kind is transformers.TopKLogitsWarper:
            how["top_k"] = processor.top_k
        else:
            how["top_p"] = processor.top_p
    if how["temperature"] < LEAST_TEMPERATURE or how["top_k"] == 1:
        how |= {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    return how


def ends_of(criteria: Iterable[Any], length: int) -> tuple[int, tuple[int, ...]]:
    """How many tokens may follow a prompt of `length` tokens, and which ones end the answer.

    Raises:
        RushesError: A criterion other than the length limit and end-of-sequence, or no length limit.
    """
    limits: list[int] = []
    eos: list[int] = []
    for criterion in criteria:
        if type(criterion) is transformers.MaxLengthCriteria:
            limits.append(criterion.max_length)
        elif type(criterion) is transformers.EosTokenCriteria:
            eos += criterion.eos_token_id.tolist()
        else:
            raise unsupported(_name("stopping_criteria", criterion))
    if not limits:
        raise RushesError("no length limit: pass max_new_tokens")
    return max(1, min(limits) - length), tuple(eos)


def _plain(processor: Any) -> bool:
    """Does it do what its name says and no more? A user's own may skip tokens or keep some in any case."""
    skipped = getattr(processor, "prompt_ignore_length", None)
    if isinstance(skipped, Tensor):
        skipped = bool(skipped.any())
    return (
        not skipped
        and getattr(processor, "filter_value", float("-inf")) == float("-inf")
        and getattr(processor, "min_tokens_to_keep", 1) == 1
    )


def _name(kind: str, part: Any) -> str:
    name = type(part).__name__
    return OPTIONS.get(name, f"{kind} {name}")
