"""A pair and the thread that it answers on, one request at a time."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from rushes.chat import Clip, Turn
from rushes.errors import OutOfMemory, RushesError
from rushes.pair import Pair
from rushes.serve.job import Job, Message, Piece
from rushes.serve.refusals import Refusal
from rushes.serve.writing import Writing
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
        """Pieces, and `Done` in the end: once the engine is free, so that whoever asks again at once finds it so.

        Raises:
            Refusal: The request cannot be answered, or its time is up; the engine is free as well.
        """
        while (message := await self._messages.get()) is not _END:
            if not isinstance(message, Piece):
                await asyncio.wrap_future(self.finished)
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

        writing = Writing(
            self.pair, self.store, self.prompt_tokens, self.processing, job, turns, on_processed, put, check
        )
        writing.stats.time_s["decode_video"] = decoding_s
        return Run(self._thread.submit(self._work, writing), messages, cancelled)

    def close(self) -> None:
        """Wait for the answer that is being written, and let go of everything."""
        self._thread.shutdown(wait=True)
        self.store.clear()

    def _work(self, writing: Writing) -> None:
        put = writing.put
        try:
            writing.run()
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
            request = writing.job.id
            log.exception("an answer failed", extra={"request": request})
            put(Refusal(f"internal error; the server's log has the reason under request {request}", status=500))
        finally:
            put(_END)


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
