"""The pairs of this process behind one queue."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from threading import Lock
from typing import Any, Protocol
from weakref import WeakValueDictionary

from rushes.chat import Clip, Part, Picture, Turn, pictures_of
from rushes.pair import Pair
from rushes.prompting import sampling_for
from rushes.recall import Prefix
from rushes.serve.config import Config
from rushes.serve.engine import Engine, late
from rushes.serve.fetching import fetched, place
from rushes.serve.gate import Gate, Ticket
from rushes.serve.heap import give_back, limit_arenas
from rushes.serve.job import Done, Job, Message
from rushes.serve.media import MediaSource, Medium, source_of
from rushes.serve.metrics import Metrics
from rushes.serve.refusals import Refusal
from rushes.serve.sandbox import Sandbox
from rushes.store import Store
from rushes.video import Sampling

_REST_S = 2.0  # without a request, until memory is given back


class Backend(Protocol):
    """Answers jobs, here or elsewhere."""

    def answer(self, job: Job) -> AsyncGenerator[Message]:
        """Pieces, and `Done` in the end; closing it breaks the answer off.

        Raises:
            Refusal: At the first message or at a later one.
        """
        ...

    def drain(self) -> None:
        """Take no more requests, and send away those that wait."""
        ...

    async def close(self) -> None:
        """Let the answers that are being written end, and let go of everything."""
        ...


@dataclass(slots=True, eq=False)
class LocalBackend:
    """Pairs of this process. One decoding at a time on each: speculation is for latency.

    Args:
        pairs: At least one, of the same checkpoints.
        config: Limits, budgets.
        metrics: Filled in.
    """

    pairs: Sequence[Pair]
    config: Config
    metrics: Metrics
    gate: Gate[Engine] = field(init=False)
    _desks: Gate[int] = field(init=False)
    clips: Store = field(init=False)
    _media: MediaSource = field(init=False)
    _sandbox: Sandbox = field(init=False)
    _decoding: "WeakValueDictionary[str, asyncio.Lock]" = field(init=False)
    _rest: asyncio.TimerHandle | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        limit_arenas()
        config, processing = self.config, Lock()
        engines = [Engine(pair, config.cache_bytes, config.limits.prompt_tokens, processing) for pair in self.pairs]
        self.gate = Gate(engines, config.queue)
        # Only at a desk is media fetched and decoded: else everybody who waits would hold videos.
        self._desks = Gate(range(max(2, len(engines))), len(engines) + config.queue)
        self.clips = Store(config.clip_bytes)
        self._media = source_of(config)
        self._sandbox = Sandbox(config.limits)
        self._decoding = WeakValueDictionary()
        self.metrics.watch(self)

    async def answer(self, job: Job) -> AsyncGenerator[Message]:
        deadline = time.monotonic() + self.config.deadline_s
        ticket = self.gate.admit(job.client)
        desk = self._desks.admit(job.client) if job.has_media else None
        run = None
        try:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    if desk is not None:
                        await self._desks.turn(desk)
                    started = time.monotonic()
                    job = await fetched(job, self._media)
                    turns = await self._decoded(job)
                    decoding_s = time.monotonic() - started
                    engine = await self.gate.turn(ticket, partial(_holds, pictures_of(turns)))
            except TimeoutError:
                raise late() from None
            self._leave_desk(desk)
            job = replace(job, turns=())  # the files' bytes are not needed any more
            run = engine.start(job, turns, deadline=deadline, decoding_s=decoding_s, on_processed=self._keep)
            loop = asyncio.get_running_loop()
            run.finished.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave, ticket))
            async for message in run.messages():
                if isinstance(message, Done) and job.reuse:
                    self.metrics.count_reuse(message)
                yield message
        finally:
            self._leave_desk(desk)
            if run is None:
                self._leave(ticket)
            else:
                run.cancel()

    def _leave_desk(self, desk: Ticket[int] | None) -> None:
        if desk is not None:
            self._desks.leave(desk)

    def _leave(self, ticket: Ticket[Engine]) -> None:
        self.gate.leave(ticket)
        if self._rest is not None:
            self._rest.cancel()
        if not self.gate.admitted:
            self._rest = asyncio.get_running_loop().call_later(_REST_S, self._give_back)

    def _give_back(self) -> None:
        if not self.gate.admitted:
            asyncio.get_running_loop().run_in_executor(None, give_back)

    def drain(self) -> None:
        self.gate.close()
        self._desks.close()

    async def close(self) -> None:
        self.drain()
        with ThreadPoolExecutor(max(1, len(self.gate.places))) as closers:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(closers, engine.close) for engine in self.gate.places))
        self.clips.clear()

    def sizes(self) -> dict[str, float]:
        """What is held and who waits, for the metrics."""
        stores = [engine.store for engine in self.gate.places]
        return {
            "num_requests_running": self.gate.running,
            "num_requests_waiting": self.gate.admitted - self.gate.running,
            "prefix_cache_bytes": sum(store.bytes for store in stores),
            "prefix_cache_entries": sum(len(list(store.of(Prefix))) for store in stores),
            "prefix_cache_evictions": sum(store.evicted for store in stores),
            "video_cache_bytes": self.clips.bytes,
        }

    async def _decoded(self, job: Job) -> tuple[Turn, ...]:
        made: dict[str, Part] = {}
        turns = []
        for i, turn in enumerate(job.turns):
            parts: list[Part] = []
            for j, part in enumerate(turn.parts):
                if isinstance(part, Medium):
                    if part.digest not in made:
                        made[part.digest] = await self._part(part, job, place(i, j))
                    parts.append(made[part.digest])
                elif isinstance(part, str):
                    parts.append(part)
            turns.append(Turn(turn.role, tuple(parts)))
        return tuple(turns)

    async def _part(self, medium: Medium, job: Job, param: str) -> Part:
        if medium.kind == "image":
            return Picture(medium.digest, await self._sandbox.read_image(medium.data, param))
        sampling = self._sampling(job)
        key = sha256(f"{medium.digest} {sampling!r}".encode()).hexdigest()
        async with self._decoding.setdefault(key, asyncio.Lock()):
            clip: Clip | None = self.clips.get(key)
            self.metrics.count_video(known=clip is not None)
            if clip is None:
                clip = Clip(key, await self._sandbox.read_video(medium.data, sampling, param))
                self._keep(clip)
        return clip

    def _sampling(self, job: Job) -> Sampling:
        pair, most = self.pairs[0], self.config.limits.frames
        sampling = sampling_for(pair.processor, job.num_frames, job.fps, min(most, pair.target.max_frames))
        if (sampling.num_frames or 0) > most:
            raise Refusal(f"{sampling.num_frames} frames were asked for, the limit is {most}", param="media_io_kwargs")
        return _at_most(sampling, most)

    def _keep(self, clip: Clip) -> None:
        self.clips.put(clip.digest, clip, clip.bytes)


def _at_most(sampling: Sampling, frames: int) -> Sampling:
    return replace(sampling, max_frames=min(sampling.max_frames, frames), min_frames=min(sampling.min_frames, frames))


def _holds(pictures: str, engine: Engine) -> bool:
    """Does an engine hold something that was read about these pictures and videos?"""
    return any(prefix.pictures == pictures for _, prefix in engine.store.of(Prefix))


def facts(pair: Pair) -> dict[str, Any]:
    """What clients may know of a pair."""
    return {
        "family": pair.target.config.model_type,
        "context_length": pair.target.context_length,
        "has_draft": pair.draft is not None,
    }
