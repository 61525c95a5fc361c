"""A pair and the thread that it answers on, one request at a time."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from typing import Any

from rushes.chat import Asked, Clip, Turn, ask
from rushes.errors import OutOfMemory, RushesError
from rushes.models.base import single_request
from rushes.pair import Pair
from rushes.recall import Recall
from rushes.serve.job import Done, Job, Message, Piece
from rushes.serve.preview import preview
from rushes.serve.refusals import Refusal
from rushes.serve.stops import Stops
from rushes.stats import Stats
from rushes.store import Store

log = logging.getLogger("rushes.serve")
_END = object()


class Cancelled(Exception):
    """Nobody waits for this answer any more."""


@dataclass(slots=True)
class Run:
    """An answer that is being written on the engine's thread.

    Attributes:
        finished: Done when the engine is free again.
    """

    finished: "Future[None]"
    _messages: "asyncio.Queue[Any]"
    _cancelled: Event

    def cancel(self) -> None:
        """Stop within one round."""
        self._cancelled.set()

    async def messages(self) -> AsyncIterator[Message]:
        """Pieces, and `Done` in the end.

        Raises:
            Refusal: The request cannot be answered, or its time is up.
        """
        while (message := await self._messages.get()) is not _END:
            if isinstance(message, BaseException):
                raise message
            yield message


@dataclass(slots=True, eq=False)
class Engine:
    """One pair.

    Args:
        pair: With a processor.
        cache_bytes: For what was read before.
        prompt_tokens: Most tokens of a prompt.
        processing: Clips are shared by all engines of a process, and processed once.

    Attributes:
        store: What earlier requests have left.
    """

    pair: Pair
    cache_bytes: int
    prompt_tokens: int
    processing: Lock
    store: Store = field(init=False)
    _thread: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.store = Store(self.cache_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rushes-engine")

    def start(
        self,
        job: Job,
        turns: tuple[Turn, ...],
        *,
        deadline: float,
        decoding_s: float,
        on_processed: Callable[[Clip], None],
    ) -> Run:
        """Begin to answer.

        Args:
            turns: The job's, with decoded media.
            deadline: By `time.monotonic`.
            decoding_s: What their decoding took.
            on_processed: Called on the engine's thread when all clips are processed.
        """
        loop = asyncio.get_running_loop()
        messages: asyncio.Queue[Any] = asyncio.Queue()
        cancelled = Event()

        def put(message: Any) -> None:
            loop.call_soon_threadsafe(messages.put_nowait, message)

        def check() -> None:
            if cancelled.is_set():
                raise Cancelled
            if time.monotonic() > deadline:
                raise late()

        stats = Stats()
        stats.time_s["decode_video"] = decoding_s
        finished = self._thread.submit(partial(self._work, job, turns, stats, on_processed, put, check))
        return Run(finished, messages, cancelled)

    def close(self) -> None:
        """Wait for the answer that is being written, and let go of everything."""
        self._thread.shutdown(wait=True)
        self.store.clear()

    def _work(
        self,
        job: Job,
        turns: tuple[Turn, ...],
        stats: Stats,
        on_processed: Callable[[Clip], None],
        put: Callable[[Any], None],
        check: Callable[[], None],
    ) -> None:
        try:
            check()
            self._answer(job, turns, stats, on_processed, put, check)
        except Cancelled:
            pass
        except Refusal as error:
            put(error)
        except OutOfMemory as error:
            self.store.clear()
            put(Refusal(spoken(error), status=503, code="out_of_memory", retry_after_s=10))
        except RushesError as error:
            put(Refusal(spoken(error)))
        except Exception:
            log.exception("an answer failed", extra={"request": job.id})
            put(Refusal(f"internal error; the server's log has the reason under request {job.id}", status=500))
        finally:
            put(_END)

    def _answer(
        self,
        job: Job,
        turns: tuple[Turn, ...],
        stats: Stats,
        on_processed: Callable[[Clip], None],
        put: Callable[[Any], None],
        check: Callable[[], None],
    ) -> None:
        with self.processing:
            asked = ask(self.pair.processor, self.pair.target, turns)
            clips = [part for turn in turns for part in turn.parts if isinstance(part, Clip)]
            shown = preview(self.pair, asked.inputs, clips)
            for clip in clips:
                clip.drop_frames()
                on_processed(clip)
        prompt = len(single_request(asked.inputs))
        if prompt > self.prompt_tokens:
            raise Refusal(
                f"the prompt has {prompt} tokens, the limit is {self.prompt_tokens}; take fewer frames or less text",
                code="context_length_exceeded",
            )
        check()
        if job.details and shown:
            put(Piece(details={"videos": shown}))
        try:
            self._write(job, asked, stats, put, check)
        except OutOfMemory:
            if len(self.store) == 0 or stats.emitted:
                raise
            self.store.clear()  # what is kept for later must not stand in the way of what is asked now
            self._write(job, asked, stats, put, check)

    def _write(
        self,
        job: Job,
        asked: Asked,
        stats: Stats,
        put: Callable[[Any], None],
        check: Callable[[], None],
    ) -> None:
        stops = Stops(job.stop)
        recall = Recall(self.store, asked.identity, asked.pictures) if job.reuse else None
        tokens, kept, reason, lossless, notes = 0, 0, "length", job.settings.recipe().lossless, asked.notes
        events = self.pair.events(
            asked.inputs, job.settings, recall=recall, question_tokens=asked.question_tokens, stats=stats
        )
        with closing(events):
            for event in events:
                check()
                tokens += len(event.token_ids)
                text = stops.add(event.text)
                details: dict[str, Any] = {}
                if event.kept_indices is not None:
                    kept = len(event.kept_indices)
                    details["kept_indices"] = event.kept_indices
                if event.words:
                    details["words"] = [word.to_json() for word in event.words]
                if event.result is not None:
                    text += stops.finish()
                    reason, lossless = event.result.finish_reason, event.result.lossless
                    notes = (*notes, *event.result.notes)
                if text or (job.details and details):
                    put(Piece(text, details if job.details and details else None))
                if stops.hit:
                    reason = "stop"
                    break
        counted = self.pair.target.count(asked.inputs)
        put(
            Done(
                finish_reason=reason,
                prompt_tokens=counted[0],
                cached_tokens=stats.reused_tokens,
                completion_tokens=tokens,
                metrics=stats.metrics(),
                facts={
                    "method": job.settings.method,
                    "lossless": lossless,
                    "video_tokens": counted[1],
                    "kept_tokens": kept,
                    "notes": list(notes),
                },
            )
        )


def late() -> Refusal:
    """The deadline has passed."""
    return Refusal(
        "the request took longer than the server's deadline; ask for fewer tokens or frames, or try again later",
        status=503,
        code="deadline_exceeded",
        retry_after_s=10,
    )


def spoken(error: RushesError) -> str:
    """A message of the library in the words of the API."""
    words = str(error)
    for option, field_ in (("--max-new-tokens", "max_tokens"), ("max_new_tokens", "max_tokens")):
        words = words.replace(option, field_)
    return words.replace("--", "")
