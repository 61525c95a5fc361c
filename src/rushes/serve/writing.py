"""One answer, from decoded media to the last word; runs on the thread of its pair."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from rushes.chat import Asked, Clip, Turn, ask
from rushes.errors import OutOfMemory
from rushes.models.base import single_request
from rushes.pair import Pair
from rushes.recall import Recall
from rushes.result import Event, Word
from rushes.serve.job import Done, Job, Piece
from rushes.serve.preview import preview
from rushes.serve.refusals import Refusal
from rushes.serve.stops import Stops
from rushes.stats import Stats
from rushes.store import Store


@dataclass(slots=True, eq=False)
class Writing:
    """What one answer needs.

    Args:
        pair, store, prompt_tokens, processing: The engine's.
        job, turns: What is asked, and the same with decoded media.
        on_processed: Called with each clip once all are processed.
        put: Takes the messages.
        check: Raises where nobody waits any more, or the time is up.
    """

    pair: Pair
    store: Store
    prompt_tokens: int
    processing: Lock
    job: Job
    turns: tuple[Turn, ...]
    on_processed: Callable[[Clip], None]
    put: Callable[[Any], None]
    check: Callable[[], None]
    stats: Stats = field(default_factory=Stats)

    def run(self) -> None:
        """Write the whole answer.

        Raises:
            RushesError: The request cannot be answered.
        """
        self.check()
        asked = self._asked()
        self.check()
        try:
            self._write(asked)
        except OutOfMemory:
            if len(self.store) == 0 or self.stats.emitted:
                raise
            self.store.clear()  # what is kept for later must not stand in the way of what is asked now
            self._write(asked)

    def _asked(self) -> Asked:
        clips = [part for turn in self.turns for part in turn.parts if isinstance(part, Clip)]
        with self.processing:
            asked = ask(self.pair.processor, self.pair.target, self.turns)
            shown = preview(self.pair, asked.inputs, clips)
            for clip in clips:
                clip.drop_frames()
                self.on_processed(clip)
        prompt = len(single_request(asked.inputs))
        if prompt > self.prompt_tokens:
            raise Refusal(
                f"the prompt has {prompt} tokens, the limit is {self.prompt_tokens}; take fewer frames or less text",
                code="context_length_exceeded",
            )
        if self.job.details and shown:
            self.put(Piece(details={"videos": shown}))
        return asked

    def _write(self, asked: Asked) -> None:
        job, stops = self.job, Stops(self.job.stop)
        recall = Recall(self.store, asked.identity, asked.pictures) if job.reuse else None
        words = Words()
        tokens, kept, reason, lossless, notes = 0, 0, "length", job.settings.recipe().lossless, asked.notes
        events = self.pair.events(
            asked.inputs, job.settings, recall=recall, question_tokens=asked.question_tokens, stats=self.stats
        )
        with closing(events):
            for event in events:
                self.check()
                tokens += len(event.token_ids)
                kept = kept if event.kept_indices is None else len(event.kept_indices)
                text = stops.add(event.text)
                if event.result is not None:
                    text += stops.finish()
                    reason, lossless = event.result.finish_reason, event.result.lossless
                    notes = (*notes, *event.result.notes)
                shown = words.shown(event, text, job.stop)
                details = _details(event, shown) if job.details else None
                if text or details:
                    self.put(Piece(text, details))
                if stops.hit:
                    reason = "stop"
                    break
        prompt, video = self.pair.target.count(asked.inputs)
        facts = {
            "method": job.settings.method,
            "lossless": lossless,
            "video_tokens": video,
            "kept_tokens": kept,
            "notes": list(notes),
        }
        self.put(Done(reason, prompt, self.stats.reused_tokens, tokens, self.stats.metrics(), facts))


@dataclass(slots=True)
class Words:
    """Words whose text is out; those behind a stop text never are."""

    _waiting: list[Word] = field(default_factory=list)
    _letters: int = 0  # that are out and belong to words that wait

    def shown(self, event: Event, text: str, stop: Sequence[str]) -> list[Word]:
        """What can be told now.

        Args:
            event: With further words.
            text: What of the answer goes out with it.
            stop: The stop texts; without any no word waits.
        """
        self._waiting += event.words
        self._letters += len(text)
        ready = []
        while self._waiting and (not stop or len(self._waiting[0].text) <= self._letters):
            ready.append(self._waiting.pop(0))
            self._letters -= len(ready[-1].text)
        return ready


def _details(event: Event, words: Sequence[Word]) -> dict[str, Any] | None:
    """What is new for the page."""
    details: dict[str, Any] = {}
    if event.kept_indices is not None:
        details["kept_indices"] = event.kept_indices
    if words:
        details["words"] = [word.to_json() for word in words]
    return details or None
