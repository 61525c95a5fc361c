"""The loop: from processor inputs to tokens, readable top to bottom."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rushes.drafting.own import SelfState
from rushes.drafting.state import DraftState
from rushes.errors import RushesError
from rushes.methods import Method
from rushes.models.base import Inputs, Prompt, VideoLM, single_request
from rushes.pruning.base import budget_of
from rushes.recording import Recording
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.scheduling.base import Request
from rushes.scheduling.pace import Pace
from rushes.stats import Stats


@dataclass(frozen=True, slots=True)
class Options:
    """How one request is decoded.

    Args:
        keep: Share of the video tokens that the draft sees, 0..1.
        max_new_tokens: Length limit of the answer, 1 or more.
        sampling: Greedy by default.
        eos: Token ids that end the answer.
        repack_positions: Number the draft's remaining columns anew instead of keeping their own positions.
        positions: The rule of the rope positions, "stock" or "reference"; see `VideoLM.prompt`.
    """

    keep: float = 0.1
    max_new_tokens: int = 256
    sampling: Sampling = field(default_factory=Sampling)
    eos: tuple[int, ...] = ()
    repack_positions: bool = False
    positions: str = "stock"

    def __post_init__(self) -> None:
        budget_of(self.keep, 0)
        if self.max_new_tokens < 1:
            raise RushesError(f"max_new_tokens must be 1 or more, got {self.max_new_tokens}")


@dataclass(slots=True)
class Progress:
    """What has happened so far; yielded again and again while it grows.

    Attributes:
        tokens: The tokens that this step emitted.
        kept: Ascending indices of the video tokens that the draft sees, in one layer at least; empty for plain
            decoding.
        finish_reason: "stop" or "length" once the answer is complete.
        kept_per_layer: How many each layer sees, where every layer chooses for itself.
    """

    tokens: list[int]
    video_tokens: int
    kept: Tensor
    finish_reason: str | None = None
    kept_per_layer: int | None = None


@torch.inference_mode()
def decode(
    target: VideoLM,
    draft: VideoLM | None,
    inputs: Inputs,
    method: Method,
    options: Options,
    stats: Stats,
    *,
    share_features: bool = False,
) -> Iterator[Progress]:
    """Decode one request.

    Args:
        target, draft: The pair; plain decoding and self-speculation need no draft.
        inputs: What the processor returned, batch of one.
        method, options: What to do.
        stats: Filled in.
        share_features: The towers hold the same weights: encode the video once for both.

    Yields:
        A `Progress` for the first token, one for the pruning, and one for each round.

    Raises:
        RushesError: Prompt over the context length, no memory for a cache, malformed inputs.
    """
    arrived = time.perf_counter()  # moved on by the time that the caller takes between two steps
    sampling = options.sampling
    drafter = method.drafter
    window = 0 if drafter is None else drafter.max_nodes

    length, video_tokens = target.count(inputs)
    _check_context(length, video_tokens, options, target, "target")
    budget = 0
    if method.scorer is not None:
        # How many stay does not depend on the scores: what cannot work is refused before any work.
        method.scorer.check(target.grids(inputs))
        method.scorer.early_layer(target.text_config.num_hidden_layers)
        budget = method.scorer.budget(options.keep, video_tokens)
        if draft is not None and method.needs_draft:
            _check_context(length - video_tokens + budget, budget, options, draft, "draft")
    with stats.phase("vision", target.device):
        features = target.encode(inputs)
    prompt = target.prompt(inputs, features, options.positions)

    # 1. The target reads everything: whatever it will emit is decided by the full video.
    with stats.phase("target_prefill", target.device):
        cache = target.new_cache(len(prompt) + options.max_new_tokens + window)
        stats.cache_bytes["target"] = cache.bytes
        recording = _recording(method, prompt, target) if drafter is not None else None
        hidden = target.prefill(prompt, cache, recording if recording is not None and recording.watches else None)
        penalty = RepetitionPenalty(
            sampling.repetition_penalty, single_request(inputs).to(target.device), target.vocabulary
        )
        generator = sampling.generator(target.device)
        logits = penalty(target.logits(hidden[-1:]), [[]])
        first = _choose(logits, sampling, generator)
        penalty.add([first])
    if recording is not None:  # it ran inside the prefill, and is a cost of scoring
        stats.move_time("target_prefill", "scoring", recording.stopwatch.seconds)
    stats.time_to_first_token_s = time.perf_counter() - arrived
    progress = Progress([first], video_tokens, torch.arange(0))
    remaining = options.max_new_tokens - 1
    stats.count_emitted(1)
    progress.finish_reason = _finished([first], remaining, options)
    stats.time_s["total"] = left = time.perf_counter() - arrived
    yield progress
    arrived = time.perf_counter() - left
    if progress.finish_reason:
        return

    request = Request(
        target=target,
        cache=cache,
        position_rows=prompt.positions.shape[0],
        last_token=first,
        position=prompt.next_position,
        remaining=remaining,
        sampling=sampling,
        generator=generator,
        penalty=penalty,
        verifier=method.verifier,
        stats=stats,
    )
    if drafter is not None and method.scorer is not None and recording is not None:
        # 2. Its signals say which video tokens the draft gets to see.
        with stats.phase("scoring", target.device):
            scores = method.scorer.score(recording.signals(features))
            kept = method.scorer.select(scores, budget, prompt.grids).cpu()
        # 3. The draft reads these, and all of the text; or the target looks at that part of its own cache.
        if drafter.own:
            with stats.phase("draft_prefill", target.device):
                request.draft = SelfState(target, cache, prompt, kept, sampling, penalty)
        else:
            assert draft is not None, "a method with a draft model was refused without one"
            with stats.phase("vision", draft.device):
                if share_features:
                    seen = features.to(draft.device, draft.dtype)
                else:  # a blind draft gets placeholders for the features that are dropped anyway
                    seen = draft.encode(inputs) if len(kept) else draft.blind_features(inputs)
            with stats.phase("draft_prefill", draft.device):
                pruned = draft.prompt(inputs, seen, options.positions).prune(kept, repack=options.repack_positions)
                capacity = len(pruned) + options.max_new_tokens + window
                request.draft = DraftState(draft, pruned, capacity, sampling, penalty)
        request.drafter = drafter
        request.draft.pending = [first]
        request.pace = Pace(drafter.gamma) if method.auto else None
        stats.pace = request.pace
        stats.cache_bytes["draft"] = request.draft.cache.bytes
        per_layer = kept.shape[1] if kept.dim() == 2 else None
        progress = Progress([], video_tokens, kept if per_layer is None else kept.unique(), None, per_layer)
        left = time.perf_counter() - arrived
        yield progress
        arrived = time.perf_counter() - left

    # 4. Rounds: the draft writes ahead, the target reviews, both roll back to what was accepted.
    rounds = method.schedule.rounds(request)
    while progress.finish_reason is None:
        with stats.phase("decoding", target.device):
            written = next(rounds)
        tokens = _cut(written, remaining, options)
        stats.count_emitted(len(tokens), cut=len(written) - len(tokens))
        remaining -= len(tokens)
        progress = replace(progress, tokens=tokens, finish_reason=_finished(tokens, remaining, options))
        stats.time_s["total"] = left = time.perf_counter() - arrived
        yield progress
        arrived = time.perf_counter() - left


def _choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    if sampling.greedy:
        return int(logits[-1].argmax())
    return int(torch.multinomial(sampling.probabilities(logits)[-1], 1, generator=generator))


def _cut(tokens: list[int], remaining: int, options: Options) -> list[int]:
    """End exactly at end-of-sequence or at the length limit, even inside an accepted window."""
    for i, token in enumerate(tokens[:remaining]):
        if token in options.eos:
            return tokens[: i + 1]
    return tokens[:remaining]


def _finished(tokens: list[int], remaining: int, options: Options) -> str | None:
    if tokens and tokens[-1] in options.eos:
        return "stop"
    return "length" if remaining <= 0 else None


def _recording(method: Method, prompt: Prompt, target: VideoLM) -> Recording | None:
    scorer = method.scorer
    if scorer is None:
        return None
    depth = target.text_config.num_hidden_layers
    return Recording(prompt, scorer.needs, scorer.early_layer(depth), depth)


def _check_context(tokens: int, video_tokens: int, options: Options, model: VideoLM, role: str) -> None:
    if tokens + options.max_new_tokens > model.context_length:
        raise RushesError(
            f"the prompt has {tokens} tokens ({video_tokens} of them video) and "
            f"{options.max_new_tokens} more were asked for; the {role} holds {model.context_length}: "
            "use fewer frames, a shorter prompt or a smaller --max-new-tokens"
        )
