"""The target's part of a round: one pass over a window, and what the verdict on it leaves behind."""

from torch import Tensor

from rushes.scheduling.base import Request
from rushes.stats import wait_for
from rushes.timeline import TARGET
from rushes.verification.base import Ask
from rushes.window import Verdict, Window, ancestors, behind, tree_mask


def review(request: Request, window: Window, guess: Ask | None = None) -> tuple[Verdict, float]:
    """One target pass over the last emitted token and the whole window, and the verdict on it.

    Args:
        guess: What the draft holds for the token behind the window, once it is asked for.

    Returns:
        The verdict, and the seconds that the pass took.
    """
    with request.stats.timeline.span(TARGET, "review", len(window) + 1) as span:
        logits = _logits(request, window)
        wait_for(request.target.device)
    took = span.end_s - span.start_s
    request.stats.verify_s += took
    states = None if request.watch is None else request.watch.states
    verdict = request.judge.verify(window, logits, request.sampling, request.generator, guess, states)
    return verdict, took


def _logits(request: Request, window: Window) -> Tensor:
    target = request.target
    mask = None
    if len(window):
        mask = behind(request.cache.length, tree_mask(window.parents, target.device))
    embeds = target.embed([request.last_token, *window.tokens])
    positions = target.rows_at(request.position, [0, *window.depths], request.position_rows)
    if request.watch is None:
        hidden = target.forward(embeds, positions, request.cache, mask)
    else:
        hidden = target.forward_watched(embeds, positions, request.cache, mask, request.watch)
    logits = target.logits(hidden)
    if request.penalty.penalty == 1:
        return logits
    paths = [[window.tokens[a] for a in ancestors(window.parents, node)] for node in range(len(window))]
    return request.penalty(logits, [[], *paths])


def emit(request: Request, window: Window, verdict: Verdict) -> list[int]:
    """Roll the target back to the accepted path; returns the tokens that the round adds to the answer."""
    start = request.cache.length - len(window)
    request.cache.keep_path(start, [start + node for node in verdict.path])
    tokens = [window.tokens[node] for node in verdict.path] + [verdict.next_token]
    request.stats.marks += verdict.marked(window)
    request.penalty.add(tokens)
    request.last_token = verdict.next_token
    request.position += len(tokens)
    request.remaining -= len(tokens)
    return tokens
