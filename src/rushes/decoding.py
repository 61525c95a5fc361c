"""The loop: from processor inputs to tokens, readable top to bottom."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from rushes.choosing import Choice
from rushes.drafting.own import SelfState
from rushes.methods import Method
from rushes.models.base import Inputs, VideoLM, single_request
from rushes.models.head import NOTHING
from rushes.options import Options, check_request
from rushes.preparing import Preparation
from rushes.reading import WATCHED, begin, video_states, watch_of
from rushes.recall import Recall
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.scheduling.base import Request
from rushes.scheduling.lane import Lane
from rushes.scheduling.pace import Pace
from rushes.scheduling.worker import Worker
from rushes.signals import When
from rushes.stats import Stats
from rushes.timeline import DRAFT, TARGET
from rushes.verification.base import Hearing
from rushes.verification.relevance import directions
from rushes.window import EMPTY

START_UP = 8  # levels that the draft writes during the target's prefill, when they follow no measured speeds yet


@dataclass(slots=True)
class Progress:
    """What has happened so far; yielded again and again while it grows.

    Attributes:
        tokens: The tokens that this step emitted.
        kept: Ascending indices of the video tokens that the draft sees, in one layer at least; empty for plain
            decoding.
        finish_reason: "stop" or "length" once the answer is complete.
        kept_per_layer: How many each layer sees, where every layer chooses for itself.
        lossless: Is the answer the target's own?
        notes: What the verifier wants the user to know.
    """

    tokens: list[int]
    video_tokens: int
    kept: Tensor
    finish_reason: str | None = None
    kept_per_layer: int | None = None
    lossless: bool = True
    notes: tuple[str, ...] = ()


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
    worker: Worker | None = None,
    recall: Recall | None = None,
) -> Generator[Progress]:
    """Decode one request.

    Args:
        target, draft: The pair; plain decoding and self-speculation need no draft.
        inputs: What the processor returned, batch of one.
        method, options: What to do.
        stats: Filled in.
        share_features: The towers hold the same weights: encode the video once for both.
        worker: The draft's, for schedules that overlap; one of the request's own by default.
        recall: What earlier requests have read and need not be read again, and where this one leaves what it reads.

    Yields:
        A `Progress` for the first token, one for the pruning, and one for each round.

    Raises:
        RushesError: Prompt over the context length, no memory for a cache, malformed inputs.
        RuntimeError: The draft's worker died.
    """
    lane = None
    if method.needs_draft and method.schedule.overlaps:
        assert draft is not None, "a method with a draft model was refused without one"
        assert method.drafter is not None, "no drafter to need a draft model"
        lane = method.schedule.lane(worker or Worker(draft.device), method.drafter, stats, auto=method.auto)
    timeline = stats.timeline
    steps = _steps(target, draft, inputs, method, options, stats, share_features, lane, recall)
    timeline.start()
    try:
        for progress in steps:
            stats.time_s["total"] = timeline.total_s = left = timeline.now()
            if recall is not None:
                recall.written += progress.tokens
            yield progress
            timeline.resume(left)
    except Exception:
        if recall is not None:
            recall.forget()
        raise
    finally:
        steps.close()
        if lane is not None:
            lane.close()
        if recall is not None:
            recall.leave()


def _steps(
    target: VideoLM,
    draft: VideoLM | None,
    inputs: Inputs,
    method: Method,
    options: Options,
    stats: Stats,
    share_features: bool,
    lane: Lane | None,
    recall: Recall | None,
) -> Generator[Progress]:
    sampling, drafter = options.sampling, method.drafter
    video_tokens = target.count(inputs)[1]
    budget = check_request(target, draft, inputs, method, options)
    window = 0 if drafter is None else drafter.max_nodes
    preparation = None
    if draft is not None and method.needs_draft:
        # While one window waits for its review, another one is written behind it.
        room = options.max_new_tokens + (window if lane is None else 2 * (window + 1))
        own = _penalty(draft, inputs, sampling)
        preparation = Preparation(
            draft, inputs, options.positions, options.repack_positions, room, sampling, own, stats, recall
        )

    # 1. Both look at the video; the target reads everything: whatever it will emit is decided by the full video.
    early = lane is not None and method.schedule.early
    if early and lane is not None and preparation is not None and not share_features:
        lane.run(partial(preparation.see, None, blind=budget == 0))
    with stats.work("vision", TARGET, "vision", target.device):
        features = target.encode(inputs) if recall is None else recall.features("target", lambda: target.encode(inputs))
    prompt = replace(
        target.prompt(inputs, features, options.positions),
        question=options.question_tokens,
        identity=None if recall is None else recall.identity,
    )
    choice = None
    if method.scorer is not None:
        choice = Choice(method.scorer, budget, target, prompt, features, stats)
    if early and lane is not None and preparation is not None and choice is not None:
        if share_features:
            lane.run(partial(preparation.see, features, blind=False))
        _start_early(lane, preparation, choice, options)
    with stats.work("target_prefill", TARGET, "prefill", target.device, len(prompt)):
        cache = target.new_cache(len(prompt) + options.max_new_tokens + window)
        stats.cache_bytes["target"] = cache.bytes
        recording = None if choice is None or not choice.recording.watches else choice.recording
        scored = stats.time_s["scoring"]
        watch = watch_of(target, method, video_tokens)
        head = NOTHING if recall is None else begin(recall, prompt, cache, recording, watch, options.positions)
        stats.reused_tokens = head.length
        hidden = target.prefill(prompt, cache, recording, watch)
        penalty = _penalty(target, inputs, sampling)
        generator = sampling.generator(target.device)
        logits = penalty(target.logits(hidden[-1:]), [[]])
        seen = video_states(watch, prompt, head)
        if recall is not None and not (drafter is not None and drafter.own):  # which will move the cache's slots about
            shown = {} if recording is None else recording.shown
            shown |= {} if seen is None or watch is None else {(WATCHED, watch.layer): seen}
            recall.hold_target(options.positions, prompt, cache, shown)
        hearing = Hearing(None if seen is None else directions(seen), options.guarded)
        stats.judge = judge = method.verifier.begin(hearing)
        verdict = judge.verify(EMPTY, logits, sampling, generator, None if lane is None else lane.guess)
        first = verdict.next_token
        stats.marks += verdict.marked(EMPTY)
        penalty.add([first])
    # What ran inside the prefill for the scorer's sake is a cost of scoring.
    stats.time_s["target_prefill"] -= stats.time_s["scoring"] - scored
    if recording is not None:
        stats.move_time("target_prefill", "scoring", recording.stopwatch.seconds)
    stats.time_to_first_token_s = stats.timeline.now()
    progress = Progress([first], video_tokens, torch.arange(0), lossless=judge.lossless, notes=tuple(hearing.notes))
    remaining = options.max_new_tokens - 1
    stats.count_emitted(1)
    progress.finish_reason = _finished([first], remaining, options)
    yield progress
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
        judge=judge,
        watch=None if judge.lossless else watch,
        stats=stats,
        drafter=drafter,
        lane=lane,
    )
    if drafter is not None and choice is not None:
        # 2. Its signals say which video tokens the draft gets to see.
        kept = choice.kept
        # 3. The draft reads these, and all of the text; or the target looks at that part of its own cache.
        if lane is not None and preparation is not None:
            if not early:
                lane.run(partial(preparation.see, features if share_features else None, blind=budget == 0))
            if not lane.prepared:
                lane.prepare(partial(preparation.prefill, kept))
        else:
            if preparation is None:
                with stats.work("draft_prefill", DRAFT, "prefill", target.device):
                    request.draft = SelfState(target, cache, prompt, kept, sampling, penalty)
                stats.cache_bytes["draft"] = request.draft.cache.bytes
            else:
                preparation.penalty = penalty  # one object for both: nobody looks at it at the same time
                preparation.see(features if share_features else None, blind=budget == 0)
                request.draft = preparation.prefill(kept)
            request.draft.pending = [first]
            request.pace = Pace(drafter.gamma) if method.auto else None
            stats.pace = request.pace
        per_layer = kept.shape[1] if kept.dim() == 2 else None
        progress = replace(
            progress, tokens=[], kept=kept if per_layer is None else kept.unique(), kept_per_layer=per_layer
        )
        yield progress

    # 4. Rounds: the draft writes ahead, the target reviews, both roll back to what was accepted.
    rounds = method.schedule.rounds(request)
    stats.decoding_from_s = stats.timeline.now()
    while progress.finish_reason is None:
        with stats.phase("decoding", target.device):
            written = next(rounds)
        tokens = _cut(written, remaining, options)
        stats.count_emitted(len(tokens), cut=len(written) - len(tokens))
        remaining -= len(tokens)
        progress = replace(progress, tokens=tokens, finish_reason=_finished(tokens, remaining, options))
        yield progress


def _start_early(lane: Lane, preparation: Preparation, choice: Choice, options: Options) -> None:
    """Let the draft begin before the target's prefill ends, if its scorer needs no more than early layers.

    Its first window is then there when the target's prefill ends (ParallelVLM's start-up tokens, `methods.md`
    section 4).
    """

    def start() -> None:
        lane.prepare(partial(preparation.prefill, choice.kept))
        if options.max_new_tokens > 1:
            lane.write_ahead([], EMPTY, min(START_UP, options.max_new_tokens) - 1)

    if choice.ready is When.VISION:
        start()
    elif choice.ready is When.EARLY_LAYERS:
        choice.recording.on_states = start


def _penalty(model: VideoLM, inputs: Inputs, sampling: Sampling) -> RepetitionPenalty:
    """The repetition penalty behind the prompt, on a model's device."""
    return RepetitionPenalty(sampling.repetition_penalty, single_request(inputs).to(model.device), model.vocabulary)


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
