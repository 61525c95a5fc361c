"""Draft, then verify, then roll back, one after the other (Leviathan et al. 2023)."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from rushes.scheduling.base import Request
from rushes.stats import wait_for
from rushes.window import Window, ancestors, behind, tree_mask

EMPTY = Window([], ())


@dataclass(frozen=True, slots=True)
class Sequential:
    """The textbook schedule. Without a drafter every window is empty: plain decoding, by the same code."""

    def rounds(self, request: Request) -> Iterator[list[int]]:
        while True:
            started = time.perf_counter()
            window, pending = EMPTY, 0
            if request.drafter is not None and request.draft is not None:
                # The target adds one token to whatever is accepted.
                limit, pending = request.remaining - 1, len(request.draft.pending)
                if request.pace is not None:
                    limit = min(limit, request.pace.next_depth(pending))
                window = request.drafter.draft(request.draft, limit)
                wait_for(request.draft.model.device)
            drafted = time.perf_counter()
            logits = self._review(request, window)
            wait_for(request.target.device)
            reviewed = time.perf_counter()
            request.stats.draft_s += drafted - started
            request.stats.verify_s += reviewed - drafted
            verdict = request.verifier.verify(window, logits, request.sampling, request.generator)
            start = request.cache.length - len(window)
            request.cache.keep_path(start, [start + node for node in verdict.path])
            if request.draft is not None:
                request.draft.advance(window, verdict.path, verdict.next_token)
            tokens = [window.tokens[node] for node in verdict.path] + [verdict.next_token]
            request.penalty.add(tokens)
            request.last_token = verdict.next_token
            request.position += len(tokens)
            request.remaining -= len(tokens)
            request.stats.count_round(len(window), len(verdict.path), window.depth)
            if request.pace is not None:
                took = (drafted - started, time.perf_counter() - started)
                request.pace.observe(window.depth, len(window), len(verdict.path), pending, *took)
            yield tokens

    def _review(self, request: Request, window: Window) -> Tensor:
        """One target pass over the last emitted token and the whole window: (n + 1, V) logits."""
        target = request.target
        mask = None
        if len(window):
            mask = behind(request.cache.length, tree_mask(window.parents, target.device))
        hidden = target.forward(
            target.embed([request.last_token, *window.tokens]),
            target.rows_at(request.position, [0, *window.depths], request.position_rows),
            request.cache,
            mask,
        )
        logits = target.logits(hidden)
        if request.penalty.penalty == 1:
            return logits
        paths = [[window.tokens[a] for a in ancestors(window.parents, node)] for node in range(len(window))]
        return request.penalty(logits, [[], *paths])
