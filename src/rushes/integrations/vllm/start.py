"""What is refused when an engine starts, so that nothing is refused while it serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.integrations.vllm.settings import Settings, read_settings
from rushes.loading import check_weights, load_config, load_model, load_tokenizer
from rushes.models.base import VideoLM
from rushes.models.registry import adapt, adapter_for
from rushes.vocabulary import common_vocabulary, refuse_different_vision

VERSION = "0.32"  # of vLLM, whose interface for drafters is declared experimental
KINS = ("qwen2", "qwen3")
SPARE = 2 << 30  # bytes beside the weights where no budget is set
OURS = "rushes.integrations.vllm"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a start has found out.

    Attributes:
        settings: As given.
        vocabulary: Rows that stand for a token in both models.
        weight_bytes: Of the draft.
        room: Bytes beside the weights, for caches and features.
    """

    settings: Settings
    vocabulary: int
    weight_bytes: int
    room: int


def is_ours(vllm_config: Any) -> bool:
    """Does this engine draft with rushes?"""
    spec = vllm_config.speculative_config
    return spec is not None and spec.method == "custom_class" and str(spec.model).startswith(OURS + ".")


def refuse_second_runner(speculative_config: Any) -> None:
    """Refuse vLLM's V2 model runner, which calls no custom drafter, before vLLM fails on it in words of its own.

    Args:
        speculative_config: As the user gave it.

    Raises:
        RushesError: It was forced.
    """
    from vllm import envs

    given = speculative_config if isinstance(speculative_config, Mapping) else {}
    if str(given.get("model")).startswith(OURS + ".") and envs.VLLM_USE_V2_MODEL_RUNNER:
        raise RushesError("the plug-in needs vLLM's V1 model runner; unset VLLM_USE_V2_MODEL_RUNNER, or set it to 0")


def plan(vllm_config: Any) -> Plan:
    """Check everything that can be checked without the draft's weights.

    Raises:
        RushesError: One line that says what does not fit and what to do.
    """
    check_version()
    settings = read_settings(vllm_config.additional_config)
    target = vllm_config.model_config
    adapter = adapter_for(target.hf_config, target.model)
    if adapter.kin not in KINS:
        raise RushesError(
            f"{target.model}: inside vLLM there are drafts for Qwen2-VL, Qwen2.5-VL and Qwen3-VL, "
            f"not for {target.hf_config.model_type}"
        )
    config = load_config(settings.draft)
    refuse_different_vision(target.hf_config, config)
    check_weights(settings.draft)
    vocabulary = common_vocabulary(
        load_tokenizer(target.tokenizer).get_vocab(), load_tokenizer(settings.draft).get_vocab()
    )
    return _budget(settings, config, vocabulary, vllm_config)


def load(found: Plan, vllm_config: Any, device: torch.device) -> VideoLM:
    """The draft, on the device of the worker that drafts.

    Raises:
        RushesError: As `load_model`.
    """
    dtype = _dtype(found.settings, vllm_config)
    model = load_model(found.settings.draft, str(device), str(dtype).removeprefix("torch."))
    return adapt(model, found.settings.draft, found.vocabulary)


def check_version() -> None:
    """Refuse a vLLM that this plug-in was not written for.

    Raises:
        RushesError: Another version.
    """
    import vllm

    if vllm.__version__.split("+")[0].split(".")[:2] != VERSION.split("."):
        raise RushesError(
            f"the plug-in is written for vLLM {VERSION}, this is {vllm.__version__}; pip install 'rushes[vllm]'"
        )


def _dtype(settings: Settings, vllm_config: Any) -> torch.dtype:
    own: torch.dtype = vllm_config.model_config.dtype
    return own if settings.dtype == "auto" else getattr(torch, settings.dtype)


def _budget(settings: Settings, config: Any, vocabulary: int, vllm_config: Any) -> Plan:
    with torch.device("meta"):
        empty = transformers.AutoModelForImageTextToText.from_config(config, dtype=_dtype(settings, vllm_config))
    model = adapt(empty, settings.draft, vocabulary)
    weights = sum(parameter.nbytes for parameter in empty.parameters())
    slots = vllm_config.model_config.max_model_len
    one = model.new_rows().bytes_for(1, slots)
    gib = settings.draft_memory_gib
    room = SPARE if gib is None else int(gib * 2**30) - weights
    if cache_part(room) < one:
        least = (weights + one / cache_part(1.0)) / 2**30
        given = "a default of 2 GiB beside its weights" if gib is None else f"draft_memory_gib {gib:g}"
        raise RushesError(
            f"{settings.draft}: the draft does not fit into {given}: its weights take {weights / 2**30:.3g} GiB and "
            f"one request of {slots} tokens {one / 2**30:.3g} GiB; set draft_memory_gib to {least * 1.001:.3g} or "
            "more, or max_model_len to less"
        )
    return Plan(settings, vocabulary, weights, room)


def cache_part(room: float) -> float:
    """The part of the room beside the weights that caches may take; features take the rest."""
    return room * 3 / 4
