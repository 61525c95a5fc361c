"""The drafts of the requests that an engine runs: made, followed, freed."""

import logging
from typing import Any

import torch

from rushes.batched_cache import BatchedKVCache, NoRoom
from rushes.drafting.together import RowState
from rushes.errors import RushesError
from rushes.integrations.vllm.metrics import Board
from rushes.integrations.vllm.prompts import Reader
from rushes.sampling import LEAST_TEMPERATURE, RepetitionPenalty, Sampling

log = logging.getLogger("vllm.rushes")


class Requests:
    """Which requests are drafted, which are not and why.

    vLLM tells a drafter neither which of its tokens were rejected nor when a request ends; what it holds is compared
    with the tokens that vLLM holds at every step, and the plug-in reports what finished or was preempted.

    Args:
        reader: Makes prompts.
        cache: Rows of all drafted requests.
        board: Counts.
    """

    def __init__(self, reader: Reader, cache: BatchedKVCache, board: Board) -> None:
        self.cache = cache
        self._reader = reader
        self._board = board
        self._states: dict[str, RowState] = {}
        self._prompts: dict[str, tuple[int, int]] = {}  # which request a state was made for: its identity and length
        self._skipped: set[str] = set()

    def __len__(self) -> int:
        return len(self._states)

    def follow(self, request: Any, line: list[int]) -> RowState | None:
        """The draft of a request, gone on to `line`, all tokens behind the prompt; None for one that is not drafted."""
        name = request.req_id
        if self._prompts.get(name, _key(request)) != _key(request):
            self.forget([name])  # another request under the same name, or one whose prompt went on
        if name in self._skipped:
            return None
        if name in self._states:
            state = self._states[name]
            state.follow(line)
            return state
        try:
            return self._admit(request, line)
        except NoRoom as error:
            self.skip(name, "memory", error)
        except RushesError as error:
            self.skip(name, "prompt", error)
        except Exception as error:  # whatever it is, the request goes on without us
            self.skip(name, "error", error)
        self._prompts[name] = _key(request)
        return None

    def _admit(self, request: Any, line: list[int]) -> RowState:
        model = self._reader.model
        prompt, video_tokens = self._reader.read(request)
        row = self.cache.add(len(prompt) + len(line))
        try:
            sampling = _sampling(request.sampling_params)
            ids = torch.tensor(request.prompt_token_ids, device=model.device)
            penalty = RepetitionPenalty(sampling.repetition_penalty, ids, model.vocabulary)
            state = RowState(model, prompt, row, sampling, penalty)
            state.catch_up(line)
        except BaseException:
            self.cache.free(row)
            raise
        self._states[request.req_id] = state
        self._prompts[request.req_id] = _key(request)
        self._board.add("draft_prompts")
        self._board.add("video_tokens", video_tokens)
        self._board.add("kept_video_tokens", len(prompt.video_columns))
        return state

    def skip(self, name: str, reason: str, error: BaseException) -> None:
        """Let a request go on without drafting."""
        self.forget([name])
        self._skipped.add(name)
        if self._board[f"skipped {reason}"] == 0:  # the metrics count the others
            log.warning(
                "rushes: request %s goes on without drafting (%s): %s; more of this reason are only counted",
                name,
                reason,
                error,
                exc_info=error if reason == "error" else None,
            )
        self._board.add(f"skipped {reason}")

    def skip_all(self, reason: str, error: BaseException) -> None:
        """Let all drafted requests go on without drafting."""
        for name in list(self._states):
            self.skip(name, reason, error)

    def forget(self, names: Any) -> None:
        """Free the drafts of requests that have finished or were preempted; others are not known here."""
        for name in names:
            self._skipped.discard(name)
            self._prompts.pop(name, None)
            state = self._states.pop(name, None)
            if state is not None:
                self.cache.free(state.cache)


def _key(request: Any) -> tuple[int, int]:
    return id(request), len(request.prompt_token_ids or ())


def _sampling(params: Any) -> Sampling:
    """How candidates are drawn: as vLLM draws, where we know how; any other way is right too, and accepted less."""
    if params is None or params.temperature < LEAST_TEMPERATURE:
        return Sampling(repetition_penalty=getattr(params, "repetition_penalty", 1.0))
    return Sampling(
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=max(0, params.top_k),
        repetition_penalty=params.repetition_penalty,
        seed=None if params.seed is None else params.seed % 2**63,
    )
