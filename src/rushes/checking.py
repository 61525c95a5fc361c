"""The target's own opinion, from one pass: what an answer is held against where it differs from plain decoding."""

from dataclasses import replace

import torch

from rushes.models.base import Inputs, VideoLM, single_request
from rushes.sampling import RepetitionPenalty


@torch.inference_mode()
def next_logits(target: VideoLM, inputs: Inputs, prefix: list[int], penalty: float, rule: str) -> torch.Tensor:
    """(V,) the target's logits behind the prompt and `prefix`, from one pass over all of it.

    Args:
        penalty: The repetition penalty; 1 is none.
        rule: Of the rope positions; see `VideoLM.prompt`.
    """
    prompt = target.prompt(inputs, target.encode(inputs), rule)
    written = target.rows_at(prompt.next_position, list(range(len(prefix))), prompt.positions.shape[0])
    embeds = torch.cat([prompt.embeds, target.embed(prefix)]) if prefix else prompt.embeds
    whole = replace(prompt, embeds=embeds, positions=torch.cat([prompt.positions, written], dim=1))
    hidden = target.prefill(whole, target.new_cache(len(whole)))
    history = RepetitionPenalty(penalty, single_request(inputs).to(target.device), target.vocabulary)
    return history(target.logits(hidden[-1:]), [prefix])[0].float()
