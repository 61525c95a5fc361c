"""Two errors in how vLLM 0.32 samples behind drafts on CPUs, mended in the processes that draft."""

from functools import wraps
from typing import Any

import torch
from torch import Tensor


def mend_sampling(device: torch.device) -> None:
    """Replace what is wrong on CPUs; whoever drafts there, vLLM's own methods included, gets wrong samples without it.

    `expand_batch_to_tokens` returns memory that nobody wrote (vLLM issue 55005), so that one request's temperature is
    anything, also for greedy requests beside it; and a step without candidates fails where a request sets top-k.
    """
    if device.type != "cpu":
        return
    from vllm.v1.sample import rejection_sampler

    if rejection_sampler.expand_batch_to_tokens is expanded:
        return
    rejection_sampler.expand_batch_to_tokens = expanded
    constrain = rejection_sampler.apply_sampling_constraints

    @wraps(constrain)
    def apply_sampling_constraints(logits: Tensor, *args: Any, **kwargs: Any) -> Any:
        return constrain(logits, *args, **kwargs) if len(logits) else logits

    rejection_sampler.apply_sampling_constraints = apply_sampling_constraints


def expanded(x: Tensor, cu_num_tokens: Tensor, num_tokens: int, replace_from: int = 0, replace_to: int = 0) -> Tensor:
    """(num_tokens,) each entry of `x` once for every candidate of its request; `cu_num_tokens` are their ends."""
    counts = cu_num_tokens.diff(prepend=cu_num_tokens.new_zeros(1))
    made = x.repeat_interleave(counts, output_size=num_tokens)
    return made if replace_from == replace_to else made.masked_fill(made == replace_from, replace_to)
