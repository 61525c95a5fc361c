"""What of a draft reaches vLLM's rejection sampler: what every candidate was drawn from."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rushes.drafting.together import Written

log = logging.getLogger("vllm.rushes")


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's part in drafting.

    Attributes:
        drafts: vLLM uses this worker's drafts.
        group: vLLM's group of the workers that hold parts of the same layers; None for one worker. All of them sample,
            and must come to the same tokens, so all of them need the draft's distributions.
    """

    drafts: bool = False
    group: Any = None

    @staticmethod
    def of_this_worker(vllm_config: Any) -> "Share":
        """vLLM takes what the first worker of a group drafts."""
        if vllm_config.parallel_config.tensor_parallel_size == 1:
            return Share(True)
        from vllm.distributed.parallel_state import get_tp_group

        group = get_tp_group()
        return Share(group.rank_in_group == 0, group)

    def hand_over(self, runner: Any, written: Mapping[int, Written], limit: int) -> None:
        """Let vLLM accept a candidate by p / q. Without this it accepts with p: the right distribution, less often.

        Args:
            runner: vLLM's, of this worker.
            written: What the drafting worker wrote, by row of vLLM's batch.
            limit: Most candidates for one request.
        """
        rows: list[int] = []
        shape = (limit, runner.input_batch.vocab_size)
        if self.drafts:
            try:
                probabilities = stacked(written, *shape, runner.device)
                rows = list(written)
            except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
                log.warning("rushes: no memory for what candidates were drawn from: %s", error)
        if self.group is not None:
            rows = self.group.broadcast_object(rows, src=0)
            if rows and not self.drafts:
                probabilities = torch.empty(len(rows), *shape, device=runner.device)
            if rows:
                self.group.broadcast(probabilities, src=0)
        if rows:
            runner._draft_probs = probabilities
            runner._draft_prob_req_ids = [runner.input_batch.req_ids[row] for row in rows]


def stacked(written: Mapping[int, Written], limit: int, vocabulary: int, device: torch.device) -> Tensor:
    """(rows, limit, vocabulary) fp32, zeros behind what was written and for greedy rows, where vLLM does not look."""
    probabilities = torch.zeros(len(written), limit, vocabulary, device=device)
    for row, found in enumerate(written.values()):
        for i, q in enumerate(found.distributions):
            probabilities[row, i, : len(q)] = q
    return probabilities
