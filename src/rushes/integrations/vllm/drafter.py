"""The proposer that vLLM calls after every step: a small draft that has seen a part of each video."""

import logging
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from rushes.batched_cache import NoRoom
from rushes.drafting.together import RowState, Written, draft_together
from rushes.integrations.vllm import plugin, start
from rushes.integrations.vllm.cpu import mend_sampling
from rushes.integrations.vllm.features import FeatureStore
from rushes.integrations.vllm.handover import Share
from rushes.integrations.vllm.metrics import Board
from rushes.integrations.vllm.prompts import Reader
from rushes.integrations.vllm.requests import Requests

log = logging.getLogger("vllm.rushes")


class VideoDrafter:
    """Drafts for vLLM with `method: custom_class`.

    Only the worker whose drafts vLLM uses loads a draft; the others answer with nothing. Whatever goes wrong while it
    serves costs drafts and no request: vLLM's own tokens never depend on a draft.

    Args:
        vllm_config: vLLM's.

    Raises:
        RushesError: As `start.plan`.
    """

    def __init__(self, vllm_config: Any) -> None:
        plugin.register()
        self._plan = start.plan(vllm_config)
        self._config = vllm_config
        self._limit = int(vllm_config.speculative_config.num_speculative_tokens)
        self._longest = int(vllm_config.model_config.max_model_len)
        self._runner: Any = None
        self._requests: Requests | None = None
        self._share = Share()

    def load_model(self, target_model: Any) -> None:
        """Load the draft, where its drafts are used."""
        device = next(target_model.parameters()).device
        mend_sampling(device)
        self._share = Share.of_this_worker(self._config)
        if not self._share.drafts:
            return
        from vllm.model_executor.layers.fusion.mm_input_norm import build_mm_input_norm

        self._model = start.load(self._plan, self._config, device)
        norm = build_mm_input_norm(self._config.model_config).to(device)
        plain = getattr(norm, "forward_native", norm.forward)

        def normalise(pixels: Tensor) -> Tensor:
            """Raw bytes as vLLM's own tower gets them; what the processor has normalised stays as it is."""
            normalised: Tensor = plain(pixels.to(device), torch.float32) if pixels.dtype == torch.uint8 else pixels
            return normalised

        room = self._plan.room
        caches = int(start.cache_part(room))
        self._store = FeatureStore(room - caches)
        self._board = Board()
        reader = Reader(self._model, self._plan.settings, self._store, normalise)
        self._requests = Requests(reader, self._model.new_rows(caches), self._board)
        self._count()
        log.info(
            "rushes: %s drafts for %s, %s of the video tokens by %s",
            self._plan.settings.draft,
            self._config.model_config.model,
            f"{self._plan.settings.keep:.0%}",
            self._plan.settings.scorer,
        )

    def attach(self, runner: Any) -> None:
        """Told by the plug-in before every step: whose requests these are."""
        self._runner = runner

    def forget(self, names: Sequence[str]) -> None:
        """Told by the plug-in: these requests have finished, were aborted or were preempted."""
        if self._requests is not None and names:
            self._requests.forget(names)
            self._count()

    def close(self) -> None:
        """Told by the plug-in when the engine stops: leave nothing behind."""
        self._runner = None
        if self._requests is not None:
            self._store.clear()
            self._board.close()
            self._requests = None
            del self._model, self._store

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens_no_spec: Any,
        token_ids_cpu: Any,
        slot_mappings: object = None,
    ) -> list[list[int]]:
        """Candidates for each request of the batch.

        Args:
            sampled_token_ids: What vLLM has just emitted, row by row; nothing for a prompt that is not read to its end.
            num_tokens_no_spec: (rows,) how many tokens each request has, those included.
            token_ids_cpu: (rows, max_model_len) these tokens.
            slot_mappings: Of no use here.

        Returns:
            0 to `num_speculative_tokens` tokens for each row.
        """
        drafts: list[list[int]] = [[] for _ in sampled_token_ids]
        written: dict[int, Written] = {}
        if self._requests is not None:
            started = perf_counter()
            try:
                with torch.inference_mode():
                    written = self._write(sampled_token_ids, num_tokens_no_spec, token_ids_cpu)
            except Exception as error:
                self._requests.skip_all("error", error)
            for row, found in written.items():
                drafts[row] = found.tokens
            self._board.add("draft_seconds", perf_counter() - started)
            self._count()
        if self._runner is not None and not self._runner.input_batch.sampling_metadata.all_greedy:
            self._share.hand_over(self._runner, written, self._limit)
        return drafts

    def _write(self, sampled: Sequence[Sequence[int]], lengths: Any, tokens: Any) -> dict[int, Written]:
        """What the draft writes for each row of vLLM's batch that it writes for."""
        assert self._requests is not None
        batch = self._runner.input_batch
        found: dict[int, tuple[str, RowState, int]] = {}  # by row: the request's name, its draft, its limit
        for row, new in enumerate(sampled):
            if not new:
                continue
            request = self._runner.requests[batch.req_ids[row]]
            length, prompt = int(lengths[row]), len(request.prompt_token_ids or ())
            limit = self._room(request, length, length - prompt)
            if limit < 1:
                continue
            state = self._requests.follow(request, tokens[row, prompt:length].tolist())
            if state is not None:
                found[row] = (request.req_id, state, limit)
        while found:
            _, states, limits = zip(*found.values(), strict=True)
            try:
                made = draft_together(self._requests.cache, states, limits, self._plan.settings.rows_at_once)
            except NoRoom as error:  # nothing has been written yet; without the longest there may be room
                longest = max(found, key=lambda row: found[row][1].cache.length + len(found[row][1].pending))
                self._requests.skip(found.pop(longest)[0], "memory", error)
                continue
            return dict(zip(found, made, strict=True))
        return {}

    def _room(self, request: Any, length: int, written: int) -> int:
        """How many candidates can be of use: the last token of an answer is always the target's own."""
        limit = min(self._limit, self._longest - length - 1)
        most = getattr(request.sampling_params, "max_tokens", None)
        return limit if most is None else min(limit, most - written - 1)

    def _count(self) -> None:
        if self._requests is None:
            return
        self._board.set("live_drafts", len(self._requests))
        self._board.set("draft_bytes", self._plan.weight_bytes + self._requests.cache.bytes + self._store.bytes)
        self._board.set("vision_runs", self._store.runs)
        self._board.set("vision_reused", self._store.reused)
