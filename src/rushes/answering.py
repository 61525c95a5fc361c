"""From the loop's tokens to events that can be shown, and to the whole answer."""

from collections.abc import Iterator
from typing import Any

from rushes.decoding import Progress
from rushes.detokenizer import Detokenizer
from rushes.result import Event, Result, Word, words_of
from rushes.stats import Stats


def events_of(steps: Iterator[Progress], method: str, stats: Stats, processor: Any) -> Iterator[Event]:
    """One event for each step, and one with the answer.

    Args:
        steps: What the loop yields; at least one.
        method: Its name, for the answer.
        stats: Filled in by the loop.
        processor: Holds the tokenizer; None leaves all text empty.
    """
    detokenizer = None if processor is None else Detokenizer(processor.tokenizer)
    words: list[Word] = []
    before = stats.time_s["decode_video"]
    chosen = False
    last: Progress | None = None
    for last in steps:
        pieces = ["" if detokenizer is None else detokenizer.add([token]) for token in last.tokens]
        if pieces and last.finish_reason and detokenizer is not None:
            pieces[-1] += detokenizer.finish()
        fresh = words_of(last.tokens, pieces, stats.marks[len(words) :], processor)
        words += fresh
        kept = None if chosen or not len(last.kept) else last.kept.tolist()
        chosen = chosen or kept is not None
        yield Event("".join(pieces), list(last.tokens), fresh, kept)
    assert last is not None
    assert last.finish_reason is not None
    stats.time_s["total"] += before
    stats.time_to_first_token_s += before
    yield Event(
        result=Result(
            text="".join(word.text for word in words),
            token_ids=[word.token_id for word in words],
            finish_reason=last.finish_reason,
            method=method,
            lossless=last.lossless,
            frames=0,
            video_tokens=last.video_tokens,
            kept_indices=last.kept.tolist(),
            kept_per_layer=last.kept_per_layer,
            metrics=stats.metrics(),
            timeline=stats.timeline,
            words=tuple(words),
            notes=last.notes,
        )
    )
